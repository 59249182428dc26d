"""What a graph file says of values: ``[tag, data]`` for each type of the value language, or what JSON has itself."""

from __future__ import annotations

import math
import struct
from types import EllipsisType, NoneType

import torch

from fx2py.graph.values import (
    Attribute,
    Dict,
    EnumMember,
    List,
    Name,
    Opaque,
    OpName,
    Range,
    Record,
    Ref,
    Set,
    Size,
    Slice,
    SymExpr,
    TensorValue,
)
from fx2py.read.graph_file.codec import (
    BOOL,
    TENSOR,
    TEXT,
    Codec,
    as_text,
    fixed,
    late,
    many,
    one_of,
    optional,
    record,
    tagged,
)

_LARGEST = 2**63


def _is_json(value: object) -> bool:
    if type(value) is int:
        return -_LARGEST <= value < _LARGEST
    return type(value) in (NoneType, bool, str) or (type(value) is float and math.isfinite(value))


def _complex_bits(value: complex) -> str:
    return struct.pack("<dd", value.real, value.imag).hex()


def _unpacked(layout: str, digits: str) -> tuple[float, ...]:
    try:
        return struct.unpack(layout, bytes.fromhex(digits))
    except struct.error as error:
        raise ValueError(str(error)) from None


def _torch_constant(kind: type) -> Codec:
    found = {str(value): value for value in vars(torch).values() if type(value) is kind}
    return one_of(found, f"a {kind.__name__} of torch")


VALUE = late(lambda: _VALUE)
NAME = record(Name, TEXT, TEXT)
DTYPE, DEVICE = _torch_constant(torch.dtype), as_text(str, torch.device, "a device")
_FLOAT = as_text(lambda value: struct.pack("<d", value).hex(), lambda text: _unpacked("<d", text)[0], "bits")
_COMPLEX = as_text(_complex_bits, lambda text: complex(*_unpacked("<dd", text)), "bits")
_VALUE: Codec = tagged(
    {
        "int": (int, as_text(hex, lambda text: int(text, 16), "an integer")),
        "float": (float, _FLOAT),
        "complex": (complex, _COMPLEX),
        "bytes": (bytes, as_text(bytes.hex, bytes.fromhex, "bytes")),
        "ellipsis": (EllipsisType, Codec(lambda value, tables: None, lambda data, tables: ...)),
        "dtype": (torch.dtype, DTYPE),
        "device": (torch.device, DEVICE),
        "layout": (torch.layout, _torch_constant(torch.layout)),
        "memory_format": (torch.memory_format, _torch_constant(torch.memory_format)),
        "qscheme": (torch.qscheme, _torch_constant(torch.qscheme)),
        "node": (Ref, record(Ref, TEXT)),
        "name": (Name, NAME),
        "operator": (OpName, record(OpName, TEXT, TEXT, optional(TEXT))),
        "attribute": (Attribute, record(Attribute, TEXT)),
        "enum": (EnumMember, record(EnumMember, NAME, TEXT)),
        "opaque": (Opaque, record(Opaque, NAME, TEXT)),
        "symbolic": (SymExpr, record(SymExpr, TEXT)),
        "tensor": (TensorValue, record(TensorValue, TENSOR)),
        "tuple": (tuple, many(VALUE)),
        "list": (List, record(List, many(VALUE))),
        "dict": (Dict, record(Dict, many(fixed(VALUE, VALUE)), optional(NAME), optional(NAME))),
        "set": (Set, record(Set, many(VALUE), BOOL)),
        "slice": (Slice, record(Slice, VALUE, VALUE, VALUE)),
        "range": (Range, record(Range, VALUE, VALUE, VALUE)),
        "size": (Size, record(Size, many(VALUE))),
        "record": (Record, record(Record, NAME, many(fixed(TEXT, VALUE)))),
    },
    _is_json,
)
