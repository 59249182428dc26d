"""How two matched functions differ: each cause once, without what only follows from it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from fx2py.compare.effects import displaced, idle
from fx2py.compare.matching import Matching, matched
from fx2py.compare.meaning import Body, Step, Use
from fx2py.compare.report import Kind
from fx2py.program.ir import Program, Statement

Place: TypeAlias = "Statement | Literal['parameters', 'result']"


@dataclass(frozen=True, slots=True, eq=False)
class Difference:
    """A statement of ours (None where there is none, or where it is no statement) and what theirs has in its place.

    ``place`` is where it shows on their side: a statement, also the one before which ours is missing, or the parameters or
    the result of the function. ``behind``: for another order, the statements that come last before it on each side.
    """

    kind: Kind
    ours: Statement | None
    place: Place
    behind: tuple[Statement | None, Statement | None] = (None, None)
    near: Statement | None = None


def differences(ours: Body, theirs: Body, program: Program) -> Iterator[Difference]:
    """The differences between two functions, with those inside loops; ``program`` is ours.

    ``near`` of a surplus statement is the one of ours that comes before its place.
    """
    matching = matched(ours, theirs)
    yield from _Causes(matching, program).all()
    for index, partner in enumerate(matching.partners):
        inner, own = theirs.steps[index], None if partner is None else ours.steps[partner].body
        if own is not None and inner.body is not None:
            for found in differences(own, inner.body, program):
                yield _of_loop(found, inner.statement)


def _of_loop(found: Difference, loop: Statement) -> Difference:
    """The result of a loop's body has no line of its own, so the loop is named."""
    return found if found.place != "result" else Difference("changed", None, loop)


