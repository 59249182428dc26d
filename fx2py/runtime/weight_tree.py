"""Weights by name: nested records made of the dotted paths of tensors."""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Sequence
from keyword import iskeyword
from typing import Any

MOST_PARTS = 200
"""The most parts of a path before its last one, far from the depth of Python's stack."""
Steps = tuple["str | int", ...]


class WeightTree:
    """The places of dotted paths in nested records: numbered children are a list, all others attributes."""

    def __init__(self, children: dict[str, WeightTree], index: int | None = None) -> None:
        self.children = children
        self.index = index
        self.is_list = bool(children) and all(map(_is_number, children)) and _is_dense(children)
        own = _attribute_names(children)
        self._below = {int(name) if self.is_list else own[name]: below for name, below in children.items()}
        self.names: dict[str, str | int] = {
            name: int(name) if self.is_list else own[name] for name in children
        }

    @property
    def length(self) -> int:
        """The length of a list: one more than its last place."""
        return 1 + max(map(int, self.children))

    def place(self, path: str) -> Steps:
        """The attributes and indices that lead to what a dotted path names; raises KeyError where nothing is."""
        steps: list[str | int] = []
        tree = self
        for part in path.split(".") if path else ():
            steps.append(tree.names[part])
            tree = tree.children[part]
        return tuple(steps)

    def at(self, place: Steps) -> WeightTree:
        """The tree at a place; raises KeyError where nothing is."""
        tree = self
        for step in place:
            found = tree.below(step)
            if found is None:
                raise KeyError(step)
            tree = found
        return tree

    def below(self, step: str | int) -> WeightTree | None:
        """What an attribute or a place in a list leads to; None where nothing is."""
        return self._below.get(step)


def weight_records(paths: Sequence[str], weights: Sequence[Any]) -> Any:
    """The weights as nested records with an attribute, or a place in a list, for each part of their paths."""
    return record_of(weight_tree(paths), weights)


def record_of(tree: WeightTree, weights: Sequence[Any]) -> Any:
    """One record of a tree; of a list with gaps, those are None."""
    if tree.index is not None:
        return weights[tree.index]
    parts = {tree.names[name]: record_of(below, weights) for name, below in tree.children.items()}
    if tree.is_list:
        return [parts.get(place) for place in range(tree.length)]
    record = record_class(tuple(parts))()
    for name, part in parts.items():
        setattr(record, str(name), part)
    return record


@functools.cache
def record_class(names: tuple[str, ...]) -> type:
    """A class with these attributes and no others: as slots, which Python reads as fast as a local variable."""
    return type("Weights", (), {"__slots__": names})


def weight_tree(paths: Sequence[str]) -> WeightTree:
    """The tree of dotted paths, each with its index; raises ValueError where one path leads on from another."""
    nested: dict[str, Any] = {}
    for index, path in enumerate(paths):
        *outer, last = path.split(".")
        if len(outer) > MOST_PARTS:
            raise ValueError(f"{path[:40]}... has more than {MOST_PARTS} parts")
        table = nested
        for part in outer:
            table = table.setdefault(part, {})
            if type(table) is int:
                raise ValueError(f"{path} is below a tensor")
        if last in table:
            raise ValueError(f"{path} stands twice")
        table[last] = index
    return _tree_of(nested)


def _tree_of(nested: Any) -> WeightTree:
    if type(nested) is int:
        return WeightTree({}, nested)
    return WeightTree({name: _tree_of(below) for name, below in nested.items()})


def _is_number(name: str) -> bool:
    return name.isascii() and name.isdigit() and str(int(name)) == name


def _is_dense(children: dict[str, Any]) -> bool:
    return max(map(int, children)) < 4 * len(children) + 16


def _attribute_names(children: dict[str, Any]) -> dict[str, str]:
    """An identifier for each name, the name itself where it is one."""
    taken: set[str] = set()
    found = {}
    for name in children:
        wish = unicodedata.normalize("NFKC", re.sub(r"\W", "_", name))
        wish = wish if wish.isidentifier() and not iskeyword(wish) else f"_{wish}"
        if wish.startswith("__"):  # what Python itself looks for on an object
            wish = f"x{wish}"
        own, number = wish, 1
        while own in taken:
            own, number = f"{wish}_{number}", number + 1
        taken.add(own)
        found[name] = own
    return found
