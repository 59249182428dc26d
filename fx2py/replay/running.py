"""Modules whose own code runs inside a graph: their attributes may be rebound, so each read asks the module anew."""

from __future__ import annotations

from fx2py.graph.data import Graph, ModuleRecord
from fx2py.graph.values import OpName, references

_OF_TORCH = "torch.nn.modules."
"""Modules of these classes write to their tensors, as batch norm does, but do not rebind them; hooks may."""


class RunningModules:
    """The modules that a graph passes to functions, those that it calls unless they are torch's, and all below both."""

    def __init__(self, root: ModuleRecord) -> None:
        self._running: set[int] = set()
        for _, record in root.walk():
            for node in record.graph.nodes if record.graph is not None else ():
                for path in node.paths:
                    module = record.find_module(path)
                    if module is None or (module.graph is not None and not module.hooks):
                        continue
                    below = [each for _, each in module.walk()]
                    if node.op != "call_module" or not all(map(_rebinds_nothing, below)):
                        self._running.update(map(id, below))

    def owner(self, record: ModuleRecord, path: str) -> str:
        """The path of the outermost such module around ``path``; '' if there is none, and for a graph."""
        target = record.find_module(path)
        above = record.above(path) if target is None or target.graph is None else ()
        return next((outer for outer, each in above if id(each) in self._running), "")


def _rebinds_nothing(module: ModuleRecord) -> bool:
    return module.cls.module.startswith(_OF_TORCH) and not module.hooks


def passed_as_values(graph: Graph) -> frozenset[str]:
    """The nodes whose values are returned, or passed to anything but a higher-order operator or a called module."""
    found: set[str] = set()
    for node in graph.nodes:
        of_graphs = isinstance(node.target, OpName) and node.target.is_higher_order
        if node.op not in ("call_module", "placeholder", "get_attr") and not of_graphs:
            found.update(references(*node.operands))
    return frozenset(found)
