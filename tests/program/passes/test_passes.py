"""What each pass leaves out, and what it must not."""

from __future__ import annotations

import operator
from pathlib import Path
from typing import Any

import pytest
import torch

import fx2py
from fx2py.graph.values import GETITEM, Dict, List, Name, Ref
from fx2py.program.ir import Assign, Bind, Call, Statement
from fx2py.program.passes.built_items import take_built_items
from fx2py.program.passes.conversions import CONVERSIONS, TO_ANOTHER, leave_out_conversions
from fx2py.program.passes.identities import leave_out_identities
from fx2py.program.passes.metadata_asserts import leave_out_metadata_asserts
from fx2py.program.passes.rewriting import Pass
from tests.program.passes.functions import assign, overload_of, program_of, targets

W = torch.ones(2, 4)
OPTIMIZED = fx2py.GenerateOptions(optimize=True)


def left(leave_out: Pass, *statements: Statement, checked: bool = True) -> list[str | None]:
    """The variables that are still assigned after a pass over statements on a weight ``w0``."""
    program = program_of(list(statements), Ref("out"), W, checked=checked)
    return targets(leave_out(program.entry, program)[0])


# -- what the proofs rest on


def test_a_conversion_to_what_a_tensor_is_returns_it() -> None:
    cpu = torch.device("cpu")
    calls = {
        "dtype": lambda x: overload_of(by_name["dtype"])(x, x.dtype),
        "device": lambda x: overload_of(by_name["device"])(x, cpu, x.dtype),
        "dtype_layout": lambda x: overload_of(by_name["dtype_layout"])(
            x, dtype=x.dtype, layout=torch.strided, device=cpu, pin_memory=False
        ),
    }
    by_name = {op.overload: op for op in CONVERSIONS}
    assert set(calls) == set(by_name)
    for tensor in (W.clone(), W.t(), W.long(), torch.nn.Parameter(W), W.expand(3, 2, 4)):
        assert all(call(tensor) is tensor for call in calls.values())


# -- identities


def test_a_dropout_of_an_operators_result_is_left_out() -> None:
    made = assign("a", "relu.default", Ref("w0"))
    dropped = assign("b", "dropout.default", Ref("a"), 0.1, False)
    used = assign("out", "add.Tensor", Ref("b"), Ref("b"))
    program = program_of([made, dropped, used], Ref("out"), W)
    function, applied = leave_out_identities(program.entry, program)
    assert function.body[-1] == assign("out", "add.Tensor", Ref("a"), Ref("a"))
    assert [(item.pass_name, item.node) for item in applied] == [("identities", "b")]


def test_dropouts_of_dropouts_lead_to_the_first_input() -> None:
    first = assign("a", "dropout.default", Ref("w0"), 0.1, False)
    second = assign("out", "feature_dropout.default", Ref("a"), 0.1, False)
    program = program_of([first, second], List((Ref("out"), Ref("a"))), W)
    assert leave_out_identities(program.entry, program)[0].result == List((Ref("w0"), Ref("w0")))


@pytest.mark.parametrize("arguments", [(0.1, True), (2.0, False), (Ref("p"), False), (0.1, Ref("flag"))])
def test_a_dropout_that_may_act_or_raise_stays(arguments) -> None:
    assert left(leave_out_identities, assign("out", "dropout.default", Ref("w0"), *arguments)) == ["out"]


def test_a_dropout_of_what_may_be_no_tensor_stays() -> None:
    assert left(leave_out_identities, assign("out", "dropout.default", Ref("x"), 0.1, False)) == ["out"]


# -- conversions


def test_a_conversion_to_the_own_dtype_is_left_out() -> None:
    kept = assign("a", "mul.Tensor", Ref("w0"), 2.0)
    assert left(leave_out_conversions, kept, assign("out", "to.dtype", Ref("a"), torch.float32)) == ["a"]
    full = {"dtype": torch.float32, "layout": torch.strided, "device": Ref("cpu")}
    assert left(leave_out_conversions, kept, assign("out", "to.dtype_layout", Ref("a"), **full)) == ["a"]


@pytest.mark.parametrize(
    "conversion",
    [
        assign("out", "to.dtype", Ref("w0"), torch.float64),
        assign("out", "to.dtype", Ref("w0"), torch.float32, False, True),
        assign("out", "to.dtype", Ref("w0"), torch.float32, memory_format=torch.channels_last),
        assign("out", "to.dtype", Ref("x"), torch.float32),
        assign("out", "to.device", Ref("w0"), Ref("elsewhere"), torch.float32),
        assign("out", "to.dtype_layout", Ref("w0"), layout=torch.sparse_coo),
    ],
)
def test_a_conversion_that_may_make_another_tensor_stays(conversion) -> None:
    assert left(leave_out_conversions, conversion) == ["out"]


