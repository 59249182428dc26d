"""JSON data as dataclasses, with the type of every field checked."""

from __future__ import annotations

import dataclasses
import types
from typing import Any, get_args, get_origin, get_type_hints


def typed(kind: Any, data: Any, place: str) -> Any:
    """``data`` as a value of the type ``kind``: a dataclass, a union with None, a tuple, a dict, or a plain type.

    Fields that a dataclass does not have are left out. Raises ValueError that names the place, as ``inputs[0].name``.
    """
    if kind is Any:
        return data
    if dataclasses.is_dataclass(kind):
        return _record(kind, data, place)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is types.UnionType:
        return None if data is None else typed(arguments[0], data, place)
    if origin is tuple and type(data) is list:
        return _tuple(arguments, data, place)
    if origin is dict and type(data) is dict:
        return {key: typed(arguments[1], item, f"{place}.{key:.40}") for key, item in data.items()}
    if type(data) is not kind:
        raise ValueError(f"{place} is a {type(data).__name__}")
    return data


def _tuple(kinds: tuple[Any, ...], data: list[Any], place: str) -> tuple[Any, ...]:
    """A tuple of any length where the second type is ``...``, else one with a part for each type."""
    if kinds[-1] is ...:
        kinds = kinds[:1] * len(data)
    if len(kinds) != len(data):
        raise ValueError(f"{place} has {len(data)} parts")
    parts = zip(kinds, data, strict=True)
    return tuple([typed(kind, item, f"{place}[{index}]") for index, (kind, item) in enumerate(parts)])


def _record(cls: Any, data: Any, place: str) -> Any:
    if type(data) is not dict:
        raise ValueError(f"{place} is a {type(data).__name__}")
    hints = get_type_hints(cls)
    fields = dataclasses.fields(cls)
    missing = [f.name for f in fields if f.name not in data and _is_required(f)]
    if missing:
        raise ValueError(f"{place} lacks {missing[0]!r}")
    names = (field.name for field in fields if field.name in data)
    return cls(**{name: typed(hints[name], data[name], f"{place}.{name}") for name in names})


def _is_required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
