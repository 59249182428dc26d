"""What ``fx2py diff A B`` prints of two graphs or folders: modules that changed, and in each its statements."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from itertools import groupby
from typing import TYPE_CHECKING

from fx2py.cli.terminal import Column, cut, print_facts, print_line, print_table, stdout

if TYPE_CHECKING:
    from fx2py.compare.versions import Change, ModuleChange, VersionDiff, WeightChange

MODULES: tuple[Column[ModuleChange], ...] = (
    Column("module", lambda row: row.path or _ROOT),
    Column("class", lambda row: row.cls.rpartition(".")[2]),
    Column("added", lambda row: _count(row.added, "+"), is_number=True),
    Column("dropped", lambda row: _count(row.dropped, "-"), is_number=True),
    Column("changed", lambda row: _count(row.changed, ""), is_number=True),
    Column("kept", lambda row: f"{row.kept:,}", is_number=True),
)
"""The table of modules in which something changed."""
_ROOT = "(the model)"
_WIDTH = 74
_SHOWN_STATEMENTS = 200
_SHOWN_WEIGHTS = 12


def versions_data(diff: VersionDiff) -> dict[str, object]:
    """The JSON of a comparison of two versions."""
    return {
        "same_statements": diff.same_statements,
        "kept": diff.kept,
        "modules": [asdict(each) for each in diff.modules],
        "changes": [asdict(each) for each in diff.changes],
        "weights": [asdict(each) for each in diff.weights],
        "signatures": diff.signatures,
    }


def print_versions(diff: VersionDiff) -> None:
    """The modules that changed, their statements as a diff, and weights."""
    console = stdout()
    if diff.modules:
        print_table(console, MODULES, diff.modules)
    _print_changes(diff.changes)
    _print_weights(diff.weights)
    facts = {"kept": f"{diff.kept:,} statements"}
    if diff.signatures is not None:
        facts |= {"old inputs": diff.signatures[0], "new inputs": diff.signatures[1]}
    print_facts(console, facts)
    console.print()


def _print_changes(changes: Sequence[Change]) -> None:
    """Statements in the order of the new version, below their modules: the old form in red, the new one in green."""
    console = stdout()
    for module, group in groupby(changes[:_SHOWN_STATEMENTS], key=lambda each: each.module):
        print_line(console, module or _ROOT, "bold")
        source = ""
        for each in group:
            if each.source_line not in ("", source):
                source = each.source_line
                print_line(console, f"  # {cut(source, _WIDTH)}", "dim")
            mark = ", in another order" if each.kind == "moved" else ""
            for sign, text, style in (("-", each.old, "red"), ("+", each.new, "green")):
                if text:
                    print_line(console, f"  {sign} {text}{mark}", style)
    if len(changes) > _SHOWN_STATEMENTS:
        print_line(console, f"... and {len(changes) - _SHOWN_STATEMENTS:,} more, which --json lists", "dim")
    if changes:
        console.print()


def _print_weights(weights: Sequence[WeightChange]) -> None:
    """The first few weights that were added, dropped or reshaped, the names of modules that are others, and how many
    weights hold other numbers."""
    console = stdout()
    counts = Counter(each.kind for each in weights)
    for (old, new), count in Counter(_names(each) for each in weights if each.kind == "renamed").items():
        print_line(console, f"{count:,} weights renamed: {old} -> {new}")
    others = [each for each in weights if each.kind in ("added", "dropped", "reshaped")]
    for each in others[:_SHOWN_WEIGHTS]:
        names = " -> ".join(filter(None, (each.old, each.new)))
        print_line(console, f"weight {each.kind}: {names}", _STYLES.get(each.kind, ""))
    if len(others) > _SHOWN_WEIGHTS:
        print_line(
            console, f"... and {len(others) - _SHOWN_WEIGHTS:,} more weights, which --json lists", "dim"
        )
    if counts["other numbers"]:
        print_line(console, f"{counts['other numbers']:,} weights hold other numbers")
    if weights:
        console.print()


def _names(change: WeightChange) -> tuple[str, str]:
    """What both paths of a weight begin with up to where they end alike."""
    old, new = (text.partition(" ")[0].split(".") for text in (change.old, change.new))
    while len(old) > 1 and len(new) > 1 and old[-1] == new[-1]:
        old, new = old[:-1], new[:-1]
    return ".".join(old), ".".join(new)


def _count(count: int, sign: str) -> str:
    return f"{sign}{count:,}" if count else ""


_STYLES = {"added": "green", "dropped": "red"}
