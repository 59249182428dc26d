"""Modules that put new objects in the place of their buffers while the graph runs, and modules used as objects."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import fx, nn
from torch.nn.utils import parametrizations

import fx2py
from fx2py import Policy
from fx2py.errors import Fx2pyError, UnsupportedGraphError, UntrustedTargetError
from fx2py.program.options import GenerateOptions
from fx2py.read import open_graph
from fx2py.replay.interpreter import Reference
from tests.checking import assert_same_behaviour, reference

FEW = Policy(
    functions=frozenset({f"{__name__}.weight_sum", f"{__name__}.count_up", "builtins.getattr"}),
    classes=frozenset({f"{__name__}.{name}" for name in ("Counter", "Holder")}),
)


class Counter(nn.Module):
    """Counts its calls in a buffer, and in a number, that it replaces."""

    def __init__(self):
        super().__init__()
        self.register_buffer("count", torch.zeros(()))
        self.calls = 0

    def forward(self, x):
        self.count = self.count + 1
        self.calls += 1
        return x * self.count


class Holder(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = Counter()

    def forward(self, x):
        return self.inner(x)


def count_up(counter, x):
    counter.count = counter.count + x
    return counter.count


def weight_sum(layer, x):
    return layer.weight.sum() + layer(x) if isinstance(layer, nn.Linear) else None


def graph_of(root, build):
    graph = fx.Graph()
    graph.output(build(graph, graph.placeholder("x")))
    return fx.GraphModule(root, graph)


def holding(**modules):
    root = nn.Module()
    for name, module in modules.items():
        root.add_module(name, module)
    return root


def read_before_and_after(graph, x):
    before = graph.get_attr("counter.count")
    called = graph.call_module("counter", (x,))
    return before, called, graph.get_attr("counter.count"), graph.get_attr("counter.calls")


def read_inside_a_called_module(graph, x):
    return graph.call_module("holder", (x,)), graph.get_attr("holder.inner.count")


def read_by_another_path(graph, x):
    return graph.call_module("holder", (x,)), graph.get_attr("same.count")


def changed_by_a_function(graph, x):
    counter = graph.get_attr("counter")
    return graph.call_function(count_up, (counter, x)), graph.get_attr("counter.count")


def shared():
    gm = graph_of(holding(holder=Holder(), same=Counter()), read_by_another_path)
    gm.same = gm.holder.inner
    return gm


REBOUND = {
    "before and after": lambda: graph_of(holding(counter=Counter()), read_before_and_after),
    "inside": lambda: graph_of(holding(holder=Holder()), read_inside_a_called_module),
    "another path": shared,
    "by a function": lambda: graph_of(holding(counter=Counter()), changed_by_a_function),
}


@pytest.mark.parametrize("make", REBOUND.values(), ids=REBOUND)
def test_buffer_that_a_module_replaces_is_read_anew(assert_exact, make):
    assert_exact(make(), torch.ones(()), policy=FEW)


@pytest.mark.parametrize("make", REBOUND.values(), ids=REBOUND)
def test_written_folder_reads_a_replaced_buffer_anew(make, tmp_path):
    fx2py.generate(make()).write(tmp_path / "out")
    run = fx2py.open_artifact(tmp_path / "out").bind(policy=FEW)
    assert_same_behaviour(run, reference(make()), (torch.ones(()),))


@pytest.mark.parametrize("make", REBOUND.values(), ids=REBOUND)
def test_diff_leaves_replaced_buffers_as_they_were(make):
    gm = make()
    before = copy.deepcopy(gm.state_dict())
    report = fx2py.diff(gm, args=(torch.ones(()),))
    assert report.equal
    assert before == gm.state_dict()


@pytest.mark.parametrize("make", REBOUND.values(), ids=REBOUND)
def test_diff_of_a_file_sees_replaced_buffers(make, tmp_path):
    torch.save(make(), tmp_path / "graph.pt")
    assert fx2py.diff(tmp_path / "graph.pt", args=(torch.ones(()),), policy=FEW).equal


def test_read_of_a_replaced_buffer_in_a_file_must_be_admitted(tmp_path):
    torch.save(REBOUND["inside"](), tmp_path / "graph.pt")
    classes_only = Policy(classes=FEW.classes)
    with pytest.raises(UntrustedTargetError, match=r"builtins\.getattr"):
        fx2py.generate(tmp_path / "graph.pt").bind(policy=classes_only)
    with pytest.raises(UntrustedTargetError, match=r"builtins\.getattr"):
        Reference(open_graph(tmp_path / "graph.pt"), classes_only)(torch.ones(()))


def test_buffer_that_a_hook_replaces_is_read_anew(assert_exact):
    layer = nn.Linear(2, 2)
    layer.register_forward_pre_hook(
        lambda module, args: setattr(module, "bias", nn.Parameter(module.bias + 1))
    )
    gm = graph_of(
        holding(layer=layer),
        lambda graph, x: (graph.call_module("layer", (x,)), graph.get_attr("layer.bias")),
    )
    assert_exact(gm, torch.ones(2), through=[])


def test_parametrized_weight_is_computed_at_each_read(assert_exact):
    layer = nn.Linear(2, 2)
    parametrizations.weight_norm(layer)
    gm = graph_of(
        holding(layer=layer),
        lambda graph, x: (graph.call_module("layer", (x,)), graph.get_attr("layer.weight")),
    )
    assert_exact(gm, torch.ones(2), through=[])


def test_weight_of_a_torch_module_stays_a_weight():
    gm = graph_of(
        holding(layer=nn.Linear(2, 2)),
        lambda graph, x: (graph.call_module("layer", (x,)), graph.get_attr("layer.weight")),
    )
    assert "layer_weight = weights[0]" in fx2py.generate(gm).source


def test_module_that_is_handed_to_a_function_is_the_module(assert_exact):
    gm = graph_of(
        holding(layer=nn.Linear(2, 2)),
        lambda graph, x: graph.call_function(weight_sum, (graph.get_attr("layer"), x)),
    )
    assert_exact(gm, torch.ones(2), policy=FEW)


def test_module_that_is_called_and_handed_on_is_one_module(assert_exact):
    def build(graph, x):
        layer = graph.get_attr("layer")
        return graph.call_module("layer", (x,)), graph.call_function(weight_sum, (layer, x)), layer

    run = fx2py.generate(gm := graph_of(holding(layer=nn.Linear(2, 2)), build)).bind()
    assert run(torch.ones(2))[2] is gm.layer


def test_diff_knows_a_tensor_by_each_of_its_names():
    def build(graph, x):
        return graph.call_module("holder", (x,)), graph.get_attr("same.count")

    holder = Holder()
    gm = graph_of(holding(holder=holder, same=holder.inner), build)
    assert fx2py.diff(gm, args=(torch.ones(()),)).equal


def parameter_count(module, x):
    return sum(each.numel() for each in module.parameters()), module(x)


def handed_graph(graph, x):
    inner = graph.get_attr("inner")
    method = graph.call_method("forward", (inner, x))
    return graph.call_function(parameter_count, (inner, x)), method, graph.call_module("inner", (x,)), inner


def graph_as_object():
    inner = fx.symbolic_trace(nn.Sequential(nn.Linear(2, 2), nn.ReLU()))
    return graph_of(holding(inner=inner), handed_graph)


@pytest.mark.parametrize("keep_submodules", [False, True])
def test_nested_graph_that_is_handed_on_is_the_module(keep_submodules):
    gm = graph_as_object()
    options = fx2py.GenerateOptions(keep_submodules=keep_submodules)
    run = fx2py.generate(gm, options=options).bind()
    assert_same_behaviour(
        lambda x: run(x)[:3], lambda x: reference(copy.deepcopy(gm))(x)[:3], (torch.ones(2),)
    )
    assert run(torch.ones(2))[3] is gm.inner
    assert fx2py.diff(gm, args=(torch.ones(2),)).outputs[0].differences == ()


def test_nested_graph_that_is_handed_on_cannot_come_from_a_file(tmp_path):
    torch.save(graph_as_object(), tmp_path / "graph.pt")
    admitted = Policy(functions=frozenset({f"{__name__}.parameter_count", "torch.Tensor.forward"}))
    with pytest.raises(
        Fx2pyError, match=r"inner.* is a graph that is needed as a module|forward|which only a higher"
    ):
        fx2py.generate(tmp_path / "graph.pt").bind(policy=admitted)


def test_nested_graph_that_is_called_as_a_function_first_and_then_handed_on_is_refused():
    def build(graph, x):
        called = graph.call_module("inner", (x,))
        return called, graph.call_function(parameter_count, (graph.get_attr("inner"), x))

    gm = graph_of(holding(inner=fx.symbolic_trace(nn.ReLU())), build)
    with pytest.raises(UnsupportedGraphError, match="handed on as an object"):
        fx2py.generate(gm, options=fx2py.GenerateOptions(keep_submodules=True))
    assert_same_behaviour(fx2py.generate(gm).bind(), reference(gm), (torch.ones(2),))


@pytest.mark.parametrize("how", [{}, {"flat": True}, {"keep_submodules": True}], ids=str)
def test_a_weight_that_is_mapped_from_a_file_can_be_resized(how: dict[str, bool], tmp_path: Path) -> None:
    inner = nn.Module()
    inner.weight = nn.Parameter(torch.ones(3), requires_grad=False)
    graph = fx.Graph()
    graph.placeholder("x")
    weight = graph.get_attr("weight")
    graph.call_function(torch.ops.aten.resize_.default, (weight, [5]))
    graph.output(graph.call_method("__getitem__", (weight, slice(0, 3))))
    root = nn.Module()
    root.inner = fx.GraphModule(inner, graph)
    outer = fx.Graph()
    outer.output(outer.call_module("inner", (outer.placeholder("x"),)))
    fx2py.generate(fx.GraphModule(root, outer), options=GenerateOptions(**how)).write(tmp_path / "out")
    opened = fx2py.open_artifact(tmp_path / "out")
    policy = fx2py.Policy(trust_all=True)
    assert opened.bind(policy=policy)(torch.ones(1)).tolist() == [1.0, 1.0, 1.0]


RESULTS: dict[str, Any] = {
    "a dict in a tuple": lambda a: ({"k": a},),
    "a list in a tuple": lambda a: ([a], a),
    "deep": lambda a: (({"k": [a]},), {"z": (a,)}),
    "a list": lambda a: [a],
}


@pytest.mark.parametrize("name", RESULTS)
@pytest.mark.parametrize("how", [{}, {"flat": True}, {"optimize": True}, {"keep_submodules": True}], ids=str)
def test_a_mutable_container_that_a_nested_graph_returns_may_be_ignored(
    name: str, how: dict[str, bool]
) -> None:
    graph = fx.Graph()
    graph.output(RESULTS[name](graph.placeholder("a")))
    root = nn.Module()
    root.inner = fx.GraphModule(nn.Module(), graph)
    outer = fx.Graph()
    x = outer.placeholder("x")
    outer.call_module("inner", (x,))
    outer.output(outer.call_method("sin", (x,)))
    call = fx2py.generate(fx.GraphModule(root, outer), options=GenerateOptions(**how)).bind()
    assert torch.equal(call(torch.ones(2)), torch.ones(2).sin())
