"""Graphs as ``GraphPickler`` writes them: node by node, with what each records, and the structure of inputs and outputs.

Source: torch/fx/_graph_pickler.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import get_args

import torch

from fx2py.errors import with_article
from fx2py.graph.data import (
    NO_META,
    CallingConvention,
    Graph,
    ModuleFrame,
    Node,
    NodeMeta,
    NumberKind,
    Opcode,
    SymMeta,
    Target,
    TensorMeta,
    Tree,
    ValueMeta,
)
from fx2py.graph.names import dotted_name
from fx2py.graph.values import Dict, Name, Opaque
from fx2py.read.origin import RECORDED_KEYS, module_frame, source_line
from fx2py.read.pickled.stream import Built, Global, Pairs, PickleFault
from fx2py.read.pickled.tensors import DTYPES
from fx2py.read.pickled.values import (
    LIMIT,
    PICKLER,
    SYMBOLIC_BOOL,
    SYMBOLIC_FLOAT,
    SYMBOLIC_INT,
    PickledValues,
    attributes,
    name_of,
    symbolic_size,
    symbolic_text,
    target_name,
)
from fx2py.read.pytree import LEAF, Signature, container_tree, convention_of

_FAKE_TENSOR = f"{PICKLER}._TensorPickleData.unpickle"
_METADATA = "torch.fx.passes.shape_prop.TensorMetadata"
_OPCODES: dict[str, Opcode] = {opcode: opcode for opcode in get_args(Opcode)}
_PRECOMPILED = f"{PICKLER}._OpPrecompiledPickleData"
_SPECS = frozenset({"torch.utils._pytree.TreeSpec", "torch.utils._pytree.LeafSpec"})
_FIELDS = (("type",), ("context", "_context"), ("children", "_children", "children_specs"))
_LEAF = "torch.utils._pytree.treespec_leaf"
"""The function that torch 2.14 and newer pickle a leaf as a call of (``LeafSpec.__reduce__``)."""
_MAX_PARTS = 200_000
"""Shared parts make a structure grow exponentially: each level of a small file can hold the next one twice."""
_NAMED_TUPLE = "collections.namedtuple"
_DEFAULT_DICT = "collections.defaultdict"


def graph_of(obj: object, values: PickledValues) -> tuple[Graph, CallingConvention | None]:
    """The nodes of a pickled graph and its calling convention; PickleFault when it is damaged."""
    state = state_of(obj, "_GraphPickleData")
    nodes = state.get("nodes")
    if type(nodes) is not tuple:
        raise PickleFault("a graph has no nodes")
    graph = Graph(tuple([_node(node, values) for node in nodes]))
    return graph, _convention(state.get("_codegen"), len(graph.placeholders))


def state_of(obj: object, cls: str) -> dict[str, object]:
    """The attributes of one of GraphPickler's own records."""
    if type(obj) is not Built or obj.path != f"{PICKLER}.{cls}" or type(obj.state) is not Pairs:
        raise PickleFault(f"a graph holds something other than {with_article(cls)}")
    return obj.state.by_name()


def _node(obj: object, values: PickledValues) -> Node:
    state = state_of(obj, "_NodePickleData")
    name, op = state.get("name"), _OPCODES.get(str(state.get("op")))
    if type(name) is not str or op is None:
        raise PickleFault("a node has no name or no known opcode")
    kwargs = values.value(state.get("kwargs"))
    pairs = tuple((str(key), value) for key, value in (kwargs.items if isinstance(kwargs, Dict) else ()))
    args = values.items(state.get("args"))
    return Node(name, op, _target(state.get("target"), op), args, pairs, _meta(state.get("meta")))


def _target(obj: object, op: str) -> Target:
    if type(obj) is Built and obj.path == _PRECOMPILED:
        return Opaque(Name("torch._inductor.standalone_compile", "AOTCompiledArtifact"), "a compiled graph")
    text = target_name(obj)
    if text is None:
        raise PickleFault("a node has a target of an unknown kind")
    return dotted_name(text) if op == "call_function" else text


def _meta(obj: object) -> NodeMeta:
    if type(obj) is not Pairs or not obj.pairs:
        return NO_META
    meta = obj.by_name()
    value = next((meta[key] for key in RECORDED_KEYS if key in meta), None)
    trace = meta.get("stack_trace")
    return NodeMeta(
        value=recorded(value),
        source=source_line(trace) if type(trace) is str else None,
        stack=_stack(meta.get("nn_module_stack")),
    )


def _stack(recorded: object) -> tuple[ModuleFrame, ...]:
    """A module stack; the class of a module is recorded as its name or its path."""
    pairs = recorded.pairs if isinstance(recorded, Pairs | Built) else ()
    return tuple(
        [
            module_frame(key, entry[0], entry[1] if type(entry[1]) is str else getattr(entry[1], "path", ""))
            for key, entry in pairs or ()
            if type(key) is str and type(entry) is tuple and len(entry) == 2 and type(entry[0]) is str
        ]
    )


def _convention(codegen: object, placeholders: int) -> CallingConvention | None:
    if codegen is None:
        return None
    path, info = (
        ("", None) if type(codegen) is not Built else (codegen.path, attributes(codegen).get("pytree_info"))
    )
    return convention_of(path, None if info is None else _signature(info), placeholders)


