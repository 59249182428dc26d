"""Splitting: whatever the graph and the operators, the pieces together do what the graph does."""

import functools
import operator

import pytest
import torch
import torch.nn.functional as F
from torch import fx, nn

import fx2py
from fx2py.errors import SplitError
from fx2py.graph.data import Node
from fx2py.graph.values import Name, OpName
from fx2py.operators.spelling import spelled
from fx2py.read import open_graph
from fx2py.splitting.data import split_data
from tests.checking import assert_same_behaviour, reference


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv, self.out, self.norm = nn.Linear(8, 24), nn.Linear(8, 8), nn.LayerNorm(8)

    def forward(self, x):
        batch, length, _ = x.shape
        q, k, v = self.qkv(self.norm(x)).view(batch, length, 3, 2, 4).permute(2, 0, 3, 1, 4).unbind(0)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return x + self.out(mixed.transpose(1, 2).reshape(batch, length, 8))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers, self.norm = nn.ModuleList([Block() for _ in range(3)]), nn.LayerNorm(8)

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return self.norm(x)


class Exact(fx.Tracer):
    """Traces through every module, down to the functions."""

    def is_leaf_module(self, module, name):
        return False


X = torch.randn(2, 5, 8)
AUTO = torch.export.Dim.AUTO
ATTENTION = "aten::scaled_dot_product_attention"


def net():
    torch.manual_seed(0)
    return Net().eval()


@functools.cache
def functions():
    model = net()
    return fx.GraphModule(model, Exact().trace(model))


@functools.cache
def exported():
    return torch.export.export(net(), (X,), dynamic_shapes=({0: AUTO, 1: AUTO},))


@functools.cache
def core():
    """Down to the core operators, except for a composite that has a kernel of its own."""
    plain = {torch.ops.aten.linear.default: lambda x, weight, bias: x @ weight.t() + bias}
    return exported().run_decompositions(plain)


LEVELS = {
    "modules": lambda: fx.symbolic_trace(net()),
    "functions": functions,
    "operators": exported,
    "core operators": core,
}


def pieces(source, *ops):
    return list(split_data(open_graph(source), ops).root.children)


def calls(piece):
    return [node for node in piece.graph.nodes if node.op.startswith("call_")]


def generated(source, *ops):
    return fx2py.generate(source, options=fx2py.GenerateOptions(split_at=ops))


@pytest.mark.parametrize("level", LEVELS)
def test_the_pieces_do_what_the_graph_does_at_every_level(level):
    source = LEVELS[level]()
    execute = generated(source, ATTENTION).bind()
    assert pieces(source, ATTENTION) == [f"submod_{number}" for number in range(7)]
    assert_same_behaviour(execute, reference(source), (X,))


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(
    "spelling",
    [
        *("aten::layer_norm", "aten.layer_norm", "torch.ops.aten.layer_norm"),
        *("torch.nn.functional.layer_norm", "torch.layer_norm", "torch.nn.LayerNorm"),
    ],
)
def test_an_operator_is_found_in_each_spelling_at_each_level(level, spelling):
    source = LEVELS[level]()
    assert len(pieces(source, spelling)) == 8


@pytest.mark.parametrize(
    "spelling", ["aten::add", "aten.add.Tensor", "torch.add", "operator.add", "torch.Tensor.add"]
)
@pytest.mark.parametrize(
    "call",
    [
        Node("n", "call_function", Name("torch", "add")),
        Node("n", "call_function", Name("operator", "add")),
        Node("n", "call_function", OpName("aten", "add", "Tensor")),
        Node("n", "call_function", OpName("aten", "add")),
        Node("n", "call_method", "add"),
    ],
)
def test_a_function_a_method_and_an_operator_of_python_are_one_operator(spelling, call):
    assert spelled(spelling).matches(call, None)


@pytest.mark.parametrize(
    ("spelling", "target"),
    [
        ("aten::add", OpName("aten", "add_", "Tensor")),
        ("aten.add.Tensor", OpName("aten", "add", "Scalar")),
        ("aten::add", OpName("mine", "add")),
        ("aten::add", Name("mine", "add")),
        ("add", Name("torch", "add")),
        ("torch.linalg.norm", Name("torch", "norm")),
    ],
)
def test_other_operators_overloads_and_libraries_are_not_the_one_that_is_meant(spelling, target):
    assert not spelled(spelling).matches(Node("n", "call_function", target), None)


@pytest.mark.parametrize("op", [F.linear, torch.ops.aten.linear, torch.ops.aten.linear.default, nn.Linear])
def test_a_live_function_operator_or_class_names_itself(op):
    assert len(list(fx2py.split(functions(), [op]).children())) == 13


