"""How data of fixed types is written as JSON and read back: codecs, made of smaller ones, that work in both directions.

One declaration serves the writer and the reader, so the two cannot disagree. Reading checks the type of everything.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import torch

from fx2py.errors import Finding
from fx2py.graph.data import ModuleRecord
from fx2py.graph.tensors import has_plain_storage
from fx2py.read.documents import Damaged

_LAYOUTS = (torch.strided, torch.sparse_coo, torch.sparse_csr, torch.sparse_csc, torch.sparse_bsr)


class Unwritable(ValueError):
    """Why something has no form in a file; whoever knows its place makes a finding of it."""


class Tables:
    """What a document refers to by number: each tensor and each module stands there once."""

    def __init__(self) -> None:
        self.tensors: list[torch.Tensor] = []
        self.modules: list[ModuleRecord] = []
        self.encoded_modules: list[Any] = []
        self.findings: list[Finding] = []
        self.path = ""
        self._numbers: dict[int, int] = {}

    def number_of_tensor(self, tensor: torch.Tensor) -> int:
        if id(tensor) not in self._numbers:
            _check_tensor(tensor)
            self._numbers[id(tensor)] = len(self.tensors)
            self.tensors.append(tensor)
        return self._numbers[id(tensor)]

    def number_of_module(self, record: ModuleRecord, encode: Callable[[], Any]) -> int:
        if id(record) not in self._numbers:
            encoded = encode()
            self._numbers[id(record)] = len(self.modules)
            self.modules.append(record)
            self.encoded_modules.append(encoded)
        return self._numbers[id(record)]

    def report(self, name: str, fault: Unwritable) -> None:
        """Keep what is wrong with a part of the module that is being written; '' is the module itself."""
        place = ".".join(part for part in (self.path, name) if part)
        self.findings.append(Finding(place or "the root module", str(fault)))


def _check_tensor(tensor: torch.Tensor) -> None:
    """Raise Unwritable for a tensor that is more than numbers in a known layout."""
    if type(tensor) not in (torch.Tensor, torch.nn.Parameter):
        raise Unwritable(f"is a {type(tensor).__name__}, which no file can hold")
    known = has_plain_storage(tensor) or tensor.layout in _LAYOUTS
    if not known or tensor.is_nested:
        raise Unwritable(f"is a tensor of the layout {tensor.layout}, which no file can hold")


@dataclasses.dataclass(frozen=True, slots=True)
class Codec:
    """A pair of functions: from a value to JSON data, which fails with Unwritable, and back, which fails with Damaged."""

    encode: Callable[[Any, Tables], Any]
    decode: Callable[[Any, Tables], Any]


def exact(*kinds: type) -> Codec:
    """What JSON holds as it is; of exactly one of these types."""

    def decode(data: Any, tables: Tables) -> Any:
        if type(data) not in kinds:
            wanted = " or ".join(kind.__name__ for kind in kinds)
            raise Damaged(f"has a {type(data).__name__} where a {wanted} belongs")
        return data

    return Codec(lambda value, tables: value, decode)


def as_text(text: Callable[[Any], str], parse: Callable[[str], Any], what: str) -> Codec:
    """What a text stands for; ``parse`` fails with ValueError, LookupError or RuntimeError."""

    def decode(data: Any, tables: Tables) -> Any:
        try:
            return parse(TEXT.decode(data, tables))
        except (ValueError, LookupError, RuntimeError):
            raise Damaged(f"has something else where {what} belongs") from None

    return Codec(lambda value, tables: text(value), decode)


def one_of(choices: Mapping[str, Any], what: str) -> Codec:
    """One of a few objects, by its name."""
    names = {value: name for name, value in choices.items()}
    return as_text(names.__getitem__, choices.__getitem__, what)


def optional(codec: Codec) -> Codec:
    """None, or what ``codec`` is for."""
    return Codec(
        lambda value, tables: None if value is None else codec.encode(value, tables),
        lambda data, tables: None if data is None else codec.decode(data, tables),
    )


def many(codec: Codec) -> Codec:
    """A tuple of any length."""
    encode, decode = codec.encode, codec.decode
    return Codec(
        lambda value, tables: [encode(part, tables) for part in value],
        lambda data, tables: tuple([decode(part, tables) for part in _items(data)]),
    )


def fixed(*codecs: Codec) -> Codec:
    """A tuple with one part for each codec."""

    def encode(value: Any, tables: Tables) -> Any:
        return [codec.encode(part, tables) for codec, part in zip(codecs, value, strict=True)]

    def decode(data: Any, tables: Tables) -> Any:
        parts = _items(data)
        if len(parts) != len(codecs):
            raise Damaged(f"has {len(parts)} parts where {len(codecs)} belong")
        return tuple([codec.decode(part, tables) for codec, part in zip(codecs, parts, strict=True)])

    return Codec(encode, decode)


def record(cls: type, *codecs: Codec) -> Codec:
    """A dataclass as the list of its fields, in order; every field has its codec."""
    names = [field.name for field in dataclasses.fields(cls)]
    if len(names) != len(codecs):
        raise TypeError(f"{cls.__name__} has {len(names)} fields, and {len(codecs)} have a codec")
    inner = fixed(*codecs)
    return Codec(
        lambda value, tables: inner.encode([getattr(value, name) for name in names], tables),
        lambda data, tables: cls(*inner.decode(data, tables)),
    )


def table(codec: Codec) -> Codec:
    """A mapping from names; what cannot be written is reported under its name."""

    def encode(value: Any, tables: Tables) -> Any:
        pairs = []
        for name, part in value.items():
            try:
                pairs.append([name, codec.encode(part, tables)])
            except Unwritable as fault:
                tables.report(name, fault)
        return pairs

    def decode(data: Any, tables: Tables) -> Any:
        pairs = [fixed(TEXT, codec).decode(pair, tables) for pair in _items(data)]
        if len(dict(pairs)) != len(pairs):
            raise Damaged("has one name twice")
        return dict(pairs)

    return Codec(encode, decode)


def tagged(cases: Mapping[str, tuple[type, Codec]], is_json: Callable[[Any], bool]) -> Codec:
    """One of several types: itself where JSON has it, else ``[tag, data]``."""
    by_type = {kind: (tag, codec) for tag, (kind, codec) in cases.items()}

    def encode(value: Any, tables: Tables) -> Any:
        if is_json(value):
            return value
        if type(value) not in by_type:
            raise Unwritable(f"holds {_description(value)}, which no file can hold")
        tag, codec = by_type[type(value)]
        return [tag, codec.encode(value, tables)]

    def decode(data: Any, tables: Tables) -> Any:
        if type(data) is not list:
            return _json_scalar(data, is_json)
        if len(data) != 2 or type(data[0]) is not str or data[0] not in cases:
            raise Damaged("has a value of an unknown kind")
        return cases[data[0]][1].decode(data[1], tables)

    return Codec(encode, decode)


def _json_scalar(data: Any, is_json: Callable[[Any], bool]) -> Any:
    if not is_json(data):
        raise Damaged(f"has a {type(data).__name__} where a value belongs")
    return data


def _description(value: Any) -> str:
    return getattr(value, "description", "") or f"a {type(value).__name__}"


def _items(data: Any) -> list[Any]:
    if type(data) is not list:
        raise Damaged(f"has a {type(data).__name__} where a list belongs")
    return data


def _encode_tensor(value: Any, tables: Tables) -> int:
    return tables.number_of_tensor(value)


def _decode_tensor(data: Any, tables: Tables) -> torch.Tensor:
    if type(data) is not int or not 0 <= data < len(tables.tensors):
        raise Damaged("refers to a tensor that is not there")
    return tables.tensors[data]


def late(codec: Callable[[], Codec]) -> Codec:
    """A codec that is declared further down, as one that holds itself must be."""
    return Codec(
        lambda value, tables: codec().encode(value, tables), lambda data, tables: codec().decode(data, tables)
    )


TEXT, BOOL, INTEGER = exact(str), exact(bool), exact(int)
TENSOR = Codec(_encode_tensor, _decode_tensor)
NOTHING = Codec(lambda value, tables: None, lambda data, tables: None)
"""What is never written."""
