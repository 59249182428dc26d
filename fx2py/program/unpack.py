"""Unpacking: the items of an operator's tuple are taken at once, so that the tuple keeps none of them alive.

A graph takes the items of ``split`` or ``topk`` wherever it needs them, and the tuple holds all of them until the last
one is taken. Taken right after the call, each item lives exactly as long as it is used itself; one that is never used
is not taken at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, TypeGuard

import torch

from fx2py.graph.values import Name, OpName, Ref
from fx2py.program.ir import Assign, Bind, Statement
from fx2py.program.liveness import used_names

_GETITEM = Name("operator", "getitem")
_TORCH = frozenset({"torch", "torch.functional", "torch.nn.functional", "torch._C._nn", "torch.linalg"})


def unpack_early(statements: Sequence[Statement], result: Any) -> list[Statement]:
    """The statements with each item of a container that is only unpacked taken right after the container is made.

    Exact because the container is a fresh tuple or list of torch: nothing else can reach it, and taking an item runs
    no code. Only an item that is not there raises earlier than the graph would.
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
        name = statement.target if isinstance(statement, Assign) and _is_made_by_torch(statement) else None
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
    if type(statement) is not Assign or statement.call.callee != _GETITEM:
        return False
    args = statement.call.args
    return len(args) == 2 and type(args[0]) is Ref and type(args[1]) is int and not statement.call.kwargs


def _source(statement: Assign) -> str:
    container: Ref = statement.call.args[0]
    return container.name


def _is_made_by_torch(statement: Assign) -> bool:
    """Whether the result is what an operator, or a function of torch itself, returns."""
    target = statement.origin.target if statement.origin is not None else None
    return isinstance(target, OpName) or (isinstance(target, Name) and target.module in _TORCH)


def _result_count(statement: Statement) -> int:
    """How many results the operator of a call has in every call; 0 where that is not known."""
    origin = statement.origin if isinstance(statement, Assign) else None
    target = origin.target if origin is not None else None
    return _fixed_count(target) if isinstance(target, OpName) and target.namespace == "aten" else 0


@cache
def _fixed_count(op: OpName) -> int:
    schemas = torch._C._jit_get_schemas_for_operator(f"aten::{op.name}")
    counts = [len(schema.returns) for schema in schemas if (schema.overload_name or "default") == op.overload]
    return counts[0] if counts and counts[0] > 1 else 0
