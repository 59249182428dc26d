"""Which modules may give their attributes other values while a graph runs, so that each read must ask them anew."""

from __future__ import annotations

from collections.abc import Iterator

from fx2py.graph.data import Graph, ModuleRecord, Node
from fx2py.graph.values import Attribute, OpName, references, walk

GRAPH_AS_MODULE = "is a graph that is needed as a module, which no file can hold"
_LIBRARY = "torch.nn.modules."
"""The modules of torch itself change their tensors only in place; their hooks may do otherwise."""


class ChangingModules:
    """The modules whose own code runs and may rebind attributes: those called whole, or handed to functions."""

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
        """The path of the first such module on the way to ``path``, or ''; a graph never changes."""
        module = record.find_module(path)
        if not self._ids or (module is not None and module.graph is not None):
            return ""
        parts = path.split(".")
        owners = (".".join(parts[:count]) for count in range(1, len(parts)))
        return next((owner for owner in owners if id(record.find_module(owner)) in self._ids), "")


def read_paths(record: ModuleRecord) -> Iterator[str]:
    """The paths of what the graph of a module reads from it; modules that it only calls are not among them."""
    for node in record.graph.nodes if record.graph else ():
        yield from _paths(node, called=False)


def handed_on(graph: Graph) -> frozenset[str]:
    """The nodes whose values leave the graph's own calls: they reach functions, methods or the result as objects.

    A nested graph that only higher-order operators and generated code receive need not be an object.
    """
    found: set[str] = set()
    for node in graph.nodes:
        is_operator = isinstance(node.target, OpName) and node.target.is_higher_order
        if node.op in ("call_function", "call_method", "output") and not is_operator:
            found.update(references(*node.operands))
    return frozenset(found)


def _modules_in_use(record: ModuleRecord) -> Iterator[tuple[ModuleRecord, bool]]:
    """The modules in a graph for which no code is generated, each with whether it is called."""
    for node in record.graph.nodes if record.graph else ():
        for path in _paths(node):
            module = record.find_module(path)
            if module is not None and (module.graph is None or module.hooks):
                yield module, node.op == "call_module"


def _paths(node: Node, called: bool = True) -> Iterator[str]:
    if node.op == "get_attr" or (called and node.op == "call_module"):
        yield str(node.target)
    for part in walk(*node.operands):
        if type(part) is Attribute:
            yield part.path
