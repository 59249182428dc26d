"""The reference run does what FX does with the same graph."""

from __future__ import annotations

import copy
import operator
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.fx
from torch import nn

from fx2py.errors import ReplayError, UntrustedTargetError
from fx2py.graph.data import Node
from fx2py.graph.values import Dict, List, Name, OpName, Record, Ref, Slice
from fx2py.read import open_graph
from fx2py.replay.interpreter import Reference
from fx2py.trust import Policy
from tests.replay.graphs import call, data, one_call, output, placeholder, record

ADD = Name("operator", "add")


def assert_same(expected: Any, actual: Any) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=0, equal_nan=True)


class Told:
    """An observer that keeps what it is told."""

    def __init__(self) -> None:
        self.before_each: list[tuple[str, tuple[Any, ...]]] = []
        self.after_each: list[tuple[str, Any, tuple[Any, ...]]] = []

    def before(self, path: str, node: Node, operands: tuple[Any, ...]) -> None:
        self.before_each.append((path, operands))

    def after(self, path: str, node: Node, value: Any, operands: tuple[Any, ...]) -> None:
        self.after_each.append((path, value, operands))


def test_values_of_every_container_kind_reach_the_output() -> None:
    value = (
        List((Ref("x"), 1)),
        Dict((("key", Ref("x")), (3, None))),
        Slice(None, 2),
        Record(Name("not.installed", "Output"), (("hidden", Ref("x")), ("loss", None))),
    )
    x = torch.ones(2)
    items, mapping, part, made = Reference(data(placeholder("x"), output(value)))(x)
    assert type(items) is list
    assert items[0] is x
    assert mapping == {"key": x, 3: None}
    assert part == slice(None, 2)
    assert (type(made).__name__, made._fields, made.hidden is x) == ("Output", ("hidden", "loss"), True)


def test_signature_binds_defaults_varargs_and_keywords() -> None:
    graph = data(
        *(placeholder("a"), placeholder("b", 5), placeholder("*rest"), placeholder("**named")),
        output((Ref("a"), Ref("b"), Ref("rest"), Ref("named"))),
    )
    run = Reference(graph)
    assert run(1) == (1, 5, (), {})
    assert run(1, 2, 3, 4, z=6) == (1, 2, (3, 4), {"z": 6})
    assert run(b=2, a=1) == (1, 2, (), {})
    with pytest.raises(ReplayError, match="'a' is missing"):
        run()


def test_surplus_arguments_are_refused() -> None:
    run = Reference(data(placeholder("a"), output(Ref("a"))))
    for args, kwargs in (((1, 2), {}), ((1,), {"a": 1}), ((1,), {"c": 1})):
        with pytest.raises(ReplayError, match="do not fit"):
            run(*args, **kwargs)


def test_untrusted_name_is_refused_before_anything_runs(tmp_path: Path) -> None:
    graph = data(
        call("first", Name("builtins", "open"), str(tmp_path / "made"), "w"),
        output(None),
    )
    with pytest.raises(UntrustedTargetError, match=r"functions=\{\'builtins\.open\'\}"):
        Reference(graph)
    assert not (tmp_path / "made").exists()


def test_computed_attribute_name_is_refused() -> None:
    graph = data(
        *(placeholder("x"), placeholder("name")),
        call("got", Name("builtins", "getattr"), Ref("x"), Ref("name")),
        output(Ref("got")),
    )
    with pytest.raises(UntrustedTargetError):
        Reference(graph)
    admitting = Policy(functions=frozenset({"builtins.getattr"}))
    assert Reference(graph, admitting)(torch.ones(3), "shape") == (3,)


def test_values_are_freed_after_their_last_use() -> None:
    alive: dict[str, bool] = {}
    refs: list[weakref.ref[torch.Tensor]] = []

    class Observer(Told):
        def before(self, path: str, node: Node, operands: tuple[Any, ...]) -> None:
            """Keeping the operands would keep them alive."""

        def after(self, path: str, node: Node, value: Any, operands: tuple[Any, ...]) -> None:
            alive[path] = any(ref() is not None for ref in refs)
            if path == "first":
                refs.append(weakref.ref(value))

    graph = data(
        placeholder("x"),
        call("first", ADD, Ref("x"), 1),
        call("second", ADD, Ref("first"), 1),
        call("third", ADD, Ref("second"), 1),
        output(Ref("third")),
    )
    assert_same(torch.full((2,), 4.0), Reference(graph, observe=Observer())(torch.ones(2)))
    assert alive == {"first": False, "second": True, "third": False, "output": False}


def test_dead_call_with_a_side_effect_runs() -> None:
    graph = data(
        placeholder("x"), call("fill", OpName("aten", "fill_", "Scalar"), Ref("x"), 7), output(Ref("x"))
    )
    assert_same(torch.full((2,), 7.0), Reference(graph)(torch.zeros(2)))


def test_nested_graph_reads_its_own_parameters() -> None:
    weight = torch.arange(3.0)
    inner = record(
        *(placeholder("y"), Node("w", "get_attr", "weight"), call("sum", ADD, Ref("y"), Ref("w"))),
        output(Ref("sum")),
        parameters={"weight": weight},
    )
    graph = data(
        placeholder("x"),
        Node("inner", "call_module", "inner", (Ref("x"),)),
        output(Ref("inner")),
        children={"inner": inner},
    )
    run = Reference(graph)
    assert_same(torch.arange(3.0) + 1, run(torch.ones(3)))
    assert list(run.tensors) == ["inner.weight"]
    assert run.tensors["inner.weight"] is weight


