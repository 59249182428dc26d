"""The structured form undone: functions and loops run on names in place of tensors, which gives the flat body back."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fx2py.errors import InternalError
from fx2py.graph.values import Ref, map_leaves
from fx2py.program import ir
from fx2py.program.exact_text import exact_key, key_of
from fx2py.program.structure.bodies import (
    TAKEN,
    VARIABLE,
    Body,
    Exact,
    Place,
    Step,
    Unsound,
    body_of,
    filled,
    held,
)


@dataclass(frozen=True, slots=True)
class Inlined:
    """The straight-line body that structured code amounts to, with the deletions where values die, and its result.

    ``sources`` has, for each statement but the deletions, the one of the structured code that it comes from.
    """

    statements: tuple[ir.Assign | ir.Bind | ir.Delete, ...]
    result: ir.Operand
    sources: tuple[ir.Assign | ir.Bind | ir.Unpack, ...] = ()


def inlined(functions: Sequence[ir.Function], paths: Sequence[str], most: int | None = None) -> Inlined:
    """The body of the entry with every call of a module's function replaced by what it does, and loops unrolled.

    ``paths`` are those of the weights; ``most`` limits the statements and calls that are run, for a text that may have been
    written to have no end. Raises Unsound where a call, a name or a weight does not fit, and beyond the limit.
    """
    return _Text(functions[-1], body_of(functions, paths, most)).inlined()


class _Text:
    """A body as statements, with a variable for each of its places."""

    def __init__(self, entry: ir.Function, body: Body) -> None:
        self.body = body
        self.given = [Ref(each.name) for each in entry.parameters]

    def inlined(self) -> Inlined:
        kept = set(held(self.body.result))
        ends = defaultdict(list)
        for place, time in [*sorted(self.body.released.items(), reverse=True), *enumerate(self.body.ends)]:
            if place not in kept and time > place:
                ends[time].append(self._value(place))
        statements: list[ir.Assign | ir.Bind | ir.Delete] = _deletions(ends[0])
        sources = []
        for count, (step, places) in enumerate(self.body.run(self.given), 1):
            statements.append(self._statement(f"{count}", step, places))
            statements += _deletions(ends[count])
            sources.append(step.source)
        return Inlined(tuple(statements), filled(self.body.result, self._value), tuple(sources))

    def _statement(self, target: str, step: Step, places: Sequence[Place]) -> ir.Assign | ir.Bind:
        left = iter(places)

        def leaf(part: ir.Operand) -> ir.Operand:
            if part is VARIABLE:
                return self._value(next(left))
            if part is not TAKEN:
                return part
            value = self._value(next(left))
            if not isinstance(value, Ref):
                raise Unsound("what is no list is taken from")
            return ir.Take(value.name)

        values: tuple[Any, ...] = tuple([map_leaves(value, leaf) for value in step.operands])
        if isinstance(step.source, ir.Bind):
            return ir.Bind(target, values[0], origin=step.source.origin)
        count = len(values) - len(step.keywords)
        kwargs = tuple(zip(step.keywords, values[count:], strict=True))
        call = ir.Call(values[0], values[1:count], kwargs)
        return ir.Assign(target if step.is_used else None, call, origin=step.source.origin)

    def _value(self, place: Place) -> ir.Operand:
        if type(place) is not int:
            return place.value if isinstance(place, Exact) else place
        return Ref(f"{place + 1}") if place >= 0 else self.given[-1 - place]


def _deletions(values: Sequence[ir.Operand]) -> list[ir.Assign | ir.Bind | ir.Delete]:
    names = tuple([value.name for value in values if isinstance(value, Ref)])
    return [ir.Delete(names)] if names else []


def require_same(flat: ir.Program, structured: ir.Program) -> None:
    """Raise InternalError unless the structured Program does what the flat one does, call by call, in its order."""
    paths = [weight.path for weight in flat.weights]
    by_name = {function.name: function for function in structured.functions}
    for function in flat.functions[:-1]:
        _require_same([function], [by_name[function.name]], paths)
    _require_same([flat.entry], structured.functions, paths)


def _require_same(meant: Sequence[ir.Function], made: Sequence[ir.Function], paths: Sequence[str]) -> None:
    one, other = (body_of(functions, paths) for functions in (meant, made))
    given, also_given = ([Ref(each.name) for each in functions[-1].parameters] for functions in (meant, made))
    if given != also_given:
        raise InternalError(f"the structured form of {meant[-1].name} takes {also_given} for {given}")
    pairs = zip(one.run(given), other.run(given), strict=False)
    for index, ((step, places), (found, its_places)) in enumerate(pairs):
        if step.form != found.form or places != its_places:
            raise InternalError(
                f"call {index} of the structured form is another: {found.source} for {step.source}"
            )
    if one.size != other.size:
        raise InternalError(f"the structured form has {other.size} calls for {one.size}")
    if key_of(one.result, exact_key) != key_of(other.result, exact_key):
        raise InternalError("the structured form gives another result")
