"""Layout: one-line statements become lines that black would have written.

Most statements fit on their line, and black would leave them as they are; only the others are handed to black, all in
one call. black costs half a millisecond a line, so asking it only what is not settled keeps generation linear and quick.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

WIDTH = 88
INDENT = "    "
_ROOM = WIDTH - len(INDENT)


@dataclass(frozen=True, slots=True)
class Line:
    """One statement in its one-line form, with the comments before and after it."""

    text: str
    above: tuple[str, ...] = ()
    after: str = ""


def is_settled(statement: str) -> bool:
    """Whether black leaves an indented one-line statement as it is."""
    return len(statement) <= _ROOM and "'" not in statement


def lay_out(lines: Sequence[Line]) -> list[str]:
    """The lines of a function's body, indented, without line ends."""
    unsettled = list(dict.fromkeys(line.text for line in lines if not is_settled(line.text)))
    formatted = dict(zip(unsettled, _with_black(unsettled), strict=True))
    body: list[str] = []
    for line in lines:
        body.extend([f"{INDENT}# {note}" if note else "" for note in line.above])
        written = formatted.get(line.text)
        if written is None:
            written = [f"{INDENT}{line.text}"]
        if line.after:
            note = f"# {line.after}"
            if len(written) == 1 and len(written[0]) + 2 + len(note) <= WIDTH:
                written = [f"{written[0]}  {note}"]
            elif len(note) <= _ROOM:
                body.append(f"{INDENT}{note}")
        body.extend(written)
    return body


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


def format_with_black(source: str) -> str:
    """``source`` as black writes it with its default options."""
    from black import format_str
    from black.mode import Mode, TargetVersion

    return format_str(source, mode=Mode(target_versions={TargetVersion.PY310}))


def comment_lines(notes: Iterable[str]) -> list[str]:
    return [f"# {note}" if note else "#" for note in notes]
