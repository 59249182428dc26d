"""Liveness: the last pass over a function; every value is deleted right after its last use."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from fx2py.graph.values import CONTAINERS, Ref, children
from fx2py.program.ir import (
    COMPUTE_ONCE,
    Assign,
    Bind,
    Delete,
    Function,
    Load,
    Local,
    Parameter,
    Slot,
    Statement,
    TableName,
    Take,
)

TABLE_ORDER: tuple[TableName, ...] = ("submods", "weights", "consts", COMPUTE_ONCE)


def values_of(statement: Statement) -> Iterator[Any]:
    """The values that a statement reads, callee first, in evaluation order."""
    if type(statement) is Assign:
        yield statement.call.callee
        yield from statement.call.args
        for _, value in statement.call.kwargs:
            yield value
    elif type(statement) is Bind:
        yield statement.value
    elif type(statement) is Load:
        yield statement.slot


def leaves(values: Iterator[Any]) -> Iterator[Any]:
    """Every leaf inside ``values``, in evaluation order."""
    for value in values:
        inner = children(value) if type(value) in CONTAINERS else ()
        if inner:
            yield from leaves(iter(inner))
        else:
            yield value


def used_names(statement: Statement) -> list[str]:
    """The variables that a statement reads, each once, in evaluation order."""
    return list(
        dict.fromkeys([part.name for part in leaves(values_of(statement)) if type(part) in (Ref, Take)])
    )


def place_loads(statements: Sequence[Statement], result: Any, loads: Iterable[Load]) -> list[Statement]:
    """Each load right before the first statement that uses its variable, where a reader looks for it."""
    waiting = {load.target: load for load in loads}
    placed: list[Statement] = []
    for statement in statements:
        placed += [waiting.pop(name) for name in used_names(statement) if name in waiting]
        placed.append(statement)
    placed += [waiting.pop(name) for name in used_names(Bind("", result)) if name in waiting]
    return placed


def finish(
    name: str,
    parameters: tuple[Parameter, ...],
    statements: Sequence[Statement],
    result: Any,
    path: str,
    functions: Sequence[Function],
) -> Function:
    """The finished function: dead results dropped, deletions inserted, the tables that it needs declared."""
    kept_alive = {part.name for part in leaves(iter((result,))) if type(part) is Ref}
    kept_alive.update(statement.target for statement in statements if type(statement) is Load)
    seen = set(kept_alive)
    backwards: list[Statement] = []
    for statement in reversed(statements):
        if type(statement) is Assign and statement.target not in seen:
            statement = Assign(None, statement.call, statement.origin)
        dying = [used for used in used_names(statement) if used not in seen]
        if dying:
            seen.update(dying)
            backwards.append(Delete(tuple(dying)))
        backwards.append(statement)
    unused = tuple(parameter.name for parameter in parameters if parameter.name not in seen)
    body = ([Delete(unused)] if unused else []) + backwards[::-1]
    return Function(name, parameters, _tables(body, result, functions), tuple(body), result, path)


def _tables(body: Sequence[Statement], result: Any, functions: Sequence[Function]) -> tuple[TableName, ...]:
    """The tables read here or by a local function that is passed on as a value."""
    by_name = {function.name: function for function in functions}
    needed: set[TableName] = set()
    for statement in (*body, Bind("", result)):
        for part in leaves(values_of(statement)):
            if type(part) is Slot:
                needed.add(part.table)
            elif part == Local(COMPUTE_ONCE):
                needed.add(COMPUTE_ONCE)
            elif type(part) is Local and part.name in by_name:
                needed.update(by_name[part.name].tables)
    return tuple(table for table in TABLE_ORDER if table in needed)
