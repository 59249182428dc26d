"""One line of the benchmark's table: what was measured, what came out, and the bar it has to meet."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Row:
    """``value`` is a ratio that must be ``at_least`` or ``at_most`` its bar; ``detail`` says how it was measured."""

    what: str
    value: float
    detail: str = ""
    at_least: float | None = None
    at_most: float | None = None

    @property
    def met(self) -> bool:
        return (self.at_least is None or self.value >= self.at_least) and (
            self.at_most is None or self.value <= self.at_most
        )

    @property
    def bar(self) -> str:
        if self.at_least is not None:
            return f"at least {self.at_least:g}"
        return "" if self.at_most is None else f"at most {self.at_most:g}"


def markdown(rows: Iterable[Row]) -> str:
    """The rows as a table of a README."""
    lines = ["| measured | result | bar | met | how |", "|---|---:|---|---|---|"]
    for row in rows:
        met = ("yes" if row.met else "no") if row.bar else ""
        lines.append(f"| {row.what} | {row.value:.2f} | {row.bar} | {met} | {row.detail} |")
    return "\n".join(lines) + "\n"


def put_between(readme: Path, start: str, end: str, table: str) -> None:
    """Replace what stands between two marks of a file; exits where they are not there."""
    head, found, rest = readme.read_text(encoding="utf-8").partition(start)
    _, closed, tail = rest.partition(end)
    if not (found and closed):
        sys.exit(f"{readme} does not hold the marks {start.strip()} and {end}")
    readme.write_text(f"{head}{start}{table}{end}{tail}", encoding="utf-8")