def _signature(info: object) -> Signature:
    """The names and structures of a pickled ``_PyTreeInfo`` (torch/fx/graph.py)."""
    if type(info) is Built and type(info.args) is tuple and len(info.args) == 3:
        names, inputs, output = info.args
        tree = tree_of_pickled(inputs)
        if tree is not None and type(names) is list and all(type(name) is str for name in names):
            return names, tree, tree_of_pickled(output)
    raise PickleFault("the signature of a graph is damaged")


# -- the structure of inputs and outputs ---------------------------------------------------------------------------


def tree_of_pickled(obj: object) -> Tree | None:
    """The tree of a pickled spec; None for None. PickleFault or ValueError for anything else."""
    return None if obj is None else _tree(obj, iter(range(_MAX_PARTS)))


def _tree(obj: object, left: Iterator[int]) -> Tree:
    if next(left, None) is None:
        raise PickleFault("the structure of the inputs or outputs is too large")
    kind, context, children = _fields(obj)
    if kind is None:
        return LEAF
    if type(kind) is not Global or type(children) is not list:
        raise PickleFault("the structure of the inputs or outputs is damaged")
    return _container(kind, context, tuple([_tree(child, left) for child in children]))


def _fields(obj: object) -> tuple[object, object, object]:
    if type(obj) is Built and obj.path == _LEAF and obj.args == ():
        return None, None, []
    if type(obj) is Built and obj.path in _SPECS:
        if type(obj.state) is list and len(obj.state) >= len(_FIELDS):
            return obj.state[0], obj.state[1], obj.state[2]
        if type(obj.state) is Pairs:
            state = obj.state.by_name()
            kind, context, children = (next((state[k] for k in keys if k in state), None) for keys in _FIELDS)
            return kind, context, children
    raise PickleFault("the structure of the inputs or outputs is of an unknown kind")


def _container(kind: Global, context: object, children: tuple[Tree, ...]) -> Tree:
    if kind.path == _NAMED_TUPLE:
        ordinals = tuple(str(index) for index in range(len(children)))
        return Tree("namedtuple", children, ordinals, _class(context))
    if kind.path == _DEFAULT_DICT:
        factory, keys = context if type(context) is list and len(context) == 2 else (None, None)
        return container_tree(kind.path, _class(factory), _recorded_context(keys), children)
    return container_tree(kind.path, None, _recorded_context(context), children)


def _class(obj: object) -> Name | None:
    return name_of(obj) if type(obj) is Global else None


def _recorded_context(context: object) -> object:
    """Recorded keys and field names as a list; anything else as it is."""
    return list(context) if type(context) is tuple else context


# -- what nodes record ---------------------------------------------------------------------------------------------


def recorded(obj: object) -> ValueMeta:
    """The shape and dtype of a recorded tensor, the expression of a recorded number; None where neither is recorded."""
    return _recorded(obj, iter(range(LIMIT)))


def _recorded(obj: object, left: Iterator[int]) -> ValueMeta:
    if next(left, None) is None:
        raise PickleFault("what is recorded of a node's result has too many parts")
    if isinstance(obj, list | tuple):
        return tuple([_recorded(part, left) for part in obj])
    handler = _RECORDED.get(obj.path) if type(obj) is Built else None
    return handler(obj) if handler is not None and type(obj) is Built else None


def _fake_tensor(obj: Built) -> ValueMeta:
    data = attributes(obj.first)
    metadata = attributes(data.get("metadata"))
    return _tensor(metadata, metadata.get("size"))


def _tensor_metadata(obj: Built) -> ValueMeta:
    names = ("shape", "dtype", "requires_grad", "stride")
    fields: dict[str, object] = dict(zip(names, obj.args, strict=False)) if type(obj.args) is tuple else {}
    return _tensor(fields, fields.get("shape"))


def _tensor(fields: dict[str, object], shape: object) -> TensorMeta | None:
    dtype, device = fields.get("dtype"), fields.get("device")
    kind = DTYPES.get(dtype.path) if type(dtype) is Global else None
    sizes = _sizes(shape)
    if kind is None or sizes is None:
        return None
    return TensorMeta(
        kind, sizes, _device(device), _sizes(fields.get("stride")), fields.get("requires_grad") is True
    )


def _device(obj: object) -> torch.device | None:
    if type(obj) is not Built or obj.path != "torch.device" or type(obj.args) is not tuple:
        return None
    try:
        return torch.device(*obj.args)
    except (RuntimeError, TypeError):
        return None


def _sizes(obj: object) -> tuple[int | str, ...] | None:
    items = obj.first if type(obj) is Built and obj.path == "torch.Size" else obj
    if not isinstance(items, list | tuple):
        return None
    sizes = [item if type(item) is int else symbolic_size(item) for item in items]
    return None if None in sizes else tuple(size for size in sizes if size is not None)


def _symbolic(obj: Built) -> ValueMeta:
    size = symbolic_size(obj)
    return None if size is None else SymMeta("int", str(size))


def _symbolic_number(kind: NumberKind) -> Callable[[Built], ValueMeta]:
    def read(obj: Built) -> ValueMeta:
        text = symbolic_text(obj)
        return None if text is None else SymMeta(kind, text)

    return read


_RECORDED: dict[str, Callable[[Built], ValueMeta]] = {
    _FAKE_TENSOR: _fake_tensor,
    _METADATA: _tensor_metadata,
    SYMBOLIC_INT: _symbolic,
    SYMBOLIC_FLOAT: _symbolic_number("float"),
    SYMBOLIC_BOOL: _symbolic_number("bool"),
}
