"""The outline of a generated file: the tree of its modules as rows, each with the function that stands for it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from fx2py.program.ir import ModuleEntry

LEVELS = 2
"""How many levels below the model the outline at the head of a file shows; deeper ones where functions stand for them."""
_FUNCTION = re.compile(r"def (\w+)\(")


@dataclass(frozen=True, slots=True)
class OutlineRow:
    """A module of the tree, or ``count`` consecutive ones of a list that are alike, of which ``entry`` is the first.

    ``name`` is the path below the module around it, ``depth`` counts the modules around it, ``cls`` is the name of the
    class alone. ``calls`` and ``parameters`` are those of all ``count``. ``function`` and ``line`` are '' and 0 where no
    function stands for it.
    """

    depth: int
    name: str
    cls: str
    count: int
    calls: int
    parameters: int
    function: str
    line: int
    entry: ModuleEntry


def function_lines(source: str) -> dict[str, int]:
    """The line, from 1, at which each function of a generated file begins."""
    starts = ((number, _FUNCTION.match(line)) for number, line in enumerate(source.split("\n"), 1))
    return {match[1]: number for number, match in starts if match is not None}


def outline_rows(
    root: ModuleEntry, lines: Mapping[str, int], levels: int | None = None
) -> Iterator[OutlineRow]:
    """The rows below ``root``, outer ones first; with ``levels``, deeper ones only where functions stand for them."""
    yield from _below(root, lines, levels, 0)


def _below(
    around: ModuleEntry, lines: Mapping[str, int], levels: int | None, depth: int
) -> Iterator[OutlineRow]:
    for name, alike in _alike(around):
        first = alike[0]
        if levels is None or depth < levels or any(each.function for each in first.walk()):
            cls = first.cls.rpartition(".")[2]
            calls, parameters = (
                sum(counts) for counts in zip(*[(e.calls, e.parameters) for e in alike], strict=True)
            )
            line = lines.get(first.function, 0)
            yield OutlineRow(depth, name, cls, len(alike), calls, parameters, first.function, line, first)
            yield from _below(first, lines, levels, depth + 1)


def _alike(around: ModuleEntry) -> Iterator[tuple[str, Sequence[ModuleEntry]]]:
    """The modules inside one, those that follow each other in a list and are alike together: ``layers``, four modules."""
    run: list[ModuleEntry] = []
    for entry in around.children:
        if run and not _continues(run[-1], entry):
            yield _run_name(around, run), run
            run = []
        run.append(entry)
    if run:
        yield _run_name(around, run), run


def _continues(one: ModuleEntry, other: ModuleEntry) -> bool:
    (outer, number), (other_outer, other_number) = _place(one), _place(other)
    is_next = number is not None and other_number == number + 1
    return outer == other_outer and is_next and (one.cls, one.function) == (other.cls, other.function)


def _place(entry: ModuleEntry) -> tuple[str, int | None]:
    outer, _, own = entry.path.rpartition(".")
    return outer, int(own) if own.isascii() and own.isdigit() and len(own) < 10 else None


def _run_name(around: ModuleEntry, run: Sequence[ModuleEntry]) -> str:
    """``layers`` for all that ran of a list, ``layers[1:4]`` or ``layers[0]`` for a part of it."""
    prefix = f"{around.path}." if around.path else ""
    outer, start = _place(run[0])
    if start is None:
        return run[0].path.removeprefix(prefix)
    name = outer.removeprefix(prefix) if outer != around.path else ""
    if len(run) == 1:
        return f"{name}[{start}]"
    of_list = [each for each in around.children if _place(each)[0] == outer]
    return name if name and len(of_list) == len(run) else f"{name}[{start}:{start + len(run)}]"


def outline_text(root: ModuleEntry, lines: Mapping[str, int]) -> list[str]:
    """The outline as the lines of a table; what is inside a function is shown where the function is first named."""
    cells = [_cells(row) for row in _once(outline_rows(root, lines, LEVELS))]
    if not cells:
        return []
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        f"{name:{widths[0]}}  {cls:{widths[1]}}  {where:{widths[2]}}  {parameters:>{widths[3]}}".rstrip()
        for name, cls, where, parameters in cells
    ]


def _once(rows: Iterable[OutlineRow]) -> Iterator[OutlineRow]:
    """The rows without those inside a function of which an earlier row has shown the inside."""
    known: set[str] = set()
    hidden: int | None = None
    for row in rows:
        if hidden is not None and row.depth > hidden:
            continue
        is_known = row.function in known
        hidden = row.depth if is_known else None
        if is_known and row.depth > LEVELS:
            continue
        known.update(filter(None, [row.function]))
        yield row


def _cells(row: OutlineRow) -> tuple[str, str, str, str]:
    many = f"{row.count} x {row.cls}" if row.count > 1 else row.cls
    where = f"line {row.line}" if row.line else "inline"
    calls = f", {row.calls} calls" if row.calls > row.count else ""
    parameters = f"{row.parameters:,} parameters" if row.parameters else ""
    name = row.name.strip() or "?"  # black would move a docstring whose lines all begin with spaces
    return f"{'  ' * row.depth}{name}", many, f"{where}{calls}", parameters
