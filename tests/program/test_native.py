"""Which native call stands for an operator call, and which calls stay overloads."""

from __future__ import annotations

import sys

import pytest
import torch

from fx2py.graph.values import List, Name, OpName, Ref, Slice, SymExpr
from fx2py.operators.facts import returns_tensor
from fx2py.operators.schema import returns_tensor_list
from fx2py.program.ir import Call, Method, Slot
from fx2py.program.native import native_call

X, Y = Ref("x"), Ref("y")
CPU = Slot("consts", 0)


def aten(text: str) -> OpName:
    name, overload = text.split(".")
    return OpName("aten", name, overload)


def test_a_function_takes_the_arguments_as_they_stand() -> None:
    assert native_call(aten("linear.default"), (X, Y)) == Call(Name("torch.nn.functional", "linear"), (X, Y))
    scaled = native_call(aten("add.Tensor"), (X, Y), (("alpha", 2),))
    assert scaled == Call(Name("torch", "add"), (X, Y), (("alpha", 2),))


def test_an_operator_needs_variables_that_are_known_to_hold_tensors() -> None:
    plus = Name("operator", "add")
    assert native_call(aten("add.Tensor"), (X, Y), tensors={"x", "y"}) == Call(plus, (X, Y))
    assert native_call(aten("add.Tensor"), (X, 1.5), tensors={"x"}) == Call(plus, (X, 1.5))
    weight = Slot("weights", 0)
    assert native_call(aten("add.Tensor"), (weight, Y), tensors={"y"}) == Call(plus, (weight, Y))
    for known in ("x", "y"):
        assert native_call(aten("add.Tensor"), (X, Y), tensors={known}) == Call(Name("torch", "add"), (X, Y))
    assert native_call(aten("add.Tensor"), (2, 3), tensors={"x"}) == Call(Name("torch", "add"), (2, 3))


def test_an_operator_has_no_place_for_keywords() -> None:
    call = native_call(aten("add.Tensor"), (X, Y), (("alpha", 2),), tensors={"x"})
    assert call == Call(Name("torch", "add"), (X, Y), (("alpha", 2),))


def test_a_device_that_must_be_given_may_be_a_variable_that_is_known_to_hold_one() -> None:
    kwargs = (("device", Ref("cpu_device")), ("pin_memory", False))
    assert native_call(aten("arange.default"), (8,), kwargs) is None
    native = native_call(aten("arange.default"), (8,), kwargs, present={"cpu_device"})
    assert native == Call(Name("torch", "arange"), (8,), kwargs)


def test_sizes_are_spread_where_a_method_takes_only_sizes() -> None:
    view = aten("view.default")
    assert native_call(view, (X, List((1, Ref("n"), 4))), tensors={"x"}) == Call(
        Method("view"), (X, 1, Ref("n"), 4)
    )
    assert native_call(view, (X, List(())), tensors={"x"}) == Call(Method("view"), (X, List(())))
    assert native_call(view, (X, Ref("sizes")), tensors={"x"}) == Call(Method("view"), (X, Ref("sizes")))


def test_methods_and_indices_need_a_variable_that_is_known_to_hold_a_tensor() -> None:
    assert native_call(aten("view.default"), (X, List((4,)))) is None
    assert native_call(aten("slice.Tensor"), (X, 0, 1, 5)) is None


def test_a_slice_is_an_index() -> None:
    getitem = Name("operator", "getitem")
    slices = aten("slice.Tensor")
    assert native_call(slices, (X, 0, 0, 5), tensors={"x"}) == Call(getitem, (X, Slice(None, 5)))
    assert native_call(slices, (X, 0, 1, 5), tensors={"x"}) == Call(getitem, (X, Slice(1, 5)))
    assert native_call(slices, (X, 0, -3, 5, 2), tensors={"x"}) == Call(getitem, (X, Slice(-3, 5, 2)))
    assert native_call(slices, (X, 2, 4, 2**63 - 1), tensors={"x"}) == Call(
        getitem, (X, (Slice(), Slice(), Slice(4)))
    )
    assert native_call(slices, (X, 1, 4, Ref("n")), tensors={"x"}) == Call(
        getitem, (X, (Slice(), Slice(4, Ref("n"))))
    )


