"""Collectives: the calls that several processes make together, with what is recorded about each one's process group."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from fx2py.graph.values import OpName, children
from fx2py.operators.schema import arguments_of
from fx2py.program.ir import Assign, Call, Function, Operand

NAMESPACES = ("_c10d_functional", "_c10d_functional_autograd", "_dtensor")
"""The operator namespaces whose operators name a process group by text (torch/distributed/_functional_collectives.py)."""

_BETWEEN_TWO = frozenset({"isend", "irecv", "batch_p2p_ops"})
_AGREED = ("reduce_op", "group_size", "src", "gather_dim", "shard_dim")


@dataclass(frozen=True, slots=True)
class Collective:
    """A call that the members of a process group make together.

    ``size`` is the size of the group, if the call records it; ``terms`` are the arguments that must be the same on every
    rank. ``by_all``: whether every rank makes the call, or only the two between which it communicates.
    """

    op: str
    group: str
    size: int | None = None
    terms: tuple[str, ...] = ()
    by_all: bool = True

    def __str__(self) -> str:
        return f"{self.op}({', '.join(self.terms)})"


def collectives_of(functions: Iterable[Function]) -> tuple[Collective, ...]:
    """The collectives in program order, without those whose group is an object and has no name."""
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
    """The size of the group: as the call says, or the number of parts that it sends, one to each rank."""
    size = given.get("group_size")
    if type(size) is int:
        return size
    parts = given.get("input_split_sizes")
    return len(children(parts)) or None
