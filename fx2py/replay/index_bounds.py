"""How large the numbers of an integer input may be: the rows of the tables that it indexes, where that is visible."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from fx2py.graph.data import ModuleRecord, Node, TensorMeta
from fx2py.graph.values import List, Name, OpName, Ref, walk

_SAME_NUMBERS = frozenset(
    {
        *("view", "reshape", "to", "_to_copy", "long", "int", "slice", "select", "unsqueeze", "squeeze"),
        "expand",
        *("clone", "contiguous", "flatten", "getitem", "transpose", "permute", "t", "alias", "detach"),
        "type",
        *("repeat", "lift_fresh_copy", "_unsafe_view", "expand_as", "view_as"),
    }
)
"""Operations whose result holds no other numbers than their first argument."""

_INDEXED = {
    ("aten", "embedding"): (0, 1),
    ("torch", "embedding"): (0, 1),
    ("torch.nn.functional", "embedding"): (1, 0),
    ("torch.nn.functional", "embedding_bag"): (1, 0),
}
"""Lookups in a table's rows: the places of the table and of the indices."""

_ALONG_DIMENSION = frozenset(
    {"gather", "index_select", "take_along_dim", "scatter", "scatter_add", "index_add"}
)
_SUBSCRIPTS = frozenset({"index", "index_put", "index_put_", "getitem"})


def index_bound(record: ModuleRecord, placeholder: str) -> int | None:
    """The number below which each element of the input must stay; None where no lookup is visible."""
    if record.graph is None:
        return None
    scope = _Scope(record, {node.name: node for node in record.graph.nodes})
    same = {placeholder}
    bounds: list[int] = []
    for node in record.graph.nodes:
        if _base_name(node) in _SAME_NUMBERS and _is_among(node, 0, same):
            same.add(node.name)
        bounds += (
            _module_bounds(record, node, same) if node.op == "call_module" else _bounds(scope, node, same)
        )
    return min(bounds, default=None)


@dataclass(frozen=True, slots=True, eq=False)
class _Scope:
    """One graph's nodes by name, with the module that holds its tensors."""

    record: ModuleRecord
    nodes: Mapping[str, Node]

    def rows(self, table: Any, dimension: int) -> Iterator[int]:
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
    found = _found(record, str(source.target)) if source.op == "get_attr" else None
    return tuple(found.shape) if isinstance(found, torch.Tensor) else ()


def _found(record: ModuleRecord, path: str) -> Any:
    try:
        return record.find(path)
    except KeyError:
        return None


def _bounds(scope: _Scope, node: Node, same: set[str]) -> Iterator[int]:
    """The sizes of what a call looks up with the numbers of interest."""
    base = _base_name(node)
    table, indices = _INDEXED.get(_key(node), (0, 0))
    if table != indices and _is_among(node, indices, same):
        yield from scope.rows(_argument(node, table), 0)
    elif base in _ALONG_DIMENSION and _is_among(node, 2, same):
        dimension = _argument(node, 1)
        if type(dimension) is int:
            yield from scope.rows(_argument(node, 0), dimension)
    elif base in _SUBSCRIPTS and len(node.args) > 1:
        indexed = node.args[1]
        parts = indexed.items if isinstance(indexed, List) else indexed
        for place, part in enumerate(parts if isinstance(parts, tuple) else (parts,)):
            if isinstance(part, Ref) and part.name in same:
                yield from scope.rows(node.args[0], place)


def _module_bounds(record: ModuleRecord, node: Node, same: set[str]) -> Iterator[int]:
    """Bounds inside a called module: a table of its own, or lookups of a nested graph."""
    if not any(isinstance(part, Ref) and part.name in same for part in walk(node.args)):
        return
    child = _found(record, str(node.target))
    if not isinstance(child, ModuleRecord):
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


def _argument(node: Node, place: int) -> Any:
    return node.args[place] if place < len(node.args) else None


def _key(node: Node) -> tuple[str, str]:
    target = node.target
    if isinstance(target, OpName):
        return target.namespace, target.name
    return (target.module, target.qualname) if isinstance(target, Name) else ("", "")


def _base_name(node: Node) -> str:
    if node.op == "call_method":
        return str(node.target)
    return _key(node)[1].rpartition(".")[2] if node.op == "call_function" else ""
