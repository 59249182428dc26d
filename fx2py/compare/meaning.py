"""The data flow of a function without its names: what each statement computes, and where its values come from."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from fx2py.compare.repair import UNBOUND
from fx2py.graph.values import List, Name, Ref, walk
from fx2py.program.exact_text import exact_key, key_of, path_normal
from fx2py.program.ir import (
    TABLE_NAMES,
    WHOLE,
    Assign,
    Bind,
    Delete,
    Field,
    Function,
    Load,
    Local,
    Loop,
    Operand,
    Slot,
    Statement,
    Take,
    Unpack,
    is_expression,
)

Source: TypeAlias = tuple[Hashable, ...]
"""Where a value comes from: ``("made", step, part)``, ``("parameter", place)``, or an entry of a table, by what it holds."""
_USE = "use"
"""Stands in the shape of an operand for a value that is used."""


@dataclass(frozen=True, slots=True)
class Use:
    """A value that a statement uses: its source, the variable that held it, and the statement, if any, that did nothing
    but give it this name: a load of a table's entry, or a second name of a variable."""

    source: Source
    name: str = ""
    given: Load | Bind | None = None

    @property
    def made_by(self) -> int | None:
        """The step that makes the value; None for a parameter and an entry of a table."""
        step = self.source[1] if self.source[0] == "made" else None
        return step if isinstance(step, int) else None


