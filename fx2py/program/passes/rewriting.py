"""What all passes share: the form of a pass, which operator a statement calls, and how a result is replaced."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from fx2py.graph.values import OpName, Ref, map_leaves
from fx2py.operators.schema import arguments_of, defaults_of
from fx2py.program.ir import Applied, Assign, Bind, Call, Function, Program, Statement

Pass: TypeAlias = Callable[[Function, Program], tuple[Function, tuple[Applied, ...]]]
"""A function of the Program without its deletions to the same function simplified, with what was applied."""


def operator_of(statement: Statement) -> OpName | None:
    """The ATen overload that a statement calls, directly or as its proven native call."""
    if not isinstance(statement, Assign):
        return None
    callee = statement.call.callee
    if not isinstance(callee, OpName):
        callee = statement.origin.target if statement.origin is not None else None
    return callee if isinstance(callee, OpName) and callee.namespace == "aten" else None


def given_to(op: OpName, call: Call) -> dict[str, Any]:
    """The arguments of a call by the names of the schema; those that keep their defaults are absent.

    Native calls take the same arguments at the same places, except for sizes that are spread, which come last.
    """
    return arguments_of(op, call.args, call.kwargs)


def with_defaults(op: OpName, call: Call) -> dict[str, Any]:
    """All arguments of a call by the names of the schema."""
    return {**defaults_of(op), **given_to(op, call)}


def renamed(function: Function, body: Sequence[Statement], names: Mapping[str, str]) -> Function:
    """The function with ``body``, where each use of a variable in ``names`` is a use of what it is mapped to.

    No name in ``names`` is mapped to another one of them.
    """

    def change(part: Any) -> Any:
        return Ref(names.get(part.name, part.name)) if type(part) is Ref else part

    if not names:
        return replace(function, body=tuple(body))
    changed = tuple([_with_leaves(statement, change) for statement in body])
    return replace(function, body=changed, result=map_leaves(function.result, change))


def _with_leaves(statement: Statement, change: Callable[[Any], Any]) -> Statement:
    if isinstance(statement, Assign):
        call = statement.call
        args = tuple([map_leaves(value, change) for value in call.args])
        kwargs = tuple([(name, map_leaves(value, change)) for name, value in call.kwargs])
        return replace(statement, call=Call(map_leaves(call.callee, change), args, kwargs))
    if isinstance(statement, Bind):
        return replace(statement, value=map_leaves(statement.value, change))
    return statement


def node_name(statement: Assign) -> str:
    """The node that a statement comes from, as the manifest names it."""
    return statement.origin.name if statement.origin is not None else str(statement.target)
