"""The terminal: how text, tables and JSON get onto it, whatever the command."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Generic, TextIO, TypeVar

from rich import box
from rich.console import Console, ConsoleRenderable
from rich.table import Table
from rich.text import Text

from fx2py.distributed.launcher import Rank
from fx2py.errors import escaped

if TYPE_CHECKING:
    from rich.live import Live

T = TypeVar("T")

_rank = Rank()
_streams: tuple[TextIO | None, TextIO | None] = (None, None)
"""The command's own standard output and error; None stands for those of the process."""
_live: Console | None = None
_moving: Live | None = None


def set_rank(rank: Rank) -> None:
    """From now on this process is ``rank`` of several: only the first prints results, and each names itself in a fault."""
    global _rank
    _rank = rank


def is_silent() -> bool:
    """Whether another rank prints for this one."""
    return _rank.index != 0


@contextmanager
def writing_to(output: TextIO, error: TextIO) -> Iterator[None]:
    """Inside the block the command writes to these streams, whatever ``sys.stdout`` and ``sys.stderr`` are."""
    global _streams
    before, _streams = _streams, (output, error)
    try:
        yield
    finally:
        _streams = before


def out() -> TextIO:
    """The command's own standard output."""
    return _streams[0] or sys.stdout


def dialogue() -> TextIO:
    """Where to talk to the user: standard output where that is a terminal, else standard error."""
    return out() if out().isatty() else _streams[1] or sys.stderr


def stdout() -> Console:
    return Console(file=out(), highlight=False, quiet=is_silent())


def stderr() -> Console:
    return _live or Console(file=_streams[1], stderr=True, highlight=False, quiet=is_silent())


@contextmanager
def live(console: Console, shown_meanwhile: ConsoleRenderable) -> Iterator[None]:
    """Something that moves at the end of the screen; what is printed on stderr meanwhile stands above it.

    rich would also take over ``sys.stdout`` and ``sys.stderr``, and pass on what steers a terminal.
    """
    global _live, _moving
    from rich.live import Live

    with Live(
        shown_meanwhile, console=console, transient=True, redirect_stdout=False, redirect_stderr=False
    ) as moving:
        _live, _moving = console, moving
        try:
            yield
        finally:
            _live = _moving = None


@contextmanager
def paused() -> Iterator[None]:
    """Nothing moves on the screen inside the block."""
    moving = _moving
    if moving is not None:
        moving.stop()
    try:
        yield
    finally:
        if moving is not None:
            moving.start()


def faults() -> Console:
    """Where every rank may print."""
    return Console(file=_streams[1], stderr=True, highlight=False)


def rank_prefix() -> str:
    """The name of this process among several, to put before a fault."""
    return f"rank {_rank.index}: " if _rank.size > 1 else ""


def write(text: str) -> None:
    """``text`` on stdout, byte for byte."""
    if not is_silent():
        out().write(text)


def shown(text: str, style: str = "") -> Text:
    """One line of text as it stands, no markup, nothing that could steer a terminal or begin a line of its own."""
    return Text(escaped(text), style)


def shown_lines(text: str, style: str = "") -> Text:
    """A message of several lines; each after the first is indented, so that none can be taken for another message."""
    return Text(re.sub("\n(?! )", "\n  ", escaped(text, "\n")), style)


def cut(text: str, width: int) -> str:
    """A text with its end left out where it is too long for so many columns."""
    return text if len(text) <= width else f"{text[: width - 3]}..."


def print_line(console: Console, text: str, style: str = "") -> None:
    """One line, left to the terminal to wrap."""
    console.print(shown(text, style), soft_wrap=True)


def print_stray(text: str) -> None:
    """A line that a graph or a library wrote, marked so that none is taken for fx2py's."""
    print_line(stderr(), f"| {text}", "dim")


def print_notes(console: Console, notes: Iterable[str]) -> None:
    """What a reader could not know and what the code does not do, so that none of it is missed in silence."""
    for note in notes:
        print_line(console, f"note: {note}", "yellow")


def print_json(data: object) -> None:
    """One JSON document; paths in it are text."""
    write(json.dumps(_finite(data), indent=2, allow_nan=False, default=str) + "\n")


def _finite(value: object) -> object:
    """JSON has no infinity and no NaN: they are given as text."""
    if isinstance(value, float):
        return value if isfinite(value) else str(value)
    if isinstance(value, dict):
        return {name: _finite(part) for name, part in value.items()}
    return [_finite(part) for part in value] if isinstance(value, list | tuple) else value


def print_code(console: Console, source: str) -> None:
    """Python source; highlighted where a person sees it."""
    if not console.is_terminal:
        write(source.rstrip("\n") + "\n")
        return

    from rich.syntax import Syntax

    code = Syntax("", "python", theme="ansi_dark", background_color="default").highlight(source)
    code.rstrip()
    console.print(code, soft_wrap=True)


@dataclass(frozen=True, slots=True)
class Column(Generic[T]):
    """A column of a table: its name, and what stands there of a row. Numbers are aligned to the right."""

    name: str
    cell: Callable[[T], str | Text]
    is_number: bool = False


def print_table(console: Console, columns: Sequence[Column[T]], rows: Iterable[T]) -> None:
    """A table, text in it as it stands, and an empty line below it."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for column in columns:
        table.add_column(column.name, justify="right" if column.is_number else "left", overflow="fold")
    for row in rows:
        cells = [column.cell(row) for column in columns]
        table.add_row(*[shown(cell) if isinstance(cell, str) else cell for cell in cells])
    console.print(table)
    console.print()


def print_facts(console: Console, facts: Mapping[str, str]) -> None:
    """Named facts, a line each, the names aligned."""
    width = max(map(len, facts), default=0)
    for name, fact in facts.items():
        console.print(Text.assemble(shown(f"{name:{width}}  ", "bold"), shown(fact)), soft_wrap=True)


def short(number: float | None) -> str:
    """A number in three digits; empty where there is none."""
    return "" if number is None else f"{number:.3g}"


def duration(seconds: float) -> str:
    """Seconds in three digits of the unit that suits them."""
    for unit, scale in (("s", 1.0), ("ms", 1e3), ("us", 1e6)):
        if seconds * scale >= 1:
            return f"{seconds * scale:.3g} {unit}"
    return f"{seconds * 1e9:.0f} ns"
