"""Modules whose own code runs while a graph does: what the graph reads of them is read from the module, each time."""

from __future__ import annotations

from fx2py.graph.data import Graph, ModuleRecord
from fx2py.graph.values import OpName, references

_OF_TORCH = "torch.nn.modules."
"""Modules of these classes write into their tensors, but put no others in their place; hooks of the user might."""


class RunningModules:
    """The modules that a graph hands to functions, with all below them, and those that it calls, unless they are torch's."""

    def __init__(self, root: ModuleRecord) -> None:
        self._running: set[int] = set()
        for _, record in root.walk():
            for node in record.graph.nodes if record.graph is not None else ():
                for path in node.paths:
                    module = record.find_module(path)
                    if module is None or (module.graph is not None and not module.hooks):
                        continue
                    below = [each for _, each in module.walk()]
                    if node.op != "call_module" or not all(map(_only_writes, below)):
                        self._running.update(map(id, below))

    def on_the_way(self, record: ModuleRecord, path: str) -> str:
        """The path of the first such module above what stands at ``path``; '' for none, and above a graph."""
        target = record.find_module(path)
        above = record.above(path) if target is None or target.graph is None else ()
        return next((outer for outer, each in above if id(each) in self._running), "")


def _only_writes(module: ModuleRecord) -> bool:
    return module.cls.module.startswith(_OF_TORCH) and not module.hooks


def handed_on(graph: Graph) -> frozenset[str]:
    """The nodes that something else than a higher-order operator and a called module receives, or the caller."""
    found: set[str] = set()
    for node in graph.nodes:
        of_graphs = isinstance(node.target, OpName) and node.target.is_higher_order
        if node.op not in ("call_module", "placeholder", "get_attr") and not of_graphs:
            found.update(references(*node.operands))
    return frozenset(found)
