"""What each pass leaves out, and what it must not."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import fx2py
from fx2py.graph.values import List, Name, Ref
from fx2py.program.ir import Assign, Call, Statement
from fx2py.program.passes.conversions import CONVERSIONS, leave_out_conversions
from fx2py.program.passes.dropouts import DROPOUTS, leave_out_dropouts
from fx2py.program.passes.metadata_asserts import leave_out_metadata_asserts
from fx2py.program.passes.rewriting import Pass, overload_of
from tests.program.passes.functions import assign, program_of, targets

W = torch.ones(2, 4)
OPTIMIZED = fx2py.GenerateOptions(optimize=True)


def left(leave_out: Pass, *statements: Statement, checked: bool = True) -> list[str | None]:
    """The variables that are still assigned after a pass over statements on a weight ``w0``."""
    program = program_of(list(statements), Ref("out"), W, checked=checked)
    return targets(leave_out(program.entry, program)[0])


# -- what the proofs rest on


@pytest.mark.parametrize("op", sorted(DROPOUTS, key=str), ids=str)
@pytest.mark.parametrize("p", [0, 0.0, 0.5, 1.0])
def test_a_dropout_that_is_off_returns_its_input(op, p) -> None:
    for dtype in (torch.float32, torch.int64, torch.bool, torch.complex64):
        for tensor in (
            torch.ones(2, 3, dtype=dtype),
            torch.ones(0, dtype=dtype),
            torch.ones((), dtype=dtype),
        ):
            assert overload_of(op)(tensor, p, False) is tensor
    parameter = torch.nn.Parameter(torch.ones(2, 3))
    assert overload_of(op)(parameter, p, False) is parameter
    assert overload_of(op)(torch.ones(2, 2).to_sparse(), p, False).is_sparse


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


# -- dropouts


def test_a_dropout_of_an_operators_result_is_left_out() -> None:
    made = assign("a", "relu.default", Ref("w0"))
    dropped = assign("b", "dropout.default", Ref("a"), 0.1, False)
    used = assign("out", "add.Tensor", Ref("b"), Ref("b"))
    program = program_of([made, dropped, used], Ref("out"), W)
    function, applied = leave_out_dropouts(program.entry, program)
    assert function.body[-1] == assign("out", "add.Tensor", Ref("a"), Ref("a"))
    assert [(item.pass_name, item.node) for item in applied] == [("dropouts", "b")]


def test_dropouts_of_dropouts_lead_to_the_first_input() -> None:
    first = assign("a", "dropout.default", Ref("w0"), 0.1, False)
    second = assign("out", "feature_dropout.default", Ref("a"), 0.1, False)
    program = program_of([first, second], List((Ref("out"), Ref("a"))), W)
    assert leave_out_dropouts(program.entry, program)[0].result == List((Ref("w0"), Ref("w0")))


@pytest.mark.parametrize("arguments", [(0.1, True), (2.0, False), (Ref("p"), False), (0.1, Ref("flag"))])
def test_a_dropout_that_may_act_or_raise_stays(arguments) -> None:
    assert left(leave_out_dropouts, assign("out", "dropout.default", Ref("w0"), *arguments)) == ["out"]


def test_a_dropout_of_what_may_be_no_tensor_stays() -> None:
    assert left(leave_out_dropouts, assign("out", "dropout.default", Ref("x"), 0.1, False)) == ["out"]


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
    assert passes == ["dropouts"] * 2 + ["metadata_asserts"] + ["conversions"] * 2
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
