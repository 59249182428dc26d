"""JSON from files as typed values: the one place that checks the shape of a document.

``typed`` reads data as frozen dataclasses or, where there is much of it, named tuples, by their type hints. A fault says
where in the document it is; the reader of the file adds the file's name.
"""

from __future__ import annotations

import dataclasses
import json
import types
from collections.abc import Callable
from functools import cache, partial
from typing import Any, Literal, NamedTuple, TypeVar, cast, get_args, get_origin, get_type_hints

from fx2py.errors import with_article

T = TypeVar("T")
_TOO_LARGE = 2**1023
_LONGEST_KEY, _LONGEST_PATH = 40, 200


class Damaged(ValueError):
    """What is wrong in a document, phrased to follow its name; ``path`` is the place, such as ``.graph.nodes[3].target``."""

    def __init__(self, reason: str, path: str = "") -> None:
        super().__init__(reason)
        self.reason, self.path = reason, path

    def __str__(self) -> str:
        return f"{self.reason} (at {self.path.lstrip('.')[:_LONGEST_PATH]})" if self.path else self.reason

    def inside(self, step: str) -> Damaged:
        """This fault with the place extended by one level outwards."""
        self.path = step + self.path
        return self


class Choice(NamedTuple):
    """A tagged union, which JSON writes as an object with one field: the tag, and the value, which is not read yet."""

    tag: str
    value: object

    def read(self, kind: type[T]) -> T:
        """The value as one of the type ``kind``."""
        try:
            return typed(kind, self.value)
        except Damaged as fault:
            raise fault.inside(f".{self.tag}") from None

    def field(self, name: str, kind: type[T]) -> T:
        """One field of a value that is an object."""
        try:
            return field(self.value, name, kind)
        except Damaged as fault:
            raise fault.inside(f".{self.tag}") from None


def parse(text: str | bytes) -> object:
    """The data that a JSON text stands for; Damaged when it is not JSON, or is nested too deeply."""
    try:
        data: object = json.loads(text)
    except RecursionError:
        raise Damaged("is nested too deeply") from None
    except ValueError as error:
        raise Damaged(f"is not JSON: {error}") from None
    return data


def typed(kind: type[T], data: object) -> T:
    """``data`` as a value of the type ``kind``; Damaged, with the place, where it is not.

    ``kind`` is a class of named fields, ``Choice``, ``tuple[X, ...]``, ``tuple[X, Y]``, ``list[X]``, ``dict[str, X]``, a
    scalar, or ``object`` for anything; in the hints of a class also ``X | None`` and ``Literal``. Types must match
    exactly: a bool is not an int. Fields that a class does not have are ignored.
    """
    return reader(kind)(data)


def reader(kind: type[T]) -> Callable[[object], T]:
    """``typed`` for one type, for data of which there is much."""
    if kind not in _READERS:
        _READERS[kind] = _reader(kind)
    return cast("Callable[[object], T]", _READERS[kind])


def field(data: object, name: str, kind: type[T]) -> T:
    """One field, of the type ``kind``, of an object of which nothing else is needed."""
    fields = _object(data)
    try:
        if name not in fields:
            raise Damaged("is missing")
        return typed(kind, fields[name])
    except Damaged as fault:
        raise fault.inside(f".{name}") from None


def exact(data: object, *kinds: type[T]) -> T:
    """``data``, which must be of exactly one of these types."""
    for kind in kinds:
        if type(data) is kind:
            return data
    wanted = " or ".join(kind.__name__ for kind in kinds)
    raise Damaged(f"has {with_article(type(data).__name__)} where {with_article(wanted)} belongs")


def each(read: Callable[[object], T], data: object) -> tuple[T, ...]:
    """The items of a list, each read by ``read``."""
    made: list[T] = []
    try:
        for item in exact(data, list):
            made.append(read(item))
    except Damaged as fault:
        raise fault if type(data) is not list else fault.inside(f"[{len(made)}]") from None
    return tuple(made)


_READERS: dict[object, Callable[[object], object]] = {}
"""The reader of each type, made at its first use."""


