"""How long values live: each is deleted right after its last use, and none lives longer by how the code is written.

``unpack_early``: a graph takes the items of ``split`` or ``topk`` wherever it needs them, and the tuple holds all of them
until the last one is taken. Taken right after the call, each item lives exactly as long as it is used itself; one that
is never used is not taken at all.

``move_arguments``: Python keeps the arguments of a call alive in the caller's variables. Where the called function is
done with an argument before it ends, the caller puts it into a list, forgets it, and takes it out again in the call
itself, which is a last-use move:

    moved = [hidden]
    del hidden
    output = submods[1](moved.pop(0))

From Python 3.11 on the called function then holds the only reference, and its own ``del`` frees the value; Python 3.10
keeps the arguments of a running call on the caller's stack.

``place_loads`` and ``finish`` come last: names for slots right before their first use, deletions right after the last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeGuard

from fx2py.graph.values import CONTAINERS, GETITEM, List, Name, OpName, Ref, children
from fx2py.operators.facts import facts_named
from fx2py.operators.schema import result_count
from fx2py.program.ir import (
    COMPUTE_ONCE,
    TABLE_NAMES,
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


# -- items of tuples


def unpack_early(statements: Sequence[Statement], result: Any) -> list[Statement]:
    """The statements with each item of a container that is only unpacked taken right after the container is made.

    Exact because the container is a fresh tuple or list: nothing else can reach it, and taking an item runs no code,
    where an item of a tensor would be a view of what may still change. Only an item that is not there raises earlier than the graph would.
    """
    items: dict[str, list[Assign]] = {}
    whole = set(used_names(Bind("", result)))
    for statement in statements:
        if _takes_item(statement):
            items.setdefault(_source(statement), []).append(statement)
        else:
            whole.update(used_names(statement))
    ordered: list[Statement] = []
    unpacked: set[str] = set()
    for statement in statements:
        if _takes_item(statement) and _source(statement) in unpacked:
            continue
        ordered.append(statement)
        name = statement.target if _makes_container(statement) else None
        if name in items and name not in whole:
            unpacked.add(name)
            count = _result_count(statement)
            ordered += [
                item
                for item in items[name]
                if item.target in whole or item.target in items or not -count <= item.call.args[1] < count
            ]
    return ordered


def _takes_item(statement: Statement) -> TypeGuard[Assign]:
    """Whether a statement is ``item = container[3]``."""
    if type(statement) is not Assign or statement.call.callee != GETITEM:
        return False
    args = statement.call.args
    return len(args) == 2 and type(args[0]) is Ref and type(args[1]) is int and not statement.call.kwargs


def _source(statement: Assign) -> str:
    container: Ref = statement.call.args[0]
    return container.name


def _makes_container(statement: Statement) -> TypeGuard[Assign]:
    """Whether every call of a statement's target returns a fresh tuple or list."""
    target = _target(statement)
    if isinstance(target, OpName):
        return target.namespace == "aten" and result_count(target) != 1
    is_function = isinstance(target, Name) and target.module == "torch"
    return is_function and facts_named(target.qualname).returns == "container"


def _result_count(statement: Statement) -> int:
    """How many results the operator of a call has in every call; 0 where that is not known."""
    target = _target(statement)
    count = result_count(target) if isinstance(target, OpName) and target.namespace == "aten" else None
    return 0 if count in (None, 1) else count


def _target(statement: Statement) -> Any:
    if not isinstance(statement, Assign) or statement.origin is None:
        return None
    return statement.origin.target


# -- last-use moves


def move_arguments(
    statements: Sequence[Statement],
    result: Any,
    loads: Iterable[Load],
    function_of: Callable[[Slot], Function | None],
    fresh: Callable[[str], str],
) -> list[Statement]:
    """The statements with each argument moved into the call that the called function can free before it ends.

    ``loads`` bind the variables that a table keeps alive; ``function_of`` gives the generated function in a slot.
    """
    kept = {load.target for load in loads} | set(used_names(Bind("", result)))
    last = {name: index for index, statement in enumerate(statements) for name in used_names(statement)}
    kept_or_moved: list[Statement] = []
    for index, statement in enumerate(statements):
        places = _freed_early_in(statement, function_of)
        moving = [
            place
            for place in places
            if last[_name(statement, place)] == index
            and _name(statement, place) not in kept
            and _uses(statement, _name(statement, place)) == 1
        ]
        kept_or_moved += (
            _moved(statement, moving, fresh) if moving and isinstance(statement, Assign) else [statement]
        )
    return kept_or_moved


def _freed_early_in(statement: Statement, function_of: Callable[[Slot], Function | None]) -> list[int]:
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


# -- loads and deletions


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
    return tuple(table for table in TABLE_NAMES if table in needed)
