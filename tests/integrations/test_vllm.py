"""The functions that an engine switches to: the conventions it relies on, and what the generated code must stand."""

import math
import operator
import pickle
from functools import partial

import pytest
import torch
from torch import fx, nn

from fx2py.integrations.vllm import (
    compile_execution_fn,
    generate_execution_code,
    generate_execution_code_with_name,
    split_graph,
)
from tests.checking import assert_same_behaviour, reference

X = torch.randn(3, 4)


def run(gm, callables=None):
    code, names, consts = generate_execution_code(gm)
    return compile_execution_fn(code, callables or {}, names, pickle.loads(pickle.dumps(consts)))


def model(x, y):
    a = torch.relu(x + y)
    return torch.relu(a).cos() + a


def test_operators_that_follow_each_other_share_a_piece_and_pieces_are_numbered():
    def chain(x):
        return torch.tanh(torch.relu(x + 1)).cos()

    split, items = split_graph(fx.symbolic_trace(chain), ["aten::relu", "aten::tanh", "vllm::not_there"])
    assert [(item.submod_name, item.graph_id, item.is_splitting_graph) for item in items] == [
        ("submod_0", 0, False),
        ("submod_1", 1, True),
        ("submod_2", 2, False),
    ]
    assert all(getattr(split, item.submod_name) is item.graph for item in items)
    assert_same_behaviour(split, chain, (X,))


def test_graph_modules_are_part_of_the_code_and_need_no_callable():
    split, items = split_graph(fx.symbolic_trace(model), ["aten::relu"])
    code, names, consts = generate_execution_code(split)
    assert names == [item.submod_name for item in items]
    assert "*, __vllm_submods__" in code
    assert consts == []
    assert_same_behaviour(compile_execution_fn(code, {}, names, consts), model, (X, X))


def test_pieces_that_the_engine_put_in_place_are_called_through_the_list():
    split, items = split_graph(fx.symbolic_trace(model), ["aten::relu"])
    seen = []
    for item in items:
        if not item.is_splitting_graph:
            split.__dict__[item.submod_name] = object()
    compiled = {
        item.submod_name: lambda *args, graph=item.graph: seen.append(graph) or graph(*args)
        for item in items
        if not item.is_splitting_graph
    }
    execute = run(split, compiled)
    assert_same_behaviour(execute, model, (X, X), calls=1)
    assert [id(graph) for graph in seen] == [id(item.graph) for item in items if not item.is_splitting_graph]
    assert type(execute) is partial
    listed = execute.keywords["__vllm_submods__"]
    assert [call is not None for call in listed] == [not item.is_splitting_graph for item in items]


def test_code_from_before_there_were_constants_still_loads():
    code = "import torch\nimport operator\n\ndef execution_fn(x, *, __vllm_submods__):\n    return __vllm_submods__[0](x)\n"
    assert torch.equal(compile_execution_fn(code, {"submod_0": torch.relu}, ["submod_0"])(X), X.relu())


def test_a_name_and_constants_of_ones_own():
    consts, index = [], {}
    gm = fx.symbolic_trace(lambda x: x.to(torch.device("cpu")))
    first, names, _ = generate_execution_code_with_name(gm, "first", False, consts, index)
    second, _, shared = generate_execution_code_with_name(gm, "second", False, consts, index)
    assert "def first(x):" in first
    assert "def second(x):" in second
    assert names == []
    assert shared is consts
    assert consts[0] == torch.device("cpu")


class State(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 4))
        self.inner = nn.Linear(4, 4)

    def forward(self, x):
        return torch.relu(self.inner(x) @ self.weight), self.weight


def test_state_and_modules_inside_inlined_pieces_come_along():
    torch.manual_seed(0)
    source = State()
    split, _ = split_graph(fx.symbolic_trace(source), ["aten::relu"])
    assert_same_behaviour(run(split), source, (X,))


def nested_indices(x):
    return x[0, 1:, None], x[..., -1], x[:, [0, 2]], {"k": x}["k"]


def numbers(x):
    return x.clamp(-math.inf, math.inf), x + math.nan, x * -0.0, operator.neg(x), math.prod([2, x.dim()])


def nested_containers(x):
    return {"a": [x, (x.sin(), None)], "b": {"c": (x,)}}


def methods(x):
    return x.view(-1).add(1, alpha=2).to(dtype=torch.float64, device=torch.device("cpu"))


def in_place(x):
    y = x.clone()
    y.add_(1)
    return operator.iadd(y, 1)


def nothing():
    return torch.zeros(2) + 1


@pytest.mark.parametrize(
    "function",
    [nested_indices, numbers, nested_containers, methods, in_place, nothing],
    ids=lambda f: f.__name__,
)
def test_code_of_every_kind_of_node_runs(function):
    source = fx.symbolic_trace(function)
    args = (X,) * function.__code__.co_argcount
    assert_same_behaviour(run(source), reference(source), args)
    split, _ = split_graph(source, ["aten::add", "aten::clone", "aten::view"])
    assert_same_behaviour(run(split), reference(source), args)


def test_an_assignment_to_an_item_runs_though_nothing_uses_its_result():
    graph = fx.Graph()
    x = graph.placeholder("x")
    graph.call_function(operator.setitem, (x, (slice(None), 0), 1.0))
    graph.output(x)
    source = fx.GraphModule({}, graph)
    split, _ = split_graph(source, ["_operator.setitem"])
    assert_same_behaviour(run(split), reference(source), (X,))


def test_a_fault_shows_the_line_of_the_generated_code():
    execute = run(fx.symbolic_trace(lambda x, y: x @ y))
    with pytest.raises(RuntimeError) as fault:
        execute(X, X)
    assert "x @ y" in str(fault.traceback[-1].statement)


def test_pieces_return_tuples_and_a_lone_allocation_joins_the_piece_before():
    def layers(x):
        y = torch.relu(x + 1)
        buffer = torch.empty_like(x)
        z = torch.relu(y)
        return z.cos() + buffer.zero_()

    split, items = split_graph(fx.symbolic_trace(layers), ["aten::relu"])
    assert [item.is_splitting_graph for item in items] == [False, True, True, False]
    assert all(type(item.graph.graph.output_node().args[0]) is tuple for item in items)
    assert_same_behaviour(split, layers, (X,))
    assert_same_behaviour(run(split), layers, (X,))


def test_an_allocation_that_needs_a_result_stays_where_it_is():
    def layers(x):
        y = torch.relu(x + 1)
        buffer = torch.empty_like(y)
        return torch.relu(y) + buffer.zero_()

    split, items = split_graph(fx.symbolic_trace(layers), ["aten::relu"])
    assert [item.is_splitting_graph for item in items] == [False, True, False, True, False]
    assert_same_behaviour(split, layers, (X,))


def sizes(x):
    size = x.size()
    y = torch.relu(x + 1)
    again = torch.relu(y.view(size)) * size[0] * size[1]
    return y.new_zeros(size) + again, size, size.numel()


@pytest.mark.parametrize("dynamic", [True, False])
def test_sizes_cross_the_borders_as_numbers(dynamic):
    seen = []

    def backend(graph, inputs):
        split, items = split_graph(graph, ["aten::relu"])
        seen.extend(items)
        return run(split)

    torch._dynamo.reset()
    assert_same_behaviour(torch.compile(sizes, backend=backend, dynamic=dynamic), sizes, (X,))
    crossing = [node.meta.get("example_value") for item in seen for node in item.graph.graph.nodes]
    results = [item.graph.graph.output_node().args[0] for item in seen]
    assert not any(part.target is torch.Size for result in results for part in result if result)
    assert len(seen) == 5
    assert crossing
