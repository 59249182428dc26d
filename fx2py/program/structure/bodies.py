"""What structured functions do, said as a flat body: each is run once on places in place of tensors, however often called.

A function does the same for every module that calls it, but for what it is given. Its ``Body`` holds its own calls, and
stands in the bodies of its callers as one part, so that a model costs what its distinct modules cost.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from fx2py.graph.values import CONTAINERS, GETATTR, GETITEM, List, ProgramLeaf, Ref, map_leaves, walk
from fx2py.program import ir
from fx2py.program.exact_text import exact_key, key_of
from fx2py.program.structure.naming import MOVED, targets
from fx2py.runtime.weight_tree import Steps, WeightTree, weight_tree


class Unsound(ValueError):
    """What structured code does that cannot be said in a flat body: it comes from an edited text."""


@dataclass(frozen=True, slots=True)
class Exact:
    """A number or a slot, equal only to one of the same type and bits."""

    key: Hashable
    value: ir.Operand = field(compare=False)


Place: TypeAlias = "int | Exact | Ref"
"""What a call reads: the result of the n-th call of the body; below zero, the (-1 - n)-th thing that the body is given.

Of the entry those are its parameters, as Refs.
"""


class Step(NamedTuple):
    """A call, or a container, of a flat body: the statement that makes it, and its operands with holes where it reads places.

    Equal forms with equal places do the same.
    """

    source: ir.Assign | ir.Bind | ir.Unpack
    operands: tuple[ir.Operand, ...]
    keywords: tuple[str, ...]
    places: tuple[Place, ...]
    form: Hashable
    is_used: bool


class Part(NamedTuple):
    """The body of a function that is called, as a part of its caller's: where it starts, and what it is given.

    ``arguments`` has the places that each argument holds; ``shared`` are those that a loop gives to each of its rounds.
    """

    body: Body
    start: int
    given: tuple[Place, ...]
    arguments: tuple[tuple[Place, ...], ...]
    shared: frozenset[int]


@dataclass(slots=True)
class Body:
    """What one function does with arguments of one structure.

    ``ends`` has the number of calls after which the result of each is held by nothing: its own place if it never was.
    ``released`` says the same of what is given, which the caller may hold for longer. ``fields`` are the weights that are
    read below records that are given, and their places; ``steps`` counts the statements and calls that were run.
    """

    function: str
    parts: list[Step | Part] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    released: dict[int, int] = field(default_factory=dict)
    result: ir.Operand = None
    given: int = 0
    fields: dict[tuple[int, Steps], int] = field(default_factory=dict)
    steps: int = 0

    @property
    def size(self) -> int:
        return len(self.ends)

    def run(self, given: Sequence[Place], start: int = 0) -> Iterator[tuple[Step, tuple[Place, ...]]]:
        """Every call in order, those of the functions that are called included, with the places in the outermost body."""
        for part in self.parts:
            if isinstance(part, Step):
                yield part, _seen_from_outside(part.places, start, given)
            else:
                yield from part.body.run(_seen_from_outside(part.given, start, given), start + part.start)

    def calls(self, given: Sequence[Place], start: int = 0) -> Iterator[Span]:
        """Every call of a function, outer ones before those inside them."""
        for part in self.parts:
            if isinstance(part, Part):
                inner = start + part.start
                arguments = tuple([_seen_from_outside(each, start, given) for each in part.arguments])
                yield Span(part.body.function, inner, inner + part.body.size, arguments, part.shared)
                yield from part.body.calls(_seen_from_outside(part.given, start, given), inner)


class Span(NamedTuple):
    """One call of a module's function: its part of the flat body, and what its arguments hold, as a ``Part`` has it."""

    function: str
    start: int
    end: int
    arguments: tuple[tuple[Place, ...], ...]
    shared: frozenset[int]


def _seen_from_outside(places: Sequence[Place], start: int, given: Sequence[Place]) -> tuple[Place, ...]:
    return tuple(
        [
            place if type(place) is not int else place + start if place >= 0 else given[-1 - place]
            for place in places
        ]
    )


def body_of(functions: Sequence[ir.Function], paths: Sequence[str], most: int | None = None) -> Body:
    """What the last one of some functions does; it is given its parameters.

    ``paths`` are those of the weights; ``most`` limits the statements and calls that are run, for a text that may have been
    written to have no end. Raises Unsound where a call, a name or a weight does not fit, and beyond the limit.
    """
    entry = functions[-1]
    called = {each.name: each for each in functions if each.is_module}
    given = {each.name: _Made(-1 - place) for place, each in enumerate(entry.parameters)}
    return _Functions(called, weight_tree(paths), most).made(entry, given, len(given))


