"""The steps of two functions matched by what they compute: which correspond, which of those differ, which are unmatched.

First from the inputs down: steps that say the same of the same values, in any order. What is left follows from a change,
so the rest is aligned by what it says alone, and read again from the top with what was aligned taken as equal: one
changed literal is one changed step, and what follows from it is the same again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from fx2py.compare.calls import arguments_by_name, operators_of
from fx2py.compare.meaning import Body, Source, Step, Use
from fx2py.compare.sequences import aligned

_FARTHEST = 60
"""The most unmatched steps of each side that are compared with each other to find those that changed."""


@dataclass(frozen=True, slots=True, eq=False)
class Matching:
    """``partners`` has for each of their steps the corresponding one of ours, or None; ``changed`` are those of their steps
    that differ from their partners."""

    ours: Body
    theirs: Body
    partners: tuple[int | None, ...]
    changed: frozenset[int]

    @property
    def surplus(self) -> Iterator[int]:
        """Their steps without a partner."""
        return (index for index, partner in enumerate(self.partners) if partner is None)

    @property
    def missing(self) -> Iterator[int]:
        """Our steps without a partner."""
        there = set(self.partners)
        return (index for index in range(len(self.ours.steps)) if index not in there)

    def is_same(self, ours: Use, theirs: Use) -> bool:
        """Whether both are the same value, taking each step to compute what its partner computes."""
        return ours.source == self.meant(theirs)

    def meant(self, theirs: Use) -> Source:
        """The source on our side that corresponds to one on theirs."""
        return _meant(theirs.source, self.partners)


def _meant(source: Source, partners: Sequence[int | None]) -> Source:
    if source[0] != "made":
        return source
    _, step, part = source
    partner = partners[step] if isinstance(step, int) else None
    return ("new", step, part) if partner is None else ("made", partner, part)


def matched(ours: Body, theirs: Body) -> Matching:
    """The matching of the steps of two functions, or of two loops."""
    matcher = _Matcher(ours.steps, theirs.steps)
    matcher.match_equal()
    if matcher.is_left():
        matcher.match_changed()
    return Matching(ours, theirs, tuple(matcher.partners), frozenset(matcher.changed))


@dataclass
class _Matcher:
    ours: Sequence[Step]
    theirs: Sequence[Step]
    partners: list[int | None] = field(init=False)
    changed: set[int] = field(default_factory=set)
    free: set[int] = field(init=False)
    by_key: dict[Hashable, list[int]] = field(init=False)
    by_values: dict[Hashable, list[int]] = field(init=False)

    def __post_init__(self) -> None:
        self.partners = [None] * len(self.theirs)
        self.free = set(range(len(self.ours)))
        self.by_key, self.by_values = defaultdict(list), defaultdict(list)
        for index, step in enumerate(self.ours):
            sources = [use.source for use in step.uses]
            self.by_key[step.shape, tuple(sources)].append(index)
            self.by_values[frozenset(sources)].append(index)

    def match_equal(self) -> None:
        for index in range(len(self.theirs)):
            self.partners[index] = self._equal(index)
            self.free.discard(-1 if (partner := self.partners[index]) is None else partner)

    def is_left(self) -> bool:
        return bool(self.free) or None in self.partners

    def _equal(self, index: int, wanted: int | None = None) -> int | None:
        """A free step of ours that says the same of the same values: the ``wanted`` one, else one of the same name."""
        step = self.theirs[index]
        sources = [_meant(use.source, self.partners) for use in step.uses]
        found = [i for i in self.by_key.get((step.shape, tuple(sources)), ()) if i in self.free]
        if not found:
            near = self.by_values.get(frozenset(sources), ())[:_FARTHEST]
            found = [i for i in near if i in self.free and self._is_spelled_otherwise(i, step, sources)]
        if wanted in found:
            return wanted
        named = [i for i in found if self.ours[i].names == step.names]
        return (*named, *found, None)[0]

    def _is_spelled_otherwise(self, ours: int, step: Step, sources: Sequence[Source]) -> bool:
        """Whether a step of ours reaches the same overload with the same arguments, by another call."""
        own = self.ours[ours]
        if own.shape == step.shape:
            return False
        mine = [use.source for use in own.uses]
        for op in operators_of(own):
            one, other = arguments_by_name(own, op), arguments_by_name(step, op)
            if one is None or other is None or one.keys() != other.keys():
                continue
            if all(
                one[name][0] == shape and [mine[i] for i in one[name][1]] == [sources[i] for i in places]
                for name, (shape, places) in other.items()
            ):
                return True
        return False

    # -- what is left

    def match_changed(self) -> None:
        """Pair the remaining steps, and match once more from the top."""
        left = [index for index, partner in enumerate(self.partners) if partner is None]
        pairs = self._paired(sorted(self.free), left)
        for index in left:
            wanted = pairs.get(index)
            partner = self._equal(index, wanted)
            if partner is None and wanted in self.free:
                partner = wanted
                self.changed.add(index)
            self.partners[index] = partner
            self.free.discard(-1 if partner is None else partner)

    def _paired(self, ours: list[int], theirs: list[int]) -> dict[int, int]:
        """For each of their steps the one of ours that it probably stands for.

        First by what they say of known values, then by what they say of tables, then by what they have in common, in
        order; what is left then by what it says, in any order.
        """
        pairs: dict[int, int] = {}
        for own, other in self._gaps(ours, theirs, pairs, only_tables=False):
            for rest, other_rest in self._gaps(own, other, pairs, only_tables=True):
                pairs |= self._similar(rest, other_rest)
        alone: dict[Hashable, list[int]] = defaultdict(list)
        for index in sorted(set(ours) - set(pairs.values()), reverse=True):
            alone[self.ours[index].shape].append(index)
        for index in theirs:
            if index not in pairs and (waiting := alone.get(self.theirs[index].shape)):
                pairs[index] = waiting.pop()
        return pairs

    def _gaps(
        self, ours: list[int], theirs: list[int], pairs: dict[int, int], *, only_tables: bool
    ) -> list[tuple[list[int], list[int]]]:
        """Adds the steps that are aligned to ``pairs``; what lies between them on both sides."""
        rows = aligned(
            [self._local(self.ours[i], None, only_tables) for i in ours],
            [self._local(self.theirs[i], self.partners, only_tables) for i in theirs],
        )
        pairs |= {theirs[column]: ours[row] for row, column in rows}
        ends = [(-1, -1), *rows, (len(ours), len(theirs))]
        return [
            (ours[row + 1 : stop], theirs[column + 1 : other_stop])
            for (row, column), (stop, other_stop) in pairwise(ends)
            if row + 1 < stop and column + 1 < other_stop
        ]

    def _local(self, step: Step, partners: Sequence[int | None] | None, only_tables: bool) -> Hashable:
        """What a step says, of values that are known; ``partners`` are those of their steps, None for a step of ours."""
        known: list[Source | None] = []
        for use in step.uses:
            source = use.source if partners is None else _meant(use.source, partners)
            is_left = source[0] == "new" or (partners is None and use.made_by in self.free)
            known.append(None if is_left or (only_tables and source[0] == "made") else source)
        return (step.shape, tuple(known))

    def _similar(self, ours: list[int], theirs: list[int]) -> dict[int, int]:
        """Pairs of steps between two that are aligned, in order, that have most in common."""
        if len(ours) > _FARTHEST or len(theirs) > _FARTHEST:
            return dict(zip(theirs, ours, strict=False)) if len(ours) == len(theirs) else {}
        best: list[list[tuple[int, tuple[tuple[int, int], ...]]]]
        best = [[(0, ())] * (len(theirs) + 1) for _ in range(len(ours) + 1)]
        for row in range(len(ours) - 1, -1, -1):
            for column in range(len(theirs) - 1, -1, -1):
                score = self._score(self.ours[ours[row]], theirs[column])
                total, pairs = best[row + 1][column + 1]
                paired = (total + score, ((row, column), *pairs)) if score else (0, ())
                best[row][column] = max(
                    paired, best[row + 1][column], best[row][column + 1], key=lambda each: each[0]
                )
        return {theirs[column]: ours[row] for row, column in best[0][0][1]}

    def _score(self, own: Step, index: int) -> int:
        """The similarity of two steps."""
        step = self.theirs[index]
        if (own.body is None) != (step.body is None):
            return 0
        mine = {use.source for use in own.uses}
        shared = mine & {_meant(use.source, self.partners) for use in step.uses}
        is_named = bool(own.names) and own.names == step.names
        same_callee = own.operands.shapes[:1] == step.operands.shapes[:1]
        return 3 * is_named + 2 * same_callee + min(len(shared), 2) + (len(own.uses) == len(step.uses))
