"""JSON documents from files, read with the type of every field checked."""

from __future__ import annotations

from typing import Any, TypeVar

from fx2py.typed_json import Damaged

T = TypeVar("T")
_TOO_LARGE = 2**1023


def field(record: Any, key: str, kind: type[T]) -> T:
    """The field ``key`` of a JSON object, which must be there and of exactly this type."""
    if type(record) is not dict:
        raise Damaged(f"has a {type(record).__name__} where an object with {key!r} belongs")
    value = record.get(key)
    if type(value) is not kind:
        raise Damaged(f"lacks the {kind.__name__} {key!r}" if value is None else f"has a wrong {key!r}")
    return value


def optional(record: Any, key: str, kind: type[T]) -> T | None:
    """The field ``key``, or None where it is absent or null, as fields added to the format later are."""
    return None if record.get(key) is None else field(record, key, kind)


def union(record: Any) -> tuple[str, Any]:
    """The name and value of a tagged union, which JSON writes as an object with one field."""
    if type(record) is not dict or len(record) != 1:
        raise Damaged("has something other than an object with one field where a choice belongs")
    return next(iter(record.items()))


def exactly(value: Any, kind: type[T]) -> T:
    """``value``, which must be of exactly this type (so that a bool is no int)."""
    if type(value) is not kind:
        raise Damaged(f"has a {type(value).__name__} where a {kind.__name__} belongs")
    return value


def number(value: Any) -> float:
    """A float, which the format writes as JSON number or as ``"Infinity"``, ``"-Infinity"``, ``"NaN"``."""
    if type(value) is float or (type(value) is int and abs(value) < _TOO_LARGE):
        return float(value)
    if value in ("Infinity", "-Infinity", "NaN"):
        return float(value)
    raise Damaged(f"has a {type(value).__name__} where a number belongs")
