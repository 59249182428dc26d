"""How a graph uses modules: which ones it needs as objects, and which may rebind their attributes while it runs.

An attribute of a module that may rebind it cannot be read once when the code is bound: each read must ask the module.
"""

from __future__ import annotations

from collections.abc import Iterator

from fx2py.graph.data import Graph, ModuleRecord
from fx2py.graph.values import OpName, references

GRAPH_AS_MODULE = "is a graph that is needed as a module, which no file can hold"
_LIBRARY = "torch.nn.modules."
"""torch's own modules change tensors only in place, as batch norm does its ``running_mean``; hooks may rebind them."""


class ChangingModules:
    """The modules whose own code runs and may rebind attributes: those called as modules, or passed to functions."""

    def __init__(self, root: ModuleRecord) -> None:
        self._ids: set[int] = set()
        for _, record in root.walk():
            for module, is_called in _modules_in_use(record):
                below = [each for _, each in module.walk()]
                if not is_called or any(
                    each.hooks or not each.cls.module.startswith(_LIBRARY) for each in below
                ):
                    self._ids.update(map(id, below))

    def owner(self, record: ModuleRecord, path: str) -> str:
        """The path of the first such module on the way to ``path``, or ''; what is itself a graph is never rebound."""
        module = record.find_module(path)
        if not self._ids or (module is not None and module.graph is not None):
            return ""
        return next((owner for owner, each in record.above(path) if id(each) in self._ids), "")


def used_as_objects(graph: Graph) -> frozenset[str]:
    """The nodes whose values reach functions, methods or the result as objects.

    A nested graph that only higher-order operators and generated code receive can be a function of the code instead.
    """
    found: set[str] = set()
    for node in graph.nodes:
        is_operator = isinstance(node.target, OpName) and node.target.is_higher_order
        if node.op in ("call_function", "call_method", "output") and not is_operator:
            found.update(references(*node.operands))
    return frozenset(found)


def _modules_in_use(record: ModuleRecord) -> Iterator[tuple[ModuleRecord, bool]]:
    """The modules in a graph for which no code is generated, each with whether the graph calls it."""
    for node in record.graph.nodes if record.graph else ():
        for path in node.paths:
            module = record.find_module(path)
            if module is not None and (module.graph is None or module.hooks):
                yield module, node.op == "call_module"