@pytest.mark.parametrize("level", LEVELS)
def test_a_module_is_one_piece_at_every_level(level):
    source = LEVELS[level]()
    names = pieces(source, "layers.1.qkv")
    assert len(names) == 3
    assert_same_behaviour(generated(source, "layers.1.qkv").bind(), reference(source), (X,))


def test_a_star_stands_for_one_part_of_a_module_path():
    assert len(pieces(exported(), "layers.*.norm")) == 7


def test_named_operators_that_follow_each_other_are_pieces_of_their_own():
    def model(x):
        return torch.relu(torch.relu(x)).cos()

    split = fx2py.split(fx.symbolic_trace(model), ["torch.relu"])
    assert [[str(node.target) for node in calls(piece)] for piece in split.children()] == [
        [str(torch.relu)],
        [str(torch.relu)],
        ["cos"],
    ]
    assert_same_behaviour(split, model, (X,))


def test_an_operator_that_is_not_there_is_named_with_what_is():
    with pytest.raises(SplitError, match=r"no aten::conv3d(.|\n)*scaled_dot_product_attention"):
        pieces(exported(), "aten::conv3d", ATTENTION)


def test_what_an_operator_returns_is_unpacked_in_its_own_piece():
    def model(x):
        low, high = torch.aminmax(x.cos())
        return low + high

    split = fx2py.split(fx.symbolic_trace(model), ["torch.aminmax"])
    assert [node.target for node in calls(split.submod_1)] == [
        torch.aminmax,
        operator.getitem,
        operator.getitem,
    ]
    assert_same_behaviour(split, model, (X,))


def test_changes_in_place_keep_their_order():
    def model(x):
        y = x.clone()
        view = y[0]
        y.add_(1)
        total = y.sum()
        view.mul_(2)
        torch.relu(y)
        y.sub_(view)
        return total, y, view

    source = fx.symbolic_trace(model)
    for op in ("aten::add_", "aten::sum", "aten::relu", "aten::mul_", "aten::clone"):
        assert_same_behaviour(fx2py.split(source, [op]), model, (X,))
        assert_same_behaviour(generated(source, op).bind(), model, (X,))


def test_a_piece_without_results_still_runs():
    def model(x, y):
        x.add_(1)
        torch.relu(y)
        return y * 2

    source = fx.symbolic_trace(model)
    assert_same_behaviour(generated(source, "torch.relu").bind(), model, (X, X))
    assert_same_behaviour(fx2py.split(source, ["torch.relu"]), model, (X, X))


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(8, 8))
        self.shared = nn.BatchNorm1d(8)
        self.register_buffer("count", torch.zeros(()))

    def forward(self, x):
        x = self.shared(x @ self.weight)
        self.count.add_(1)
        x = self.shared(torch.relu(x) @ self.weight)
        return x, self.count, self.weight


def test_state_that_two_pieces_use_stays_shared():
    def source():
        torch.manual_seed(0)
        return fx.symbolic_trace(Tied())

    x = torch.randn(3, 8)
    artifact = generated(source(), "torch.relu")
    assert len(artifact.tensors) == 7
    assert_same_behaviour(artifact.bind(), reference(source()), (x,))
    assert_same_behaviour(fx2py.split(source(), ["torch.relu"]), reference(source()), (x,))


def test_a_piece_holds_only_the_state_that_it_uses():
    split = split_data(open_graph(exported()), [ATTENTION]).root
    held = [sum(len(record.parameters) for _, record in child.walk()) for child in split.children.values()]
    assert held == [4, 0, 6, 0, 6, 0, 4]
    assert not split.parameters


def test_symbolic_sizes_cross_the_borders_and_other_sizes_run():
    program = exported()
    execute = generated(program, ATTENTION, "aten::linear").bind()
    for shape in ((2, 5, 8), (4, 3, 8), (7, 2, 8)):
        assert_same_behaviour(execute, reference(program), (torch.randn(shape),))


def test_pieces_of_a_split_graph_can_be_split_again():
    once = fx2py.split(fx.symbolic_trace(net()), ["layers.0.norm"])
    twice = fx2py.split(once, ["submod_1"])
    assert_same_behaviour(twice, net(), (X,))
    assert_same_behaviour(fx2py.generate(twice).bind(), net(), (X,))


def test_structured_inputs_and_results_are_those_of_the_whole_graph():
    class Model(nn.Module):
        def forward(self, pair, *, scale):
            return {"sum": torch.relu(pair["a"]) + pair["b"] * scale}

    args, kwargs = ({"a": X, "b": X},), {"scale": X}
    program = torch.export.export(Model(), args, kwargs)
    assert_same_behaviour(generated(program, "aten::relu").bind(), program.module(), args, kwargs)
    assert_same_behaviour(fx2py.split(program.module(), ["aten::relu"]), program.module(), args, kwargs)


