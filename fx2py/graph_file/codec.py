"""How data of fixed types is written as JSON and read back: codecs, made of smaller ones, that work in both directions.

One declaration serves the writer and the reader, so the two cannot disagree. Reading checks the type of everything.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

import torch

from fx2py.errors import Finding, with_article
from fx2py.graph.data import ModuleRecord
from fx2py.graph.tensors import is_strided_view
from fx2py.typed_json import Damaged, each, exact

T = TypeVar("T")
_LAYOUTS = (torch.strided, torch.sparse_coo, torch.sparse_csr, torch.sparse_csc, torch.sparse_bsr)


class Unwritable(ValueError):
    """Why something cannot be written to a file; the caller that knows its place turns it into a Finding."""


class Numbered:
    """What a document refers to by number, so that each tensor, module, source line and module stack is written once."""

    def __init__(self) -> None:
        self.tensors: list[torch.Tensor] = []
        self.modules: list[ModuleRecord] = []
        self.encoded_modules: list[object] = []
        self.lists: dict[str, list[Any]] = {}
        self.encoded_lists: dict[str, list[object]] = {}
        self._places: dict[tuple[str, object], int] = {}
        self.findings: list[Finding] = []
        self.path = ""
        self._numbers: dict[int, int] = {}

    def number_of_tensor(self, tensor: torch.Tensor) -> int:
        if id(tensor) not in self._numbers:
            _check_tensor(tensor)
            self._numbers[id(tensor)] = len(self.tensors)
            self.tensors.append(tensor)
        return self._numbers[id(tensor)]

    def number_of_module(self, record: ModuleRecord, encode: Callable[[], object]) -> int:
        if id(record) not in self._numbers:
            encoded = encode()
            self._numbers[id(record)] = len(self.modules)
            self.modules.append(record)
            self.encoded_modules.append(encoded)
        return self._numbers[id(record)]

    def place_in(self, name: str, value: object, encode: Callable[[], object]) -> int:
        """The place of a value in a list of its kind, which it is encoded into once."""
        if (name, value) not in self._places:
            encoded = encode()
            listed = self.encoded_lists.setdefault(name, [])
            self._places[name, value] = len(listed)
            listed.append(encoded)
        return self._places[name, value]

    def report(self, name: str, fault: Unwritable) -> None:
        """Record a fault in a part of the module that is being written; '' is the module itself."""
        place = ".".join(part for part in (self.path, name) if part)
        self.findings.append(Finding(place or "the root module", str(fault)))


def _check_tensor(tensor: torch.Tensor) -> None:
    """Raise Unwritable for a tensor subclass, or for a layout that torch.save does not keep."""
    if type(tensor) not in (torch.Tensor, torch.nn.Parameter):
        raise Unwritable(f"is {with_article(type(tensor).__name__)}, which no file can hold")
    known = is_strided_view(tensor) or tensor.layout in _LAYOUTS
    if not known or tensor.is_nested:
        raise Unwritable(f"is a tensor of the layout {tensor.layout}, which no file can hold")


@dataclasses.dataclass(frozen=True, slots=True)
class Codec(Generic[T]):
    """A pair of functions, from a value to JSON data and back; ``encode`` raises Unwritable, ``decode`` Damaged."""

    encode: Callable[[T, Numbered], object]
    decode: Callable[[object, Numbered], T]


def scalar(*kinds: type[T]) -> Codec[T]:
    """A scalar of JSON, of exactly one of these types."""
    return Codec(lambda value, numbered: value, lambda data, numbered: exact(data, *kinds))


def as_text(text: Callable[[T], str], parse: Callable[[str], T], what: str) -> Codec[T]:
    """Something that is written as text; ``parse`` raises ValueError, LookupError or RuntimeError for other text."""

    def decode(data: object, numbered: Numbered) -> T:
        try:
            return parse(exact(data, str))
        except (ValueError, LookupError, RuntimeError):
            raise Damaged(f"has something else where {what} belongs") from None

    return Codec(lambda value, numbered: text(value), decode)


def one_of(choices: Mapping[str, T], what: str) -> Codec[T]:
    """One of a few objects, by its name."""
    names = {value: name for name, value in choices.items()}
    return as_text(names.__getitem__, choices.__getitem__, what)


def optional(codec: Codec[T]) -> Codec[T | None]:
    """None, or what ``codec`` is for."""
    return Codec(
        lambda value, numbered: None if value is None else codec.encode(value, numbered),
        lambda data, numbered: None if data is None else codec.decode(data, numbered),
    )


def listed(name: str, codec: Codec[T]) -> Codec[T]:
    """A value that many others refer to: its place in the document's list of this name."""

    def decode(data: object, numbered: Numbered) -> T:
        known = numbered.lists.get(name, ())
        place = exact(data, int)
        if not 0 <= place < len(known):
            raise Damaged(f"refers to {name}[{place}], which is not there")
        found: T = known[place]
        return found

    return Codec(
        lambda value, numbered: numbered.place_in(name, value, lambda: codec.encode(value, numbered)), decode
    )