def test_nothing_is_known_without_checked_inputs_or_beside_unknown_code() -> None:
    conversion = assign("out", "to.dtype", Ref("w0"), torch.float32)
    assert left(leave_out_conversions, conversion) == []
    assert left(leave_out_conversions, conversion, checked=False) == ["out"]
    unknown = Assign("a", Call(Name("library", "function"), (Ref("w0"),)))
    assert left(leave_out_conversions, unknown, conversion) == ["a", "out"]


# -- assertions


def assertion(name: str, *args: object, **kwargs: object) -> Assign:
    return assign(None, "_assert_tensor_metadata.default", Ref(name), *args, **kwargs)


def test_an_assertion_that_always_holds_is_left_out() -> None:
    full = assertion("w0", None, None, torch.float32, device=Ref("cpu"), layout=torch.strided)
    assert left(leave_out_metadata_asserts, full) == []


@pytest.mark.parametrize(
    "kept",
    [
        assertion("w0", None, None, torch.float64),
        assertion("w0", List((2, 4))),
        assertion("w0", None, List((4, 1))),
        assertion("w0", None, None, None, device=Ref("elsewhere")),
        assertion("x", None, None, torch.float32),
    ],
)
def test_an_assertion_that_may_fail_stays(kept) -> None:
    assert left(leave_out_metadata_asserts, kept) == [None]


def test_an_assertion_that_stays_proves_those_that_follow() -> None:
    first = assertion("x", None, None, torch.float32)
    derived = assign("a", "relu.default", Ref("x"))
    later = assertion("a", None, None, torch.float32)
    assert left(leave_out_metadata_asserts, first, first, derived, later) == [None, "a"]


# -- whole graphs


