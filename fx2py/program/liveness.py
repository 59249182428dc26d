"""Liveness: every value is deleted right after its last use, so that peak memory is that of the graph itself.

Two rewrites keep values from living longer than that:

``unpack_early``: a graph takes the items of ``split`` or ``topk`` wherever it needs them, and the tuple keeps all of them
alive until the last one is taken. Taken right after the call, each item lives until its own last use, and one that is
never used is not taken at all.

``move_arguments``: a caller's variables keep the arguments of a call alive while it runs. Where the called function
deletes a parameter before its last call, the caller moves its last use of that argument into the call:

    moved = [hidden]
    del hidden
    output = submods[1](moved.pop(0))

From Python 3.11 on the called function then holds the only reference, and its own ``del`` frees the value. Python 3.10
keeps the arguments of a running call on the caller's stack, so that there nothing is gained.

``place_loads`` and ``finish`` come last: variables for slots right before their first use, deletions after the last use.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeGuard

from fx2py.graph.data import Target
from fx2py.graph.values import List, Name, OpName, Ref, item_taken, references
from fx2py.operators.facts import facts_named
from fx2py.operators.schema import result_count
from fx2py.program import ir

# -- items of tuples


def unpack_early(statements: Sequence[ir.Statement], result: ir.Operand) -> list[ir.Statement]:
    """The statements with the items of a tuple that is only unpacked taken right after the call that returns it.

    Exact because the call returns a new tuple or list: nothing else refers to it, and indexing it runs no code. (An item
    of a tensor would be a view of what may still change.) Only an item that does not exist raises earlier than in the
    graph.
    """
    items: dict[str, list[_Item]] = {}
    for statement in statements:
        if found := _item_of(statement):
            items.setdefault(found.container, []).append(found)
    if not items:
        return list(statements)
    whole = set(ir.names_in(result))
    for statement in statements:
        if not _item_of(statement):
            whole.update(statement.parts.variables)
    ordered: list[ir.Statement] = []
    unpacked: set[str] = set()
    for statement in statements:
        found = _item_of(statement)
        if found and found.container in unpacked:
            continue
        ordered.append(statement)
        name = statement.target if _makes_container(statement) else None
        if name in items and name not in whole:
            unpacked.add(name)
            count = _result_count(statement)
            ordered += [
                item.statement
                for item in items[name]
                if item.statement.target in whole
                or item.statement.target in items
                or not -count <= item.index < count
            ]
    return ordered


@dataclass(frozen=True, slots=True)
class _Item:
    """The statement ``item = container[3]``."""

    statement: ir.Assign
    container: str
    index: int


def _item_of(statement: ir.Statement) -> _Item | None:
    """The item that a statement takes; None if it does something else."""
    if type(statement) is not ir.Assign:
        return None
    taken = item_taken(statement.call.callee, statement.call.args, statement.call.kwargs)
    return None if taken is None else _Item(statement, *taken)


def _makes_container(statement: ir.Statement) -> TypeGuard[ir.Assign]:
    """Whether every call of a statement's target returns a new tuple or list."""
    target = _target(statement)
    if isinstance(target, OpName):
        return target.namespace == "aten" and result_count(target) != 1
    if isinstance(target, Name) and target.module == "torch":
        return facts_named(target.qualname).returns == "container"
    return False


def _result_count(statement: ir.Statement) -> int:
    """How many results the called operator always has; 0 if that is not known."""
    target = _target(statement)
    count = result_count(target) if isinstance(target, OpName) and target.namespace == "aten" else None
    return 0 if count is None or count == 1 else count


def _target(statement: ir.Statement) -> Target | None:
    if not isinstance(statement, ir.Assign) or statement.origin is None:
        return None
    return statement.origin.target


# -- last-use moves


def move_arguments(
    statements: Sequence[ir.Statement],
    result: ir.Operand,
    loads: Iterable[ir.Load],
    function_of: Callable[[ir.Slot], ir.Function | None],
    fresh: Callable[[str], str],
) -> list[ir.Statement]:
    """The statements with each argument that the called function frees before it ends moved into the call.

    ``loads`` are the variables that a table keeps alive; ``function_of`` gives the generated function in a slot.
    """
    freed = _freed_early_by_call(statements, function_of)
    if not freed:
        return list(statements)
    kept = {load.target for load in loads} | set(ir.names_in(result))
    last = {name: index for index, statement in enumerate(statements) for name in statement.parts.variables}
    body: list[ir.Statement] = []
    for index, statement in enumerate(statements):
        if not isinstance(statement, ir.Assign) or index not in freed:
            body.append(statement)
            continue
        used = Counter(references(*statement.operands))
        places = [
            place
            for place, name in freed[index].items()
            if last[name] == index and name not in kept and used[name] == 1
        ]
        body += _with_moves(statement, places, fresh) if places else [statement]
    return body


