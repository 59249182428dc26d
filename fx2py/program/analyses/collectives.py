"""Which calls of a program processes make together, and what is recorded of the process group of each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from fx2py.graph.values import OpName, children
from fx2py.operators.schema import arguments_of
from fx2py.program.ir import Assign, Call, Function, Operand

NAMESPACES = ("_c10d_functional", "_c10d_functional_autograd", "_dtensor")
"""The operator libraries whose operators name a process group by text."""

_BETWEEN_TWO = frozenset({"isend", "irecv", "batch_p2p_ops"})
_AGREED = ("reduce_op", "group_size", "src", "gather_dim", "shard_dim")


@dataclass(frozen=True, slots=True)
class Collective:
    """A call that the members of a group make together.

    ``size`` is that of the group, where the call records it; ``terms`` are the arguments that must be the same on
    every member. ``by_all``: whether every member makes the call, or only the two that it is between.
    """

    op: str
    group: str
    size: int | None = None
    terms: tuple[str, ...] = ()
    by_all: bool = True

    def __str__(self) -> str:
        return f"{self.op}({', '.join(self.terms)})"


def collectives_of(functions: Iterable[Function]) -> tuple[Collective, ...]:
    """The collectives in the order of the text; a group that is no text, as a live object is, is left out."""
    calls = (
        statement.call for function in functions for statement in function.body if type(statement) is Assign
    )
    return tuple(found for call in calls for found in _collective(call))


def _collective(call: Call) -> Iterator[Collective]:
    op = call.callee
    if not isinstance(op, OpName) or op.namespace not in NAMESPACES:
        return
    given = arguments_of(op, call.args, call.kwargs)
    group = given.get("group_name")
    if type(group) is str:
        terms = tuple(f"{name}={given[name]!r}" for name in _AGREED if name in given)
        yield Collective(op.name, group, _size(given), terms, op.name not in _BETWEEN_TWO)


def _size(given: Mapping[str, Operand]) -> int | None:
    """The number of members: as the call says it, or one part for each to send."""
    size = given.get("group_size")
    if type(size) is int:
        return size
    parts = given.get("input_split_sizes")
    return len(children(parts)) or None
