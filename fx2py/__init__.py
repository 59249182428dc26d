"""fx2py turns a saved PyTorch FX graph into Python that a person can read, trust and run at full speed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fx2py.api import diff, generate, generate_each, save_graph, split
    from fx2py.artifact import Artifact, open_artifact
    from fx2py.compare import EquivalenceReport, Tolerance
    from fx2py.distributed.groups import RecordedGroups
    from fx2py.errors import Fx2pyError
    from fx2py.program.options import GenerateOptions
    from fx2py.trust import Policy

__all__ = [
    "Artifact",
    "EquivalenceReport",
    "Fx2pyError",
    "GenerateOptions",
    "Policy",
    "RecordedGroups",
    "Tolerance",
    "diff",
    "generate",
    "generate_each",
    "open_artifact",
    "save_graph",
    "split",
]

_HOMES = {
    **dict.fromkeys(("diff", "generate", "generate_each", "save_graph", "split"), "fx2py.api"),
    **dict.fromkeys(("Artifact", "open_artifact"), "fx2py.artifact"),
    **dict.fromkeys(("EquivalenceReport", "Tolerance"), "fx2py.compare"),
    "Fx2pyError": "fx2py.errors",
    "GenerateOptions": "fx2py.program.options",
    "Policy": "fx2py.trust",
    "RecordedGroups": "fx2py.distributed.groups",
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use, so that ``import fx2py`` does not import torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'fx2py' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
