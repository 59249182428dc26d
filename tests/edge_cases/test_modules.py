"""Submodules and weights: sharing, strides, hooks, state, nesting."""

import operator
import weakref
from collections import OrderedDict

import pytest
import torch
from torch import fx, nn
from torch.nn.utils import parametrizations

import fx2py
from fx2py.errors import Fx2pyError, UnsupportedGraphError
from fx2py.trust import Policy
from tests.checking import assert_same_behaviour, reference
from tests.edge_cases.building import module_of


class Shared(nn.Module):
    """One layer under two names and in a list, and a weight that two layers tie."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(3, 3)
        self.second = self.first
        self.layers = nn.ModuleList([self.first, nn.Linear(3, 3)])
        self.layers[1].weight = self.first.weight

    def forward(self, x):
        return self.layers[1](self.layers[0](self.second(self.first(x)))) + self.first.weight.sum()


def test_module_reached_by_several_paths_is_one_module(assert_exact):
    """pytorch/pytorch 195593."""
    assert_exact(fx.symbolic_trace(Shared()), torch.ones(2, 3))


def test_tied_weight_is_stored_once(tmp_path):
    """pytorch/pytorch 125192."""
    model = Shared()
    folder = tmp_path / "out"
    fx2py.generate(fx.symbolic_trace(model)).write(folder)
    stored = torch.load(folder / "weights.pt", weights_only=True)
    tensors = [value for value in torch.utils._pytree.tree_leaves(stored) if isinstance(value, torch.Tensor)]
    assert len(tensors) == len({tensor.untyped_storage().data_ptr() for tensor in tensors}) == 3


def test_module_called_several_times_keeps_one_state(assert_exact):
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = nn.BatchNorm1d(3)

        def forward(self, x):
            return self.norm(self.norm(x)), self.norm.running_mean * 1, self.norm.num_batches_tracked * 1

    assert_exact(fx.symbolic_trace(Twice()), torch.randn(4, 3))


def test_dropout_in_training_consumes_the_generator_in_order(assert_exact):
    model = nn.Sequential(nn.Dropout(0.5), nn.Linear(8, 8), nn.Dropout(0.2), nn.AlphaDropout(0.3))
    assert_exact(fx.symbolic_trace(model), torch.ones(4, 8))


def test_evaluation_mode_is_kept(assert_exact):
    model = nn.Sequential(nn.Dropout(0.5), nn.BatchNorm1d(3)).eval()
    assert_exact(fx.symbolic_trace(model), torch.randn(4, 3))


class Hooked(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 3)

    def forward(self, x):
        return self.layer(x)


def hooked(register):
    model = Hooked()
    register(model.layer)
    return fx.symbolic_trace(model)


HOOKS = {
    "forward": lambda layer: layer.register_forward_hook(lambda module, args, result: result + 1),
    "forward pre": lambda layer: layer.register_forward_pre_hook(lambda module, args: (args[0] * 2,)),
    "forward with keywords": lambda layer: layer.register_forward_hook(
        lambda module, args, kwargs, result: result * 3, with_kwargs=True
    ),
}


@pytest.mark.parametrize("register", HOOKS.values(), ids=HOOKS)
def test_hook_of_a_submodule_runs(assert_exact, register):
    """pytorch/pytorch 105445."""
    assert_exact(hooked(register), torch.ones(2, 3), through=[])


def test_backward_hook_of_a_submodule_runs():
    seen = []
    gm = hooked(
        lambda layer: layer.register_full_backward_hook(lambda module, gradients, results: seen.append(1))
    )
    fx2py.generate(gm).bind()(torch.ones(2, 3)).sum().backward()
    assert seen == [1]


def test_global_hook_runs(assert_exact):
    handle = nn.modules.module.register_module_forward_hook(
        lambda module, args, result: result + 1 if isinstance(module, nn.Linear) else None
    )
    try:
        assert_exact(fx.symbolic_trace(Hooked()), torch.ones(2, 3), through=["fx2py"])
    finally:
        handle.remove()


def hooked_graph_module():
    inner = fx.symbolic_trace(nn.ReLU())
    inner.register_forward_hook(lambda module, args, result: result + 1)
    graph = fx.Graph()
    graph.output(graph.call_module("inner", (graph.placeholder("x"),)))
    return fx.GraphModule({"inner": inner}, graph)


def test_hook_of_a_nested_graph_module_runs():
    run = fx2py.generate(hooked_graph_module()).bind()
    assert_same_behaviour(run, reference(hooked_graph_module()), (torch.ones(2, 3),))


def test_parametrized_weight_is_computed(assert_exact):
    model = Hooked()
    parametrizations.weight_norm(model.layer)
    assert_exact(fx.symbolic_trace(model), torch.ones(2, 3), through=[])


class CallsItself(nn.Module):
    """A leaf whose ``__call__`` is its own."""

    def __call__(self, x):
        return super().__call__(x) * 5

    def forward(self, x):
        return x + 1


def test_call_of_a_class_that_overrides_it(assert_exact):
    graph = fx.Graph()
    graph.output(graph.call_module("leaf", (graph.placeholder("x"),)))
    root = nn.Module()
    root.leaf = CallsItself()
    policy = Policy(classes=frozenset({f"{__name__}.CallsItself"}))
    assert_exact(fx.GraphModule(root, graph), torch.ones(2), policy=policy)


def test_forward_set_on_the_instance_is_called(assert_exact):
    model = Hooked()
    model.layer.forward = lambda x: x * 7
    assert_exact(fx.symbolic_trace(model), torch.ones(2, 3), through=[])


def strided_weights():
    root = nn.Module()
    base = torch.arange(64.0).reshape(8, 8)
    root.register_buffer("transposed", base.t())
    root.register_buffer("window", base[2:6, 1:5])
    root.register_buffer("expanded", torch.arange(4.0).expand(3, 4))
    root.register_buffer("last", torch.ones(1, 2, 3, 3).to(memory_format=torch.channels_last))
    root.weight = nn.Parameter(torch.ones(4, 4).t())
    graph = fx.Graph()
    x = graph.placeholder("x")
    names = ("transposed", "window", "expanded", "last", "weight")
    weights = [graph.get_attr(name) for name in names]
    strides = [graph.call_method("stride", (weight,)) for weight in weights]
    graph.call_method("add_", (weights[1], x))
    graph.output((strides, graph.call_method("clone", (weights[0],)), weights))
    return fx.GraphModule(root, graph)


def test_weights_keep_strides_and_shared_storage(assert_exact):
    """pytorch/pytorch 164196."""
    assert_exact(strided_weights(), 1.0)


def test_written_weights_keep_strides_and_shared_storage(tmp_path):
    fx2py.generate(strided_weights()).write(tmp_path / "out")
    strides, transposed, _ = fx2py.open_artifact(tmp_path / "out").bind()(1.0)
    assert strides == [(1, 8), (8, 1), (0, 1), (18, 1, 6, 2), (1, 4)]
    assert torch.equal(transposed, strided_weights()(1.0)[1])


def test_calls_inside_a_flattened_submodule(assert_exact):
    inner = fx.symbolic_trace(nn.Sequential(nn.Linear(3, 3), nn.Sequential(nn.ReLU(), nn.Linear(3, 2))))
    middle_graph = fx.Graph()
    hidden = middle_graph.call_module("inner", (middle_graph.placeholder("x"),))
    middle_graph.output(
        (hidden, middle_graph.call_module("inner", (middle_graph.call_method("add", (hidden, 0)),)))
    )
    middle = fx.GraphModule({"inner": fx.symbolic_trace(nn.Linear(3, 3))}, middle_graph)
    graph = fx.Graph()
    x = graph.placeholder("x")
    graph.output((graph.call_module("middle", (x,)), graph.call_module("inner", (x,))))
    assert_exact(fx.GraphModule({"middle": middle, "inner": inner}, graph), torch.ones(2, 3))


def test_nested_graph_called_with_keywords_and_defaults(assert_exact):
    inner = fx.symbolic_trace(lambda x, y=2.0, *, z=None: (x * y, z))
    graph = fx.Graph()
    x = graph.placeholder("x")
    calls = [((x,), {}), ((x, 3.0), {}), ((x,), {"z": x}), ((), {"x": x, "y": x})]
    graph.output([graph.call_module("inner", args, kwargs) for args, kwargs in calls])
    assert_exact(fx.GraphModule({"inner": inner}, graph), torch.ones(2))


NESTED_RESULTS = {
    "dict in a tuple": lambda a: ({"k": a},),
    "list": lambda a: [a],
    "lists in tuples": lambda a: (([a], a), [a]),
    "dict that keeps its order": lambda a: (OrderedDict(k=a), a),
    "slice beside a list": lambda a: (slice(None, 2), [a, a]),
    "nothing in a list": lambda a: ([], {}, ()),
    "a weight": lambda a: ([a.graph.get_attr("weight")], a),
}


def graph_that_calls(result, used):
    """A graph that calls a nested one, whose result it uses as ``used`` says."""
    inner, owner = fx.Graph(), nn.Module()
    owner.register_buffer("weight", torch.full((2,), 3.0))
    inner.output(result(inner.placeholder("a")))
    root, graph = nn.Module(), fx.Graph()
    root.nested = fx.GraphModule(owner, inner)
    x = graph.placeholder("x")
    graph.output(used(graph, x, graph.call_module("nested", (x,))))
    return fx.GraphModule(root, graph)


USES = {
    "unused": lambda graph, x, made: x,
    "called again": lambda graph, x, made: (x, graph.call_module("nested", (x,))),
    "a part": lambda graph, x, made: graph.call_function(operator.getitem, (made, 0)),
    "a part that is unused": lambda graph, x, made: (graph.call_function(operator.getitem, (made, 0)), x)[1],
    "twice": lambda graph, x, made: (made, [made, x]),
    "passed on": lambda graph, x, made: (graph.call_module("nested", ((made, [x]),)), made)[1],
}


@pytest.mark.parametrize("result", NESTED_RESULTS.values(), ids=NESTED_RESULTS)
@pytest.mark.parametrize("used", USES.values(), ids=USES)
def test_containers_that_a_nested_graph_returns(assert_exact, result, used):
    assert_exact(graph_that_calls(result, used), torch.ones(2))


def test_nested_graph_called_with_too_many_arguments_is_refused_with_its_node():
    graph = fx.Graph()
    x = graph.placeholder("x")
    graph.output(graph.call_module("inner", (x, x, x)))
    with pytest.raises(UnsupportedGraphError, match="inner"):
        fx2py.generate(fx.GraphModule({"inner": fx.symbolic_trace(lambda x: x)}, graph))


def test_submodule_named_like_a_table_of_the_file(assert_exact):
    root = nn.Module()
    for name in ("weights", "submods", "consts", "torch", "execution_fn"):
        root.add_module(name, nn.Linear(2, 2))
    graph = fx.Graph()
    x = graph.placeholder("x")
    for name in root._modules:
        x = graph.call_module(name, (x,))
    graph.output(x)
    assert_exact(module_of(graph, root), torch.ones(2))


def test_attribute_that_is_no_tensor(assert_exact):
    root = nn.Module()
    root.scale, root.mode, root.pair = 2.5, "mean", (1, 2)
    graph = fx.Graph()
    x = graph.placeholder("x")
    scaled = graph.call_function(torch.mul, (x, graph.get_attr("scale")))
    graph.output((scaled, graph.get_attr("mode"), graph.get_attr("pair")))
    assert_exact(module_of(graph, root), torch.ones(2))


def test_missing_module_is_refused_by_name():
    gm = fx.symbolic_trace(Hooked())
    del gm.layer
    with pytest.raises(Fx2pyError, match="layer"):
        fx2py.generate(gm).bind()


def test_gradients_reach_the_live_weights():
    model = Hooked()
    fx2py.generate(fx.symbolic_trace(model)).bind()(torch.ones(2, 3)).sum().backward()
    assert model.layer.weight.grad is not None


@pytest.mark.parametrize("nested", [False, True])
def test_values_are_freed_after_their_last_use(nested):
    """pytorch/pytorch 131025 and 187186."""
    alive = []

    def watched(x):
        value = x + 1
        alive.append(weakref.ref(value))
        return value

    def counted(x):
        return torch.tensor(sum(reference() is not None for reference in alive))

    graph = fx.Graph()
    value = graph.placeholder("x")
    for _ in range(4):
        value = graph.call_function(watched, (value,))
    graph.call_function(watched, (value,))
    graph.output((graph.call_function(counted, (1,)), graph.call_function(counted, (1,))))
    gm = module_of(graph)
    if nested:
        outer = fx.Graph()
        outer.output(outer.call_module("inner", (outer.placeholder("x"),)))
        gm = module_of(outer, {"inner": gm})
    assert [int(count) for count in fx2py.generate(gm).bind()(torch.ones(2))] == [0, 0]
