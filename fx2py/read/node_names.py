"""Names for nodes that a reader adds to a graph, chosen as ``torch.fx`` chooses them."""

from __future__ import annotations

import builtins
import keyword
import re
from collections.abc import Iterable

_NUMBERED = re.compile(r"(?s)(.*?)(?:_(\d{1,9}))?")
_ILLEGAL = re.compile(r"[^0-9a-zA-Z_]+")
_CAMEL = re.compile(r"(?<=[a-z])([A-Z])")
FX_NAMES = frozenset(
    {*keyword.kwlist, *vars(builtins), "inf", "nan", "NoneType", "torch", "device", "fx_pytree", "pytree"}
)
"""What FX calls no node: ``_illegal_names`` and ``_custom_builtins`` of torch/fx/graph.py."""


class NodeNames:
    """The names that are taken in one graph.

    Source: ``_Namespace.create_name`` of torch/fx/graph.py, so that added nodes are called as torch would call them.
    """

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken: set[str] = set()
        self._last: dict[str, int] = {}
        for name in taken:
            self.fresh(name)

    def fresh(self, candidate: str) -> str:
        """``candidate``, made an identifier and numbered where it is taken or reserved; now taken itself."""
        name = _ILLEGAL.sub("_", candidate) or "_unnamed"
        name = f"_{name}" if name[0].isdigit() else name
        match = _NUMBERED.fullmatch(name)
        base, digits = match.groups() if match else (name, None)
        if digits is None or name in self._taken:
            number = self._last.get(base, 0)
            if name in FX_NAMES:
                number += 1
                name = f"{base}_{number}"
        else:
            number = int(digits)
        while name in self._taken:
            number += 1
            name = f"{base}_{number}"
        self._taken.add(name)
        self._last[base] = number
        return name

    def take(self, name: str) -> None:
        """Keep a node's own name from being made again."""
        if name not in self._taken:
            self.fresh(name)

    def of_target(self, path: str) -> str:
        """A fresh name for a node that reads the attribute or calls the operator at ``path``."""
        return self.fresh(_CAMEL.sub(r"_\1", path).lower())
