"""What is listed of an operator's memory and result is proven by running it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.utils._pytree import tree_map_only

from fx2py.graph.values import Ref
from fx2py.program.passes.computed_once import COMPUTING, VIEWS
from fx2py.program.passes.rewriting import overload_of
from fx2py.program.passes.sharing import Sharing, kind_of
from tests.program.passes.functions import assign, aten, program_of
from tests.program.passes.test_result_rules import SAMPLES, X


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


FRESH = [overload for overload in SAMPLES if kind_of(overload) == "fresh"]


@pytest.mark.parametrize("overload", sorted(COMPUTING | VIEWS))
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


@pytest.mark.parametrize("overload", sorted(COMPUTING | VIEWS))
def test_what_is_computed_draws_no_random_numbers(overload: str) -> None:
    assert torch.Tag.nondeterministic_seeded not in overload_of(aten(overload)).tags


def classes(*statements: Any, result: Any = None, tensors: tuple[torch.Tensor, ...] = ()) -> Sharing:
    program = program_of(list(statements), result, *tensors)
    return Sharing(program.entry, program)


def test_a_view_of_a_view_is_of_one_class_with_its_base_and_a_fresh_result_is_not() -> None:
    view = assign("view", "transpose.int", Ref("w0"), 0, 1)
    again = assign("again", "reshape.default", Ref("view"), [4])
    fresh = assign("fresh", "neg.default", Ref("again"))
    sharing = classes(view, again, fresh, tensors=(torch.ones(2, 2),))
    assert sharing.class_of("again") == sharing.class_of("w0") != sharing.class_of("fresh")


def test_weights_in_one_storage_are_of_one_class() -> None:
    base = torch.ones(4)
    sharing = classes(tensors=(base, base[1:], torch.ones(4)))
    assert sharing.class_of("w0") == sharing.class_of("w1") != sharing.class_of("w2")


def test_a_device_that_two_calls_name_joins_nothing() -> None:
    moved = assign("moved", "to.device", Ref("w0"), Ref("cpu"), torch.float32)
    made = assign("made", "arange.default", 4, device=Ref("cpu"))
    sharing = classes(moved, made, tensors=(torch.ones(4),))
    assert sharing.class_of("moved") == sharing.class_of("w0")
    assert sharing.class_of("made") not in (sharing.class_of("w0"), sharing.class_of("moved"))


def test_what_an_unknown_operator_is_given_may_be_written_and_returned() -> None:
    unknown = assign("out", "bernoulli_.float", Ref("w0"), 0.5)
    sharing = classes(unknown, tensors=(torch.ones(4),))
    assert sharing.class_of("w0") in sharing.written
    assert sharing.class_of("out") == sharing.class_of("w0")


def test_an_operator_in_place_writes_to_its_first_operand_alone() -> None:
    sharing = classes(
        assign("out", "add_.Tensor", Ref("w0"), Ref("w1")), tensors=(torch.ones(4), torch.ones(4))
    )
    assert sharing.written == {sharing.class_of("w0")}


@pytest.mark.parametrize("training", [True, False])
def test_a_batch_norm_writes_to_its_statistics_in_training(training) -> None:
    names = [Ref(f"w{index}") for index in range(5)]
    norm = assign("out", "batch_norm.default", *names, training, 0.1, 1e-5, False)
    sharing = classes(norm, tensors=tuple([torch.ones(4) for _ in names]))
    assert (sharing.class_of("w3") in sharing.written) is training
