"""The only gateway from data to text: every value, name, path and comment of a file becomes source here or nowhere.

It works by an allow-list of exact types; there is no ``repr()`` fallback. Identifiers are validated; a name that is
none travels as a quoted string.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import torch

from fx2py.errors import InternalError
from fx2py.program.identifiers import is_identifier

_PRAGMA = re.compile(
    r"\b(fmt|type|noqa|pylint|pragma|yapf|isort|mypy|pyright|ruff|flake8|nosec|vim?|ex)\s*:", re.IGNORECASE
)
_ENCODING = re.compile(r"coding(?=[:=])", re.IGNORECASE)
"""Python reads the encoding of a file from a comment: under another one, other comments could become code."""
_LONGEST_DECIMAL = 2**13000
_LONGEST_COMMENT = 82


def identifier(name: str) -> str:
    """``name`` itself, after checking that Python reads it as one identifier."""
    if not is_identifier(name):
        raise InternalError(f"{name!r} reached the text as an identifier")
    return name


def dotted(path: str) -> str:
    """A dotted path whose every part was checked to be an identifier."""
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
    """One printable line that no tool reads as an instruction; at most 82 characters, so that it fits where code fits."""
    line = "".join(char if char.isprintable() else " " for char in text)
    line = _ENCODING.sub("coding ", _PRAGMA.sub(r"\1 ;", line)).strip()
    return line if len(line) <= _LONGEST_COMMENT else f"{line[:_LONGEST_COMMENT - 3]}..."


def _number(value: int) -> str:
    return str(value) if -_LONGEST_DECIMAL < value < _LONGEST_DECIMAL else _hexadecimal(value)


def _hexadecimal(value: int) -> str:
    """Python refuses decimal text of huge ints; black writes hex digits in upper case."""
    digits = f"{abs(value):X}"
    return f"-0x{digits}" if value < 0 else f"0x{digits}"


def _real(value: float) -> str:
    if math.isnan(value):
        return "math.nan"
    if math.isinf(value):
        return "math.inf" if value > 0 else "-math.inf"
    return repr(value).replace("e+", "e")


def _torch_name(value: object) -> str:
    return dotted(str(value))


TORCH_NAMED = (torch.dtype, torch.layout, torch.memory_format, torch.qscheme)
"""The types of torch's data that is written by name, ``torch.float32``, as ``str`` gives it."""
_PLAIN: dict[type, Callable[[Any], str]] = {
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


def has_plain_text(value: object) -> bool:
    """Whether ``value`` is a leaf that ``plain`` writes."""
    return type(value) in _PLAIN


def plain(value: object) -> str:
    """The text of a leaf that is Python or torch data; raises InternalError for any other type."""
    writer = _PLAIN.get(type(value))
    if writer is None:
        raise InternalError(f"a {type(value).__name__} reached the text as a literal")
    return writer(value)
