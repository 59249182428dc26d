"""The functions of a generated text: where each stands, what it calls, where it reads which weights."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from fx2py.program.ir import WEIGHTS
from fx2py.syntax import steps_of

EACH = "*"
"""A step that stands for every index of a list in turn."""
Steps: TypeAlias = tuple["str | int", ...]


@dataclass(frozen=True, slots=True)
class Span:
    """Lines of a text from ``first`` to ``last``, counted from 1."""

    first: int
    last: int

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"


@dataclass(frozen=True, slots=True)
class Reading:
    """A place where a function reads weights: the steps from its record, and the statement.

    ``start`` and ``end`` are the line and column of the expression, columns counted in characters.
    """

    steps: Steps
    statement: Span
    start: tuple[int, int]
    end: tuple[int, int]


class CallSite(NamedTuple):
    """A call of another function of the same text: its name, the line and the column."""

    name: str
    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Definition:
    """One function: the lines of its text, comments above it included, and the line of its ``def``."""

    name: str
    span: Span
    line: int
    calls: tuple[CallSite, ...]
    readings: tuple[Reading, ...]
    statements: tuple[Span, ...]


def definitions(source: str) -> tuple[Definition, ...]:
    """The functions of a text, in its order; raises SyntaxError where the text is no Python."""
    lines = source.splitlines()
    functions = [node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)]
    names = frozenset(node.name for node in functions)
    return tuple([_definition(node, lines, names) for node in functions])


def _definition(node: ast.FunctionDef, lines: list[str], names: frozenset[str]) -> Definition:
    top = node.lineno
    while top > 1 and lines[top - 2].startswith("#"):
        top -= 1
    found = _Finder(lines, names, _records(node))
    for statement in node.body:
        found.read(statement)
    statements = tuple([Span(each.lineno, each.end_lineno or each.lineno) for each in node.body])
    span = Span(top, node.end_lineno or node.lineno)
    return Definition(node.name, span, node.lineno, tuple(found.calls), tuple(found.readings), statements)


def _records(function: ast.FunctionDef) -> dict[str, Steps]:
    """The variables that hold records of weights, by the steps that lead to them."""
    parameters = [*function.args.args, *function.args.kwonlyargs]
    records: dict[str, Steps] = {WEIGHTS: ()} if any(each.arg == WEIGHTS for each in parameters) else {}
    for node in ast.walk(function):
        if isinstance(node, ast.For) and isinstance(node.target, ast.Name):
            over = node.iter
            if isinstance(over, ast.Subscript) and isinstance(over.slice, ast.Slice):
                over = over.value
            steps = _steps(over, records)
            if steps is not None:
                records[node.target.id] = (*steps, EACH)
    return records


def _steps(node: ast.expr, records: Mapping[str, Steps]) -> Steps | None:
    """The steps that an expression takes from a record, None where it is something else."""
    name, steps = steps_of(node) or ("", ())
    return (*records[name], *steps) if name in records else None


class _Finder:
    """Collects the calls of statements and the weights that they read."""

    def __init__(self, lines: list[str], names: frozenset[str], records: Mapping[str, Steps]) -> None:
        self.lines, self.names, self.records = lines, names, records
        self.calls: list[CallSite] = []
        self.readings: list[Reading] = []

    def read(self, statement: ast.stmt) -> None:
        inner = [each for each in ast.iter_child_nodes(statement) if isinstance(each, ast.stmt)]
        head = inner[0].lineno - 1 if inner else statement.end_lineno or statement.lineno
        span = Span(statement.lineno, max(statement.lineno, head))
        pending = [each for each in ast.iter_child_nodes(statement) if not isinstance(each, ast.stmt)][::-1]
        while pending:
            node = pending.pop()
            if isinstance(node, ast.expr) and self._is_weight(node, span):
                continue
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in self.names:
                self.calls.append(
                    CallSite(node.func.id, *self._place(node.func.lineno, node.func.col_offset))
                )
            pending += [*ast.iter_child_nodes(node)][::-1]
        for each in inner:
            self.read(each)

    def _is_weight(self, node: ast.expr, span: Span) -> bool:
        """Record the reading if an expression is a weight, and return whether it is."""
        steps = _steps(node, self.records)
        if steps is None or (isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)):
            return False
        start = self._place(node.lineno, node.col_offset)
        end = self._place(node.end_lineno or node.lineno, node.end_col_offset or node.col_offset)
        self.readings.append(Reading(steps, span, start, end))
        return True

    def _place(self, line: int, offset: int) -> tuple[int, int]:
        """A line and a column in characters; ``ast`` counts bytes."""
        text = self.lines[line - 1]
        return line, offset if text.isascii() else len(text.encode()[:offset].decode())
