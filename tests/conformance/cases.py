"""What a row is made of: groups of cases, each case a graph that can be captured anew at any time."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import fx
from torch.export import ExportedProgram
from torch.utils._pytree import tree_flatten, tree_unflatten

from tests.checking import seed_generator

Args: TypeAlias = "tuple[Any, ...]"
Call: TypeAlias = "tuple[Args, dict[str, Any]]"


@dataclass(frozen=True)
class Trial:
    """A graph, the calls to judge it by, and the saved file to generate from in place of the live graph.

    ``text_too``: the text must come out the same a second time, and as black would have written it.
    """

    graph: fx.GraphModule | ExportedProgram
    calls: tuple[Call, ...]
    path: Path | None = None
    text_too: bool = False


@dataclass(frozen=True)
class Comparison:
    """What is judged as a whole: ``compare`` raises AssertionError where it differs; ``text`` is all that is generated."""

    compare: Callable[[], None]
    text: Callable[[], str]


@dataclass(frozen=True)
class Case:
    """``capture`` makes the graph, always the same from the same random state; it raises where torch cannot."""

    name: str
    capture: Callable[[], Trial | Comparison]


@dataclass(frozen=True)
class Row:
    """One line of the table. ``groups`` make their cases on demand; ``excluded`` groups are left out, with a reason.

    After ``seconds``, several times what a row takes, no further group is started, and the row counts as incomplete.
    """

    name: str
    about: str
    seconds: int
    groups: Callable[[], Mapping[str, Callable[[], Iterator[Case]]]]
    excluded: Mapping[str, str] = field(default_factory=dict)


def cases_of(group: Callable[[], Iterator[Case]]) -> list[Case]:
    """The cases of a group, the same in every process."""
    with torch.random.fork_rng(devices=[]):
        seed_generator(0)
        random.seed(0)
        return list(group())


def split_tensors(tree: Any) -> tuple[list[torch.Tensor], Callable[[Any], Any]]:
    """The tensors in ``tree``, and what puts others into their places."""
    leaves, spec = tree_flatten(tree)
    places = [index for index, leaf in enumerate(leaves) if isinstance(leaf, torch.Tensor)]

    def filled(tensors: Any) -> Any:
        parts = list(leaves)
        for number, place in enumerate(places):
            parts[place] = tensors[number]
        return tree_unflatten(parts, spec)

    return [leaves[place] for place in places], filled
