"""The functions that an engine switches to: the conventions it relies on, and what the generated code must stand."""

import collections
import enum
import functools
import inspect
import math
import operator
import pickle
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import fx, nn
from torch.fx.graph import CodeGen

from fx2py.errors import OptionError
from fx2py.integrations.vllm import (
    compile_execution_fn,
    generate_execution_code,
    generate_execution_code_with_name,
    split_graph,
)
from tests.checking import assert_same_behaviour, reference
from tests.corpus import CASES
from tests.corpus.registry import PROGRAM_KINDS
from tests.edge_cases.building import module_of

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
    assert consts == [torch.device("cpu")]


@pytest.mark.parametrize("name", ["two words", "from", "torch", "__vllm_consts__", ""])
def test_a_name_that_the_function_cannot_have_is_refused(name):
    with pytest.raises(OptionError, match="cannot be the name"):
        generate_execution_code_with_name(fx.symbolic_trace(lambda x: x.relu()), name, False)


def with_arguments(target, *args, **kwargs):
    """A graph that calls ``target`` with its input and these arguments."""
    graph = fx.Graph()
    graph.output(graph.call_function(target, (graph.placeholder("x"), *args), kwargs))
    return module_of(graph)


def test_the_name_of_the_function_hides_nothing_that_its_code_calls():
    source = with_arguments(torch.ops.aten._to_copy.default, dtype=torch.float64)
    assert "\naten__to_copy = torch.ops" in generate_execution_code(source)[0]
    code, _, consts = generate_execution_code_with_name(source, "aten__to_copy", False)
    namespace = {"__vllm_consts__": consts}
    exec(code, namespace)
    assert torch.equal(namespace["aten__to_copy"](X), X.double())


def test_values_other_than_literals_are_constants_in_the_order_of_the_code():
    kwargs = {
        "dtype": torch.float64,
        "layout": torch.strided,
        "device": torch.device("cpu"),
        "memory_format": torch.contiguous_format,
    }
    code, names, consts = generate_execution_code(with_arguments(torch.empty_like, **kwargs))
    assert all(found is given for found, given in zip(consts, kwargs.values(), strict=True))
    assert "dtype=__vllm_consts__[0],\n        layout=__vllm_consts__[1]," in code
    assert compile_execution_fn(code, {}, names, consts)(X).dtype is torch.float64
    again, _, same = generate_execution_code(with_arguments(torch.empty_like, **kwargs))
    assert (again, same) == (code, consts)


class Mode(enum.IntEnum):
    SLOW = 1


class Scale:
    def __init__(self, factor):
        self.factor = factor


class Half(float):
    pass


def scaled(x, by):
    return x * getattr(by, "factor", by)


@pytest.mark.parametrize(
    "value", [Mode.SLOW, Scale(3.0), complex(0.0, -0.0), Half(0.5)], ids=lambda v: type(v).__name__
)
def test_objects_and_members_are_constants(value):
    source = with_arguments(scaled, value)
    _, _, (constant,) = generate_execution_code(source)
    assert constant is value
    assert_same_behaviour(run(source), reference(source), (X,))


def beside(x, value):
    return x, value


LITERALS = (
    True,
    2,
    -0.0,
    1e300,
    math.inf,
    -math.inf,
    math.nan,
    "it's",
    b"\xff",
    None,
    [1, (2,)],
    {"from": ()},
)


@pytest.mark.parametrize("value", LITERALS, ids=repr)
def test_literals_stand_in_the_code(value):
    source = with_arguments(beside, value)
    assert generate_execution_code(source)[2] == []
    assert_same_behaviour(run(source), reference(source), (X,))


@pytest.mark.parametrize("value", [torch.Size([2]), range(2), slice(1, None), ..., {1}], ids=repr)
def test_values_that_have_text_are_of_their_own_type(value):
    source = with_arguments(beside, value)
    assert_same_behaviour(run(source), reference(source), (X,))


def test_each_identity_is_one_constant():
    one, other = torch.device("cpu"), torch.device("cpu")
    graph = fx.Graph()
    x = graph.placeholder("x")
    graph.output([graph.call_function(torch.Tensor.to, (x, device)) for device in (one, other, one)])
    _, _, consts = generate_execution_code(fx.GraphModule({}, graph))
    assert list(map(id, consts)) == [id(one), id(other)]