class Normalized(torch.nn.Module):
    """A norm in the manner of T5, and a dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(4, 4)
        self.weight = torch.nn.Parameter(torch.ones(4))
        self.dropout = torch.nn.Dropout(0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for _ in range(2):
            x = self.dropout(self.linear(x))
            x = self.weight * (x * torch.rsqrt(x.to(torch.float32).pow(2).mean(-1, keepdim=True) + 1e-6))
        return x


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("optimized") / "normalized.pt2"
    torch.export.save(torch.export.export(Normalized().eval(), (torch.ones(2, 4),)), path)
    return path


@pytest.mark.parametrize("exact_ops", [False, True])
def test_an_exported_model_gives_the_same_bits(saved, exact_ops) -> None:
    options = fx2py.GenerateOptions(optimize=True, exact_ops=exact_ops)
    artifact = fx2py.generate(saved, options=options)
    passes = [item.pass_name for item in artifact.manifest.optimizations]
    assert passes == ["identities"] * 2 + ["metadata_asserts"] + ["conversions"] * 2
    assert fx2py.diff(saved, artifact).equal


def test_the_manifest_of_a_folder_lists_what_was_left_out(saved, tmp_path) -> None:
    written = fx2py.generate(saved, options=OPTIMIZED).write(tmp_path / "out")
    assert fx2py.open_artifact(tmp_path / "out").manifest.optimizations == written.manifest.optimizations
    assert fx2py.generate(saved).manifest.optimizations == ()


def test_code_that_relies_on_types_refuses_autocast(saved) -> None:
    execute = fx2py.generate(saved, options=OPTIMIZED).bind()
    with (
        torch.autocast("cpu", torch.bfloat16),
        pytest.raises(ValueError, match="-O cannot run under autocast"),
    ):
        execute(torch.ones(2, 4))
    assert execute(torch.ones(2, 4)).shape == (2, 4)


def test_nothing_is_left_out_unasked(saved) -> None:
    source = fx2py.generate(saved).source
    assert source.count("torch.dropout(") == source.count("torch._assert_tensor_metadata(") == 2


# -- conversions to what another tensor is


@pytest.mark.parametrize("op", sorted(TO_ANOTHER, key=str), ids=str)
def test_a_conversion_to_what_another_tensor_is_returns_a_tensor_that_is_it(op) -> None:
    for tensor in (W.clone(), W.t(), W.long(), torch.nn.Parameter(W)):
        assert overload_of(op)(tensor, torch.ones(3, dtype=tensor.dtype)) is tensor
        assert overload_of(op)(tensor, torch.ones(3, dtype=torch.float64)) is not tensor


@pytest.mark.parametrize("overload", ["type_as.default", "to.other"])
def test_a_conversion_to_another_tensor_is_left_out_where_both_are_known_and_alike(overload: str) -> None:
    alike = assign("other", "relu.default", Ref("w0"))
    unlike = assign("other", "to.dtype", Ref("w0"), torch.float64)
    unknown = assign("other", "bernoulli.default", Ref("w0"))
    converted = assign("out", overload, Ref("w0"), Ref("other"))
    assert left(leave_out_conversions, alike, converted) == ["other"]
    assert left(leave_out_conversions, unlike, converted) == ["other", "out"]
    assert left(leave_out_conversions, unknown, converted) == ["other", "out"]


# -- items of what the code builds


def lookup(target: str, container: Any, index: Any) -> Assign:
    return Assign(target, Call(GETITEM, (container, index)))


BUILT: dict[str, tuple[list[Statement], Any]] = {
    "a tuple": ([lookup("out", (Ref("w0"), 1), 0)], Ref("w0")),
    "a list, from its end": ([lookup("out", List((1, Ref("w0"))), -1)], Ref("w0")),
    "a dict": ([lookup("out", Dict((("a", 1), ("b", Ref("w0")))), "b")], Ref("w0")),
    "a tuple in a variable": ([Bind("pair", (1, Ref("w0"))), lookup("out", Ref("pair"), 1)], Ref("w0")),
    "a tuple in a tuple": (
        [lookup("pair", ((1, Ref("w0")), 2), 0), lookup("out", Ref("pair"), 1)],
        Ref("w0"),
    ),
    "an item of an item": (
        [lookup("a", (Ref("w0"),), 0), lookup("out", List((Ref("a"),)), 0)],
        Ref("w0"),
    ),
}


@pytest.mark.parametrize("name", BUILT)
def test_an_item_of_what_the_code_builds_is_taken_at_once(name: str) -> None:
    statements, expected = BUILT[name]
    program = program_of(statements, Ref("out"), W)
    function, applied = take_built_items(program.entry, program)
    assert function.result == expected
    assert applied


KEPT: dict[str, list[Statement]] = {
    "a list that others may change": [Bind("many", List((Ref("w0"),))), lookup("out", Ref("many"), 0)],
    "a list that is one for all": [Bind("pair", (List((1,)), 2)), lookup("out", Ref("pair"), 0)],
    "an index beyond the end": [lookup("out", (Ref("w0"),), 1)],
    "a truth value for an index": [lookup("out", (Ref("w0"), 1), True)],
    "an index in a variable": [lookup("out", (Ref("w0"), 1), Ref("w0"))],
    "a key that stands twice": [lookup("out", Dict((("a", 1), ("a", Ref("w0")))), "a")],
    "a key that a variable may be": [lookup("out", Dict((("a", 1), (Ref("w0"), 2))), "a")],
    "a number": [lookup("out", (1, Ref("w0")), 0)],
    "what the code does not build": [lookup("out", Ref("w0"), 0)],
}


@pytest.mark.parametrize("name", KEPT)
def test_the_lookup_stays_for(name: str) -> None:
    assert "out" in left(take_built_items, *KEPT[name])


def test_a_whole_graph_without_its_lookups_does_the_same() -> None:
    graph = torch.fx.Graph()
    x, y = graph.placeholder("x"), graph.placeholder("y")
    total = graph.call_function(torch.ops.aten.add.Tensor, (x, y))
    first = graph.call_function(operator.getitem, ((total, x), 0))
    named = graph.call_function(operator.getitem, ([total, {"k": y}], 1))
    graph.output(graph.call_function(torch.mul, (first, graph.call_function(operator.getitem, (named, "k")))))
    module = torch.fx.GraphModule({}, graph)
    artifact = fx2py.generate(module, options=OPTIMIZED)
    assert [item.node for item in artifact.manifest.optimizations] == ["getitem", "getitem_1"]
    assert fx2py.diff(module, artifact, (W, W + 1)).equal


def test_calls_without_the_operands_that_they_need_stay_as_they_are() -> None:
    assert "out" in left(take_built_items, Assign("out", Call(GETITEM, ((Ref("w0"),),))))
    assert "out" in left(leave_out_conversions, assign("out", "type_as.default", Ref("w0")))
    assert "out" in left(leave_out_conversions, assign("out", "to.dtype"))
