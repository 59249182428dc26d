"""The arguments of public functions, checked where they come in: a wrong one is refused in one sentence that names it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from fx2py.errors import OptionError, with_article

_LONGEST = 60


@dataclass(frozen=True, slots=True)
class Kind:
    """What an argument must be: in words that follow "must be", and as a predicate."""

    wanted: str
    fits: Callable[[object], bool]

    def or_none(self) -> Kind:
        """This kind, for an argument that may be left out."""
        return Kind(f"{self.wanted}, or None", lambda value: value is None or self.fits(value))


def _is_text(value: object) -> bool:
    return isinstance(value, str)


FLAG = Kind("True or False", lambda value: type(value) is bool)
NUMBER = Kind("a whole number", lambda value: type(value) is int)
TEXT = Kind("text", _is_text)
PATH = Kind("a path", lambda value: isinstance(value, str | os.PathLike))
ARGUMENTS = Kind("a tuple of arguments", lambda value: type(value) in (tuple, list))
NAMED = Kind(
    "a dict with names as keys", lambda value: isinstance(value, Mapping) and all(map(_is_text, value))
)
NAMES = Kind(
    "a set of names",
    lambda value: isinstance(value, set | frozenset | list | tuple) and all(map(_is_text, value)),
)
CALL = Kind(
    "(args, kwargs), a tuple and a dict",
    lambda value: isinstance(value, tuple | list)
    and len(value) == 2
    and ARGUMENTS.fits(value[0])
    and NAMED.fits(value[1]),
)


def instance_of(*classes: type) -> Kind:
    """The kind of the instances of some classes."""
    names = " or ".join(cls.__name__ for cls in classes)
    return Kind(with_article(names), lambda value: isinstance(value, classes))


def require(name: str, value: object, kind: Kind, hint: str = "") -> None:
    """Raise OptionError unless the argument of that name is of the kind."""
    if not kind.fits(value):
        raise OptionError(f"{name} must be {kind.wanted}, not {shown(value)}.", hint)


def shown(value: object) -> str:
    """A value in a sentence: itself where it is a number or a text, else its type."""
    if value is None or type(value) in (bool, int, float, str):
        return _short(repr(value))
    if isinstance(value, dict | list | tuple | set | frozenset) and type(value).__module__ == "builtins":
        return _short(f"{with_article(type(value).__name__)} of {', '.join(map(shown, value)) or 'nothing'}")
    cls = type(value)
    name = cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"
    return with_article(name)


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
