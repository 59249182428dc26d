"""Arguments that are moved into calls, so that structured code frees each value where the flat code does.

A caller's variable keeps an argument alive until the call ends. An argument that is moved lives as long as the function
that is called needs it.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from typing import Protocol, TypeAlias, get_args

from fx2py.program.analyses.peak_memory import planned_peak, planned_peaks, planned_storages
from fx2py.program.ir import Delete, Program
from fx2py.program.structure.inlined import CallSpan, Inlined, inlined, is_other_name
from fx2py.program.structure.nesting import Kept
from fx2py.program.structure.regions import flat_body

Moves: TypeAlias = Mapping[str, frozenset[int]]
"""By the name of a function, the places of the arguments that its calls move."""


class _Form(Protocol):
    """Makes the structured Program."""

    def __call__(self, moves: Moves, kept: Kept) -> Program: ...


def within_the_peak(flat: Program, form: _Form) -> Program:
    """The form of a flat Program that keeps to its planned peak: moves what would raise it, else nests fewer expressions.

    ``form`` takes the moves, and what expressions may keep to the end of their statement. Where sizes vary, so that no
    peak is planned, whatever would outlive its last use is moved.
    """
    most = planned_peak(flat).bytes
    *freer, strictest = get_args(Kept)
    if most is not None:
        for kept in freer:
            made = _with_moves(flat, functools.partial(form, kept=kept), most)
            if (peak_of(flat, made) or 0) <= most:
                return made
    return _with_moves(flat, functools.partial(form, kept=strictest), most)


def _with_moves(flat: Program, form: Callable[[Moves], Program], most: int | None) -> Program:
    """The form with the moves that it takes; each round adds what the one before left, and two are enough for most."""
    moves: Moves = {}
    while True:
        made = form(moves)
        needed = _needed(flat, made, most)
        if all(places <= moves.get(name, frozenset()) for name, places in needed.items()):
            return made
        names = dict.fromkeys((*moves, *needed))
        moves = {each: moves.get(each, frozenset()) | needed.get(each, frozenset()) for each in names}


def peak_of(flat: Program, made: Program) -> int | None:
    """The planned peak of the structured form of a flat Program; None where its sizes vary."""
    return planned_peak(_as_flat(flat, _inlined(made))).bytes


def _inlined(made: Program) -> Inlined:
    return inlined(made.functions, [weight.path for weight in made.weights])


def _as_flat(flat: Program, done: Inlined) -> Program:
    """The flat Program with the deletions of the structured one, whose own nodes are those of first instances."""
    meant = (each for each in flat_body(flat.entry).statements if not is_other_name(each))
    body = [
        each if isinstance(each, Delete) else replace(each, origin=next(meant).origin)
        for each in done.statements
    ]
    entry = replace(flat.entry, body=tuple(body), result=done.result)
    return replace(flat, functions=(*flat.functions[:-1], entry))


def _needed(flat: Program, made: Program, most: int | None) -> Moves:
    """The arguments that outlive their last use, where that takes more than ``most`` bytes.

    An argument that a loop gives to each of its rounds is left out, and what is passed on of it.
    """
    done = _inlined(made)
    program = _as_flat(flat, done)
    is_above = [True] * len(done.sources)
    if most is not None:
        is_above = [peak > most for peak in planned_peaks(program)[0]]
    above = [0, *itertools.accumulate(is_above)]
    storages = planned_storages(program)
    overdue = {each: start for each, start, end in _overdue(done, storages) if above[end] > above[start]}
    found: dict[str, set[int]] = {}
    shared: dict[int, CallSpan] = {}
    for call in reversed(done.calls):  # outer ones before those inside them
        for place, names in enumerate(call.arguments):
            for each in {each for name in names for each in storages.get(name, ())} & overdue.keys():
                if each in shared and call.end <= shared[each].end and call.start >= shared[each].start:
                    continue
                if place in call.shared:
                    shared[each] = call
                elif call.start < overdue[each] <= call.end:
                    found.setdefault(call.function, set()).add(place)
    return {name: frozenset(places) for name, places in found.items()}


def _overdue(done: Inlined, storages: Mapping[str, Collection[int]]) -> Iterator[tuple[int, int, int]]:
    """Each storage that outlives its last use, with the first statement after that and the end of its life."""
    starts: dict[int, int] = {}
    ends: dict[int, int] = {}
    last_use, index = done.body.last_use, 0
    for statement in done.statements:
        if not isinstance(statement, Delete):
            index += 1
            continue
        for name in statement.names:
            last = last_use.get(name, index)
            for each in storages.get(name, ()):
                starts[each] = max(starts.get(each, 0), last + 1)
                ends[each] = index
    return ((each, start, ends[each]) for each, start in starts.items() if start < ends[each])
