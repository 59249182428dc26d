"""Layout: one-line statements become the lines that black would have written.

Most statements fit on one line, and black would leave them as they are; most others have a shape that ``split`` knows
how to break. Only the rest goes through black, in one call: black takes half a millisecond a line, which for a graph of
ten thousand nodes would be most of the time that generating takes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

WIDTH = 88
INDENT = "    "
_ROOM = WIDTH - len(INDENT)

_STRING = r'"(?:[^"\\]|\\.)*"'
_TOKEN = re.compile(rf"{_STRING}|[()\[\]{{}},]")
_STATEMENT = re.compile(r"(?:return |def |\w+(?:, \w+)* = )?[\w.]*")
_KEY = rf"(?:\w+=|{_STRING}: )?"
_ITEM = re.compile(rf"{_KEY}[\w.]*")
_ATOM = re.compile(rf"{_KEY}(?:-?[\w.]+|{_STRING})")
_RETURN = "return "
_OPENING = ("(", "[", "{")


@dataclass(frozen=True, slots=True)
class Line:
    """A statement, each of its lines unbroken, with the comments above it and behind it.

    ``keeps_note``: whether the one behind it stands above it where there is no room.
    """

    text: str
    above: tuple[str, ...] = ()
    after: str = ""
    keeps_note: bool = True


def is_settled(statement: str) -> bool:
    """Whether black leaves an indented one-line statement as it is: it fits, and has no quotes that black would change."""
    if "'" in statement:
        return False
    return fits(statement, _ROOM) or all(fits(line, _ROOM) for line in statement.split("\n"))


def lay_out(lines: Sequence[Line]) -> list[str]:
    """The lines of a function's body, indented, without line ends."""
    formatted = _formatted(dict.fromkeys(line.text for line in lines if not is_settled(line.text)))
    body: list[str] = []
    for line in lines:
        if line.above:
            body.extend([f"{INDENT}# {note}" if note else "" for note in line.above])
        written = formatted.get(line.text)
        if written is None:
            written = [f"{INDENT}{part}" for part in line.text.split("\n")]
        if line.after:
            note = f"# {line.after}"
            place = 0 if line.text.startswith("for ") else -1
            if fits(f"{written[place]}  {note}"):
                written = list(written)
                written[place] = f"{written[place]}  {note}"
            elif line.keeps_note and fits(note, _ROOM):
                body.append(f"{INDENT}{note}")
        body.extend(written)
    return body


def _formatted(statements: Iterable[str]) -> dict[str, list[str]]:
    """The lines of each statement that black would change."""
    split_here = {statement: split(statement) for statement in statements}
    rest = [statement for statement, lines in split_here.items() if lines is None]
    formatted = {statement: lines for statement, lines in split_here.items() if lines is not None}
    return {**formatted, **dict(zip(rest, _with_black(rest), strict=True))}


def _with_black(statements: Sequence[str]) -> list[list[str]]:
    """Each statement as black lays it out inside a function; a marker comment behind each tells where it ends."""
    if not statements:
        return []
    source = "def f():\n" + "".join(map(_block, statements))
    results: list[list[str]] = []
    current: list[str] = []
    for line in format_with_black(source).splitlines()[1:]:
        if line == f"{INDENT}# ~":
            results.append(current)
            current = []
        else:
            current.append(line)
    return results


def _block(statement: str) -> str:
    lines = statement.split("\n")
    return "".join([f"{INDENT}{line}\n" for line in [*lines, "# ~"]])


def module_level(statement: str) -> str:
    """A one-line statement outside any function, as black lays it out."""
    if fits(statement) and "'" not in statement:
        return statement
    lines = split(statement, indent="")
    return format_with_black(statement).rstrip("\n") if lines is None else "\n".join(lines)


def format_with_black(source: str) -> str:
    """``source`` as black writes it with its default options."""
    # black takes a tenth of a second to import, and most graphs do not need it.
    from black import format_str
    from black.mode import Mode, TargetVersion

    return format_str(source, mode=Mode(target_versions={TargetVersion.PY310}))


# -- line breaks ----------------------------------------------------------------------------------------------------


class _UnknownShape(Exception):
    """``split`` does not know where black breaks this text."""


