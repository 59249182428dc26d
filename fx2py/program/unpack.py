"""Unpacking: the items of an operator's tuple are taken at once, so that the tuple keeps none of them alive.

A graph takes the items of ``split`` or ``topk`` wherever it needs them, and the tuple holds all of them until the last
one is taken. Taken right after the call, each item lives exactly as long as it is used itself; one that is never used
is not taken at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeGuard

from fx2py.graph.values import GETITEM, Name, OpName, Ref
from fx2py.operators.facts import facts_named
from fx2py.operators.schema import result_count
from fx2py.program.ir import Assign, Bind, Statement
from fx2py.program.liveness import used_names


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
