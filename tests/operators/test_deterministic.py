"""What is computed from its operands alone is proven by computing it twice, and "fresh" by looking at the memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.utils._pytree import tree_map_only

from fx2py.operators.facts import facts_named, table
from tests.operators.test_dtype import SAMPLES, X
from tests.program.passes.functions import aten, overload_of


def tensors_in(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for part in value:
            yield from tensors_in(part)


ONE = torch.ones(1, 1)
TRIVIAL: dict[str, list[tuple[tuple[Any, ...], dict[str, Any]]]] = {
    "repeat.default": [((X, [1, 1]), {})],
    "roll.default": [((X, [0], [0]), {})],
    "constant_pad_nd.default": [((X, [0, 0]), {}), ((X, []), {})],
    "cat.default": [(([X],), {}), (([X, torch.ones(0)],), {})],
    "stack.default": [(([X],), {})],
    "cumsum.default": [((ONE, 1), {})],
    "sum.dim_IntList": [((ONE, []), {}), ((ONE, [0], True), {})],
    "mean.dim": [((ONE, [0], True), {})],
    "softmax.int": [((ONE, 1, torch.float32), {})],
    "masked_fill.Scalar": [((X, X < 0, 1.5), {})],
    "index.Tensor": [((X, [torch.arange(2)]), {})],
    "max_pool2d.default": [((torch.ones(1, 1, 4, 4), [1, 1]), {})],
    "matmul.default": [((torch.ones(2, 2), torch.eye(2)), {}), ((ONE[0], ONE[0]), {})],
    "diff.default": [((X, 0), {})],
    "pow.Tensor_Scalar": [((X, 1), {})],
    "div.Tensor": [((X, 1), {})],
    "add.Tensor": [((X, 0), {})],
    "clamp.default": [((X, 0), {}), ((X, None, 9), {})],
    "where.self": [((torch.tensor(True), X, X), {})],
    "triu.default": [((X, -9), {})],
}
"""Calls whose result has the values of an operand."""


def cast(value: Any, dtype: torch.dtype | None) -> Any:
    return value if dtype is None else tree_map_only(torch.Tensor, lambda tensor: tensor.to(dtype), value)


def results(overload: str) -> Iterator[tuple[list[torch.Tensor], list[torch.Tensor], Any]]:
    """For each sample that torch accepts: what went in, a copy from before the call, what came out of two calls."""
    accepted = 0
    for args, kwargs in [*SAMPLES[overload], *TRIVIAL.get(overload, [])]:
        for dtype in (None, torch.int64, torch.bool, torch.float64):
            cast_args, cast_kwargs = cast(args, dtype), cast(kwargs, dtype)
            given = list(tensors_in([*cast_args, *cast_kwargs.values()]))
            before = [tensor.clone() for tensor in given]
            try:
                made = [
                    list(tensors_in(overload_of(aten(overload))(*cast_args, **cast_kwargs))) for _ in "ab"
                ]
            except (RuntimeError, IndexError):
                continue
            accepted += 1
            yield given, before, made
    assert accepted


FRESH = [overload for overload in SAMPLES if facts_named(overload).memory == "fresh"]
DETERMINISTIC = [name for name in table() if facts_named(name).is_deterministic]
READING = [name for name in DETERMINISTIC if facts_named(name).memory != "write"]


@pytest.mark.parametrize("overload", READING)
def test_an_operator_reads_its_operands_and_gives_the_same_again(overload: str) -> None:
    for given, before, (first, second) in results(overload):
        assert all(torch.equal(one, other) for one, other in zip(given, before, strict=True))
        assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


@pytest.mark.parametrize("overload", FRESH)
def test_a_fresh_result_shares_memory_with_nothing(overload: str) -> None:
    for given, _, made in results(overload):
        storages = {tensor.untyped_storage().data_ptr() for tensor in given}
        assert all(tensor.untyped_storage().data_ptr() not in storages for one in made for tensor in one)
        assert not any(
            one.untyped_storage().data_ptr() == two.untyped_storage().data_ptr()
            for one, two in zip(*made, strict=True)
        )


@pytest.mark.parametrize("overload", DETERMINISTIC)
def test_what_is_computed_draws_no_random_numbers(overload: str) -> None:
    assert torch.Tag.nondeterministic_seeded not in overload_of(aten(overload)).tags