def test_a_device_that_is_text_or_missing_is_no_constant():
    graph = fx.Graph()
    x = graph.placeholder("x")
    zeros = graph.call_function(torch.zeros, (2,))
    ones = graph.call_function(torch.ones, (2,), {"device": "cpu"})
    graph.output((zeros, ones, graph.call_method("to", (x, "cpu")), graph.call_method("cpu", (x,))))
    source = fx.GraphModule({}, graph)
    code, _, consts = generate_execution_code(source)
    assert consts == []
    assert 'torch.ones(2, device="cpu")' in code
    assert "x.cpu()" in code
    assert_same_behaviour(run(source), reference(source), (X,))


def test_pieces_are_functions_of_the_code_over_its_constants():
    def halves(x):
        return torch.relu(x.to(torch.float16)).to(torch.float16) + 1

    split, _ = split_graph(fx.symbolic_trace(halves), ["aten::relu"])
    code, names, consts = generate_execution_code(split)
    assert names == ["submod_0", "submod_1", "submod_2"]
    assert consts == [torch.float16]
    assert code == HALVES
    assert_same_behaviour(compile_execution_fn(code, {}, names, consts), halves, (X,))


HALVES = """import torch


def __vllm_inlined_submods__0(x):
    to = x.to(__vllm_consts__[0])
    del x
    return (to,)


def __vllm_inlined_submods__1(to):
    relu = torch.relu(to)
    del to
    return (relu,)


def __vllm_inlined_submods__2(relu):
    to_1 = relu.to(__vllm_consts__[0])
    del relu
    add = to_1 + 1
    del to_1
    return (add,)


def execution_fn(x, *, __vllm_submods__):
    submod_0_results = __vllm_inlined_submods__0(x)
    del x
    to = submod_0_results[0]
    del submod_0_results
    submod_1_results = __vllm_inlined_submods__1(to)
    del to
    relu = submod_1_results[0]
    del submod_1_results
    moved = [relu]
    del relu
    submod_2_results = __vllm_inlined_submods__2(moved.pop(0))
    del moved
    add = submod_2_results[0]
    del submod_2_results
    return add
"""


@pytest.mark.parametrize(
    "piece", [nn.Identity(), fx.symbolic_trace(lambda x: x.relu())], ids=["module", "graph"]
)
def test_a_function_without_pieces_calls_no_module(piece):
    graph = fx.Graph()
    graph.output(graph.call_module("inner", (graph.placeholder("x"),)))
    with pytest.raises(RuntimeError, match=r"call_module is not allowed.*'inner'"):
        generate_execution_code_with_name(fx.GraphModule({"inner": piece}, graph), "f", with_submod=False)


Pair = collections.namedtuple("Pair", ["left", "right"])


container = collections.namedtuple("container", ["left", "right"])


def test_a_class_of_records_may_be_called_as_what_makes_records():
    graph = fx.Graph()
    x = graph.placeholder("x")
    graph.output((graph.call_function(container, (x, x)), graph.call_function(Pair, (x, x))))
    code, names, consts = generate_execution_code(module_of(graph))
    result = compile_execution_fn(code, {}, names, consts)(torch.ones(2))
    assert [type(each) for each in result] == [container, Pair]


def of_many_names(name):
    """A graph that calls what has these names, and takes an input of such a name."""
    graph = fx.Graph()
    x, y = graph.placeholder(name), graph.placeholder("y")
    call = graph.call_function
    z = call(operator.iadd, (call(F.relu, (x,)), y))
    z = call(functools.reduce, (operator.add, [call(torch.ops.aten.sin.default, (z,)), x]))
    z = call(beside, (graph.call_method("clamp", (z,), {"max": math.inf}), call(math.ceil, (2.5,))))
    graph.output(
        (call(Pair, (z, x)), call(collections.OrderedDict, (), {"x": x}), call(operator.getitem, (z, 0)))
    )
    return module_of(graph)


NAMES = (
    *(
        "weights",
        "consts",
        "submods",
        "load",
        "bind",
        "live",
        "container",
        "graph_module",
        "moved",
        "tensors",
    ),
    *("self", "match", "_", "F", "math", "operator", "functools", "collections", "tests", "aten_sin", "Pair"),
    *("execution_fn", "__vllm_inlined_submods__0", "submod_0_results", "from_1", "naïve"),
)


def in_one_piece(source):
    """A graph that calls this one as its only piece, and takes the same inputs."""
    graph = fx.Graph()
    inputs = tuple([graph.placeholder(node.target) for node in source.graph.find_nodes(op="placeholder")])
    graph.output(graph.call_module("submod_0", inputs))
    root = nn.Module()
    root.submod_0 = source
    return module_of(graph, root)