def held(value: ir.Operand) -> list[int]:
    """The places in a value, such as the result of a body, as often as it holds them."""
    return [part.place for part in walk(value) if type(part) is _Made]


def filled(value: ir.Operand, at: Callable[[int], ir.Operand]) -> ir.Operand:
    """A value with what is at its places."""
    return map_leaves(value, lambda part: at(part.place) if isinstance(part, _Made) else part)


@dataclass(frozen=True, slots=True)
class _Made(ProgramLeaf):
    """A value at a place of the body."""

    place: int


@dataclass(frozen=True, slots=True)
class _Taken(ProgramLeaf):
    """What is taken out of the list at a place of the body."""

    place: int


@dataclass(frozen=True, slots=True, eq=False)
class _Record(ProgramLeaf):
    """A record of weights: the number of the given record that it is below, None for the whole tree, and the way to it."""

    number: int | None
    path: Steps
    tree: WeightTree


class _Hole(ProgramLeaf):
    """Where a form reads a place, or takes what the list there holds."""


VARIABLE, TAKEN = _Hole(), _Hole()


class _Functions:
    """The bodies of functions, each made once for arguments of one structure."""

    def __init__(self, functions: Mapping[str, ir.Function], tree: WeightTree, most: int | None) -> None:
        self.functions, self.tree, self.most = functions, tree, most
        self.bodies: dict[Hashable, Body] = {}
        self.shapes: dict[Hashable, int] = {}
        self.shape_of: dict[int, int] = {}
        self.steps = 0

    def step(self, count: int = 1) -> None:
        """Count statements and calls that are run."""
        self.steps += count
        if self.most is not None and self.steps > self.most:
            raise Unsound(f"it takes more than {self.most:,} steps")

    def made(self, function: ir.Function, arguments: Mapping[str, ir.Operand], given: int) -> Body:
        return _Running(self, function, arguments, given).run()

    def shape(self, tree: WeightTree) -> int:
        """A number that records share where they have the same names all the way down."""
        if id(tree) not in self.shape_of:
            below = tuple([(name, self.shape(each)) for name, each in tree.children.items()])
            self.shape_of[id(tree)] = self.shapes.setdefault((below, tree.index is None), len(self.shapes))
        return self.shape_of[id(tree)]


class _Arguments:
    """What a function is given: a value for each parameter, whose leaves are places, records or constants."""

    def __init__(self, functions: _Functions, values: Mapping[str, ir.Operand]) -> None:
        self.functions, self.values = functions, values
        self.given: list[Place] = []
        self.records: list[_Record] = []
        self.key = tuple([key_of(value, self._key) for value in values.values()])

    def _key(self, part: ir.Operand) -> Hashable:
        if isinstance(part, _Record):
            self.records.append(part)
            return _Record, self.functions.shape(part.tree)
        if isinstance(part, _Made):
            self.given.append(part.place)
            return _Made
        if _is_place(part):
            self.given.append(Exact(exact_key(part), part))
            return _Made
        return exact_key(part)

    def seen_inside(self) -> dict[str, ir.Operand]:
        """The values as the function sees them."""
        places, records = iter(range(len(self.given))), iter(range(len(self.records)))

        def leaf(part: ir.Operand) -> ir.Operand:
            if isinstance(part, _Record):
                return _Record(next(records), (), part.tree)
            return _Made(-1 - next(places)) if isinstance(part, _Made) or _is_place(part) else part

        return {name: map_leaves(value, leaf) for name, value in self.values.items()}