class _Bracketed(NamedTuple):
    """``head(item, item)``: the head up to its opening bracket, what stands between the commas, the closing bracket."""

    head: str
    items: list[str]
    closing: str

    @property
    def is_display(self) -> bool:
        """Whether the brackets build a container rather than call or index what stands before them."""
        return self.head[-2:-1] in ("", " ", "=")


def fits(text: str, room: int = WIDTH) -> bool:
    """Whether ``text`` is at most ``room`` columns wide; a character outside ASCII may take two (black's ``str_width``)."""
    return len(text) <= room and (text.isascii() or sum(1 + (char > "\x7f") for char in text) <= room)


def split(statement: str, indent: str = INDENT) -> list[str] | None:
    """The lines of a one-line statement that does not fit, indented; None for a shape that only black knows."""
    if "'" in statement or "\n" in statement or not statement.isascii():
        return None
    lines: list[str] = []
    try:
        _split_statement(statement, indent, lines)
    except _UnknownShape:
        return None
    return lines


def _split_statement(statement: str, indent: str, lines: list[str]) -> None:
    is_header = statement.startswith("def ")
    if statement.startswith(_RETURN):
        items = _items(statement[len(_RETURN) :])
        if len(items) > 1:
            _split_returned(items, indent, lines)
            return
    found = _bracketed(statement.removesuffix(":") if is_header else statement, _STATEMENT)
    if is_header:
        lone = len(found.items) == 1
        if lone and "," in found.items[0]:
            raise _UnknownShape
        _write(found._replace(closing="):"), indent, lines, one_a_line=lone)
    else:
        _write(found, indent, lines, one_a_line=found.is_display and len(found.items) > 1)


def _split_returned(items: list[str], indent: str, lines: list[str]) -> None:
    """A returned tuple without parentheses gets them, unless black might rather break inside one of two items."""
    if len(items) == 2 and (items[0][0] in "([{" or items[1][-1] in ")]}"):
        raise _UnknownShape
    _write(_Bracketed("return (", items, ")"), indent, lines, one_a_line=True)


def _write(found: _Bracketed, indent: str, lines: list[str], *, one_a_line: bool) -> None:
    """Head, items and closing bracket on their own lines; the items on one line where that is allowed and they fit.

    Black tries these two splits in this order (``delimiter_split`` after ``right_hand_split`` of black/linegen.py), and
    adds a trailing comma where each item has its own line.
    """
    if not fits(indent + found.head):
        raise _UnknownShape
    inner = indent + INDENT
    lines.append(indent + found.head)
    together = inner + ", ".join(found.items)
    if not one_a_line and fits(together):
        lines.append(together)
    else:
        comma = "," if one_a_line or len(found.items) > 1 else ""
        for item in found.items:
            _write_item(item, comma, inner, lines)
    lines.append(indent + found.closing)


def _write_item(item: str, comma: str, indent: str, lines: list[str]) -> None:
    if fits(indent + item + comma) or _ATOM.fullmatch(item):
        lines.append(indent + item + comma)
        return
    found = _bracketed(item, _ITEM)
    exploded = found.is_display and len(found.items) > 1
    _write(found._replace(closing=found.closing + comma), indent, lines, one_a_line=exploded)


def _bracketed(text: str, head: re.Pattern[str]) -> _Bracketed:
    """``text`` taken apart at its only outermost brackets, which must close it and hold something."""
    before = head.match(text)
    opening = before.end() if before else 0
    if text[opening : opening + 1] not in _OPENING:
        raise _UnknownShape
    items = _items(text[opening + 1 : -1])
    if not items[-1]:
        raise _UnknownShape
    return _Bracketed(text[: opening + 1], items, text[-1])


def _items(text: str) -> list[str]:
    """What stands between the outermost commas of ``text``; its brackets must be balanced."""
    depth = start = 0
    items: list[str] = []
    for match in _TOKEN.finditer(text):
        token = match[0]
        if token == ",":
            if depth == 0:
                items.append(text[start : match.start()])
                start = match.end() + 1
        elif token in "([{":
            depth += 1
        elif token in ")]}":
            depth -= 1
            if depth < 0:
                raise _UnknownShape
    items.append(text[start:])
    return items
