"""Pieces that are equal up to the names of nodes and weights, as the layers of a transformer are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping

import torch

from fx2py.graph.data import Graph, ModuleRecord, Node, TensorMeta
from fx2py.graph.tensors import shape_of
from fx2py.graph.values import Attribute, Ref, TensorValue, Value
from fx2py.program.exact_text import exact_key, key_of
from fx2py.program.ir import Operand, Submodule


def identical_pieces(submods: Iterable[Submodule]) -> Mapping[str, str]:
    """For each generated piece that repeats an earlier one, by path, the path of the first of its kind.

    Two pieces are identical if the same compiled code serves both: equal calls, constants and inputs, and weights that
    differ in nothing but their values.
    """
    pieces = [
        (each, each.record) for each in submods if each.function is not None and each.record is not None
    ]
    sizes: dict[int, int] = {}
    of_size = Counter(_size(record, sizes) for _, record in pieces)
    first: dict[Hashable, str] = {}
    repeats: dict[str, str] = {}
    for entry, record in pieces:
        if (
            of_size[sizes[id(record)]] > 1
        ):  # a key holds all that is below, which for pieces in pieces would add up
            original = first.setdefault(_Key().module(record), entry.path)
            if original != entry.path:
                repeats[entry.path] = original
    return repeats


def _size(record: ModuleRecord, known: dict[int, int]) -> int:
    """How many nodes and modules a key of the piece holds; ``known`` has those of the modules that were counted."""
    if id(record) not in known:
        below = list(record.children.values())
        nodes = record.graph.nodes if record.graph else ()
        if record.graph:
            below = [record.find_module(str(each.target)) for each in nodes if each.op in _TO_PATHS]
        known[id(record)] = 1 + len(nodes) + sum(_size(each, known) for each in below if each is not None)
    return known[id(record)]


_TO_PATHS = ("get_attr", "call_module")


class _Key:
    """Makes the key of one piece; sharing inside it (a weight used twice, a module called twice) is a part of the key."""

    def __init__(self) -> None:
        self._seen: dict[int, int] = {}

    def module(self, record: ModuleRecord) -> Hashable:
        known = id(record) in self._seen
        number = self._number(record)
        if known:
            return number
        if record.graph is not None:
            return (number, "graph", self._graph(record.graph, record))
        tables = (*record.parameters.items(), *record.buffers.items())
        state = tuple((name, None if tensor is None else self._tensor(tensor)) for name, tensor in tables)
        below = tuple((name, child and self.module(child)) for name, child in record.children.items())
        attributes = tuple(
            (name, self._value(value, {}, record)) for name, value in record.attributes.items()
        )
        own = id(record) if record.hooks else None
        return (number, record.cls, record.training, state, below, attributes, own)

    def _number(self, shared: object) -> int:
        return self._seen.setdefault(id(shared), len(self._seen))

    def _graph(self, graph: Graph, record: ModuleRecord) -> Hashable:
        numbers: dict[str, int] = {}
        nodes: list[Hashable] = []
        for number, node in enumerate(graph.nodes):
            names = tuple(name for name, _ in node.kwargs)
            parts = tuple(self._value(value, numbers, record) for value in node.operands)
            nodes.append((node.op, self._target(node, record), names, parts))
            numbers[node.name] = number
        return tuple(nodes)

    def _target(self, node: Node, record: ModuleRecord) -> Hashable:
        if node.op == "placeholder":
            return node.meta.value
        return self._path(str(node.target), record) if node.op in _TO_PATHS else node.target

    def _path(self, path: str, record: ModuleRecord) -> Hashable:
        try:
            found = record.find(path)
        except KeyError:
            return path
        if isinstance(found, torch.Tensor):
            return self._tensor(found)
        return self.module(found) if isinstance(found, ModuleRecord) else self._value(found, {}, record)

    def _value(self, value: Value, numbers: Mapping[str, int], record: ModuleRecord) -> Hashable:
        def leaf(part: Operand) -> Hashable:
            if isinstance(part, Ref):
                return ("node", numbers.get(part.name, part.name))
            if isinstance(part, TensorValue):
                return self._tensor(part.tensor)
            return self._path(part.path, record) if isinstance(part, Attribute) else exact_key(part)

        return key_of(value, leaf)

    def _tensor(self, tensor: torch.Tensor) -> Hashable:
        is_dense = tensor.layout == torch.strided and not tensor.is_nested
        strides = tuple(tensor.stride()) if is_dense else ()
        meta = TensorMeta(tensor.dtype, shape_of(tensor), tensor.device, strides, tensor.requires_grad)
        return (meta, self._number(tensor))
