"""Handing over: a value that dies in the call of a generated function leaves its caller before the call.

Python keeps the arguments of a call alive in the caller's variables. Where the called function is done with an
argument before it ends, the caller puts it into a list, forgets it, and takes it out again in the call itself:

    moved = [hidden]
    del hidden
    output = submods[1](moved.pop(0))

From Python 3.11 on the called function then holds the only reference, and its own ``del`` frees the value; Python 3.10
keeps the arguments of a running call on the caller's stack.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from fx2py.graph.values import List, Ref
from fx2py.program.ir import Assign, Bind, Delete, Function, Load, Slot, Statement, Take
from fx2py.program.liveness import leaves, used_names, values_of


def hand_over(
    statements: Sequence[Statement],
    result: Any,
    loads: Iterable[Load],
    function_of: Callable[[Slot], Function | None],
    fresh: Callable[[str], str],
) -> list[Statement]:
    """The statements with each argument handed over that a called function can free before it ends.

    ``loads`` bind the variables that a table keeps alive; ``function_of`` gives the generated function in a slot.
    """
    kept = {load.target for load in loads} | set(used_names(Bind("", result)))
    last = {name: index for index, statement in enumerate(statements) for name in used_names(statement)}
    handed: list[Statement] = []
    for index, statement in enumerate(statements):
        places = _early_places(statement, function_of)
        moving = [
            place
            for place in places
            if last[_name(statement, place)] == index
            and _name(statement, place) not in kept
            and _uses(statement, _name(statement, place)) == 1
        ]
        handed += (
            _moved(statement, moving, fresh) if moving and isinstance(statement, Assign) else [statement]
        )
    return handed


def _early_places(statement: Statement, function_of: Callable[[Slot], Function | None]) -> list[int]:
    """The places of variables whose parameters the called function deletes before its last call."""
    if not isinstance(statement, Assign) or not isinstance(statement.call.callee, Slot):
        return []
    function = function_of(statement.call.callee)
    if function is None:
        return []
    early = _freed_early(function)
    pairs = zip(function.parameters, statement.call.args, strict=False)
    return [i for i, (parameter, value) in enumerate(pairs) if type(value) is Ref and parameter.name in early]


def _freed_early(function: Function) -> frozenset[str]:
    """The positional parameters that are deleted while something is still to be called."""
    calls = [index for index, statement in enumerate(function.body) if isinstance(statement, Assign)]
    before = function.body[: calls[-1]] if calls else ()
    deleted = {name for statement in before if isinstance(statement, Delete) for name in statement.names}
    return frozenset(p.name for p in function.parameters if p.kind == "positional" and p.name in deleted)


def _name(statement: Any, place: int) -> str:
    variable: Ref = statement.call.args[place]
    return variable.name


def _uses(statement: Statement, name: str) -> int:
    return sum(part == Ref(name) for part in leaves(values_of(statement)))


def _moved(statement: Assign, places: list[int], fresh: Callable[[str], str]) -> list[Statement]:
    args = list(statement.call.args)
    moved = fresh("moved")
    box = Bind(moved, List(tuple([args[place] for place in places])))
    for place in places:
        args[place] = Take(moved)
    return [box, replace(statement, call=replace(statement.call, args=tuple(args)))]