def test_metadata_is_read_from_the_tensor() -> None:
    assert native_call(aten("sym_size.int"), (X, 0), tensors={"x"}) == Call(Method("size"), (X, 0))


def test_a_factory_must_say_its_device_and_pinning() -> None:
    full = aten("full.default")
    named = (("dtype", torch.float32), ("device", CPU), ("pin_memory", False))
    assert native_call(full, (List((2,)), 1), named) == Call(Name("torch", "full"), (List((2,)), 1), named)
    assert native_call(full, (List((2,)), 1)) is None
    assert native_call(full, (List((2,)), 1), (("device", CPU),)) is None
    assert native_call(full, (List((2,)), 1), (("device", None), ("pin_memory", False))) is None
    assert native_call(full, (List((2,)), 1), (("device", Ref("d")), ("pin_memory", False))) is None


def test_another_container_is_taken_only_where_its_items_are_all_that_is_used() -> None:
    assert native_call(aten("unbind.int"), (X, 1)) is None
    assert native_call(aten("unbind.int"), (X, 1), items_only=True) == Call(Name("torch", "unbind"), (X, 1))


@pytest.mark.parametrize(
    ("op", "args", "kwargs"),
    [
        ("relu.default", (1.5,), ()),
        ("relu.default", (X, Y), ()),
        ("relu.default", (), (("self", X),)),
        ("view.default", (3, List((1,))), ()),
        ("masked_fill.Tensor", (X, Y, 1.5), ()),
        ("softmax.int", (X, True), ()),
        ("softmax.int", (X, 1.0), ()),
        ("softmax.int", (X, SymExpr("s0")), ()),
        ("linear.default", (X, None), ()),
        ("add.Tensor", (X, 2**63), ()),
        ("add.Tensor", (X, Y), (("out", X),)),
        ("add.Tensor", (X, Y), (("other", Y),)),
        ("sum.dim_IntList", (X, List((1,)), 1), ()),
        ("where.self", (X,), (("self", X), ("other", Y))),
        ("add.out", (X, Y), (("out", X),)),
        ("slice.Tensor", (X, 1, 0, sys.maxsize), ()),
        ("slice.Tensor", (X, -1, 1, 5), ()),
        ("slice.Tensor", (X, 0, True, 5), ()),
        ("slice.Tensor", (X, 0, Y, 5), ()),
        ("slice.Tensor", (X, 0, 1, None), ()),
        ("slice.Tensor", (X, 0, 1), ()),
        ("index.Tensor", (X, List((None, Y))), ()),
    ],
)
def test_arguments_beyond_the_proof_keep_the_overload(op: str, args: tuple, kwargs: tuple) -> None:
    assert native_call(aten(op), args, kwargs, tensors={"x", "y"}, items_only=True) is None


def test_operators_of_other_libraries_and_packets_keep_the_overload() -> None:
    assert native_call(OpName("prims", "add", "default"), (X, Y)) is None
    assert native_call(OpName("aten", "add"), (X, Y)) is None


def test_what_returns_one_tensor_is_known() -> None:
    assert returns_tensor(aten("add.Tensor"))
    assert returns_tensor(aten("slice.Tensor"))
    assert not returns_tensor(aten("sym_size.int"))
    assert not returns_tensor(aten("unbind.int"))
    assert not returns_tensor(OpName("mylib", "add", "Tensor"))


def test_lists_of_tensors_are_known() -> None:
    assert returns_tensor_list(aten("unbind.int"))
    assert not returns_tensor_list(aten("topk.default"))
    assert not returns_tensor_list(aten("add.Tensor"))
    assert not returns_tensor_list(OpName("mylib", "split", "default"))
