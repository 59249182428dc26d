"""Which variables may share memory, and which memory is written to, follows from what operators do with it."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from fx2py.graph.values import Ref
from fx2py.program.analyses.aliasing import AliasClasses
from tests.program.passes.functions import assign, program_of


def classes(*statements: Any, result: Any = None, tensors: tuple[torch.Tensor, ...] = ()) -> AliasClasses:
    program = program_of(list(statements), result, *tensors)
    return AliasClasses(program.entry, program)


def test_a_view_of_a_view_is_of_one_class_with_its_base_and_a_fresh_result_is_not() -> None:
    view = assign("view", "transpose.int", Ref("w0"), 0, 1)
    again = assign("again", "reshape.default", Ref("view"), [4])
    fresh = assign("fresh", "neg.default", Ref("again"))
    aliases = classes(view, again, fresh, tensors=(torch.ones(2, 2),))
    assert aliases.class_of("again") == aliases.class_of("w0") != aliases.class_of("fresh")


def test_weights_in_one_storage_are_of_one_class() -> None:
    base = torch.ones(4)
    aliases = classes(tensors=(base, base[1:], torch.ones(4)))
    assert aliases.class_of("w0") == aliases.class_of("w1") != aliases.class_of("w2")


def test_a_device_that_two_calls_name_joins_nothing() -> None:
    moved = assign("moved", "to.device", Ref("w0"), Ref("cpu"), torch.float32)
    made = assign("made", "arange.default", 4, device=Ref("cpu"))
    aliases = classes(moved, made, tensors=(torch.ones(4),))
    assert aliases.class_of("moved") == aliases.class_of("w0")
    assert aliases.class_of("made") not in (aliases.class_of("w0"), aliases.class_of("moved"))


def test_what_an_unknown_operator_is_given_may_be_written_and_returned() -> None:
    unknown = assign("out", "bernoulli_.float", Ref("w0"), 0.5)
    aliases = classes(unknown, tensors=(torch.ones(4),))
    assert aliases.class_of("w0") in aliases.written
    assert aliases.class_of("out") == aliases.class_of("w0")


def test_an_operator_in_place_writes_to_its_first_operand_alone() -> None:
    aliases = classes(
        assign("out", "add_.Tensor", Ref("w0"), Ref("w1")), tensors=(torch.ones(4), torch.ones(4))
    )
    assert aliases.written == {aliases.class_of("w0")}


@pytest.mark.parametrize("training", [True, False])
def test_a_batch_norm_writes_to_its_statistics_in_training(training) -> None:
    names = [Ref(f"w{index}") for index in range(5)]
    norm = assign("out", "batch_norm.default", *names, training, 0.1, 1e-5, False)
    aliases = classes(norm, tensors=tuple([torch.ones(4) for _ in names]))
    assert (aliases.class_of("w3") in aliases.written) is training
