"""Pieces that are the same graph up to the names of nodes and weights, as the layers of a transformer are."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Any

import torch

from fx2py.graph.data import Graph, ModuleRecord, TensorMeta
from fx2py.graph.values import Attribute, Ref, TensorValue, children
from fx2py.program.ir import Submodule
from fx2py.program.tables import exact_key


def identical_pieces(submods: Iterable[Submodule]) -> Mapping[str, str]:
    """For each generated piece that repeats an earlier one, by path, the path of the first of its kind.

    Two pieces are the same when one code serves both: equal calls, constants and inputs, and weights that differ in
    nothing but their numbers.
    """
    first: dict[Hashable, str] = {}
    repeats: dict[str, str] = {}
    for entry in submods:
        if entry.function is not None and entry.record is not None:
            original = first.setdefault(_module_key(entry.record), entry.path)
            if original != entry.path:
                repeats[entry.path] = original
    return repeats


def _module_key(record: ModuleRecord) -> Hashable:
    if record.graph is not None:
        return ("graph", _graph_key(record.graph, record))
    tables = (record.parameters, record.buffers)
    state = tuple((name, _tensor_key(tensor)) for table in tables for name, tensor in table.items())
    below = tuple((name, child and _module_key(child)) for name, child in record.children.items())
    attributes = tuple((name, _value_key(value, {}, record)) for name, value in record.attributes.items())
    live = id(record.live) if record.hooks else None
    return (record.cls, record.training, state, below, attributes, live)


def _graph_key(graph: Graph, record: ModuleRecord) -> Hashable:
    numbers: dict[str, int] = {}
    nodes: list[Hashable] = []
    for number, node in enumerate(graph.nodes):
        if node.op == "placeholder":
            target: Hashable = node.meta.value
        elif node.op in ("get_attr", "call_module"):
            target = _path_key(str(node.target), record)
        else:
            target = node.target
        values = (*node.args, *(value for _, value in node.kwargs))
        keys = tuple(name for name, _ in node.kwargs)
        nodes.append((node.op, target, keys, tuple(_value_key(value, numbers, record) for value in values)))
        numbers[node.name] = number
    return tuple(nodes)


def _path_key(path: str, record: ModuleRecord) -> Hashable:
    try:
        found = record.find(path)
    except KeyError:
        return path
    if isinstance(found, torch.Tensor):
        return _tensor_key(found)
    return _module_key(found) if isinstance(found, ModuleRecord) else _value_key(found, {}, record)


def _value_key(value: Any, numbers: Mapping[str, int], record: ModuleRecord) -> Hashable:
    kind = type(value)
    if kind is Ref:
        return ("node", numbers.get(value.name, value.name))
    if kind is TensorValue:
        return _tensor_key(value.tensor)
    if kind is Attribute:
        return _path_key(value.path, record)
    inner = tuple(_value_key(part, numbers, record) for part in children(value))
    settings = tuple(getattr(value, name, None) for name in ("cls", "frozen"))
    return (kind, settings, inner) if inner else exact_key(value)


def _tensor_key(tensor: torch.Tensor | None) -> Hashable:
    if tensor is None:
        return None
    strides = tuple(tensor.stride()) if tensor.layout == torch.strided else ()
    return TensorMeta(tensor.dtype, tuple(tensor.shape), tensor.device, strides, tensor.requires_grad)