@dataclass(frozen=True, slots=True)
class Operands:
    """The operands of a statement: the shape of each, equal for equal texts but for names, and the values that it uses."""

    shapes: tuple[Hashable, ...]
    uses: tuple[tuple[Use, ...], ...]

    @property
    def all_uses(self) -> tuple[Use, ...]:
        return tuple([use for part in self.uses for use in part])


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """A statement that computes; ``shape`` is equal for two that differ at most in the values that they use.

    ``body`` is that of a loop, of which ``targets`` has every variable that it assigns.
    """

    shape: Hashable
    operands: Operands
    uses: tuple[Use, ...]
    targets: tuple[str, ...]
    statement: Assign | Bind | Unpack | Loop
    body: Body | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The variables that the results are assigned to; a result inside an expression has none."""
        return tuple([_written(name) for name in self.targets if not is_expression(name)])


def _written(variable: str) -> str:
    """The name of a variable in the text; flat code that assigns a name again has a variable for each time."""
    return variable.partition("<")[0]


@dataclass(frozen=True, slots=True, eq=False)
class Body:
    """The steps of a function or a loop, in order, and its result; ``given`` are the names that a load or another
    variable alone gave a value, in order."""

    function: Function
    statements: tuple[Statement, ...]
    steps: tuple[Step, ...]
    result: Operands
    given: tuple[Use, ...] = ()

    def walk(self) -> Iterator[Step]:
        """Every step, those inside loops too."""
        for step in self.steps:
            yield step
            if step.body is not None:
                yield from step.body.walk()


@dataclass(frozen=True, slots=True)
class Tables:
    """What slots hold: the paths of weights and submodules, a key for each constant, and names of functions.

    ``functions`` gives each function of the code the name under which it is compared.
    """

    weights: Sequence[str]
    submods: Sequence[str]
    consts: Sequence[Hashable]
    functions: Mapping[str, str]

    def source(self, slot: Slot) -> Source:
        held: Mapping[str, Sequence[Hashable]] = {
            "weights": self.weights,
            "submods": self.submods,
            "consts": self.consts,
        }
        entries = held.get(slot.table, ())
        return (slot.table, entries[slot.index] if slot.index < len(entries) else slot.index)


def body_of(function: Function, tables: Tables) -> Body:
    """The steps of a function; its tables and parameters are known by their places."""
    places: dict[str, Use] = {name: Use(("table", name), name) for name in TABLE_NAMES}
    places |= {
        each.name: Use(("parameter", place), each.name) for place, each in enumerate(function.parameters)
    }
    reading = _Reading(function, tables, places)
    steps = reading.steps(function.body)
    return Body(function, function.body, steps, reading.operands(function.result), tuple(reading.given))


class _Reading:
    """The variables of a function as its statements are read in order."""

    def __init__(self, function: Function, tables: Tables, variables: Mapping[str, Use]) -> None:
        self.function, self.tables = function, tables
        self.variables = dict(variables)
        self.lists: dict[str, deque[tuple[Hashable, tuple[Use, ...]]]] = {}
        self.made: list[Step] = []
        self.given: list[Use] = []

    def steps(self, body: Sequence[Statement]) -> tuple[Step, ...]:
        moved = {part.name for each in body for part in walk(*each.operands) if isinstance(part, Take)}
        for statement in body:
            if isinstance(statement, Load):
                self._give(self.tables.source(statement.slot), statement)
            elif isinstance(statement, Bind) and statement.target in moved and type(statement.value) is List:
                # The list only moves arguments into a call, which is a matter of memory.
                self.lists[statement.target] = deque(map(self._operand, statement.value.items))
            elif isinstance(statement, Bind) and type(statement.value) is Ref:
                self._give(self._variable(statement.value.name).source, statement)
            elif isinstance(statement, Loop):
                self._loop(statement)
            elif isinstance(statement, Assign) and statement.call.callee == UNBOUND:
                (name,) = map(str, statement.call.args)
                self.variables[statement.target or ""] = Use(("unbound", name), name)
            elif not isinstance(statement, Delete):
                self._step(statement)
        return tuple(self.made)

    def _give(self, source: Source, statement: Load | Bind) -> None:
        """A name for a value that was there before."""
        use = Use(source, _written(statement.target), statement)
        self.variables[statement.target] = use
        self.given.append(use)

    def _step(self, statement: Assign | Bind | Unpack) -> None:
        operands = self.operands(*statement.operands)
        names = () if isinstance(statement, Bind) else tuple([name for name, _ in statement.call.kwargs])
        if isinstance(statement, Unpack):
            targets = statement.targets
        else:
            targets = () if statement.target is None else (statement.target,)
        kind = (type(statement), len(statement.targets)) if isinstance(statement, Unpack) else type(statement)
        shape = (kind, operands.shapes, names)
        self._add(Step(shape, operands, operands.all_uses, targets, statement))

    def _loop(self, loop: Loop) -> None:
        """A loop as one step, which uses what its body reads of the variables before it."""
        entering, assigned = _variables_of(loop)
        over: Operand = loop.over if isinstance(loop.over, Field) else None
        operands = self.operands(over, *[Ref(name) for name in entering])
        is_whole = (loop.start, loop.stop) == (0, loop.length)
        rounds = (loop.over if type(loop.over) is int else None, loop.start, WHOLE if is_whole else loop.stop)
        inner = _Reading(
            self.function,
            self.tables,
            {name: Use(("parameter", place), name) for place, name in enumerate(entering)},
        )
        inner.variables[loop.item] = Use(("item",), loop.item)
        steps = inner.steps(loop.body)
        given = inner.operands(*[Ref(name) for name in assigned])
        body = Body(self.function, loop.body, steps, given, tuple(inner.given))
        shape = (Loop, operands.shapes, rounds)
        self._add(Step(shape, operands, operands.all_uses, assigned, loop, body))

    def _add(self, step: Step) -> None:
        for part, name in enumerate(step.targets):
            shown = "" if is_expression(name) else _written(name)
            self.variables[name] = Use(("made", len(self.made), part), shown)
        self.made.append(step)

    def operands(self, *values: Operand) -> Operands:
        parts = [self._operand(value) for value in values]
        return Operands(tuple([shape for shape, _ in parts]), tuple([uses for _, uses in parts]))

    def _operand(self, value: Operand) -> tuple[Hashable, tuple[Use, ...]]:
        uses: list[Use] = []
        return key_of(value, lambda leaf: self._leaf(leaf, uses)), tuple(uses)

    def _leaf(self, value: Operand, uses: list[Use]) -> Hashable:
        if type(value) is Ref:
            uses.append(self._variable(value.name))
            return _USE
        if isinstance(value, Slot):
            uses.append(Use(self.tables.source(value)))
            return _USE
        if isinstance(value, Take):
            waiting = self.lists.get(value.name)
            shape, moved = waiting.popleft() if waiting else ((Take, value.name), ())
            uses += moved
            return shape
        if isinstance(value, Field):
            uses.append(self._variable(value.base))
            return (Field, value.path)
        if isinstance(value, Local):
            return (Local, self.tables.functions.get(value.name, value.name), value.as_graph)
        normal = path_normal(value)
        return exact_key(normal) if type(normal) is not Name else normal

    def _variable(self, name: str) -> Use:
        return self.variables.get(name) or Use(("unbound", name), name)


def _variables_of(loop: Loop) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The variables that the body of a loop reads before it assigns them, and those that it assigns."""
    entering: dict[str, None] = {}
    assigned: dict[str, None] = {}
    for statement in loop.body:
        bases = [part.base for part in walk(*statement.operands) if isinstance(part, Field)]
        for name in (*statement.parts.variables, *bases):
            if name != loop.item and name not in assigned:
                entering[name] = None
        if isinstance(statement, Unpack):
            assigned |= dict.fromkeys(statement.targets)
        elif isinstance(statement, Assign | Bind | Load) and statement.target is not None:
            assigned[statement.target] = None
    return tuple(entering), tuple(assigned)
