"""The steps of the code paired with those of the graph, and the pairs that disagree."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from fx2py.compare.correspondence import GraphPaths, Meaning
from fx2py.compare.steps import CodeStep, GraphStep

_LOOKED_AT = 64
"""The most runs of one node that are compared with a step: a loop may run it any number of times."""


@dataclass(frozen=True, slots=True)
class Odd:
    """A step of the code, by its index, that does not agree with ``meant`` (also an index), or that the graph never makes."""

    step: int
    meant: int | None


@dataclass(frozen=True)
class Pairs:
    """``odd`` steps in the order of the code, and the step of the graph that each step of the code is, by their indices."""

    odd: tuple[Odd, ...]
    partner: Mapping[int, int]

    @cached_property
    def made(self) -> frozenset[int]:
        """The steps of the graph that the code made."""
        return frozenset(self.partner.values())

    @cached_property
    def agree(self) -> frozenset[int]:
        """The steps of the code that agree with the graph."""
        return frozenset(self.partner) - {each.step for each in self.odd}


def paired(
    graph: Sequence[GraphStep],
    code: Sequence[CodeStep],
    meanings: Sequence[Meaning],
    known_as: GraphPaths,
) -> Pairs:
    """Pair each step of the code with the node that its place corresponds to."""
    waiting: dict[tuple[int, str], list[int]] = defaultdict(list)
    for index, node in enumerate(graph):
        waiting[node.call, node.name].append(index)
    paths = {(node.call, known_as(node.graph)) for node in graph}
    counts: Counter[tuple[int, int]] = Counter()
    odd: list[Odd] = []
    partner: dict[int, int] = {}
    latest = -1
    for index, step in enumerate(code):
        if step.begun:
            continue
        meaning = meanings[step.place]
        name = meaning.node(counts[step.call, step.place])
        counts[step.call, step.place] += 1
        if not name and step.has_raised:
            odd.append(Odd(index, None))
        if not name:
            continue
        near = [
            each
            for each in waiting[step.call, name][:_LOOKED_AT]
            if meaning.path is None or known_as(graph[each].graph) == meaning.path
        ]
        agreeing = [each for each in near if graph[each].agrees(step)]
        chosen = min(agreeing or near, key=lambda each: (each < latest, each), default=None)
        if chosen is None:
            if meaning.path is not None and (step.call, meaning.path) not in paths:
                odd.append(Odd(index, None))
            continue
        waiting[step.call, name].remove(chosen)
        partner[index] = chosen
        latest = max(latest, chosen)
        if not agreeing:
            odd.append(Odd(index, chosen))
    return Pairs(tuple(odd), partner)
