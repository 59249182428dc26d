"""The only gateway from data to text: every value, name, path and comment from a file becomes source here or nowhere.

It works by an allow-list of exact types; there is no ``repr()`` fallback, which would run code of the object. Identifiers
are validated; a name that is not an identifier is written as a quoted string.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Any

from fx2py.errors import InternalError, with_article
from fx2py.graph.values import TORCH_NAMED
from fx2py.program.identifiers import is_identifier

# A comment is text from a file: one that a tool takes for a directive could switch off a check, or change how code reads.
_PRAGMA = re.compile(
    r"\b(fmt|type|noqa|pylint|pragma|yapf|isort|mypy|pyright|ruff|flake8|nosec|vim?|ex)\s*:", re.IGNORECASE
)
_ENCODING = re.compile(r"coding(?=[:=])", re.IGNORECASE)
"""Python reads a file's encoding from a comment (PEP 263): decoded differently, other comments could become code."""
_LONGEST_DECIMAL = 2**13000
"""Python refuses to parse decimal literals of more than 4,300 digits (``sys.set_int_max_str_digits``); hex has no limit."""
_LONGEST_COMMENT = 82


def identifier(name: str) -> str:
    """``name`` itself, after checking that Python reads it as one identifier."""
    if not is_identifier(name):
        raise InternalError(f"{name!r} reached the text as an identifier")
    return name


def dotted(path: str) -> str:
    """``path`` itself, after checking that each of its parts is an identifier."""
    return ".".join([identifier(part) for part in path.split(".")])


def attribute_chain(path: str) -> str:
    """A dotted path in which a keyword, as in ``torch.ops.aten.random.from``, is read by ``getattr``."""
    chain, *attributes = path.split(".")
    for name in attributes:
        chain = f"{chain}.{name}" if is_identifier(name) else f"getattr({chain}, {quoted(name)})"
    return chain


def quoted(text: str) -> str:
    """A string literal, in the quotes that black chooses."""
    return _requoted(repr(text))


def _requoted(literal: str) -> str:
    """A literal that ``repr`` wrote, in double quotes unless single ones need fewer escapes."""
    prefix, body = ("b", literal[2:-1]) if literal[0] == "b" else ("", literal[1:-1])
    if literal[-1] == '"' or body.count('"') > body.count("'"):
        return literal
    escaped = body.replace("\\'", "'").replace('"', '\\"')
    return f'{prefix}"{escaped}"'


def comment(text: str) -> str:
    """One printable line that no tool takes for a directive; at most 82 characters, so that it fits where code fits."""
    if not text:
        return ""
    line = one_line(text).strip()
    return line if len(line) <= _LONGEST_COMMENT else f"{line[:_LONGEST_COMMENT - 3]}..."


def one_line(text: str) -> str:
    """Printable text that no tool takes for a directive."""
    line = text if text.isprintable() else "".join(char if char.isprintable() else " " for char in text)
    if ":" in line or "=" in line:  # without one, nothing is a directive
        line = _ENCODING.sub("coding ", _PRAGMA.sub(r"\1 ;", line))
    return line.rstrip()


def docstring(lines: Sequence[str]) -> str:
    """A string literal that stands for itself as a statement; its lines hold nothing that could end it or escape."""
    inner = [one_line(line).replace("\\", "/").replace('"', "'") for line in lines]
    return "\n".join(['"""' + inner[0], *inner[1:], '"""'])


def _number(value: int) -> str:
    return str(value) if -_LONGEST_DECIMAL < value < _LONGEST_DECIMAL else _hexadecimal(value)


def _hexadecimal(value: int) -> str:
    """The digits in upper case, as black writes them."""
    digits = f"{abs(value):X}"
    return f"-0x{digits}" if value < 0 else f"0x{digits}"


def _real(value: float) -> str:
    if math.isnan(value):
        return "math.nan"
    if math.isinf(value):
        return "math.inf" if value > 0 else "-math.inf"
    return repr(value).replace("e+", "e")  # black drops the plus of an exponent


def _torch_name(value: object) -> str:
    return dotted(str(value))


_WRITERS: dict[type, Callable[[Any], str]] = {
    type(None): str,
    bool: str,
    int: _number,
    float: _real,
    complex: lambda value: f"complex({_real(value.real)}, {_real(value.imag)})",
    str: quoted,
    bytes: lambda value: _requoted(repr(value)),
    type(...): lambda value: "...",
    **dict.fromkeys(TORCH_NAMED, _torch_name),
}


def has_text(value: object) -> bool:
    """Whether ``primitive`` writes ``value``. A device has no text: it is a constant, so that the code can move."""
    return type(value) in _WRITERS


def primitive(value: object) -> str:
    """The text of a leaf that is Python's or torch's own data; raises InternalError for any other type."""
    writer = _WRITERS.get(type(value))
    if writer is None:
        raise InternalError(f"{with_article(type(value).__name__)} reached the text as a literal")
    return writer(value)
