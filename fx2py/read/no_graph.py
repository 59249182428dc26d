"""What a file without a graph holds instead, and how its owner comes to a file with one."""

from __future__ import annotations

from typing import Any

from fx2py.errors import printable
from fx2py.read.pickled.contents import FX_GRAPH
from fx2py.read.pickled.modules import is_module
from fx2py.read.pickled.records import Built, Mapping
from fx2py.read.pickled.tensors import is_tensor

SAVE = (
    "Save a graph of the model: torch.export.save(torch.export.export(model, args), path), or "
    "torch.save(torch.fx.symbolic_trace(model), path)."
)
_SCRIPT = "__torch__."


def description(root: Any) -> tuple[str, str]:
    """What the pickled object is, for a sentence, and the next step."""
    path = printable(root.path) if type(root) is Built else ""
    if path == FX_GRAPH:
        step = "Save it with the modules that it calls: torch.save(torch.fx.GraphModule(model, graph), path)."
        return "a bare fx.Graph without its modules and weights", step
    if path.startswith(_SCRIPT):
        return "a TorchScript model, which is no FX graph", SAVE
    if is_module(root):
        return f"a module of class {path}, but no graph", SAVE
    if _holds_only_tensors(root):
        return "only weights (a state dict), but no graph", SAVE
    if path:
        return f"an object of {path}, but no graph", SAVE
    kind = {Mapping: "a dict", tuple: "a tuple", list: "a list"}.get(type(root), "a value")
    return f"{kind}, but no graph", SAVE


def _holds_only_tensors(root: Any) -> bool:
    """Whether this is a dict of tensors by name."""
    pairs = root.pairs if type(root) in (Mapping, Built) else []
    return bool(pairs) and all(type(key) is str and is_tensor(value) for key, value in pairs)
