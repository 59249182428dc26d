"""Ranges of modes in a graph: where they begin and end, whatever they are nested in."""

from __future__ import annotations

import pytest

from fx2py.graph.data import Node
from fx2py.graph.modes import levels, modes
from fx2py.graph.values import Name, OpName


def calls(*functions: str) -> list[Node]:
    """``set False`` switches grad mode, ``relu`` is what stands between, the others are functions by name."""
    return [node(number, *text.split()) for number, text in enumerate(functions)]


def node(number: int, function: str, value: str = "") -> Node:
    names = {"set": "_set_grad_enabled", "fwd": "_set_fwd_grad_enabled"}
    args = (value == "True",) if value else ()
    return Node(f"n{number}", "call_function", Name("torch._C", names.get(function, function)), args)


VMAP, END = "_vmap_increment_nesting", "_vmap_decrement_nesting"
GRAD, GRAD_END = "_grad_increment_nesting", "_grad_decrement_nesting"


@pytest.mark.parametrize(
    ("functions", "expected"),
    [
        ([VMAP, "relu", END, "relu"], [(0, 2)]),
        (["relu", VMAP, GRAD, "relu", GRAD_END, END], [(1, 5), (2, 4)]),
        ([VMAP, END, "relu", VMAP, "relu", END], [(0, 1), (3, 5)]),
        ([VMAP, VMAP, END, END], [(0, 3), (1, 2)]),
        (["relu", VMAP, "relu"], [(1, 2)]),
        (["_enter_autocast", "relu", "_exit_autocast"], []),
        ([END, "relu"], []),
    ],
)
def test_levels_begin_and_end_in_pairs(functions, expected) -> None:
    assert sorted(levels(calls(*functions))) == expected


@pytest.mark.parametrize(
    ("functions", "expected"),
    [
        (["set False", "relu", "set True", "relu", "set False", "set True"], [(0, 2), (4, 5)]),
        (["set False", "relu", "set False", "relu"], [(0, 2)]),
        (["relu", "set False", "relu", "relu"], [(1, 3)]),
        (["set False", "fwd False", "relu", "fwd True", "set True"], [(0, 4), (1, 3)]),
        (["_enter_autocast", "relu", "_exit_autocast", "relu"], [(0, 2)]),
        ([VMAP, "relu", END], [(0, 2)]),
        (["relu", "relu"], []),
    ],
)
def test_a_mode_lasts_until_its_value_changes_or_to_the_last_node(functions, expected) -> None:
    assert sorted(modes(calls(*functions))) == expected


def test_operators_begin_and_end_ranges_too() -> None:
    enter, leave = (OpName("profiler", f"_record_function_{word}", None) for word in ("enter_new", "exit"))
    nodes = [Node("a", "call_function", enter), *calls("relu"), Node("b", "call_function", leave)]
    assert modes(nodes) == [(0, 2)]
