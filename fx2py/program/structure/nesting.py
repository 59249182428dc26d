"""Which results are written inside the statement that reads them, as the line of the model has them.

``hidden_states * torch.rsqrt(variance + 1e-06)`` stays one line. Python evaluates it in the order of the three calls,
and lets go of an inner result when the call that takes it returns, as a ``del`` behind that call would.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from math import prod
from typing import Literal, NamedTuple, TypeAlias

from fx2py.graph.data import Node, TensorMeta
from fx2py.graph.values import SETITEM, Name, OpName, Ref, Set, Slice, children, references, walk
from fx2py.operators.schema import may_return_view
from fx2py.program import ir
from fx2py.program.identifiers import MODULE_ALIASES
from fx2py.program.structure.source_text import line_at

MOST_CALLS = 4
"""The most calls in one statement; more are hard to follow."""
MOST_COLUMNS = 86
"""About how wide a statement may become, its indent included."""


class _Expression(NamedTuple):
    """What would be written inside a later statement: the variable, where it begins, its calls and its width."""

    target: str
    start: int
    end: int
    calls: int
    width: int


Kept: TypeAlias = Literal["all", "small", "viewed"]
"""What may die in an inner call, which keeps it to the end of the statement: anything, what is small beside the largest
value of the function, or only what the inner result is a view of."""
_SMALL, _LARGE = 8, 2**63


def written_inside(
    function: ir.Function, name_of: Callable[[str], str], held: Collection[str], kept: Kept
) -> frozenset[str]:
    """The variables that the only statement to read them takes as expressions; ``held`` are those that do not die here."""
    return _Nesting(function, name_of, held, kept).run()


class _Nesting:
    def __init__(
        self, function: ir.Function, name_of: Callable[[str], str], held: Collection[str], kept: Kept
    ) -> None:
        self.function, self.name_of, self.held, self.kept = function, name_of, held, kept
        self.sizes = {
            each.target: _bytes(each.origin)
            for each in function.body
            if isinstance(each, ir.Assign) and each.target is not None
        }
        largest = max((size for size in self.sizes.values() if size < _LARGE), default=0)
        self.small = largest // _SMALL
        self.reads = Counter(
            name for value in function.operands for name in (*references(value), *_taken(value))
        )
        self.last = {
            name: index for index, each in enumerate(function.body) for name in references(*each.operands)
        }
        self.last |= dict.fromkeys(references(function.result), len(function.body))
        self.inside: set[str] = set()
        self.pending: list[_Expression] = []

    def run(self) -> frozenset[str]:
        for index, statement in enumerate(self.function.body):
            self._statement(index, statement)
        return frozenset(self.inside)

    def _statement(self, index: int, statement: ir.Statement) -> None:
        inner = self._taken_by(index, statement)
        self.inside.update(each.target for each in inner)
        if inner:
            del self.pending[-len(inner) :]
        if isinstance(statement, ir.Assign) and self._can_be_inside(index, statement, inner):
            start = inner[0].start if inner else index
            calls = 1 + sum(each.calls for each in inner)
            self.pending.append(
                _Expression(statement.target or "", start, index, calls, self._width(statement.call, inner))
            )
        else:
            self.pending.clear()

    def _can_be_inside(self, index: int, statement: ir.Assign, inner: Sequence[_Expression]) -> bool:
        """Whether a later statement may take the result as an expression."""
        target, call = statement.target, statement.call
        if target is None or self.reads[target] != 1 or not _is_plain(call):
            return False
        within = {each.target for each in inner}
        dying = [
            name
            for name in dict.fromkeys(references(*statement.operands))
            if self.last[name] == index and name not in self.held and name not in within
        ]
        if self.kept == "all" or not dying:
            return True
        sizes = [self.sizes.get(name, _LARGE) for name in dying]
        is_small = self.kept == "small" and max(sizes) <= self.small
        return is_small or (_is_view(statement) and dying == list(references(*call.args[:1])))

    def _taken_by(self, index: int, statement: ir.Statement) -> list[_Expression]:
        """The expressions before a statement that it takes: all that follow each other, in the order of its arguments."""
        if not isinstance(statement, ir.Assign | ir.Unpack) or not _is_plain(statement.call):
            return []
        reads = list(references(*statement.call.args, *[value for _, value in statement.call.kwargs]))
        for count in range(min(len(self.pending), MOST_CALLS - 1), 0, -1):
            inner = self.pending[-count:]
            names = [each.target for each in inner]
            if (
                inner[-1].end == index - 1
                and [name for name in reads if name in names] == names
                and all(one.end + 1 == other.start for one, other in itertools.pairwise(inner))
                and all(self._on_one_line(each, statement) for each in inner)
                and 1 + sum(each.calls for each in inner) <= MOST_CALLS
                and self._statement_width(statement, inner) <= MOST_COLUMNS
            ):
                return inner
        return []

    def _on_one_line(self, inner: _Expression, statement: ir.Assign | ir.Unpack) -> bool:
        made = self.function.body[inner.end]
        return isinstance(made, ir.Assign) and on_one_line(made.origin, statement.origin)

    def _statement_width(self, statement: ir.Assign | ir.Unpack, inner: Sequence[_Expression]) -> int:
        targets = statement.targets if isinstance(statement, ir.Unpack) else (statement.target or "",)
        head = sum(len(self.name_of(each)) + 2 for each in targets) + 1
        return 4 + head + self._width(statement.call, inner)

    def _width(self, call: ir.Call, inner: Sequence[_Expression]) -> int:
        """About how many columns a call takes."""
        widths = {each.target: each.width for each in inner}
        parts = [self._value_width(value, widths) for value in call.args]
        parts += [len(name) + 1 + self._value_width(value, widths) for name, value in call.kwargs]
        between = 2 * max(len(parts) - 1, 0)
        callee = call.callee
        if isinstance(callee, Name) and callee.module == "operator":
            return sum(parts) + 3
        if isinstance(callee, Name):
            return (
                len(MODULE_ALIASES.get(callee.module, callee.module))
                + len(callee.qualname)
                + 3
                + sum(parts)
                + between
            )
        if isinstance(callee, ir.Method):
            return len(callee.name) + 1 + sum(parts) + between
        if isinstance(callee, OpName):
            overload = (callee.overload or "").removeprefix("default")
            return len(f"{callee.namespace}_{callee.name}_{overload}") + 2 + sum(parts) + between
        return MOST_COLUMNS

    def _value_width(self, value: ir.Operand, widths: Mapping[str, int]) -> int:
        if isinstance(value, Ref):
            return widths.get(value.name) or len(self.name_of(value.name))
        if isinstance(value, Slice):
            return 1 + sum(len(str(bound)) for bound in children(value) if bound is not None)
        parts = children(value) if not isinstance(value, ir.Field | ir.Slot | ir.Local | ir.Take) else ()
        return sum(self._value_width(part, widths) + 2 for part in parts) if parts else len(str(value))


def _taken(value: ir.Operand) -> Iterator[str]:
    return (part.name for part in walk(value) if isinstance(part, ir.Take))


def _is_plain(call: ir.Call) -> bool:
    """Whether a call can be an expression, or hold one.

    Not that of a function of the file, nor an assignment to an item. A set is written in the order of its items' text.
    """
    values = (*call.args, *[value for _, value in call.kwargs])
    is_named = isinstance(call.callee, Name | OpName | ir.Method) and call.callee != SETITEM
    return is_named and not any(isinstance(part, Set | ir.Take) for part in walk(*values))


def _bytes(node: Node | None) -> int:
    """How large a recorded result is; a size that varies, and what is no tensor, is taken for large."""
    meta = node.meta.value if node is not None else None
    if not isinstance(meta, TensorMeta) or not all(type(size) is int for size in meta.shape):
        return _LARGE
    return prod(map(int, meta.shape)) * meta.dtype.itemsize


def _is_view(statement: ir.Assign) -> bool:
    target = statement.origin.target if statement.origin is not None else None
    return isinstance(target, OpName) and may_return_view(target)


def on_one_line(one: Node | None, other: Node | None) -> bool:
    """Whether two nodes come from one line of the model, or one from a module that is called in the other's line."""
    lines = [node.meta.source for node in (one, other) if node is not None and node.meta.source is not None]
    if len(lines) != 2:
        return False
    depth = min(line.depth for line in lines)
    here, there = (line_at(node, depth) for node in (one, other))
    return here is not None and here == there
