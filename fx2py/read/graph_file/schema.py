"""What a graph file says of nodes, modules and the graph as a whole.

A document is an object with ``fx2py_graph`` (the version of this format), ``tensors`` (for each, whether it is a
parameter and requires grad), ``modules`` (each behind those below it) and ``graph``. Tensors and modules are referred
to by number, so that what was shared stays shared.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

import torch

from fx2py.errors import UnsupportedGraphError
from fx2py.graph.data import (
    NO_META,
    CallingConvention,
    Graph,
    GraphData,
    InputCheck,
    InputContract,
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
from fx2py.graph.values import Live, Name, Opaque, OpName, map_leaves
from fx2py.read.documents import Damaged, exactly, field
from fx2py.read.graph_file.codec import (
    BOOL,
    INTEGER,
    NOTHING,
    TENSOR,
    TEXT,
    Codec,
    Tables,
    Unwritable,
    exact,
    fixed,
    late,
    many,
    one_of,
    optional,
    record,
    table,
    tagged,
)
from fx2py.read.graph_file.values import DEVICE, DTYPE, NAME, VALUE
from fx2py.read.live.values import value_of
from fx2py.read.pickled.contents import plain_object

VERSION = 1
MARK = "fx2py_graph"


def _word(words: Any, what: str) -> Codec:
    return one_of({word: word for word in get_args(words)}, what)


# -- nodes -------------------------------------------------------------------------------------------------------

_SIZES = many(exact(int, str))
_VALUE_META: Codec = tagged(
    {
        "tensor": (TensorMeta, record(TensorMeta, DTYPE, _SIZES, optional(DEVICE), optional(_SIZES), BOOL)),
        "number": (SymMeta, record(SymMeta, _word(NumberKind, "a kind of number"), TEXT)),
        "tuple": (tuple, many(late(lambda: _VALUE_META))),
    },
    lambda value: value is None,
)
_META = record(NodeMeta, _VALUE_META, optional(record(SourceLine, TEXT, INTEGER, TEXT)), TEXT, TEXT)
_SPARSE_META = Codec(
    lambda meta, tables: None if meta == NO_META else _META.encode(meta, tables),
    lambda data, tables: NO_META if data is None else _META.decode(data, tables),
)
_KEYWORDS = many(fixed(TEXT, VALUE))
_NODE = record(Node, TEXT, _word(Opcode, "a kind of node"), VALUE, many(VALUE), _KEYWORDS, _SPARSE_META)


def _encode_node(node: Node, tables: Tables) -> Any:
    try:
        return _NODE.encode(node, tables)
    except Unwritable as fault:
        tables.report(node.name, fault)
        return None


def _decode_node(data: Any, tables: Tables) -> Node:
    node: Node = _NODE.decode(data, tables)
    if not isinstance(node.target, Name | OpName | Opaque if node.op == "call_function" else str):
        raise Damaged(f"has a {node.op} node whose target is a {type(node.target).__name__}")
    return node


# -- modules -----------------------------------------------------------------------------------------------------


def _encode_attribute(value: Any, tables: Tables) -> Any:
    """An attribute as data; of an object that is none, only what it was."""
    return VALUE.encode(map_leaves(value, _described), tables)


def _described(value: Any) -> Any:
    if type(value) is not Live:
        return value
    cls = type(value.value)
    return Opaque(Name(cls.__module__, cls.__qualname__), value.description)


def _encode_module(module: ModuleRecord, tables: Tables) -> int:
    return tables.number_of_module(module, lambda: _new_module(module, tables))


def _new_module(module: ModuleRecord, tables: Tables) -> Any:
    is_root = not tables.path  # whose own hooks are no part of the graph, as a note says
    if module.live is not None and module.hooks and not is_root:
        tables.report("", Unwritable("has hooks, which no file can hold"))
    return _MODULE.encode(module, tables)


def _decode_module(data: Any, tables: Tables) -> ModuleRecord:
    if type(data) is not int or not 0 <= data < len(tables.modules):
        raise Damaged("refers to a module that does not stand before it")
    return tables.modules[data]


def _encode_children(children: Mapping[str, ModuleRecord | None], tables: Tables) -> Any:
    outer = tables.path
    pairs = []
    for name, child in children.items():
        tables.path = f"{outer}.{name}" if outer else name
        pairs.append([name, None if child is None else _encode_module(child, tables)])
    tables.path = outer
    return pairs


_MODULE_NUMBER = Codec(_encode_module, _decode_module)
_TREE: Codec = record(
    Tree, _word(TreeKind, "a kind of tree"), many(late(lambda: _TREE)), many(VALUE), optional(NAME)
)
_TREES = many(fixed(TEXT, _TREE))
_CONVENTION = record(CallingConvention, _TREES, _TREES, optional(_TREE))
_NAMES = Codec(
    lambda names, tables: sorted(names), lambda data, tables: frozenset(many(TEXT).decode(data, tables))
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
_PROVENANCE: Codec = record(
    Provenance,
    *(TEXT, _OPTIONAL_TEXT, _OPTIONAL_TEXT, _OPTIONAL_TEXT, _OPTIONAL_TEXT),
    optional(late(lambda: _PROVENANCE)),
)


def _encode_samples(samples: SampleInputs, tables: Tables) -> Any:
    return VALUE.encode(value_of((samples.args, dict(samples.kwargs))), tables)


def _decode_samples(data: Any, tables: Tables) -> SampleInputs:
    try:
        args, kwargs = plain_object(VALUE.decode(data, tables))
    except (ValueError, TypeError) as fault:
        raise Damaged(f"has example inputs that are no arguments of a call ({fault})") from None
    return SampleInputs(exactly(args, tuple), exactly(kwargs, dict))


_GRAPH_DATA = record(
    GraphData,
    _MODULE_NUMBER,
    _PROVENANCE,
    optional(_CONVENTION),
    optional(_CONTRACT),
    optional(Codec(_encode_samples, _decode_samples)),
    many(TEXT),
)


def encode_graph(data: GraphData) -> tuple[dict[str, Any], list[torch.Tensor]]:
    """A graph as a JSON document and the tensors that it refers to.

    Raises UnsupportedGraphError with every finding when something in it, such as a live callable, is no data.
    """
    tables = Tables()
    graph = _GRAPH_DATA.encode(data, tables)
    if tables.findings:
        where = data.provenance.path or "the graph"
        raise UnsupportedGraphError(tuple(tables.findings), where, "saved in a graph file")
    kinds = [[isinstance(each, torch.nn.Parameter), each.requires_grad] for each in tables.tensors]
    document = {MARK: VERSION, "tensors": kinds, "modules": tables.encoded_modules, "graph": graph}
    return document, [tensor.detach() for tensor in tables.tensors]


def decode_graph(document: dict[str, Any], tensors: list[torch.Tensor]) -> GraphData:
    """The graph of a document; Damaged, with the place, when it does not say one."""
    tables = Tables()
    kinds = many(fixed(BOOL, BOOL)).decode(document.get("tensors"), tables)
    if len(kinds) != len(tensors):
        raise Damaged(f"lists {len(kinds)} tensors, and {len(tensors)} are stored")
    tables.tensors = [_of_kind(tensor, *kind) for tensor, kind in zip(tensors, kinds, strict=True)]
    for module in field(document, "modules", list):
        tables.modules.append(_MODULE.decode(module, tables))
    data: GraphData = _GRAPH_DATA.decode(document.get("graph"), tables)
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
