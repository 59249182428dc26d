"""The error of each module down a model, as a plot: a row for each module, its error to the right on a logarithmic scale."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from fx2py.compare.module_errors import ModuleError
from fx2py.show.markup import Markup, element

_WIDTH, _ROW, _TOP = 900, 20, 34
_LEFT, _RIGHT = 300, 24
_LONGEST = 38
"""Characters of a path that fit beside the plot."""


def error_plot(errors: Sequence[ModuleError], lines: Mapping[str, int]) -> Markup:
    """The plot; ``lines`` has the line that each module leads to. Modules without a finite error stand at its right end."""
    low, high = _decades(errors)
    height = _TOP + _ROW * len(errors) + 12
    first = next((index for index, each in enumerate(errors) if not each.is_equal), None)
    points = [(_x(each, low, high), _TOP + _ROW * index + _ROW // 2) for index, each in enumerate(errors)]
    rows = [
        _row(each, x, y, is_first=index == first, line=lines.get(each.path, 0))
        for index, (each, (x, y)) in enumerate(zip(errors, points, strict=True))
    ]
    start = len(points) if first is None else max(0, first - 1)
    path = " ".join([f"{x:.1f},{y}" for x, y in points[start:]])
    return element(
        "div",
        element(
            "svg",
            *_grid(low, high, height),
            element("polyline", class_="line", points=path),
            *rows,
            viewBox=f"0 0 {_WIDTH} {height}",
            role="img",
            aria_label="The error of each module, from the first to the last",
        ),
        class_="plot",
    )


def _decades(errors: Sequence[ModuleError]) -> tuple[int, int]:
    """The powers of ten that the errors lie between."""
    found = [math.log10(each.relative) for each in errors if each.relative]
    low, high = (math.floor(min(found)), math.ceil(max(found))) if found else (-8, 0)
    return low, max(high, low + 1)


def _x(error: ModuleError, low: int, high: int) -> float:
    start, end = _LEFT + 60, _WIDTH - _RIGHT
    if error.is_equal:
        return _LEFT + 16
    if not error.relative:
        return end
    return start + (end - start) * (math.log10(error.relative) - low) / (high - low)


def _grid(low: int, high: int, height: int) -> list[Markup]:
    start, end = _LEFT + 60, _WIDTH - _RIGHT
    step = max(1, math.ceil((high - low) / 8))
    marks = [(_LEFT + 16.0, "equal")]
    marks += [
        (start + (end - start) * (power - low) / (high - low), f"1e{power}")
        for power in range(low, high + 1, step)
    ]
    return [
        part
        for x, label in marks
        for part in (
            element("line", class_="grid", x1=f"{x:.1f}", x2=f"{x:.1f}", y1=_TOP - 8, y2=height),
            element("text", label, x=f"{x:.1f}", y=_TOP - 16, text_anchor="middle"),
        )
    ]


def _row(error: ModuleError, x: float, y: int, *, is_first: bool, line: int) -> Markup:
    path = error.path or "(model)"
    shown = path if len(path) <= _LONGEST else f"…{path[1 - _LONGEST:]}"
    label = element("text", shown, class_="name", x=0, y=y + 4)
    kind = "first" if is_first else "same" if error.is_equal else "other"
    note = [_note(x, y)] if is_first else []
    return element(
        "g",
        element("title", f"{path}: {error_text(error)}"),
        element("a", label, href=f"#L{line}") if line else label,
        element("circle", cx=f"{x:.1f}", cy=y, r=5 if is_first else 3.5),
        *note,
        class_=f"row {kind}",
    )


def _note(x: float, y: int) -> Markup:
    is_right = x > _WIDTH - 170
    anchor = "end" if is_right else "start"
    return element(
        "text",
        "enters here",
        class_="note",
        x=f"{x - 12 if is_right else x + 12:.1f}",
        y=y + 4,
        text_anchor=anchor,
    )


def error_text(error: ModuleError) -> str:
    """An error in words."""
    if error.is_equal:
        return "equal"
    if not error.is_comparable:
        return "of another shape or dtype"
    size = "not finite" if error.largest is None else f"at most by {error.largest:.3g}"
    share = "" if error.relative is None else f", {error.relative:.3g} of the largest number"
    return f"{error.differing:,} of {error.elements:,} elements differ, {size}{share}"