@dataclass(frozen=True, slots=True)
class _Causes:
    """Two bodies whose steps are matched."""

    matching: Matching
    program: Program

    def all(self) -> Iterator[Difference]:
        matching, ours, theirs = self.matching, self.matching.ours, self.matching.theirs
        surplus, missing = list(matching.surplus), list(matching.missing)
        surplus = sorted(set(surplus) - idle(theirs.steps, surplus, theirs.result.all_uses))
        missing = sorted(set(missing) - idle(ours.steps, missing, ours.result.all_uses))
        alone = _Alone(frozenset(missing), frozenset(surplus))
        for index, partner in enumerate(matching.partners):
            if partner is not None and index in matching.changed:
                yield from self._changed(ours.steps[partner], theirs.steps[index], alone)
        yield from map(self._surplus, surplus)
        yield from map(self._missing, missing)
        yield from self._displaced()
        if ours.result.shapes != theirs.result.shapes:
            yield Difference("result", None, "result")
        else:
            for one, other in self._other_uses(ours.result.all_uses, theirs.result.all_uses, alone):
                yield self._cause(one, other) or Difference("result", None, "result")

    def _changed(self, own: Step, step: Step, alone: _Alone) -> Iterator[Difference]:
        if own.shape != step.shape:
            yield Difference("changed", own.statement, step.statement)
            return
        for one, other in self._other_uses(own.uses, step.uses, alone):
            yield self._cause(one, other) or Difference("changed", own.statement, step.statement)

    def _other_uses(
        self, ours: Sequence[Use], theirs: Sequence[Use], alone: _Alone
    ) -> Iterator[tuple[Use, Use]]:
        """The values that differ, except those of unmatched steps, which are reported themselves."""
        for one, other in zip(ours, theirs, strict=True):
            if not self.matching.is_same(one, other) and not alone.explains(one, other):
                yield one, other

    def _cause(self, one: Use, other: Use) -> Difference | None:
        """The statement that binds a name, which both sides read here, to another value; None if there is none."""
        if one.name != other.name or other.name == "":
            return None
        maker = one.given or self._maker(one)
        if other.given is not None:
            return self._other_name(one, other, maker)
        if one.given is not None and id(one.given) not in self._kept_names():
            return Difference("missing", one.given, self._following(one.given))
        if other.source[0] == one.source[0] == "parameter":
            return Difference("inputs", None, "parameters")
        renamed = self._renamed(one, other)
        return None if renamed is None or maker is None else Difference("changed", maker, renamed.statement)

    def _other_name(self, one: Use, other: Use, maker: Statement | None) -> Difference:
        """What their statement, which gives a name to a value that was there before, stands for; where it stands for
        another one of ours, the one that gives the name again is missing."""
        assert other.given is not None
        pairs = self._kept_names()
        is_kept = any(each is other.given for each in pairs.values())
        if one.given is not None and id(one.given) not in pairs and is_kept:
            return Difference("missing", one.given, self._following(one.given))
        if id(one.given) in pairs and not is_kept:
            return Difference("surplus", None, other.given, near=maker)
        return Difference("changed", maker, other.given)

    def _kept_names(self) -> dict[int, Statement]:
        """For each statement of ours, by its id, that gives a name to a value that was there before, theirs that gives it
        to the same value."""
        waiting = list(self.matching.theirs.given)
        found: dict[int, Statement] = {}
        for use in self.matching.ours.given:
            same = next(
                (each for each in waiting if each.name == use.name and self.matching.is_same(use, each)), None
            )
            if same is not None and use.given is not None and same.given is not None:
                found[id(use.given)] = same.given
                waiting.remove(same)
        return found

    def _following(self, statement: Statement) -> Place:
        """Their statement for the first of ours behind one that has any."""
        body, matching = self.matching.ours.statements, self.matching
        theirs = {partner: place for place, partner in enumerate(matching.partners) if partner is not None}
        places = {id(step.statement): theirs.get(index) for index, step in enumerate(matching.ours.steps)}
        behind = body[next((i for i, each in enumerate(body) if each is statement), 0) + 1 :]
        place = next((found for each in behind if (found := places.get(id(each))) is not None), None)
        return "result" if place is None else matching.theirs.steps[place].statement

    def _renamed(self, one: Use, other: Use) -> Step | None:
        """Their step that binds its result to another name than ours does, so that the name has another value."""
        matching, own = self.matching, one.made_by
        if own is not None and own in matching.partners:
            step = matching.theirs.steps[matching.partners.index(own)]
            if step.names != matching.ours.steps[own].names:
                return step
        if other.made_by is not None and (partner := matching.partners[other.made_by]) is not None:
            step = matching.theirs.steps[other.made_by]
            return step if matching.ours.steps[partner].names != step.names else None
        return None

    def _maker(self, use: Use) -> Statement | None:
        return None if use.made_by is None else self.matching.ours.steps[use.made_by].statement

    def _surplus(self, index: int) -> Difference:
        before = [partner for partner in self.matching.partners[:index] if partner is not None]
        near = self.matching.ours.steps[before[-1]].statement if before else None
        return Difference("surplus", None, self.matching.theirs.steps[index].statement, near=near)

    def _missing(self, index: int) -> Difference:
        """A step that is not there: where its name is given to something else, else where it would be used first, else
        before what follows it."""
        matching, own = self.matching, self.matching.ours.steps[index]
        theirs = {partner: place for place, partner in enumerate(matching.partners) if partner is not None}
        rest = range(index + 1, len(matching.ours.steps))
        users = [i for i in rest if any(use.made_by == index for use in matching.ours.steps[i].uses)]
        is_returned = any(use.made_by == index for use in matching.ours.result.all_uses)
        places = [theirs[i] for i in (users if is_returned else (*users, *rest)) if i in theirs]
        place: Place = matching.theirs.steps[places[0]].statement if places else "result"
        return Difference("missing", own.statement, self._given_to(own.names) or place)

    def _given_to(self, names: tuple[str, ...]) -> Statement | None:
        """The statement that binds the name of a result to an earlier value."""
        steps = self.matching.theirs.steps
        used = [use for step in steps for use in step.uses] + list(self.matching.theirs.result.all_uses)
        return next((use.given for use in used if use.given is not None and use.name in names), None)

    def _displaced(self) -> Iterator[Difference]:
        ours = [step.statement for step in self.matching.ours.steps]
        places = {partner: index for index, partner in enumerate(self.matching.partners)}
        for found in displaced(self.matching, self.program):
            behind = [None if each is None else ours[each] for each in (found.expected, found.actual)]
            place = self.matching.theirs.steps[places[found.step]].statement
            yield Difference("order", ours[found.step], place, (behind[0], behind[1]))


@dataclass(frozen=True, slots=True)
class _Alone:
    """The unmatched steps of both sides; each is reported by itself."""

    missing: frozenset[int]
    surplus: frozenset[int]

    def explains(self, ours: Use, theirs: Use) -> bool:
        """Whether one of these steps is the reason why two values differ."""
        return ours.made_by in self.missing or theirs.made_by in self.surplus
