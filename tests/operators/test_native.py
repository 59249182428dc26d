"""The facts ``native`` and ``returns`` are proven on the installed torch."""

from __future__ import annotations

import operator
import warnings
from typing import Any

import pytest
import torch
from torch._dispatch.python import enable_python_dispatcher

from fx2py.errors import UntrustedTargetError
from fx2py.graph.values import Name, OpName, Ref, Slice, children
from fx2py.operators.facts import METHOD, facts_named, parse_facts, table
from fx2py.program.native import native_call
from fx2py.trust import Policy
from tests.operators.native_prover import SYMBOL, Claim, Form, meta
from tests.operators.native_survey import facts, overloads, survey

FORMS = [form for name in table() for form in facts_named(name).native]
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


def stored(overload: str) -> tuple[str, ...]:
    return tuple(line for line in table()[overload] if line.split()[0] in ("native", "returns"))


@pytest.mark.parametrize("overload", COMMON)
def test_a_common_overload_has_the_facts_that_are_proven(overload: str) -> None:
    assert stored(overload)
    assert stored(overload) == facts(overload, OVERLOADS[overload])


@pytest.mark.slow
def test_the_whole_table_is_what_is_proven() -> None:
    measured = dict(survey())
    assert measured == {name: stored(name) for name in table() if name in OVERLOADS and stored(name)}


def test_records_are_in_order_and_have_at_most_three_spellings() -> None:
    assert list(table()) == sorted(table())
    assert max(len(facts_named(name).native) for name in table()) <= 3


def test_a_fact_of_no_kind_is_refused_with_its_operator() -> None:
    with pytest.raises(ValueError, match=r"add\.Tensor.*'colour red'"):
        parse_facts("add.Tensor", ("colour red",))
    with pytest.raises(ValueError, match="fresh, view, write"):
        parse_facts("add.Tensor", ("memory shared",))


@pytest.mark.parametrize("name", [name for name in table() if facts_named(name).returns == "container"])
def test_every_overload_of_what_returns_a_container_does(name: str) -> None:
    schemas = [op for overload, op in OVERLOADS.items() if overload.split(".")[0] == name]
    assert schemas
    for op in schemas:
        assert len(op._schema.returns) > 1 or str(op._schema.returns[0].type) == "List[Tensor]"


def test_trust_admits_every_callee() -> None:
    callees = {form.callee for name in table() if name in OVERLOADS for form in facts_named(name).native}
    assert not [str(callee) for callee in callees if not is_admitted(callee)]


def test_an_overload_that_torch_has_dropped_has_no_native_call() -> None:
    gone = (
        OpName("aten", "qr", "default") if "qr.default" not in OVERLOADS else OpName("aten", "relu", "gone")
    )
    assert native_call(gone, (Ref("x"),)) is None


def is_admitted(callee: Name) -> bool:
    try:
        if callee.module == METHOD:
            Policy().check_method(callee.qualname)
        else:
            Policy().check(callee)
    except UntrustedTargetError:
        return False
    return True


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


SLICE, SELECT = OpName("aten", "slice", "Tensor"), OpName("aten", "select", "int")


def test_a_slice_that_keeps_a_later_dimension_whole_is_no_index() -> None:
    claim = Claim(aten.slice.Tensor, lambda x, dim, start, stop: x[:, start:stop], Form(4))
    with enable_python_dispatcher():
        assert claim.holds([meta(2, 3), 1, 0, 3], odd=False) is False
        assert claim.holds([meta(2, 3), 1, 0, 2], odd=False) is True
    args = (Ref("x"), 1, 0, 2)
    for sizes in ((), (5, 2), (5, "s0"), (3,)):
        assert native_call(SLICE, args, tensors={"x"}, sizes=sizes) is None
    assert native_call(SLICE, args, tensors={"x"}, sizes=(2, 3)) is not None


@pytest.mark.parametrize("stop", [1, 2, -1, -2, 0])
@pytest.mark.parametrize("dim", range(1, 4))
def test_an_index_from_the_start_reaches_the_slice_where_the_dimension_goes_on(dim: int, stop: int) -> None:
    call = native_call(SLICE, (Ref("x"), dim, 0, stop), tensors={"x"}, sizes=(3, 3, 3, 3))
    assert call is not None
    index = tuple([slice(*children(part)) for part in children(call.args[1])])
    claim = Claim(aten.slice.Tensor, lambda x, *_: x[index], Form(4))
    with enable_python_dispatcher():
        assert claim.holds([meta(3, 3, 3, 3), dim, 0, stop], odd=False) is True


@pytest.mark.parametrize("index", [0, 1, -1, -3])
@pytest.mark.parametrize("dim", range(4))
def test_a_number_as_an_index_reaches_the_select(dim: int, index: int) -> None:
    call = native_call(SELECT, (Ref("x"), dim, index), tensors={"x"})
    assert call is not None
    place = call.args[1]
    parts = tuple([slice(None) if isinstance(part, Slice) else part for part in children(place)]) or place
    claim = Claim(aten.select.int, lambda x, *_: x[parts], Form(3))
    with enable_python_dispatcher():
        for x in (meta(3, 4, 5, 6), meta(3, 3, 3, 3, 3), meta(7, 7, 7, 7).transpose(0, 3)):
            assert claim.holds([x, dim, index], odd=False) is True


def test_a_select_of_what_may_be_no_tensor_or_along_a_counted_dimension_is_no_index() -> None:
    for args, tensors in (
        ((Ref("x"), 0, 1), set()),
        ((Ref("x"), -1, 1), {"x"}),
        ((Ref("x"), 0, Ref("n")), {"x"}),
    ):
        call = native_call(SELECT, args, tensors=tensors)
        assert call is not None
        assert call.callee == Name("torch", "select")


@pytest.mark.parametrize("value", [{}, set(), [], (), "", b"", range(1), 1, 1.5, 1j, frozenset()])
def test_no_method_of_the_table_is_a_method_of_another_value(value):
    methods = [form.callee.qualname for form in FORMS if form.callee.module == METHOD]
    assert methods
    assert not [name for name in methods if hasattr(value, name)]