def _reader(kind: object) -> Callable[[object], object]:
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is object:
        return lambda data: data
    if kind is float:
        return _number
    if kind is Choice:
        return _choice
    if isinstance(kind, type) and (dataclasses.is_dataclass(kind) or hasattr(kind, "_fields")):
        return _record(kind)
    if origin is types.UnionType:
        return _optional(_reader(arguments[0]))
    if origin is Literal:
        return _one_of(arguments)
    if origin is tuple and arguments == (object, ...):
        return lambda data: tuple(exact(data, list))
    if origin is tuple and arguments[-1] is ...:
        item = _reader(arguments[0])
        return lambda data: each(item, data)
    if origin is list:
        part = _reader(arguments[0])
        return lambda data: list(each(part, data))
    if origin is tuple:
        return _fixed([_reader(argument) for argument in arguments])
    if origin is dict and arguments[1] is object:
        return _object
    if origin is dict:
        return _table(_reader(arguments[1]))
    if not isinstance(kind, type):
        raise TypeError(f"no reader for {kind}")
    return lambda data: data if type(data) is kind else exact(data, kind)


def _number(data: object) -> float:
    """A float, which torch.export writes as a JSON number or as ``"Infinity"``, ``"-Infinity"``, ``"NaN"``.

    Source: ``_dataclass_to_dict`` of torch/_export/serde/serialize.py.
    """
    if type(data) is float or (type(data) is int and abs(data) < _TOO_LARGE):
        return float(data)
    if type(data) is str and data in ("Infinity", "-Infinity", "NaN"):
        return float(data)
    raise Damaged(f"has {with_article(type(data).__name__)} where a number belongs")


def _choice(data: object) -> Choice:
    if type(data) is not dict or len(data) != 1:
        raise Damaged("has something other than an object with one field where a choice belongs")
    ((tag, value),) = data.items()
    return Choice(tag, value)


def _optional(read: Callable[[object], object]) -> Callable[[object], object]:
    return lambda data: None if data is None else read(data)


def _one_of(words: tuple[object, ...]) -> Callable[[object], object]:
    def read(data: object) -> object:
        if data not in words:
            raise Damaged(f"has {data!r:.40} where one of {', '.join(map(repr, words))} belongs")
        return data

    return read


def _fixed(readers: list[Callable[[object], object]]) -> Callable[[object], object]:
    def read(data: object) -> object:
        items = exact(data, list)
        if len(items) != len(readers):
            raise Damaged(f"has {len(items)} parts where {len(readers)} belong")
        rest = iter(readers)
        return each(lambda item: next(rest)(item), items)

    return read


def _table(read: Callable[[object], object]) -> Callable[[object], object]:
    def read_all(data: object) -> object:
        made: dict[str, object] = {}
        for key, item in _object(data).items():
            try:
                made[key] = read(item)
            except Damaged as fault:
                raise fault.inside(f".{key:.{_LONGEST_KEY}}") from None
        return made

    return read_all


def _record(cls: type) -> Callable[[object], object]:
    """The reader of a class; its fields are looked up at first use, since a class may contain itself."""

    @cache
    def fields() -> list[tuple[str, Callable[[object], object], Callable[[], object] | None]]:
        hints = get_type_hints(cls)
        return [(name, _reader(hints[name]), default) for name, default in _defaults(cls).items()]

    def read(data: object) -> object:
        found, values, name = _object(data), [], ""
        try:
            for name, read_field, default in fields():
                if name in found:
                    values.append(read_field(found[name]))
                elif default is not None:
                    values.append(default())
                else:
                    raise Damaged("is missing")
        except Damaged as fault:
            raise fault.inside(f".{name}") from None
        return cls(*values)

    return read


def _object(data: object) -> dict[str, object]:
    if type(data) is not dict:
        raise Damaged(f"has {with_article(type(data).__name__)}, not a JSON object")
    return data


def _defaults(cls: Any) -> dict[str, Callable[[], object] | None]:
    """For each field of a class, a function that returns its default; None where it has none."""
    if dataclasses.is_dataclass(cls):
        return {field.name: _default(field) for field in dataclasses.fields(cls)}
    defaults = cls._field_defaults
    return {name: partial(defaults.get, name) if name in defaults else None for name in cls._fields}


def _default(field: dataclasses.Field[object]) -> Callable[[], object] | None:
    """A function that returns the default of a field; None where it has none."""
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory
    value = field.default
    return None if value is dataclasses.MISSING else lambda: value
