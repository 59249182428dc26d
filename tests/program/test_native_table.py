"""Every line of the table of native calls is proven on the installed torch."""

from __future__ import annotations

import operator
import warnings
from importlib.resources import files
from typing import Any

import pytest
import torch
from torch._dispatch.python import enable_python_dispatcher

from fx2py.graph.values import OpName, Ref, Slice, children
from fx2py.program.ir import Method
from fx2py.program.native import native_call, parse_form
from fx2py.trust import Policy
from tests.program.native_prover import SYMBOL, Claim, Form, meta
from tests.program.native_survey import lines, overloads, spelled

TABLE = files("fx2py.program").joinpath("native_calls.txt").read_text().splitlines()
FORMS = [rest for _, _, rest in (line.partition(" ") for line in TABLE) if not rest.startswith("->")]
OVERLOADS = dict(overloads())
COMMON = [
    *(
        "add.Tensor",
        "mul.Tensor",
        "div.Tensor",
        "sub.Tensor",
        "eq.Scalar",
        "neg.default",
        "matmul.default",
        "pow.Tensor_Scalar",
        "add_.Tensor",
    ),
    *(
        "linear.default",
        "addmm.default",
        "mm.default",
        "bmm.default",
        "embedding.default",
        "softmax.int",
        "_softmax.default",
    ),
    *(
        "layer_norm.default",
        "native_layer_norm.default",
        "gelu.default",
        "silu.default",
        "relu.default",
        "tanh.default",
    ),
    *(
        "view.default",
        "permute.default",
        "transpose.int",
        "expand.default",
        "unsqueeze.default",
        "select.int",
        "contiguous.default",
        "cat.default",
    ),
    *("clone.default", "where.self", "masked_fill.Scalar", "mean.dim", "sum.dim_IntList", "to.dtype"),
    *("full.default", "unbind.int", "split.Tensor", "topk.default", "sym_size.int"),
]
aten = torch.ops.aten


@pytest.fixture(autouse=True)
def _no_deprecation_noise() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.mark.parametrize("overload", COMMON)
def test_a_common_overload_has_the_lines_that_are_proven(overload: str) -> None:
    stored = [line for line in TABLE if line.split(" ")[0] == overload]
    assert stored
    assert stored == list(spelled(overload, OVERLOADS[overload]))


@pytest.mark.slow
def test_the_whole_table_is_what_is_proven() -> None:
    assert list(lines()) == TABLE


def test_the_table_is_in_order_and_names_each_overload_at_most_three_times() -> None:
    names = [line.split(" ")[0] for line in TABLE]
    assert names == [name for name in OVERLOADS if name in names for _ in range(names.count(name))]
    assert max(map(names.count, set(names))) <= 3


def test_trust_admits_every_callee() -> None:
    callees = {parse_form(line.partition(" ")[2]).callee for line in TABLE if "(" in line}
    for callee in callees:
        if isinstance(callee, Method):
            Policy().check_method(callee.name)
        else:
            Policy().check(callee)


def refuted(op: Any, native: Any, form: Form, **options: Any) -> bool:
    return Claim(op, native, form, **options).counterexample() is not None


def test_the_prover_tells_overloads_apart() -> None:
    assert refuted(aten.pow.Tensor_Tensor, lambda x, y: torch.pow(x, 2), Form(2))
    assert refuted(aten.add.Scalar, torch.add, Form(2))


def test_the_prover_tells_arguments_apart() -> None:
    assert refuted(aten.sub.Tensor, lambda x, y: torch.sub(y, x), Form(2))
    assert refuted(aten.softmax.int, lambda x, dim: torch.softmax(x, dim, torch.float32), Form(2))
    assert refuted(aten.full.default, lambda size, value: torch.full(size, float(value)), Form(2))


def test_the_prover_tells_a_number_from_a_tensor() -> None:
    assert refuted(aten.add.Tensor, operator.add, Form(2))
    assert not refuted(
        aten.add.Tensor, operator.add, Form(2), admits=lambda values: hasattr(values[0], "shape")
    )


def test_the_prover_tells_containers_apart() -> None:
    assert refuted(aten.unbind.int, torch.unbind, Form(2))
    assert not refuted(aten.unbind.int, torch.unbind, Form(2), unpacked=True)


def test_the_prover_sees_the_default_device_and_dtype() -> None:
    assert refuted(aten.full.default, torch.full, Form(2))
    assert refuted(aten.arange.default, torch.arange, Form(1, ("dtype",)))


def test_the_prover_sees_what_runs_beside_the_overload() -> None:
    assert refuted(aten.relu.default, lambda x: torch.relu(torch.abs(x)), Form(1))
    assert refuted(aten.relu.default, lambda x: torch.abs(torch.relu(x)), Form(1))
    assert refuted(aten.relu.default, lambda x: x, Form(1))
    assert refuted(aten.dropout.default, torch.nn.functional.dropout, Form(3))


WHOLE = 2**63 - 1
STARTS = [(dim, start) for dim in range(4) for start in (1, 2, -1, -2, 100, -(2**40))] + [(0, 0)]


@pytest.mark.parametrize(("dim", "start"), STARTS)
@pytest.mark.parametrize("stop", [WHOLE, 5, 2, 1, 0, -1, Ref("n")])
@pytest.mark.parametrize("step", [1, 2])
def test_an_index_reaches_the_slice(dim: int, start: int, stop: Any, step: int) -> None:
    call = native_call(OpName("aten", "slice", "Tensor"), (Ref("x"), dim, start, stop, step), tensors={"x"})
    assert call is not None

    def live(value: Any) -> Any:
        parts = tuple(map(live, children(value)))
        return (
            slice(*parts) if isinstance(value, Slice) else parts or (SYMBOL if value == Ref("n") else value)
        )

    claim = Claim(aten.slice.Tensor, lambda x, *_: x[live(call.args[1])], Form(5))
    with enable_python_dispatcher():
        for x in (meta(2, 3, 4, 5), meta(0, 0, 0, 0, 0), meta(7, 7, 7, 7).transpose(0, 3)):
            assert claim.holds([x, dim, start, live(stop), step], odd=False) is True


def test_a_slice_that_keeps_a_later_dimension_whole_is_no_index() -> None:
    claim = Claim(aten.slice.Tensor, lambda x, dim, start, stop: x[:, start:stop], Form(4))
    with enable_python_dispatcher():
        assert claim.holds([meta(2, 3), 1, 0, 3], odd=False) is False
        assert claim.holds([meta(2, 3), 1, 0, 2], odd=False) is True
    assert native_call(OpName("aten", "slice", "Tensor"), (Ref("x"), 1, 0, 2), tensors={"x"}) is None


@pytest.mark.parametrize("value", [{}, set(), [], (), "", b"", range(1), 1, 1.5, 1j, frozenset()])
def test_no_method_of_the_table_is_a_method_of_another_value(value):
    methods = [form.callee.name for form in map(parse_form, FORMS) if isinstance(form.callee, Method)]
    assert methods
    assert not [name for name in methods if hasattr(value, name)]
