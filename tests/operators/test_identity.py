"""The fact ``identity`` is proven by calling each operator: it returns the very operand that it was given."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from fx2py.operators.facts import Condition, facts_named, table
from tests.program.passes.functions import aten, overload_of

OPERANDS = [
    *(torch.ones(2, 3, dtype=dtype) for dtype in (torch.float32, torch.int64, torch.bool, torch.complex64)),
    *(torch.ones(0), torch.ones(()), torch.ones(2, 3).t(), torch.ones(2, 1).expand(2, 3)),
    *(torch.nn.Parameter(torch.ones(2, 3)), torch.ones(2, 3, device="meta")),
]


def values(condition: Condition) -> list[Any]:
    """What the condition allows, its ends included."""
    if condition.low is None or condition.high is None:
        return [False]
    return [condition.low, condition.high, int(condition.low), (condition.low + condition.high) / 2]


@pytest.mark.parametrize("name", [name for name in table() if facts_named(name).identity])
def test_an_operator_returns_its_operand_where_its_conditions_hold(name: str) -> None:
    identity = facts_named(name).identity
    assert identity is not None
    op = overload_of(aten(name))
    assert op._schema.arguments[0].name == identity.operand
    for operand in OPERANDS:
        for condition in identity.conditions:
            for value in values(condition):
                given = {each.argument: values(each)[0] for each in identity.conditions}
                assert op(operand, **{**given, condition.argument: value}) is operand


def test_a_condition_tells_its_values_from_others() -> None:
    off, share = Condition("train"), Condition("p", 0, 1)
    assert off.holds(False)
    assert not off.holds(0)
    assert not off.holds(None)
    assert share.holds(0)
    assert share.holds(1.0)
    assert not share.holds(1.5)
    assert not share.holds(True)
    assert not share.holds("p")
