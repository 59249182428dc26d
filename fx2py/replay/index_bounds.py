"""An upper bound for the elements of an integer input: the rows of the tables that it indexes, where that is visible."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass

import torch

from fx2py.graph.data import ModuleRecord, Node, TensorMeta
from fx2py.graph.values import List, Name, OpName, Ref, Value, walk
from fx2py.operators.facts import facts_named


def index_bound(record: ModuleRecord, placeholder: str) -> int | None:
    """The number below which each element of the input must stay; None where no lookup is visible."""
    if record.graph is None:
        return None
    tables = _IndexedTables(record, {node.name: node for node in record.graph.nodes})
    same = {placeholder}
    bounds: list[int] = []
    for node in record.graph.nodes:
        if facts_named(_base_name(node)).keeps_elements and _is_among(node, 0, same):
            same.add(node.name)
        bounds += (
            _module_bounds(record, node, same) if node.op == "call_module" else _bounds(tables, node, same)
        )
    return min(bounds, default=None)


@dataclass(frozen=True, slots=True, eq=False)
class _IndexedTables:
    """The tensors that a graph looks rows up in, by its nodes and the module that holds them."""

    record: ModuleRecord
    nodes: Mapping[str, Node]

    def rows(self, table: Value, dimension: int) -> Iterator[int]:
        """The size of a table along a dimension, from the tensor itself or from what is recorded of it."""
        source = self.nodes.get(table.name) if isinstance(table, Ref) else None
        if source is None:
            return
        shape = _shape(self.record, source)
        if -len(shape) <= dimension < len(shape):
            size = shape[dimension]
            if isinstance(size, int):
                yield size


def _shape(record: ModuleRecord, source: Node) -> tuple[int | str, ...]:
    if isinstance(source.meta.value, TensorMeta):
        return source.meta.value.shape
    if source.op == "get_attr":
        with suppress(KeyError):
            found = record.find(str(source.target))
            return tuple(found.shape) if isinstance(found, torch.Tensor) else ()
    return ()


def _bounds(tables: _IndexedTables, node: Node, same: set[str]) -> Iterator[int]:
    """The sizes of the tables that a call indexes with one of the values ``same``."""
    known = facts_named(_path(node)).index or facts_named(_base_name(node)).index
    if known is None:
        return
    table = _argument(node, known.table)
    if known.dimension is None:
        yield from _subscript_bounds(tables, table, _argument(node, known.indices), same)
    elif _is_among(node, known.indices, same):
        dimension = _argument(node, known.dimension) if known.by_argument else known.dimension
        if type(dimension) is int:
            yield from tables.rows(table, dimension)


def _subscript_bounds(
    tables: _IndexedTables, table: Value, subscript: Value, same: set[str]
) -> Iterator[int]:
    parts = subscript.items if isinstance(subscript, List) else subscript
    for place, part in enumerate(parts if isinstance(parts, tuple) else (parts,)):
        if isinstance(part, Ref) and part.name in same:
            yield from tables.rows(table, place)


def _module_bounds(record: ModuleRecord, node: Node, same: set[str]) -> Iterator[int]:
    """Bounds inside a called module: the rows of its own table, or the bounds in a nested graph."""
    if not any(isinstance(part, Ref) and part.name in same for part in walk(node.args)):
        return
    child = record.find_module(str(node.target))
    if child is None:
        return
    if child.graph is None:
        weight = child.parameters.get("weight")
        if child.cls.qualname in ("Embedding", "EmbeddingBag") and weight is not None:
            yield weight.shape[0]
        return
    for argument, inner in zip(node.args, child.graph.placeholders, strict=False):
        if isinstance(argument, Ref) and argument.name in same:
            bound = index_bound(child, inner.name)
            if bound is not None:
                yield bound


def _is_among(node: Node, place: int, same: set[str]) -> bool:
    value = _argument(node, place)
    return isinstance(value, Ref) and value.name in same


def _argument(node: Node, place: int) -> Value:
    return node.args[place] if place < len(node.args) else None


def _path(node: Node) -> str:
    """The dotted path of the function that a node calls; '' for other nodes."""
    return node.target.path if node.op == "call_function" and isinstance(node.target, Name) else ""


def _base_name(node: Node) -> str:
    """The name of an operator, function or method without its namespace."""
    target = node.target
    if node.op == "call_method":
        return str(target)
    if isinstance(target, OpName):
        return target.name
    return target.qualname.rpartition(".")[2] if isinstance(target, Name) else ""