def test_submodule_is_replaced_by_any_callable() -> None:
    graph = data(
        placeholder("x"),
        Node("inner", "call_module", "inner", (Ref("x"),)),
        output(Ref("inner")),
        children={"inner": record(placeholder("y"), output(Ref("y")))},
    )
    assert_same(torch.full((1,), 3.0), Reference(graph, submods={"inner": lambda y: y * 3})(torch.ones(1)))
    with pytest.raises(ReplayError, match="Its submodules are: inner"):
        Reference(graph, submods={"other": abs})


@pytest.mark.parametrize("pred", [True, False])
def test_cond_takes_nested_graphs_as_operands(pred: bool) -> None:
    branches = {
        name: record(placeholder("a"), call("r", Name("torch", name), Ref("a")), output((Ref("r"),)))
        for name in ("sin", "cos")
    }
    graph = data(
        *(placeholder("p"), placeholder("x"), Node("yes", "get_attr", "sin"), Node("no", "get_attr", "cos")),
        call("cond", OpName("higher_order", "cond"), Ref("p"), Ref("yes"), Ref("no"), (Ref("x"),)),
        output(Ref("cond")),
        children=branches,
    )
    x = torch.randn(3)
    assert_same((x.sin() if pred else x.cos(),), tuple(Reference(graph)(torch.tensor(pred), x)))


def test_live_modules_give_what_fx_gives() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
            self.norm = nn.BatchNorm1d(4)
            self.scale = nn.Parameter(torch.randn(4))

        def forward(self, x: torch.Tensor, gain: float = 2.0) -> Any:
            y = self.norm(self.first(x)) * self.scale
            y = torch.where(y > gain, y, gain)
            return {"y": y, "shape": x.shape, "part": y.max(dim=1)[0]}

    gm = torch.fx.symbolic_trace(Net()).eval()
    x = torch.randn(3, 4)
    assert_same(gm(x, 3.0), Reference(open_graph(gm))(x, 3.0))


def exported(model: nn.Module, *args: Any, **kwargs: Any) -> torch.export.ExportedProgram:
    return torch.export.export(model.eval(), args, **kwargs)


class Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.register_buffer("count", torch.zeros(()))

    def forward(self, inputs: dict[str, torch.Tensor], scale: int) -> Any:
        self.count.add_(1)
        return {"out": [self.linear(inputs["a"]) * scale, inputs["b"]], "count": self.count.clone()}


def test_exported_program_takes_and_returns_the_callers_containers() -> None:
    inputs = {"a": torch.randn(2, 4), "b": torch.randn(1)}
    ep = exported(Pair(), inputs, 3)
    module, run = copy.deepcopy(ep).module(), Reference(open_graph(ep))
    for _ in range(2):
        assert_same(module(inputs, 3), run(inputs, 3))


def test_exported_program_checks_its_inputs() -> None:
    batch = torch.export.Dim("batch", min=2, max=8)
    inputs = {"a": torch.randn(3, 4), "b": torch.randn(1)}
    ep = exported(Pair(), inputs, 3, dynamic_shapes={"inputs": {"a": {0: batch}, "b": None}, "scale": None})
    run = Reference(open_graph(ep))
    assert run({"a": torch.randn(7, 4), "b": torch.randn(1)}, 3)["out"][0].shape == (7, 4)
    for arguments, match in [
        (({"a": torch.randn(9, 4), "b": torch.randn(1)}, 3), r"inputs\['a'\]\.shape\[0\] must be at most 8"),
        (({"a": torch.randn(3, 5), "b": torch.randn(1)}, 3), "must be 4, not 5"),
        (({"a": torch.randn(3, 4), "b": torch.randn(1)}, 4), "scale must be 3, not 4"),
        (({"a": torch.randn(3, 4), "c": torch.randn(1)}, 3), "a dict of 'a', 'b', not a dict of 'a', 'c'"),
        (({"a": torch.randn(3, 4), "b": 1.0}, 3), "a tensor"),
    ]:
        with pytest.raises(ReplayError, match=match):
            run(*arguments)


def test_device_moves_weights_constants_and_calls() -> None:

    weight = torch.ones(2)
    graph = data(
        placeholder("x"),
        Node("w", "get_attr", "w"),
        call("zeros", Name("torch", "zeros"), 2),
        call("ones", Name("torch", "ones"), 2, device="cpu"),
        Node("moved", "call_method", "cpu", (Ref("ones"),)),
        Node("again", "call_method", "to", (Ref("moved"), "cpu")),
        call("sum", ADD, Ref("again"), Ref("zeros")),
        call("result", ADD, Ref("sum"), Ref("w")),
        output(Ref("result")),
        buffers={"w": weight},
    )
    told = Told()
    Reference(graph, device="meta", observe=told)(torch.ones(2, device="meta"))
    assert {value.device.type for _, value, _ in told.after_each} == {"meta"}


def test_unknown_module_class_says_what_is_needed() -> None:
    graph = data(
        placeholder("x"),
        Node("block", "call_module", "block", (Ref("x"),)),
        output(Ref("block")),
        children={"block": type(record())(Name("my_models", "Block"))},
    )
    with pytest.raises(
        ReplayError, match=r"submods={'block': a callable}, or policy=Policy\(classes={'my_models\.Block'}\)"
    ):
        Reference(graph)(1)


def test_trust_all_runs_what_the_user_vouches_for() -> None:
    graph = one_call(Name("os.path", "basename"), Ref("x"))
    assert Reference(graph, Policy(trust_all=True))("a/b") == "b"


def test_inplace_operator_on_an_int_leaves_the_old_value() -> None:
    graph = data(
        placeholder("n"), call("more", Name("operator", "iadd"), Ref("n"), 1), output((Ref("n"), Ref("more")))
    )
    assert Reference(graph)(4) == (4, operator.iadd(4, 1))
