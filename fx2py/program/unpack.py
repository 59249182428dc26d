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

from fx2py.graph.values import GETITEM, Name, OpName, Ref
from fx2py.program.ir import Assign, Bind, Statement
from fx2py.program.liveness import used_names

_CONTAINER_MAKERS = frozenset(
    {
        "split",
        "split_with_sizes",
        "chunk",
        "tensor_split",
        "hsplit",
        "vsplit",
        "dsplit",
        "unbind",
        "topk",
        "sort",
    }
    | {
        "kthvalue",
        "mode",
        "frexp",
        "aminmax",
        "var_mean",
        "std_mean",
        "native_layer_norm",
        "native_group_norm",
    }
    | {"native_batch_norm", "meshgrid", "broadcast_tensors"}
)
"""Functions of torch that return a tuple or list whatever they are given."""


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
    target = (
        statement.origin.target if isinstance(statement, Assign) and statement.origin is not None else None
    )
    if isinstance(target, OpName):
        return target.namespace == "aten" and _results(target) != (1, False)
    return isinstance(target, Name) and target.module == "torch" and target.qualname in _CONTAINER_MAKERS


def _result_count(statement: Statement) -> int:
    """How many results the operator of a call has in every call; 0 where that is not known."""
    target = (
        statement.origin.target if isinstance(statement, Assign) and statement.origin is not None else None
    )
    count, _ = _results(target) if isinstance(target, OpName) and target.namespace == "aten" else (0, False)
    return count if count > 1 else 0


@cache
def _results(op: OpName) -> tuple[int, bool]:
    """The number of results that an operator's schema declares, and whether a single one is a list."""
    for schema in torch._C._jit_get_schemas_for_operator(f"aten::{op.name}"):
        if (schema.overload_name or "default") == op.overload:
            returns = schema.returns
            return len(returns), len(returns) == 1 and returns[0].type.kind() == "ListType"
    return 1, False
