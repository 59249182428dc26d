"""The terminal: how text, tables and JSON get onto it, whatever the command."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fx2py.replay.launcher import Rank

_speaker = Rank()


def speak_as(rank: Rank) -> None:
    """From now on this process is ``rank`` of several: only the first prints, and each says who it is in a fault."""
    global _speaker
    _speaker = rank


def is_silent() -> bool:
    """Whether another rank speaks for this one."""
    return _speaker.index != 0


def stdout() -> Console:
    return Console(highlight=False, quiet=is_silent())


def stderr() -> Console:
    return Console(stderr=True, highlight=False, quiet=is_silent())


def faults() -> Console:
    """Where every rank may print."""
    return Console(stderr=True, highlight=False)


def who() -> str:
    """The name of this process among several, to put before a fault."""
    return f"rank {_speaker.index}: " if _speaker.size > 1 else ""


def write(text: str) -> None:
    """``text`` on stdout, byte for byte."""
    if not is_silent():
        sys.stdout.write(text)


def shown(text: str, style: str = "") -> Text:
    """Text as it stands, no markup; what could steer a terminal is shown as its escape (names come from files)."""
    signs = (sign if sign.isprintable() or sign == "\n" else repr(sign)[1:-1] for sign in text)
    return Text("".join(signs), style)


def print_line(console: Console, text: str, style: str = "") -> None:
    """One line, left to the terminal to wrap."""
    console.print(shown(text, style), soft_wrap=True)


def print_notes(console: Console, notes: Iterable[str]) -> None:
    """What a reader could not know and what the code does not do, so that none of it is missed in silence."""
    for note in notes:
        print_line(console, f"note: {note}", "yellow")


def print_json(data: Any) -> None:
    """One JSON document."""
    write(json.dumps(data, indent=2, allow_nan=False) + "\n")


def print_code(console: Console, source: str) -> None:
    """Python source; highlighted where a person sees it."""
    if not console.is_terminal:
        write(source.rstrip("\n") + "\n")
        return

    from rich.syntax import Syntax

    code = Syntax("", "python", theme="ansi_dark", background_color="default").highlight(source)
    code.rstrip()
    console.print(code, soft_wrap=True)


_NUMERIC = frozenset(
    {"calls", "modules", "tensors", "numbers", "min", "mean", "max", "nan"}
    | {"time", "spread", "ratio", "per node", "peak bytes", "code bytes"}
)


def table_of(*columns: str) -> Table:
    """An empty table; columns of numbers are aligned to the right."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for column in columns:
        table.add_column(column, justify="right" if column in _NUMERIC else "left", overflow="fold")
    return table


def add_row(table: Table, *cells: str | Text) -> None:
    """Add a row; plain text is shown as it stands."""
    table.add_row(*[shown(cell) if isinstance(cell, str) else cell for cell in cells])


def print_table(console: Console, table: Table) -> None:
    """A table, and an empty line below it."""
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
