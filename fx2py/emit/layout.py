"""Layout: one-line statements become lines that black would have written.

Most statements fit on their line, and black would leave them as they are; most others are of a shape that ``split``
knows. Only the rest is handed to black, all in one call: black costs half a millisecond a line.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fx2py.emit.split import INDENT, WIDTH, fits, split

_ROOM = WIDTH - len(INDENT)


@dataclass(frozen=True, slots=True)
class Line:
    """One statement in its one-line form, with the comments before and after it."""

    text: str
    above: tuple[str, ...] = ()
    after: str = ""


def is_settled(statement: str) -> bool:
    """Whether black leaves an indented one-line statement as it is."""
    return fits(statement, _ROOM) and "'" not in statement


def lay_out(lines: Sequence[Line]) -> list[str]:
    """The lines of a function's body, indented, without line ends."""
    formatted = _formatted(dict.fromkeys(line.text for line in lines if not is_settled(line.text)))
    body: list[str] = []
    for line in lines:
        body.extend([f"{INDENT}# {note}" if note else "" for note in line.above])
        written = formatted.get(line.text)
        if written is None:
            written = [f"{INDENT}{line.text}"]
        if line.after:
            note = f"# {line.after}"
            if len(written) == 1 and fits(f"{written[0]}  {note}"):
                written = [f"{written[0]}  {note}"]
            elif fits(note, _ROOM):
                body.append(f"{INDENT}{note}")
        body.extend(written)
    return body


def _formatted(statements: Iterable[str]) -> dict[str, list[str]]:
    """The lines of each statement that does not stand on its line as it is."""
    split_here = {statement: split(statement) for statement in statements}
    rest = [statement for statement, lines in split_here.items() if lines is None]
    formatted = {statement: lines for statement, lines in split_here.items() if lines is not None}
    return {**formatted, **dict(zip(rest, _with_black(rest), strict=True))}


def _with_black(statements: Sequence[str]) -> list[list[str]]:
    """Each statement as black lays it out inside a function."""
    if not statements:
        return []
    source = "def f():\n" + "".join([f"{INDENT}{statement}\n{INDENT}# ~\n" for statement in statements])
    results: list[list[str]] = []
    current: list[str] = []
    for line in format_with_black(source).splitlines()[1:]:
        if line == f"{INDENT}# ~":
            results.append(current)
            current = []
        else:
            current.append(line)
    return results


def module_level(statement: str) -> str:
    """A one-line statement outside any function, as black lays it out."""
    if fits(statement) and "'" not in statement:
        return statement
    lines = split(statement, indent="")
    return format_with_black(statement).rstrip("\n") if lines is None else "\n".join(lines)


def format_with_black(source: str) -> str:
    """``source`` as black writes it with its default options."""
    from black import format_str
    from black.mode import Mode, TargetVersion

    return format_str(source, mode=Mode(target_versions={TargetVersion.PY310}))
