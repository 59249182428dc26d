"""What passes share: the form of a pass, and how one variable replaces another."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

from fx2py.graph.values import Ref, map_leaves
from fx2py.program.ir import Applied, Assign, Function, Operand, Program, Statement

Pass: TypeAlias = Callable[[Function, Program], tuple[Function, tuple[Applied, ...]]]
"""Takes a function without its deletions and its Program; returns the simplified function and what was done."""


def renamed(function: Function, body: Sequence[Statement], names: Mapping[str, str]) -> Function:
    """The function with ``body``, in which each variable that is a key of ``names`` is replaced by its value.

    No value of ``names`` may be a key of it.
    """

    def change(part: Operand) -> Operand:
        return Ref(names.get(part.name, part.name)) if type(part) is Ref else part

    if not names:
        return replace(function, body=tuple(body))
    changed = tuple([statement.with_leaves(change) for statement in body])
    return replace(function, body=changed, result=map_leaves(function.result, change))


def node_name(statement: Assign) -> str:
    """The name of the node that a statement comes from, as the manifest lists it."""
    return statement.origin.name if statement.origin is not None else str(statement.target)