def many(codec: Codec[T]) -> Codec[tuple[T, ...]]:
    """A tuple of any length."""
    encode, decode = codec.encode, codec.decode
    return Codec(
        lambda value, numbered: [encode(part, numbered) for part in value],
        lambda data, numbered: each(lambda part: decode(part, numbered), data),
    )


def fixed(*codecs: Codec[Any]) -> Codec[tuple[Any, ...]]:
    """A tuple with one part for each codec."""

    def encode(value: tuple[object, ...], numbered: Numbered) -> object:
        return [codec.encode(part, numbered) for codec, part in zip(codecs, value, strict=True)]

    def decode(data: object, numbered: Numbered) -> tuple[object, ...]:
        parts = exact(data, list)
        if len(parts) != len(codecs):
            raise Damaged(f"has {len(parts)} parts where {len(codecs)} belong")
        rest = iter(codecs)
        return each(lambda part: next(rest).decode(part, numbered), parts)

    return Codec(encode, decode)


def record(cls: Callable[..., T], *codecs: Codec[Any]) -> Codec[T]:
    """A dataclass as the list of its fields, in order; every field has its codec."""
    names = [field.name for field in dataclasses.fields(cls)]  # type: ignore[arg-type]
    if len(names) != len(codecs):
        raise TypeError(f"{cls} has {len(names)} fields, and {len(codecs)} have a codec")
    inner = fixed(*codecs)
    return Codec(
        lambda value, numbered: inner.encode(tuple([getattr(value, name) for name in names]), numbered),
        lambda data, numbered: cls(*inner.decode(data, numbered)),
    )


def table(codec: Codec[T]) -> Codec[Mapping[str, T]]:
    """A mapping from names; an entry that cannot be written is reported under its name."""
    pair = fixed(TEXT, codec)

    def encode(value: Mapping[str, T], numbered: Numbered) -> object:
        pairs = []
        for name, part in value.items():
            try:
                pairs.append([name, codec.encode(part, numbered)])
            except Unwritable as fault:
                numbered.report(name, fault)
        return pairs

    def decode(data: object, numbered: Numbered) -> dict[str, T]:
        pairs = each(lambda part: pair.decode(part, numbered), data)
        if len({name for name, _ in pairs}) != len(pairs):
            raise Damaged("has one name twice")
        return dict(pairs)

    return Codec(encode, decode)


def tagged(cases: Mapping[str, tuple[type, Codec[Any]]], is_json: Callable[[object], bool]) -> Codec[Any]:
    """One of several types: as it is where JSON has that type, else ``[tag, data]``."""
    by_type = {kind: (tag, codec) for tag, (kind, codec) in cases.items()}

    def encode(value: object, numbered: Numbered) -> object:
        if is_json(value):
            return value
        if type(value) not in by_type:
            what = getattr(value, "description", "") or f"{with_article(type(value).__name__)}"
            raise Unwritable(f"holds {what}, which no file can hold")
        tag, codec = by_type[type(value)]
        return [tag, codec.encode(value, numbered)]

    def decode(data: object, numbered: Numbered) -> object:
        if type(data) is not list:
            if not is_json(data):
                raise Damaged(f"has {with_article(type(data).__name__)} where a value belongs")
            return data
        if len(data) != 2 or type(data[0]) is not str or data[0] not in cases:
            raise Damaged("has a value of an unknown kind")
        return cases[data[0]][1].decode(data[1], numbered)

    return Codec(encode, decode)


def late(codec: Callable[[], Codec[T]]) -> Codec[T]:
    """A codec that is declared further down, for types that contain themselves."""
    return Codec(
        lambda value, numbered: codec().encode(value, numbered),
        lambda data, numbered: codec().decode(data, numbered),
    )


def _decode_tensor(data: object, numbered: Numbered) -> torch.Tensor:
    if type(data) is not int or not 0 <= data < len(numbered.tensors):
        raise Damaged("refers to a tensor that is not there")
    return numbered.tensors[data]


TEXT, BOOL, INTEGER = scalar(str), scalar(bool), scalar(int)
TENSOR: Codec[torch.Tensor] = Codec(lambda value, numbered: numbered.number_of_tensor(value), _decode_tensor)
NOTHING: Codec[object] = Codec(lambda value, numbered: None, lambda data, numbered: None)
"""A field that is not written."""
