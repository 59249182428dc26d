"""The facts ``dtype`` and ``device`` are proven by running each overload on tensors of many types."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from fx2py.graph.values import List, Name, Ref
from fx2py.operators.dtypes import RULES
from fx2py.operators.facts import facts_named, table
from fx2py.operators.schema import returns_tensor_list
from fx2py.program.analyses.type_inference import TensorTypes
from fx2py.program.ir import Assign, Call
from tests.program.passes.functions import aten, overload_of, program_of

X = torch.ones(2, 4)
IDS = torch.zeros(3, dtype=torch.int64)
FACTORY = {"dtype": torch.float64, "device": torch.device("cpu")}
DTYPES = (
    *(torch.float32, torch.float64, torch.float16, torch.bfloat16),
    *(torch.int64, torch.int32, torch.uint8, torch.bool, torch.complex64),
)
OF_ONE = """alias.default clone.default contiguous.default detach.default relu.default neg.default relu_.default
    t.default triu.default tril.default gelu.default silu.default tanh.default sigmoid.default exp.default log.default
    sqrt.default rsqrt.default cos.default sin.default softplus.default mean.default abs.default logical_not.default
    bitwise_not.default zeros_like.default ones_like.default diff.default squeeze.default to.dtype_layout"""
OF_TWO = """add.Tensor sub.Tensor mul.Tensor div.Tensor maximum.default minimum.default min.other max.other add_.Tensor
    mul_.Tensor copy_.default eq.Tensor ne.Tensor lt.Tensor le.Tensor gt.Tensor ge.Tensor logical_and.default
    logical_or.default __and__.Tensor __or__.Tensor"""
WITH_NUMBERS = """rsub.Scalar pow.Tensor_Scalar eq.Scalar ne.Scalar lt.Scalar le.Scalar gt.Scalar ge.Scalar
    clamp.default add.Tensor mul.Tensor sub.Tensor div.Tensor"""
SAMPLES: dict[str, list[tuple[tuple[Any, ...], dict[str, Any]]]] = {
    "expand.default": [((X, [3, 2, 4]), {})],
    "flatten.using_ints": [((X,), {})],
    "index.Tensor": [((X, [None, IDS]), {}), ((X, [IDS]), {})],
    "gather.default": [((X, 1, torch.zeros(2, 2, dtype=torch.int64)), {})],
    "index_select.default": [((X, 1, IDS), {})],
    "masked_fill.Scalar": [((X, X > 0, 1.5), {}), ((X, X > 0, 1), {})],
    "narrow.default": [((X, 1, 0, 2), {})],
    "permute.default": [((X, [1, 0]), {})],
    "repeat.default": [((X, [2, 1]), {})],
    "reshape.default": [((X, [8]), {})],
    "select.int": [((X, 0, 1), {})],
    "slice.Tensor": [((X, 0, 1, 2), {})],
    "squeeze.dim": [((X, 0), {})],
    "squeeze.dims": [((X, [0]), {})],
    "transpose.int": [((X, 0, 1), {})],
    "unsqueeze.default": [((X, 0), {})],
    "view.default": [((X, [8]), {})],
    "embedding.default": [((X, torch.zeros(3, dtype=torch.int64)), {})],
    "constant_pad_nd.default": [((X, [1, 1], 0.5), {})],
    "roll.default": [((X, [1], [0]), {})],
    "dropout.default": [((X, 0.5, True), {}), ((X, 0.5, False), {})],
    "fill_.Scalar": [((X, 1), {}), ((X, 1.5), {})],
    "max_pool2d.default": [((torch.ones(1, 1, 4, 4), [2, 2]), {})],
    "unfold.default": [((X, 1, 2, 1), {})],
    "split.Tensor": [((X, 2, 1), {})],
    "split_with_sizes.default": [((X, [1, 3], 1), {})],
    "chunk.default": [((X, 2, 1), {})],
    "unbind.int": [((X, 0), {})],
    "stack.default": [(([X, X],), {})],
    "cat.default": [(([X, X],), {})],
    "linear.default": [((X, X), {}), ((X, X, torch.ones(2)), {})],
    "addmm.default": [((torch.ones(2), X, X.t()), {})],
    "mm.default": [((X, X.t()), {})],
    "bmm.default": [((X[None], X.t()[None]), {})],
    "matmul.default": [((X, X.t()), {})],
    "conv1d.default": [((torch.ones(1, 2, 4), torch.ones(3, 2, 2), torch.ones(3)), {})],
    "conv2d.default": [((torch.ones(1, 2, 4, 4), torch.ones(3, 2, 2, 2)), {})],
    "layer_norm.default": [((X, [4], torch.ones(4), torch.ones(4)), {}), ((X, [4]), {})],
    "batch_norm.default": [
        ((X, torch.ones(4), torch.ones(4), torch.ones(4), torch.ones(4), False, 0.1, 1e-5, True), {})
    ],
    "group_norm.default": [((X, 2, torch.ones(4), torch.ones(4)), {})],
    "mean.dim": [((X, [1]), {}), ((X, [1]), {"dtype": torch.float64})],
    "sum.dim_IntList": [((X, [1]), {}), ((X, [1]), {"dtype": torch.float64})],
    "softmax.int": [((X, 1), {}), ((X, 1, torch.float64), {})],
    "cumsum.default": [((X, 1), {}), ((X, 1), {"dtype": torch.float64})],
    "adaptive_avg_pool2d.default": [((torch.ones(1, 1, 4, 4), [1, 1]), {})],
    "avg_pool2d.default": [((torch.ones(1, 1, 4, 4), [2, 2]), {})],
    "scaled_dot_product_attention.default": [
        ((X[None, None], X[None, None], X[None, None]), {}),
        ((X[None, None], X[None, None], X[None, None], torch.ones(2, 2) > 0), {}),
    ],
    "where.self": [((X > 0, X, X), {})],
    "where.Scalar": [((X > 0, 1.0, 2), {})],
    "where.ScalarSelf": [((X > 0, 1.0, X), {})],
    "where.ScalarOther": [((X > 0, X, 1.0), {})],
    "to.dtype": [((X, torch.float64), {})],
    "to.device": [((X, torch.device("cpu"), torch.float64), {})],
    "to.dtype_layout": [((X,), {"dtype": torch.float64, "layout": torch.strided})],
    "full_like.default": [((X, 1), {}), ((X, 1), {"dtype": torch.float64})],
    "new_ones.default": [((X, [2]), {}), ((X, [2]), {"dtype": torch.float64})],
    "new_zeros.default": [((X, [2]), {})],
    "new_full.default": [((X, [2], 1), {}), ((X, [2], 1.5), {})],
    "zeros.default": [(([2],), FACTORY), (([2],), {})],
    "ones.default": [(([2],), FACTORY)],
    "full.default": [(([2], 1), FACTORY), (([2], 1.5), {})],
    "empty.memory_format": [(([2],), FACTORY)],
    "arange.default": [((4,), {}), ((4.0,), {}), ((4,), FACTORY)],
    "arange.start": [((1, 4), {}), ((1, 4.0), {})],
    "arange.start_step": [((1, 4, 2), {}), ((1, 4, 1.5), {})],
}
for overload in OF_ONE.split():
    SAMPLES.setdefault(overload, []).append(((X,), {}))
for overload in OF_TWO.split():
    SAMPLES.setdefault(overload, []).extend([((X, X), {}), ((X, X[0, 0]), {}), ((X[0, 0], X), {})])
for overload in WITH_NUMBERS.split():
    numbers = (True, 2, 1.5, 2j)
    SAMPLES.setdefault(overload, []).extend(((tensor, n), {}) for n in numbers for tensor in (X, X[0, 0]))


def casts(count: int) -> Iterator[list[torch.dtype | None]]:
    """One dtype for all tensors of a call, and all but one (None: as it is)."""
    for dtype in DTYPES:
        yield [dtype] * count
        for index in range(count if count > 1 else 0):
            for other in (None, torch.float64, torch.int64):
                yield [other if place == index else dtype for place in range(count)]


WITH_RULE = [name for name in table() if facts_named(name).dtype]


def test_every_rule_is_of_some_operator() -> None:
    assert {facts_named(name).dtype for name in WITH_RULE} == RULES.keys()


@pytest.mark.parametrize("overload", WITH_RULE)
def test_a_rule_says_what_the_overload_gives(overload: str) -> None:
    said = 0
    for args, kwargs in SAMPLES[overload]:
        values = [*args, *kwargs.values()]
        tensors = [value for value in _flat(values) if isinstance(value, torch.Tensor)]
        for dtypes in casts(len(tensors)) if tensors else [[]]:
            for device in ("cpu", "meta"):
                given = [
                    tensor.to(device, dtype or tensor.dtype, copy=True)
                    for tensor, dtype in zip(tensors, dtypes, strict=True)
                ]
                said += _rule_agrees(overload, args, kwargs, given)
    assert said


def _rule_agrees(
    overload: str, args: tuple[Any, ...], kwargs: dict[str, Any], given: list[torch.Tensor]
) -> bool:
    """Whether the rule says anything; it must not be wrong. Calls that torch refuses prove nothing."""
    queue = iter(given)
    actual_args, actual_kwargs = _replaced(args, queue), _replaced(kwargs, queue)
    names = iter([Ref(f"w{index}") for index in range(len(given))])
    program = program_of([], None, *given)
    types = TensorTypes(program)
    for statement in program.entry.body:
        types.learn(statement)
    call_args = tuple(_as_value(value) for value in _replaced(args, names))
    call_kwargs = tuple((name, _as_value(value)) for name, value in _replaced(kwargs, names).items())
    types.learn(Assign("result", Call(aten(overload), call_args, call_kwargs)))
    name = "result"
    if returns_tensor_list(aten(overload)):
        types.learn(Assign("item", Call(Name("operator", "getitem"), (Ref("result"), 0))))
        name = "item"
    known = types.of(name)
    try:
        result = overload_of(aten(overload))(*actual_args, **actual_kwargs)
    except (RuntimeError, IndexError, TypeError):
        return False
    result = result[0] if isinstance(result, list | tuple) else result
    assert known.dtype in (None, result.dtype), (given, args, kwargs)
    assert known.device in (None, result.device), (given, args, kwargs)
    assert known.layout in (None, result.layout)
    return known.dtype is not None or known.device is not None


def _flat(values: list[Any]) -> Iterator[Any]:
    for value in values:
        yield from _flat(value) if isinstance(value, list) else [value]


def _replaced(value: Any, queue: Iterator[Any]) -> Any:
    """``value`` with the next of ``queue`` in place of each tensor."""
    if isinstance(value, dict):
        return {name: _replaced(part, queue) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_replaced(part, queue) for part in value)
    return next(queue) if isinstance(value, torch.Tensor) else value


def _as_value(value: Any) -> Any:
    if isinstance(value, list):
        return List(tuple(_as_value(part) for part in value))
    return Ref("cpu") if isinstance(value, torch.device) else value
