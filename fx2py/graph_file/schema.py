"""The document of a graph file: how values, nodes, modules and the graph as a whole are written and read.

A document is an object with ``fx2py_graph`` (the version of this format), ``tensors`` (for each, whether it is a
parameter and requires grad), ``modules`` (each after its submodules) and ``graph``. Tensors and modules are referred
to by number, so that what was shared stays shared. A value is ``[tag, data]``, or the bare
value where JSON has its type.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import EllipsisType, NoneType
from typing import Any, get_args

import torch

from fx2py.errors import UnknownFormatError, UnsupportedGraphError, with_article
from fx2py.graph import values as language
from fx2py.graph.data import (
    NO_META,
    CallingConvention,
    Graph,
    GraphData,
    InputCheck,
    InputContract,
    ModuleFrame,
    ModuleRecord,
    Node,
    NodeMeta,
    NumberKind,
    Opcode,
    Provenance,
    SampleInputs,
    SourceLine,
    SymMeta,
    TensorMeta,
    Tree,
    TreeKind,
)
from fx2py.graph.objects import object_of, value_of
from fx2py.graph_file.codec import (
    BOOL,
    INTEGER,
    NOTHING,
    TENSOR,
    TEXT,
    Codec,
    Numbered,
    Unwritable,
    as_text,
    fixed,
    late,
    listed,
    many,
    one_of,
    optional,
    record,
    scalar,
    table,
    tagged,
)
from fx2py.typed_json import Damaged, each, typed

VERSION = 2
"""Documents of version 1 have a source line and a module path in each node, and no lists of them."""
MARK = "fx2py_graph"


@dataclass(frozen=True, slots=True)
class _VersionedGraph:
    """What the documents of every version have."""

    fx2py_graph: int


@dataclass(frozen=True, slots=True)
class _Document:
    """A document of this version; ``tensors`` has, for each, whether it is a parameter and requires grad."""

    tensors: tuple[tuple[bool, bool], ...]
    modules: list[object]
    graph: object
    lines: tuple[object, ...] = ()
    stacks: tuple[object, ...] = ()


def _word(words: object, what: str) -> Codec[Any]:
    return one_of({word: word for word in get_args(words)}, what)


# -- values ----------------------------------------------------------------------------------------------------

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


def _torch_constant(kind: type) -> Codec[Any]:
    found = {str(value): value for value in language.TORCH_DATA.values() if type(value) is kind}
    return one_of(found, f"{with_article(kind.__name__)} of torch")


VALUE: Codec[language.Value] = late(lambda: _VALUE)
NAME = record(language.Name, TEXT, TEXT)
DTYPE, DEVICE = _torch_constant(torch.dtype), as_text(str, torch.device, "a device")
_FLOAT = as_text(lambda value: struct.pack("<d", value).hex(), lambda text: _unpacked("<d", text)[0], "bits")
_COMPLEX = as_text(_complex_bits, lambda text: complex(*_unpacked("<dd", text)), "bits")
_VALUE: Codec[language.Value] = tagged(
    {
        "int": (int, as_text(hex, lambda text: int(text, 16), "an integer")),
        "float": (float, _FLOAT),
        "complex": (complex, _COMPLEX),
        "bytes": (bytes, as_text(bytes.hex, bytes.fromhex, "bytes")),
        "ellipsis": (EllipsisType, Codec(lambda value, numbered: None, lambda data, numbered: ...)),
        "dtype": (torch.dtype, DTYPE),
        "device": (torch.device, DEVICE),
        "layout": (torch.layout, _torch_constant(torch.layout)),
        "memory_format": (torch.memory_format, _torch_constant(torch.memory_format)),
        "qscheme": (torch.qscheme, _torch_constant(torch.qscheme)),
        "node": (language.Ref, record(language.Ref, TEXT)),
        "name": (language.Name, NAME),
        "operator": (language.OpName, record(language.OpName, TEXT, TEXT, optional(TEXT))),
        "attribute": (language.Attribute, record(language.Attribute, TEXT)),
        "enum": (language.EnumMember, record(language.EnumMember, NAME, TEXT)),
        "opaque": (language.Opaque, record(language.Opaque, NAME, TEXT)),
        "symbolic": (language.SymExpr, record(language.SymExpr, TEXT)),
        "tensor": (language.TensorValue, record(language.TensorValue, TENSOR)),
        "tuple": (tuple, many(VALUE)),
        "list": (language.List, record(language.List, many(VALUE))),
        "dict": (
            language.Dict,
            record(language.Dict, many(fixed(VALUE, VALUE)), optional(NAME), optional(NAME)),
        ),
        "set": (language.Set, record(language.Set, many(VALUE), BOOL)),
        "slice": (language.Slice, record(language.Slice, VALUE, VALUE, VALUE)),
        "range": (language.Range, record(language.Range, VALUE, VALUE, VALUE)),
        "size": (language.Size, record(language.Size, many(VALUE))),
        "record": (language.Record, record(language.Record, NAME, many(fixed(TEXT, VALUE)))),
    },
    _is_json,
)


# -- nodes -------------------------------------------------------------------------------------------------------

_SIZES = many(scalar(int, str))
_VALUE_META: Codec[Any] = tagged(
    {
        "tensor": (TensorMeta, record(TensorMeta, DTYPE, _SIZES, optional(DEVICE), optional(_SIZES), BOOL)),
        "number": (SymMeta, record(SymMeta, _word(NumberKind, "a kind of number"), TEXT)),
        "tuple": (tuple, many(late(lambda: _VALUE_META))),
    },
    lambda value: value is None,
)
_LINE: Codec[Any] = record(SourceLine, TEXT, INTEGER, TEXT, optional(late(lambda: _LISTED_LINE)), INTEGER)
_STACK = many(record(ModuleFrame, TEXT, TEXT, INTEGER))
_LISTED_LINE: Codec[Any] = listed("lines", _LINE)
_LISTED_STACK = listed("stacks", _STACK)
_LINE_OF_1 = fixed(TEXT, INTEGER, TEXT)


def _decode_line(data: object, numbered: Numbered) -> SourceLine:
    if isinstance(data, list):
        return SourceLine(*_LINE_OF_1.decode(data, numbered))
    line: SourceLine = _LISTED_LINE.decode(data, numbered)
    return line


def _decode_stack(data: object, numbered: Numbered) -> tuple[ModuleFrame, ...]:
    if isinstance(data, str):
        return (ModuleFrame(data),) if data else ()
    return _LISTED_STACK.decode(data, numbered)


_META = record(
    NodeMeta,
    _VALUE_META,
    optional(Codec(_LISTED_LINE.encode, _decode_line)),
    Codec(_LISTED_STACK.encode, _decode_stack),
    TEXT,
)
_SPARSE_META = Codec(
    lambda meta, numbered: None if meta == NO_META else _META.encode(meta, numbered),
    lambda data, numbered: NO_META if data is None else _META.decode(data, numbered),
)
_KEYWORDS = many(fixed(TEXT, VALUE))
_NODE = record(Node, TEXT, _word(Opcode, "a kind of node"), VALUE, many(VALUE), _KEYWORDS, _SPARSE_META)


def _encode_node(node: Node, numbered: Numbered) -> object:
    try:
        return _NODE.encode(node, numbered)
    except Unwritable as fault:
        numbered.report(node.name, fault)
        return None


def _decode_node(data: object, numbered: Numbered) -> Node:
    node = _NODE.decode(data, numbered)
    if not isinstance(
        node.target, language.Name | language.OpName | language.Opaque if node.op == "call_function" else str
    ):
        raise Damaged(
            f"has {with_article(node.op)} node whose target is {with_article(type(node.target).__name__)}"
        )
    return node


# -- modules -----------------------------------------------------------------------------------------------------


def _encode_attribute(value: language.Value, numbered: Numbered) -> object:
    """An attribute; a live object is written as the name of its class and its description."""
    return VALUE.encode(language.map_leaves(value, _described), numbered)


def _described(value: language.Value) -> language.Value:
    if type(value) is not language.Live:
        return value
    cls = type(value.value)
    return language.Opaque(language.Name(cls.__module__, cls.__qualname__), value.description)


def _encode_module(module: ModuleRecord, numbered: Numbered) -> int:
    return numbered.number_of_module(module, lambda: _new_module(module, numbered))


def _new_module(module: ModuleRecord, numbered: Numbered) -> object:
    is_root = not numbered.path  # whose hooks are not part of the graph, as a note says
    if module.original is not None and module.hooks and not is_root:
        numbered.report("", Unwritable("has hooks, which no file can hold"))
    return _MODULE.encode(module, numbered)


def _decode_module(data: object, numbered: Numbered) -> ModuleRecord:
    if type(data) is not int or not 0 <= data < len(numbered.modules):
        raise Damaged("refers to a module that does not stand before it")
    return numbered.modules[data]


def _encode_children(children: Mapping[str, ModuleRecord | None], numbered: Numbered) -> object:
    outer = numbered.path
    pairs = []
    for name, child in children.items():
        numbered.path = f"{outer}.{name}" if outer else name
        pairs.append([name, None if child is None else _encode_module(child, numbered)])
    numbered.path = outer
    return pairs


_MODULE_NUMBER = Codec(_encode_module, _decode_module)
_TREE: Codec[Tree] = record(
    Tree, _word(TreeKind, "a kind of tree"), many(late(lambda: _TREE)), many(VALUE), optional(NAME)
)
_TREES = many(fixed(TEXT, _TREE))
_CONVENTION = record(CallingConvention, _TREES, _TREES, optional(_TREE))
_NAMES = Codec(
    lambda names, numbered: sorted(names), lambda data, numbered: frozenset(many(TEXT).decode(data, numbered))
)
_MODULE = record(
    ModuleRecord,
    NAME,
    optional(record(Graph, many(Codec(_encode_node, _decode_node)))),
    BOOL,
    table(optional(TENSOR)),
    table(optional(TENSOR)),
    _NAMES,
    Codec(_encode_children, table(optional(_MODULE_NUMBER)).decode),
    table(Codec(_encode_attribute, VALUE.decode)),
    many(TEXT),
    NOTHING,
    optional(_CONVENTION),
    TEXT,
)

# -- the graph ---------------------------------------------------------------------------------------------------

_CHECK = record(InputCheck, TEXT, optional(_SIZES), BOOL, VALUE, optional(TEXT))
_RANGE = fixed(TEXT, optional(INTEGER), optional(INTEGER))
_CONTRACT = record(InputContract, many(_CHECK), many(_RANGE), many(TEXT))
_OPTIONAL_TEXT = optional(TEXT)
_PROVENANCE: Codec[Provenance] = record(
    Provenance,
    *(TEXT, _OPTIONAL_TEXT, _OPTIONAL_TEXT, _OPTIONAL_TEXT, _OPTIONAL_TEXT),
    optional(late(lambda: _PROVENANCE)),
)


def _encode_samples(samples: SampleInputs, numbered: Numbered) -> object:
    return VALUE.encode(value_of((samples.args, dict(samples.kwargs))), numbered)


def _decode_samples(data: object, numbered: Numbered) -> SampleInputs:
    try:
        call = object_of(VALUE.decode(data, numbered))
    except (ValueError, TypeError) as fault:
        raise Damaged(f"has example inputs that are not the arguments of a call ({fault})") from None
    if type(call) is not tuple or [type(part) for part in call] != [tuple, dict]:
        raise Damaged("has example inputs that are not the arguments of a call")
    return SampleInputs(*call)


_GRAPH_DATA = record(
    GraphData,
    _MODULE_NUMBER,
    _PROVENANCE,
    optional(_CONVENTION),
    optional(_CONTRACT),
    optional(Codec(_encode_samples, _decode_samples)),
    many(TEXT),
)


def encode_graph(data: GraphData) -> tuple[dict[str, object], list[torch.Tensor]]:
    """A graph as a JSON document and the tensors that it refers to.

    Raises UnsupportedGraphError with every finding when something in it, such as a live callable, cannot be written.
    """
    numbered = Numbered()
    graph = _GRAPH_DATA.encode(data, numbered)
    if numbered.findings:
        where = data.provenance.path or "the graph"
        raise UnsupportedGraphError(tuple(numbered.findings), where, "saved in a graph file")
    kinds = [[isinstance(each, torch.nn.Parameter), each.requires_grad] for each in numbered.tensors]
    document = {MARK: VERSION, "tensors": kinds, "modules": numbered.encoded_modules, "graph": graph}
    document |= numbered.encoded_lists
    return document, [tensor.detach() for tensor in numbered.tensors]


def check_version(document: object, path: str) -> None:
    """Raise UnknownFormatError for a document of a newer version of this format, Damaged for an impossible version."""
    version = typed(_VersionedGraph, document).fx2py_graph
    if version > VERSION:
        raise UnknownFormatError(
            f"{path} is of version {version} of fx2py's graph files, newer than {VERSION}.", "Update fx2py."
        )
    if version < 1:
        raise Damaged(f"is of an impossible version ({version})")


def _decode_list(name: str, codec: Codec[Any], data: Sequence[object], numbered: Numbered) -> None:
    """Read a list whose values may refer to those before them."""
    known = numbered.lists[name] = []
    each(lambda part: known.append(codec.decode(part, numbered)), list(data))


def decode_graph(document: object, tensors: list[torch.Tensor]) -> GraphData:
    """The graph of a document; Damaged, with the place, when it does not describe one."""
    parts = typed(_Document, document)
    if len(parts.tensors) != len(tensors):
        raise Damaged(f"lists {len(parts.tensors)} tensors, and {len(tensors)} are stored")
    numbered = Numbered()
    numbered.tensors = [_of_kind(tensor, *kind) for tensor, kind in zip(tensors, parts.tensors, strict=True)]
    try:
        _decode_list("lines", _LINE, parts.lines, numbered)
        _decode_list("stacks", _STACK, parts.stacks, numbered)
        each(lambda module: numbered.modules.append(_MODULE.decode(module, numbered)), parts.modules)
    except Damaged as fault:
        raise fault.inside(".modules") from None
    try:
        data = _GRAPH_DATA.decode(parts.graph, numbered)
    except Damaged as fault:
        raise fault.inside(".graph") from None
    if data.root.graph is None:
        raise Damaged("has a root module without a graph")
    return data


def _of_kind(tensor: torch.Tensor, is_parameter: bool, requires_grad: bool) -> torch.Tensor:
    try:
        if is_parameter:
            return torch.nn.Parameter(tensor, requires_grad)
        return tensor.requires_grad_(requires_grad)
    except RuntimeError as error:
        raise Damaged(f"has a tensor that torch refuses: {str(error).partition(chr(10))[0]}") from None
