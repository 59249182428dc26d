"""Which modules may give their attributes other values while a graph runs, so that each read must ask them anew."""

from __future__ import annotations

from collections.abc import Iterator

from fx2py.graph.data import ModuleRecord

_LIBRARY = "torch.nn.modules."
"""The modules of torch itself change their tensors only in place; their hooks may do otherwise."""


def changing_modules(root: ModuleRecord) -> frozenset[int]:
    """The ids of the records whose own code runs and may rebind: of modules called whole, or handed to functions."""
    found: set[int] = set()
    for _, record in root.walk():
        for module, is_called in _modules_in_use(record):
            below = [each for _, each in module.walk()]
            if not is_called or any(each.hooks or not each.cls.module.startswith(_LIBRARY) for each in below):
                found.update(map(id, below))
    return frozenset(found)


def _modules_in_use(record: ModuleRecord) -> Iterator[tuple[ModuleRecord, bool]]:
    """The modules in a graph for which no code is generated, each with whether it is called."""
    for node in record.graph.nodes if record.graph else ():
        if node.op in ("call_module", "get_attr"):
            module = record.find_module(str(node.target))
            if module is not None and (module.graph is None or module.hooks):
                yield module, node.op == "call_module"