def _freed_early_by_call(
    statements: Sequence[ir.Statement], function_of: Callable[[ir.Slot], ir.Function | None]
) -> dict[int, dict[int, str]]:
    """The calls of functions that free parameters before their own last call: the variables by argument position."""
    found: dict[int, dict[int, str]] = {}
    early: dict[str, frozenset[str]] = {}
    for index, statement in enumerate(statements):
        called = statement.call.callee if isinstance(statement, ir.Assign) else None
        function = function_of(called) if isinstance(called, ir.Slot) else None
        if function is None or not isinstance(statement, ir.Assign):
            continue
        if function.name not in early:
            early[function.name] = _freed_early(function)
        pairs = zip(function.parameters, statement.call.args, strict=False)
        found[index] = {
            place: ref.name
            for place, (own, ref) in enumerate(pairs)
            if type(ref) is Ref and own.name in early[function.name]
        }
    return found


def _freed_early(function: ir.Function) -> frozenset[str]:
    """The positional parameters that a function deletes before its last call."""
    calls = [index for index, statement in enumerate(function.body) if isinstance(statement, ir.Assign)]
    before = function.body[: calls[-1]] if calls else ()
    deleted = {name for statement in before if isinstance(statement, ir.Delete) for name in statement.names}
    return frozenset(p.name for p in function.parameters if p.kind == "positional" and p.name in deleted)


def _with_moves(statement: ir.Assign, places: list[int], fresh: Callable[[str], str]) -> list[ir.Statement]:
    args = list(statement.call.args)
    moved = fresh("moved")
    box = ir.Bind(moved, List(tuple([args[place] for place in places])))
    for place in places:
        args[place] = ir.Take(moved)
    return [box, replace(statement, call=replace(statement.call, args=tuple(args)))]


# -- loads and deletions


def place_loads(
    statements: Sequence[ir.Statement], result: ir.Operand, loads: Iterable[ir.Load]
) -> list[ir.Statement]:
    """The statements with each load right before the first use of its variable, where a reader looks for it."""
    waiting = {load.target: load for load in loads}
    if not waiting:
        return list(statements)
    placed: list[ir.Statement] = []
    for statement in statements:
        placed += [waiting.pop(name) for name in statement.parts.variables if name in waiting]
        placed.append(statement)
    placed += [waiting.pop(name) for name in ir.names_in(result) if name in waiting]
    return placed


def finish(
    name: str,
    parameters: tuple[ir.Parameter, ...],
    statements: Sequence[ir.Statement],
    result: ir.Operand,
    path: str,
    functions: Mapping[str, ir.Function],
) -> ir.Function:
    """The finished function: unused results dropped, deletions inserted, the tables that it reads as parameters.

    ``functions`` are those before it, by name.
    """
    kept_alive = set(ir.names_in(result))
    kept_alive.update(statement.target for statement in statements if type(statement) is ir.Load)
    seen = set(kept_alive)
    backwards: list[ir.Statement] = []
    for statement in reversed(statements):
        if type(statement) is ir.Assign and statement.target not in seen:
            statement = ir.Assign(None, statement.call, origin=statement.origin)
        dying = [used for used in statement.parts.variables if used not in seen]
        if dying:
            seen.update(dying)
            backwards.append(ir.Delete(tuple(dying)))
        backwards.append(statement)
    unused = tuple(parameter.name for parameter in parameters if parameter.name not in seen)
    body = ([ir.Delete(unused)] if unused else []) + backwards[::-1]
    function = ir.Function(name, parameters, (), tuple(body), result, path)
    return replace(function, tables=_tables(function, functions))


def _tables(function: ir.Function, functions: Mapping[str, ir.Function]) -> tuple[ir.TableName, ...]:
    """The tables that the function reads, or that a function reads which it passes as an argument."""
    needed: set[ir.TableName] = set()
    for part in function.named:
        if type(part) is ir.Slot:
            needed.add(part.table)
        elif type(part) is ir.Local:
            if part.name == ir.COMPUTE_ONCE:
                needed.add(ir.COMPUTE_ONCE)
            elif part.name in functions:
                needed.update(functions[part.name].tables)
    return tuple(table for table in ir.TABLE_NAMES if table in needed)
