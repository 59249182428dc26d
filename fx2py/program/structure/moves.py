"""Arguments that are moved into calls, so that structured code frees each value where the flat code does.

A caller's variable keeps an argument alive until the call ends. An argument that is moved lives as long as the function
that is called needs it.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol, TypeAlias, get_args

from fx2py.graph.values import Ref
from fx2py.program.analyses.peak_memory import Lifetimes, lifetimes
from fx2py.program.ir import Program
from fx2py.program.structure.bodies import Body, Span, body_of
from fx2py.program.structure.nesting import Kept

Moves: TypeAlias = Mapping[str, frozenset[int]]
"""By the name of a function, the places of the arguments that its calls move."""


class _Form(Protocol):
    """Makes the structured Program; ``kept`` says of each function what its expressions may keep to their end."""

    def __call__(self, moves: Moves, kept: Callable[[str], Kept]) -> Program: ...


def within_the_peak(found: Lifetimes, form: _Form) -> tuple[Program, bool]:
    """The form of a flat Program that keeps to its planned peak, and whether it does where one is planned.

    Moves what would raise the peak, else nests fewer expressions.

    Functions that do not reach the peak nest as many as they like. Where sizes vary, so that no peak is planned, whatever
    would outlive its last use is moved.
    """
    levels: Sequence[Kept] = get_args(Kept)
    if found.unknown:
        return _with_moves(functools.partial(form, kept=lambda name: levels[-1]), found)[0], True
    kept: dict[str, int] = {}
    while True:
        level = functools.partial(_level, levels, dict(kept))
        made, body = _with_moves(functools.partial(form, kept=level), found)
        above = tuple(_above(made, body, found))
        stricter = [each for each in above if kept.get(each, 0) + 1 < len(levels)]
        if not stricter:
            return made, not above
        kept |= {each: kept.get(each, 0) + 1 for each in stricter}


def _level(levels: Sequence[Kept], kept: Mapping[str, int], name: str) -> Kept:
    return levels[kept.get(name, 0)]


def _above(made: Program, body: Body, found: Lifetimes) -> Iterable[str]:
    """The functions in whose own calls the planned peak of the flat Program is passed."""
    peaks = found.peaks_until(body.ends)
    if max(peaks, default=0) <= found.peak:
        return ()
    functions = [made.entry.name] * len(peaks)
    for call in body.calls([Ref(each.name) for each in made.entry.parameters]):
        functions[call.start : call.end] = [call.function] * (call.end - call.start)
    pairs = zip(functions, peaks, strict=True)
    return dict.fromkeys([name for name, peak in pairs if peak > found.peak])


def _with_moves(form: Callable[[Moves], Program], found: Lifetimes) -> tuple[Program, Body]:
    """The form with the moves that it takes; each round adds what the one before left, and two are enough for most."""
    moves: Moves = {}
    while True:
        made = form(moves)
        body = _body(made)
        needed = _needed(made, body, found)
        if all(places <= moves.get(name, frozenset()) for name, places in needed.items()):
            return made, body
        names = dict.fromkeys((*moves, *needed))
        moves = {each: moves.get(each, frozenset()) | needed.get(each, frozenset()) for each in names}


def peak_of(flat: Program, made: Program) -> int | None:
    """The planned peak of the structured form of a flat Program; None where its sizes vary."""
    found = lifetimes(flat)
    return None if found.unknown else max(found.peaks_until(_body(made).ends), default=0)


def _body(made: Program) -> Body:
    return body_of(made.functions, [weight.path for weight in made.weights])


def _needed(made: Program, body: Body, found: Lifetimes) -> Moves:
    """The arguments that outlive their last use, where that takes more than the planned peak of the flat Program.

    An argument that a loop gives to each of its rounds is left out, and what is passed on of it.
    """
    overdue = _overdue(body.ends, found)
    given = [Ref(each.name) for each in made.entry.parameters]
    needed: dict[str, set[int]] = {}
    shared: dict[int, Span] = {}
    for call in body.calls(given) if overdue else ():
        for number, argument in enumerate(call.arguments):
            places = [place for place in argument if type(place) is int]
            for each in {each for place in places for each in found.storages[place]} & overdue.keys():
                if each in shared and call.end <= shared[each].end and call.start >= shared[each].start:
                    continue
                if number in call.shared:
                    shared[each] = call
                elif call.start < overdue[each] <= call.end:
                    needed.setdefault(call.function, set()).add(number)
    return {name: frozenset(places) for name, places in needed.items()}


def _overdue(ends: Sequence[int], found: Lifetimes) -> Mapping[int, int]:
    """Each storage that outlives its last use, with the end of its life in the flat Program, where that is above the peak."""
    is_above = [True] * len(ends)
    if not found.unknown:
        most = found.peak
        is_above = [peak > most for peak in found.peaks_until(ends)]
    above = [0, *itertools.accumulate(is_above)]
    later = found.freed_later(ends)
    return {each: start for each, (start, end) in later.items() if above[end] > above[start]}