@pytest.mark.parametrize("wrap", [lambda source: source, in_one_piece], ids=["whole", "piece"])
@pytest.mark.parametrize("name", NAMES)
def test_parameters_have_the_names_of_the_placeholders(name, wrap):
    source = of_many_names(name)
    execute = run(wrap(source))
    names = [node.name for node in source.graph.find_nodes(op="placeholder")]
    assert [*inspect.signature(execute.func).parameters] == [*names, "__vllm_submods__"]
    assert_same_behaviour(execute, reference(source), (X, X))
    expected = reference(source)(X, X)
    assert torch.equal(execute(**dict.fromkeys(names, X))[2], expected[2])


def test_a_name_that_the_engine_uses_itself_stays_the_engines():
    source = of_many_names("__vllm_submods__")
    execute = run(source)
    assert [*inspect.signature(execute.func).parameters][1:] == ["y", "__vllm_submods__"]
    assert_same_behaviour(execute, reference(source), (X, X))


def test_pieces_take_keywords_under_the_names_of_their_inputs():
    inner = fx.Graph()
    given = [inner.placeholder(name) for name in ("input", "weights", "from")]
    inner.output(inner.call_function(torch.addcmul, tuple(given)))
    outer = fx.Graph()
    x, y = outer.placeholder("x"), outer.placeholder("y")
    outer.output(outer.call_module("piece", (x,), {"from": y, "weights": x}))
    root = nn.Module()
    root.piece = module_of(inner)
    source = module_of(outer, root)
    assert_same_behaviour(run(source), reference(source), (X, 2 * X))


def test_keywords_that_python_keeps_for_itself_reach_the_function():
    def named(x, **kwargs):
        return x, sorted(kwargs)

    source = with_arguments(named, **{"from": 1, "two words": 2})
    code, names, consts = generate_execution_code(source)
    assert compile_execution_fn(code, {}, names, consts)(X)[1] == ["from", "two words"]


def test_bounds_of_slices_may_be_computed():
    def halves(x):
        half = x.shape[0] // 2
        y = x.clone()
        y[half:, ::2] = 0
        return x[:half], y

    source = fx.Graph()
    x = source.placeholder("x")
    half = source.call_function(operator.floordiv, (source.call_method("size", (x, 0)), 2))
    y = source.call_method("clone", (x,))
    source.call_function(operator.setitem, (y, (slice(half, None), slice(None, None, 2)), 0))
    source.output((source.call_function(operator.getitem, (x, slice(None, half))), y))
    gm = fx.GraphModule({}, source)
    assert_same_behaviour(run(gm), halves, (X,))


def test_a_list_that_a_module_holds_is_the_modules_own():
    graph = fx.Graph()
    graph.output(graph.call_function(beside, (graph.placeholder("x"), graph.get_attr("sizes"))))
    root = nn.Module()
    root.sizes = [1, 2]
    gm = fx.GraphModule(root, graph)
    code, names, consts = generate_execution_code(gm)
    assert compile_execution_fn(code, {}, names, consts)(X)[1] is gm.sizes


def test_a_graph_with_hooks_is_called_with_them():
    split, _ = split_graph(fx.symbolic_trace(model), ["aten::relu"])
    split.submod_0.register_forward_hook(lambda module, args, result: (result[0] * 2,))
    code, names, consts = generate_execution_code(split)
    assert_same_behaviour(compile_execution_fn(code, {}, names, consts), split, (X, X))


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


LIVE_GRAPHS = [name for name, case in CASES.items() if case.kind not in PROGRAM_KINDS]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", LIVE_GRAPHS)
def test_every_graph_of_the_corpus_runs_whole_and_as_a_piece(name):
    captured = CASES[name].capture()
    source = captured.graph
    if type(source.graph._codegen) is not CodeGen:
        pytest.skip("an engine passes the placeholders themselves")
    wrapped = [] if has_optional_inputs(source) else [in_one_piece(source)]
    for gm in (source, *wrapped):
        code, names, consts = generate_execution_code(gm)
        assert generate_execution_code(gm)[0] == code
        called = {path: gm.get_submodule(path) for path in names}
        execute = compile_execution_fn(code, called, names, consts)
        assert_same_behaviour(execute, reference(source), captured.args, captured.kwargs)


def has_optional_inputs(gm):
    inputs = gm.graph.find_nodes(op="placeholder")
    return any(node.args or str(node.target).startswith("*") for node in inputs)