@pytest.mark.parametrize("body", [lambda: 1, lambda x: x, lambda x: (x, [x])])
def test_a_graph_without_calls_has_no_pieces(body):
    from fx2py.splitting.live import split_module

    split, pieces = split_module(fx.symbolic_trace(body), ["aten::relu"], strict=False)
    assert pieces == ()
    assert_same_behaviour(split, body, (X,) * body.__code__.co_argcount)


def test_a_file_splits_as_the_live_graph_does(tmp_path):
    torch.save(fx.symbolic_trace(net()), tmp_path / "net.pt")
    artifact = generated(tmp_path / "net.pt", ATTENTION)
    assert_same_behaviour(artifact.bind(), net(), (X,))
    report = fx2py.diff(tmp_path / "net.pt", artifact, (X,))
    assert report.equal


def test_any_piece_is_replaced_by_any_callable():
    shapes = []

    def attention(q, k, v):
        shapes.append(q.shape)
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)

    execute = generated(exported(), ATTENTION).bind(submods={"submod_1": attention, "submod_5": attention})
    assert torch.equal(execute(X), net()(X))
    assert shapes == [(2, 2, 5, 4)] * 2


def repeats(source, *ops):
    return {
        entry.name: entry.identical_to
        for entry in generated(source, *ops).manifest.submodules
        if entry.mode == "function"
    }


@pytest.mark.parametrize("level", LEVELS)
def test_the_layers_of_a_transformer_are_recognised_as_one_piece(level):
    found = repeats(LEVELS[level](), ATTENTION)
    assert found["submod_3"] == found["submod_5"] == "submod_1"
    assert found["submod_4"] == "submod_2"
    assert found["submod_0"] is found["submod_6"] is None


def test_pieces_that_differ_in_a_constant_a_shape_or_a_sharing_are_not_identical():
    def model(x, y):
        a = torch.relu(x) + 0.0
        b = torch.relu(a) + -0.0
        c = torch.relu(b).add(y, alpha=2)
        d = torch.relu(c)
        d = d.add(d, alpha=2)
        return torch.relu(d)

    found = repeats(fx.symbolic_trace(model), "torch.relu")
    assert {found[f"submod_{number}"] for number in (1, 3, 5, 7)} == {None}


def test_names_that_python_does_not_take_cross_the_borders():
    graph = fx.Graph()
    x = graph.placeholder("x")
    awkward = graph.call_function(torch.relu, (x,))
    awkward.name = "None"
    graph.output(graph.call_function(torch.cos, (awkward,)))
    source = fx.GraphModule({}, fx.Graph())
    source._graph = graph
    assert_same_behaviour(generated(source, "torch.cos").bind(), lambda x: x.relu().cos(), (X,))
    assert_same_behaviour(fx2py.split(source, ["torch.cos"]), lambda x: x.relu().cos(), (X,))


@pytest.mark.parametrize(
    ("level", "wanted", "meant"),
    [
        ("operators", "linear", "aten::linear"),
        ("operators", "layer_norm", "aten::layer_norm"),
        ("operators", "torch.nn.functional.linears.linear", "aten::linear"),
        ("operators", "qkv", "layers.0.qkv, layers.1.qkv, layers.2.qkv"),
        ("modules", "qkv", "layers.0.qkv, layers.1.qkv, layers.2.qkv"),
        ("functions", "LAYER_NORM", "aten::layer_norm"),
    ],
)
def test_an_operator_that_is_not_there_is_answered_with_what_is_spelled_alike(level, wanted, meant):
    with pytest.raises(SplitError) as refused:
        pieces(LEVELS[level](), wanted)
    assert refused.value.hint == f"Did you mean {meant}?"


def test_an_operator_inside_a_graph_that_the_outer_one_calls_is_refused_by_its_place():
    once = fx2py.split(functions(), ["layers.0.norm"])
    with pytest.raises(SplitError, match=r"only in submod_\d"):
        pieces(once, ATTENTION)
    with pytest.raises(SplitError, match=r"only in submod_\d"):
        fx2py.split(once, [ATTENTION])


def test_one_operator_stands_for_itself():
    for op in ("aten::linear", F.linear):
        assert len(list(fx2py.split(functions(), op).children())) == len(
            list(fx2py.split(functions(), [op]).children())
        )


def test_a_module_around_the_called_ones_is_cut_out_of_a_file_without_module_paths(tmp_path):
    blocks = nn.Sequential(*[nn.Sequential(nn.Linear(4, 4), nn.ReLU()) for _ in range(3)])
    torch.save(fx.symbolic_trace(blocks), tmp_path / "graph.pt")
    split = split_data(open_graph(tmp_path / "graph.pt"), ["1"])
    calls = [
        [str(node.target) for node in piece.graph.nodes if node.op == "call_module"]
        for piece in split.root.children.values()
    ]
    assert calls == [["0.0", "0.1"], ["1.0", "1.1"], ["2.0", "2.1"]]
