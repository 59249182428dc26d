"""Side effects of the steps of a function, and where reordering the same steps changes a result.

Steps that only read may stand in any order. Those that write to memory, draw random numbers or call what is not known
may not: each must find what it reads as the same step left it.
"""

from __future__ import annotations

import operator
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field

from fx2py.compare.calls import facts_about, operators_of
from fx2py.compare.matching import Matching
from fx2py.compare.meaning import Step, Use
from fx2py.graph.values import GETATTR, GETITEM, Name
from fx2py.operators.schema import draws_random_numbers
from fx2py.program.analyses.aliasing import AliasClasses, memory_in, memory_of, written_names
from fx2py.program.ir import (
    CHECK_INPUTS,
    FIELDS_OF,
    Assign,
    Bind,
    Callee,
    Function,
    Local,
    Loop,
    Program,
    Unpack,
)

_READING = (GETITEM, GETATTR, Local(CHECK_INPUTS), Local(FIELDS_OF))
_FUNCTIONS_OF_VALUES = frozenset(
    {"torch", "torch.nn.functional", "torch.linalg", "torch.fft", "torch.special"}
)
"""Modules whose functions change at most their arguments and random generators; others may switch a mode of torch."""
_PYTHON = frozenset({"operator", "builtins", "math"})
_IN_PLACE = {"setitem", "delitem", "call"} | {
    name for name in dir(operator) if name[:1] == "i" and name[1:] in dir(operator)
}
_LOOKING = frozenset(
    {"print", "breakpoint", "bool", "str", "repr", "ascii", "format", "len", "int", "float", "type"}
)
Class = Hashable


@dataclass(frozen=True, slots=True)
class Effects:
    """The classes of memory that a step touches and those that it writes to.

    ``is_ordered``: it draws random numbers, or what it does is not known; ``is_barrier``: it may change what every later
    step does, as by switching autocast on.
    """

    touches: frozenset[Class] = frozenset()
    writes: frozenset[Class] = frozenset()
    is_ordered: bool = False
    is_barrier: bool = False


def has_no_effect(step: Step) -> bool:
    """Whether a step is known to have no side effect."""
    statement = step.statement
    if isinstance(statement, Bind):
        return True
    if not isinstance(statement, Assign):
        return False
    if statement.call.callee in (GETITEM, GETATTR) or _looks(statement.call.callee):
        return True
    known = facts_about(step)
    only_reads = bool(known) and all(each.memory in ("fresh", "view") for each in known)
    return only_reads and not any(map(draws_random_numbers, operators_of(step)))


def _looks(callee: Callee) -> bool:
    """Whether a function of Python only computes or prints a value."""
    if not isinstance(callee, Name):
        return False
    if callee.module == "operator":
        return callee.qualname not in _IN_PLACE
    return callee.module == "builtins" and callee.qualname in _LOOKING


def idle(steps: Sequence[Step], among: Sequence[int], result: Sequence[Use]) -> set[int]:
    """The dead code among the steps: no side effect, and nothing reads the result."""
    wanted = {use.made_by for use in result}
    candidates = set(among)
    found: set[int] = set()
    for index in range(len(steps) - 1, -1, -1):
        if index in candidates and index not in wanted and has_no_effect(steps[index]):
            found.add(index)
        else:
            wanted.update([use.made_by for use in steps[index].uses])
    return found


@dataclass(frozen=True, slots=True)
class Displaced:
    """A step of ours that finds something else than it should: ``expected`` is our step that should have been the last to
    change it, ``actual`` the one that is; None where that is none."""

    step: int
    expected: int | None
    actual: int | None


def displaced(matching: Matching, program: Program) -> tuple[Displaced, ...]:
    """The steps that read memory before or after another write than they should."""
    order = [partner for partner in matching.partners if partner is not None]
    if order == sorted(order):
        return ()
    effects = _effects(matching.ours.function, matching.ours.steps, program)
    meant, found = _History(effects), _History(effects)
    before = {step: meant.run(step) for step in sorted(order)}
    after = {step: found.run(step) for step in order}
    return tuple(
        _first_difference(step, before[step], after[step]) for step in order if before[step] != after[step]
    )


_Last = Mapping[Class, "int | None"]
_ORDER, _MODE = ("order",), ("mode",)


@dataclass
class _History:
    """The last step that wrote to each class of memory, as steps are replayed in some order."""

    effects: Mapping[int, Effects]
    last: dict[Class, int] = field(default_factory=dict)

    def run(self, step: int) -> _Last:
        """For each class of memory that a step touches, the step that wrote to it last."""
        own = self.effects[step]
        touched = set(self.last) if own.is_barrier else {*own.touches, _MODE}
        if own.is_ordered:
            touched = {*touched, *self.last, _ORDER}
        found = {each: self.last.get(each) for each in touched}
        written = {*own.writes, *([_ORDER] if own.is_ordered else []), *([_MODE] if own.is_barrier else [])}
        for each in written:
            self.last[each] = step
        return {each: last for each, last in found.items() if last is not None}


def _first_difference(step: int, meant: _Last, found: _Last) -> Displaced:
    differing = [each for each in {**meant, **found} if meant.get(each) != found.get(each)]
    return Displaced(step, meant.get(differing[0]), found.get(differing[0]))


def _effects(function: Function, steps: Sequence[Step], program: Program) -> dict[int, Effects]:
    is_flat = not any(isinstance(each, Loop | Unpack) for each in function.body) and not program.is_structured
    classes = AliasClasses(function, program) if is_flat else None
    return {index: _effects_of(step, classes) for index, step in enumerate(steps)}


def _effects_of(step: Step, classes: AliasClasses | None) -> Effects:
    """The effects of a step; without alias analysis all memory is one class."""
    statement = step.statement
    if isinstance(statement, Bind) or has_no_effect(step):
        return Effects(_classes(memory_in(statement.parts), classes))
    if not isinstance(statement, Assign):
        return Effects(frozenset({0}), frozenset({0}), is_ordered=True)
    if statement.call.callee in _READING:
        return Effects(_classes(memory_in(statement.parts), classes))
    touched = _classes(memory_in(statement.parts), classes)
    written = _classes(written_names(statement), classes)
    is_known = memory_of(statement) is not None or _is_of_python(statement)
    is_random = any(map(draws_random_numbers, operators_of(step)))
    return Effects(touched, written, is_random or not is_known, _may_switch(statement))


def _classes(names: Sequence[str], classes: AliasClasses | None) -> frozenset[Class]:
    if classes is None:
        return frozenset({0} if names else ())
    return frozenset([classes.class_of(name) for name in names])


def _is_of_python(statement: Assign) -> bool:
    """Whether a call changes at most its arguments: an operator of Python, or an assignment to an item."""
    callee = statement.call.callee
    return isinstance(callee, Name) and callee.module in _PYTHON


def _may_switch(statement: Assign) -> bool:
    callee = statement.call.callee
    if not isinstance(callee, Name):
        return False
    known = callee.module in _PYTHON | _FUNCTIONS_OF_VALUES
    return not known or callee.qualname.startswith(("set_", "_set_"))
