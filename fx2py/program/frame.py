"""One graph while it is flattened into a function."""

from __future__ import annotations

from typing import Any

from fx2py.graph.data import Graph, ModuleRecord, Node, ValueMeta
from fx2py.graph.values import GETITEM, OpName, Ref, walk


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


def handed_on(graph: Graph) -> frozenset[str]:
    """The nodes whose values leave the graph's own calls: they reach functions, methods or the result as objects.

    A nested graph that only higher-order operators and generated code receive need not be an object.
    """
    found: set[str] = set()
    for node in graph.nodes:
        is_operator = isinstance(node.target, OpName) and node.target.is_higher_order
        if node.op in ("call_function", "call_method", "output") and not is_operator:
            for part in walk((node.args, tuple(value for _, value in node.kwargs))):
                if type(part) is Ref:
                    found.add(part.name)
    return frozenset(found)


class Frame:
    """One graph that is being flattened into a function: its module, path, and the value of each node so far."""

    __slots__ = ("_handed_on", "depth", "env", "metas", "path", "record", "unpacked")

    def __init__(self, record: ModuleRecord, path: str, depth: int) -> None:
        self.record = record
        self.path = path
        self.depth = depth
        self.env: dict[str, Any] = {}
        self.metas: dict[str, ValueMeta] = {}
        self._handed_on: frozenset[str] | None = None
        self.unpacked = _only_unpacked(record.graph) if record.graph else frozenset()

    def is_handed_on(self, node: Node) -> bool:
        """Whether something else than generated code and higher-order operators receives the node's value."""
        if self._handed_on is None:
            self._handed_on = handed_on(self.record.graph) if self.record.graph else frozenset()
        return node.name in self._handed_on

    def metas_of(self, values: tuple[Any, ...]) -> tuple[ValueMeta, ...]:
        return tuple(self.metas.get(value.name) if type(value) is Ref else None for value in values)

    def full_path(self, path: str) -> str:
        return f"{self.path}.{path}" if self.path else path
