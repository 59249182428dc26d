"""In what two calls of modules of one class differ, in words for the reader of their functions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from fx2py.program.structure.regions import FlatBody, Interface, Region
from fx2py.program.structure.source_text import line_at

_MOST_LINES = 4


def differences(
    body: FlatBody, one: tuple[Region, Interface], other: tuple[Region, Interface]
) -> Iterator[str]:
    """What the other call does that the first does not, and the other way round: lines, values taken and given, modules."""
    (region, interface), (other_region, other_interface) = one, other
    lines, other_lines = _lines(body, region), _lines(body, other_region)
    yield from _counted("runs line", other_lines.keys() - lines.keys())
    yield from _counted("does not run line", lines.keys() - other_lines.keys())
    inner, other_inner = (_classes(each) for each in (region, other_region))
    yield from _named("calls", other_inner - inner)
    yield from _named("does not call", inner - other_inner)
    if lines.keys() == other_lines.keys():
        given, other_given = len(interface.outputs), len(other_interface.outputs)
        if given != other_given:
            yield f"gives {other_given} value{'' if other_given == 1 else 's'} and not {given}"
        else:
            yield from _counted("makes other calls in line", {n for n in lines if lines[n] != other_lines[n]})


def _lines(body: FlatBody, region: Region) -> dict[int, list[object]]:
    """The lines of the module's own code that ran, each with what it called."""
    found: dict[int, list[object]] = {}
    for statement in body.statements[region.start : region.end]:
        line = line_at(statement.origin, region.depth)
        if line is not None and line.depth == region.depth and statement.origin is not None:
            found.setdefault(line.line, []).append(statement.origin.target)
    return found


def _classes(region: Region) -> set[str]:
    return {child.frame.cls.rpartition(".")[2] for child in region.walk()}


def _counted(what: str, lines: Iterable[int]) -> Iterator[str]:
    if found := [str(line) for line in sorted(lines)]:
        shown = ", ".join(found[:_MOST_LINES])
        yield f"{what}{'s' if len(found) > 1 else ''} {shown}{', ...' if len(found) > _MOST_LINES else ''}"


def _named(what: str, classes: Iterable[str]) -> Iterator[str]:
    if found := sorted(classes):
        yield f"{what} {', '.join(found[:_MOST_LINES])}"
