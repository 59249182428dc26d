"""What all passes share: the form of a pass, which operator a statement calls, and how a result is replaced."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

from fx2py.graph.values import Ref, map_leaves
from fx2py.program.ir import Applied, Assign, Function, Operand, Program, Statement

Pass: TypeAlias = Callable[[Function, Program], tuple[Function, tuple[Applied, ...]]]
"""A function of the Program without its deletions to the same function simplified, with what was applied."""


def renamed(function: Function, body: Sequence[Statement], names: Mapping[str, str]) -> Function:
    """The function with ``body``, where each use of a variable in ``names`` is a use of what it is mapped to.

    No name in ``names`` is mapped to another one of them.
    """

    def change(part: Operand) -> Operand:
        return Ref(names.get(part.name, part.name)) if type(part) is Ref else part

    if not names:
        return replace(function, body=tuple(body))
    changed = tuple([statement.with_leaves(change) for statement in body])
    return replace(function, body=changed, result=map_leaves(function.result, change))


def node_name(statement: Assign) -> str:
    """The node that a statement comes from, as the manifest names it."""
    return statement.origin.name if statement.origin is not None else str(statement.target)