class _Running:
    """One function, run from its first statement to its last."""

    def __init__(
        self, functions: _Functions, function: ir.Function, arguments: Mapping[str, ir.Operand], given: int
    ) -> None:
        self.functions, self.function = functions, function
        self.body = Body(function.name, given=given)
        self.variables: dict[str, ir.Operand] = {ir.WEIGHTS: _Record(None, (), functions.tree), **arguments}
        self.changing: Sequence[str] | None = None
        """In a loop, the variables that a round gives to the next."""

    def run(self) -> Body:
        before = self.functions.steps
        self.functions.step()
        self._statements(self.function.body)
        self.body.result = self._value(self.function.result)
        if _has_records(self.body.result):
            raise Unsound("a record of weights is returned")
        for name in list(self.variables):
            self._drop(name)
        self.body.steps = self.functions.steps - before
        return self.body

    # -- variables

    def _bind(self, name: str, value: ir.Operand) -> None:
        self._drop(name)
        self.variables[name] = value

    def _drop(self, name: str) -> None:
        if name in self.variables:
            self._release(self.variables.pop(name))

    def _release(self, value: ir.Operand) -> None:
        """Let go of a value; what it holds ends here unless something that holds it too is let go of later."""
        for place in held(value):
            self._end(place, self.body.size)

    def _end(self, place: Place, time: int) -> None:
        if type(place) is not int:
            return
        if place >= 0:
            self.body.ends[place] = max(self.body.ends[place], time)
        else:
            self.body.released[place] = max(self.body.released.get(place, 0), time)

    # -- statements

    def _statements(self, body: Sequence[ir.Statement]) -> None:
        for statement in body:
            self.functions.step()
            if isinstance(statement, ir.Loop):
                self._loop(statement)
            elif isinstance(statement, ir.Unpack):
                self._unpack(statement)
            elif isinstance(statement, ir.Assign):
                result = self._call(statement, statement.target is not None)
                if statement.target is not None:
                    self._bind(statement.target, result)
            elif isinstance(statement, ir.Load):
                self._bind(statement.target, statement.slot)
            elif isinstance(statement, ir.Bind):
                self._container(statement)
            else:
                for name in statement.names:
                    self._drop(name)

    def _loop(self, loop: ir.Loop) -> None:
        records = self._field(loop.over) if isinstance(loop.over, ir.Field) else None
        if records is not None and not (isinstance(records, _Record) and records.tree.is_list):
            raise Unsound(f"{loop.over} is no list of records")
        stop = records.tree.length if isinstance(records, _Record) and loop.stop == ir.WHOLE else loop.stop
        self.changing = targets(loop)
        for place in range(loop.start, stop):
            if isinstance(records, _Record):
                below = records.tree.below(place)
                if below is None:
                    raise Unsound(f"there is no record {place} in a list of them")
                self._bind(loop.item, _Record(records.number, (*records.path, place), below))
            self._statements(loop.body)
        self.changing = None

    def _unpack(self, statement: ir.Unpack) -> None:
        whole = self._call(statement, True)
        results = whole
        if isinstance(whole, _Made):
            gets = [(GETITEM, whole, index) for index in range(len(statement.targets))]
            results = tuple([self._add(statement, get, (), True) for get in gets])
        if type(results) is not tuple or len(results) != len(statement.targets):
            raise Unsound(f"{', '.join(statement.targets)} are given other than one value each")
        for target, result in zip(statement.targets, results, strict=True):
            self._bind(target, result)
        self._release(whole)

    def _container(self, statement: ir.Bind) -> None:
        value = self._value(statement.value)
        if _has_records(value):
            raise Unsound("a record of weights is given another name")
        moves = isinstance(value, List) and statement.target == MOVED and self.functions.functions
        if type(value) in CONTAINERS and not moves:
            value = self._add(statement, (value,), (), False)
        self._bind(statement.target, value)

    # -- calls

    def _call(self, statement: ir.Assign | ir.Unpack, is_used: bool) -> ir.Operand:
        call = statement.call
        function = (
            self.functions.functions.get(call.callee.name) if isinstance(call.callee, ir.Local) else None
        )
        if function is not None:
            return self._call_of_function(function, call)
        operands = tuple([self._value(value) for value in call.operands])
        if any(map(_has_records, operands)):
            if call.callee == GETATTR:
                raise Unsound(f"{call.args[1]} names no weight")
            raise Unsound("a record of weights is given to a call as a value")
        return self._add(statement, operands, tuple([name for name, _ in call.kwargs]), is_used)

    def _add(
        self,
        source: ir.Assign | ir.Bind | ir.Unpack,
        operands: tuple[ir.Operand, ...],
        keywords: tuple[str, ...],
        is_used: bool,
    ) -> ir.Operand:
        """A call, or a container, of the flat body; gives its result."""
        places: list[Place] = []

        def leaf(part: ir.Operand) -> ir.Operand:
            if isinstance(part, _Made | _Taken):
                places.append(part.place)
                return VARIABLE if isinstance(part, _Made) else TAKEN
            if _is_place(part):
                places.append(Exact(exact_key(part), part))
                return VARIABLE
            return part

        operands = tuple([map_leaves(value, leaf) for value in operands])
        form = (isinstance(source, ir.Bind), key_of(operands, exact_key), keywords, len(operands))
        place = self.body.size
        self.body.parts.append(Step(source, operands, keywords, tuple(places), form, is_used))
        self.body.ends.append(place + is_used)
        return _Made(place) if is_used or isinstance(source, ir.Bind) else None

    def _call_of_function(self, function: ir.Function, call: ir.Call) -> ir.Operand:
        names = [parameter.name for parameter in function.parameters]
        if len(names) != len(call.args):
            raise Unsound(f"{function.name} is given {len(call.args)} arguments")
        values = {
            name: self._first_of(value) if isinstance(value, ir.Take) else self._value(value)
            for name, value in zip(names, call.args, strict=True)
        }
        arguments = _Arguments(self.functions, values)
        body = self.functions.bodies.get((function.name, arguments.key))
        if body is None:
            body = self.functions.made(function, arguments.seen_inside(), len(arguments.given))
            self.functions.bodies[function.name, arguments.key] = body
        else:
            self.functions.step(body.steps)
        shared = frozenset() if self.changing is None else _unchanging(call.args, self.changing)
        return self._add_body(body, arguments, shared)

    def _first_of(self, value: ir.Take) -> ir.Operand:
        """The first item of a list, which the list no longer holds but the argument does."""
        held = self.variables.get(value.name)
        if not isinstance(held, List) or not held.items:
            raise Unsound(f"{value.name} holds nothing to be taken")
        self.variables[value.name] = List(held.items[1:])
        return held.items[0]

    def _add_body(self, body: Body, arguments: _Arguments, shared: frozenset[int]) -> ir.Operand:
        """The body of a function that is called as a part of this one; gives the result of the call."""
        start = self.body.size
        fields = [self._below(arguments.records[number], path) for number, path in body.fields]
        given: tuple[Place, ...] = (*arguments.given, *fields)
        holding = tuple([tuple(held(value)) for value in arguments.values.values()])
        self.body.parts.append(Part(body, start, given, holding, shared))
        self.body.ends += [end + start for end in body.ends]
        for place, time in body.released.items():
            self._end(given[-1 - place], start + time)

        def at(place: int) -> ir.Operand:
            seen = place + start if place >= 0 else given[-1 - place]
            return _Made(seen) if type(seen) is int else seen.value if isinstance(seen, Exact) else seen

        return filled(body.result, at)

    # -- values

    def _value(self, value: ir.Operand) -> ir.Operand:
        return map_leaves(value, self._leaf)

    def _leaf(self, part: ir.Operand) -> ir.Operand:
        if type(part) is Ref:
            if part.name not in self.variables:
                raise Unsound(f"{part.name} is used before it is bound")
            return self.variables[part.name]
        if isinstance(part, ir.Take):
            held = self.variables.get(part.name)
            if not isinstance(held, _Made):
                raise Unsound(f"{part.name} holds nothing to be taken")
            return _Taken(held.place)
        return self._field(part) if isinstance(part, ir.Field) else part

    def _field(self, part: ir.Field) -> ir.Operand:
        found = self.variables.get(part.base)
        tree = found.tree if isinstance(found, _Record) else None
        for step in part.path:
            tree = None if tree is None else tree.below(step)
            if tree is None:
                raise Unsound(f"{part} names no weight")
        if not isinstance(found, _Record) or tree is None:
            raise Unsound(f"{part.base} is no record of weights")
        if tree.index is None:
            return _Record(found.number, (*found.path, *part.path), tree)
        place = self._below(found, part.path)
        return place.value if isinstance(place, Exact) else _Made(place)

    def _below(self, record: _Record, path: Steps) -> int | Exact:
        """The place of a weight below a record."""
        if record.number is None:
            slot = ir.Slot(ir.WEIGHTS, record.tree.at(path).index or 0)
            return Exact(exact_key(slot), slot)
        fields = self.body.fields
        return fields.setdefault((record.number, (*record.path, *path)), -1 - self.body.given - len(fields))


def _unchanging(args: ir.Arguments, changing: Container[str]) -> frozenset[int]:
    """The places of the arguments that a call in a loop is given in each round."""
    places = [i for i, each in enumerate(args) if isinstance(each, Ref) and each.name not in changing]
    return frozenset(places)


def _is_place(part: ir.Operand) -> bool:
    """Whether two calls of one function may read another of these at the same place: a number or a slot."""
    return type(part) in (int, float, ir.Slot)


def _has_records(value: ir.Operand) -> bool:
    return any(isinstance(part, _Record) for part in walk(value))
