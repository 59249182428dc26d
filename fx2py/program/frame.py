"""One graph while it is flattened into a function."""

from __future__ import annotations

from typing import Any

from fx2py.graph.data import Graph, ModuleRecord, ValueMeta
from fx2py.graph.values import GETITEM, Ref, walk


def _only_unpacked(graph: Graph) -> frozenset[str]:
    """The nodes of whose result only single items are taken."""
    unpacked: set[str] = set()
    whole: set[str] = set()
    for node in graph.nodes:
        source = node.args[0] if node.args else None
        takes_item = node.target == GETITEM and type(source) is Ref and type(node.args[1]) is int
        if takes_item and isinstance(source, Ref):
            unpacked.add(source.name)
            continue
        for value in (*node.args, *(value for _, value in node.kwargs)):
            whole.update(part.name for part in walk(value) if type(part) is Ref)
    return frozenset(unpacked - whole)


class Frame:
    """One graph that is being flattened into a function: its module, path, and the value of each node so far."""

    __slots__ = ("depth", "env", "metas", "path", "record", "unpacked")

    def __init__(self, record: ModuleRecord, path: str, depth: int) -> None:
        self.record = record
        self.path = path
        self.depth = depth
        self.env: dict[str, Any] = {}
        self.metas: dict[str, ValueMeta] = {}
        self.unpacked = _only_unpacked(record.graph) if record.graph else frozenset()

    def metas_of(self, values: tuple[Any, ...]) -> tuple[ValueMeta, ...]:
        return tuple(self.metas.get(value.name) if type(value) is Ref else None for value in values)

    def full_path(self, path: str) -> str:
        return f"{self.path}.{path}" if self.path else path
