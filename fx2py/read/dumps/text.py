"""Readable dumps as text: the classes that ``print_readable`` prints, found in logs, scripts and plain text."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_LOG_LINE = re.compile(
    r"(?:\[rank\d+\]:)?[VIWEC]\d{4} [\d:.]+ \d+ [^\]\s]+\] (?:\[[^\]\s]*\] ){0,4}\[__\w+\] ?(.*)"
)
_COLOR = re.compile(r"\x1b\[[\d;]*m")
_CLASS = re.compile(r" *(?:\S.*\.py )?class ([^\s(]+)\(torch\.nn\.Module\):\s*")
_TITLE = re.compile(r" *===== (\S.*?) =====\s*")
_FORWARD, _CONSTRUCTOR, _INPUTS = "def forward(", "def __init__(", "def load_args("

MARK = re.compile(rb"class [^\s(]+\(torch\.nn\.Module\):")
"""What the bytes of every readable dump hold."""


@dataclass(eq=False)
class PrintedClass:
    """One printed graph: its name, the lines of its constructor and forward, and the graphs printed inside it."""

    name: str
    indent: int
    lines: list[str] = field(default_factory=list)
    children: list[PrintedClass] = field(default_factory=list)

    @property
    def forward(self) -> str:
        """The text of ``forward``, from its first line on; empty when the class has none."""
        return "\n".join(_method(self.lines, _FORWARD))

    @property
    def constructor(self) -> list[str]:
        """The lines of ``__init__`` after its head."""
        lines = _method(self.lines, _CONSTRUCTOR)
        ends = (index for index, line in enumerate(lines) if line.startswith(_FORWARD))
        return lines[1 : next(ends, len(lines))]


def printed_classes(text: str) -> dict[str, PrintedClass]:
    """The outermost printed graphs by their titles in a log, else their class names; repeated names are numbered."""
    found: dict[str, PrintedClass] = {}
    numbers: dict[str, int] = {}
    for title, printed in _outermost(_lines(text)):
        if not printed.forward:
            continue
        name, number = title, numbers.get(title, 1)
        while name in found:
            number += 1
            name = f"{title} ({number})"
        numbers[title] = number
        found[name] = printed
    return found


def input_lines(text: str) -> str:
    """The text of ``load_args``, which a minifier's script builds its inputs with; empty without one."""
    lines = _method(text.split("\n"), _INPUTS)
    ends = (index for index, line in enumerate(lines) if index and line[:1] not in ("", " "))
    return "\n".join(lines[: next(ends, len(lines))])


def _lines(text: str) -> list[str]:
    """The lines without colours; of a log those of its records, without what stands before each."""
    lines = _COLOR.sub("", text).split("\n")
    records = [match.group(1) for match in map(_LOG_LINE.fullmatch, lines) if match]
    return records or lines


def _outermost(lines: list[str]) -> list[tuple[str, PrintedClass]]:
    """Each class that stands in no other one, with its title."""
    found: list[tuple[str, PrintedClass]] = []
    title = ""
    around: list[PrintedClass] = []
    for line in filter(str.strip, lines):
        indent = len(line) - len(line.lstrip(" "))
        while around and indent <= around[-1].indent:
            around.pop()
        if match := _CLASS.fullmatch(line):
            printed = PrintedClass(match.group(1), indent)
            if around:
                around[-1].children.append(printed)
            else:
                found.append((title or printed.name, printed))
                title = ""
            around.append(printed)
        elif around:
            around[-1].lines.append(line)
        elif match := _TITLE.fullmatch(line):
            title = match.group(1)
    return found


def _method(lines: list[str], head: str) -> list[str]:
    """The lines from the one that begins with ``head`` on, moved to the margin as far as that one."""
    for index, line in enumerate(lines):
        code = line.lstrip(" ")
        if code.startswith(head):
            margin = " " * (len(line) - len(code))
            return [rest.removeprefix(margin) for rest in lines[index:]]
    return []
