"""The calls of modules in a flat body, found by the module stack that each statement's node recorded."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple, TypeAlias

from fx2py.graph.data import ModuleFrame
from fx2py.graph.values import Ref
from fx2py.program.exact_text import exact_key, key_of
from fx2py.program.ir import WEIGHTS, Assign, Bind, Function, Load, Operand, Program, Slot, Take, names_in

Stack: TypeAlias = tuple[ModuleFrame, ...]
ROOT = ModuleFrame("")


@dataclass(frozen=True)
class FlatBody:
    """The statements of a straight-line function that compute, in order, and what its loads bind."""

    statements: tuple[Assign | Bind, ...]
    loads: Mapping[str, Load]
    result: Operand

    @cached_property
    def last_use(self) -> Mapping[str, int]:
        """The index of the last statement that reads a variable; the result counts as one behind the last."""
        found = {
            name: index
            for index, statement in enumerate(self.statements)
            for name in statement.parts.variables
        }
        return found | dict.fromkeys(names_in(self.result), len(self.statements))

    @cached_property
    def made(self) -> Mapping[str, int]:
        """The index of the statement that makes a variable."""
        return {each.target: index for index, each in enumerate(self.statements) if each.target}

    @cached_property
    def stacks(self) -> tuple[Stack, ...]:
        """The module stack of each statement; one that recorded none stands in what its neighbours share."""
        own = [each.origin.meta.stack if each.origin is not None else () for each in self.statements]
        after: list[Stack] = [()] * (len(own) + 1)
        for index in range(len(own) - 1, -1, -1):
            after[index] = own[index] or after[index + 1]
        before: Stack = ()
        stacks: list[Stack] = []
        for index, stack in enumerate(own):
            before = stack or before
            stacks.append(_from_root(stack or _shared(before, after[index])))
        return tuple(stacks)


def flat_body(function: Function) -> FlatBody:
    """The body of a function without its deletions."""
    return FlatBody(
        tuple([each for each in function.body if isinstance(each, Assign | Bind)]),
        {each.target: each for each in function.body if isinstance(each, Load)},
        function.result,
    )


def names_modules(function: Function) -> bool:
    """Whether a statement says which module, other than the root, it comes from."""
    stacks = (
        each.origin.meta.stack for each in function.body if isinstance(each, Assign | Bind) and each.origin
    )
    return any(stack and (len(stack) > 1 or stack[0].path) for stack in stacks)


def _from_root(stack: Stack) -> Stack:
    """The stack with the root module first, which torch.compile leaves out."""
    return stack if stack and not stack[0].path else (ROOT, *stack)


def _shared(one: Stack, other: Stack) -> Stack:
    pairs = zip(one, other, strict=False)
    count = next((place for place, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))
    return one[:count]


@dataclass(slots=True)
class Region:
    """The statements from ``start`` up to ``end``, which one call of a module made, and the calls inside it."""

    frame: ModuleFrame
    depth: int
    start: int
    end: int
    children: list[Region] = field(default_factory=list)

    @property
    def size(self) -> int:
        return self.end - self.start

    @property
    def prefix(self) -> str:
        return f"{self.frame.path}." if self.frame.path else ""

    def walk(self) -> Iterator[Region]:
        """The regions inside this one, outer ones first."""
        for child in self.children:
            yield child
            yield from child.walk()


def regions(body: FlatBody) -> Region:
    """The whole body as the region of the root module, with every call of a module in it."""
    root = Region(next((each[0] for each in body.stacks if each[0].cls), ROOT), 0, 0, len(body.statements))
    stack = [root]
    while stack:
        region = stack.pop()
        region.children = list(_inside(body.stacks, region))
        stack += region.children
    return root


def _inside(stacks: Sequence[Stack], region: Region) -> Iterator[Region]:
    depth, index = region.depth + 1, region.start
    while index < region.end:
        start, frame = index, stacks[index][depth : depth + 1]
        while index < region.end and stacks[index][depth : depth + 1] == frame:
            index += 1
        if frame:
            yield Region(frame[0], depth, start, index)


class Place(NamedTuple):
    """A number in the arguments of a call: the statement's offset in its region, and how many numbers stand before."""

    offset: int
    number: int


@dataclass(frozen=True, slots=True)
class Interface:
    """What a region takes and gives: variables and weights of others in the order of their first use, and results.

    Regions with equal keys compute the same but for ``numbers``, the integers and floats in their calls; ``results`` are
    the offsets of the statements whose values are given.
    """

    inputs: tuple[str | Slot, ...]
    outputs: tuple[str, ...]
    results: tuple[int, ...]
    uses_weights: bool
    key: Hashable
    numbers: Mapping[Place, int | float]


class Comparison:
    """Compares regions by what they compute: equal keys, equal code up to names and the paths of weights."""

    def __init__(self, body: FlatBody, program: Program) -> None:
        self.body = body
        self.paths = [weight.path for weight in program.weights]

    def interface(self, region: Region) -> Interface:
        return _Reading(self, region).run()


class _Reading:
    """One region, read from its first statement to its last."""

    def __init__(self, comparison: Comparison, region: Region) -> None:
        self.body, self.paths, self.region = comparison.body, comparison.paths, region
        self.numbers: dict[str | Slot, int] = {}
        self.inputs: list[str | Slot] = []
        self.outputs: list[str] = []
        self.results: list[int] = []
        self.uses_weights = False
        self.literals: dict[Place, int | float] = {}
        self.offset = self.number = 0
        self.calls: dict[str, dict[int, int]] = {}
        """How often a module below was called before in this region, by its path and what the stack calls the call."""

    def run(self) -> Interface:
        parts = [self._statement(index) for index in range(self.region.start, self.region.end)]
        key = (self.region.frame.cls, tuple(parts))
        outputs, results = tuple(self.outputs), tuple(self.results)
        return Interface(tuple(self.inputs), outputs, results, self.uses_weights, key, self.literals)

    def _statement(self, index: int) -> Hashable:
        statement = self.body.statements[index]
        self.offset, self.number = index - self.region.start, 0
        values = tuple([key_of(value, self._leaf) for value in statement.operands])
        names = tuple([name for name, _ in statement.call.kwargs]) if isinstance(statement, Assign) else ()
        target = statement.target
        if target is None:
            return (values, names, self._below(index))
        self.numbers[target] = len(self.numbers)
        if self.body.last_use.get(target, -1) >= self.region.end:
            self.outputs.append(target)
            self.results.append(self.offset)
        return (type(statement), values, names, self._below(index))

    def _below(self, index: int) -> Hashable:
        """The modules inside the region that a statement stands in: they are to be functions in all alike."""
        inner = self.body.stacks[index][self.region.depth + 1 :]
        found: list[Hashable] = []
        for frame in inner:
            path = frame.path.removeprefix(self.region.prefix)
            calls = self.calls.setdefault(path, {})
            found.append((path, frame.cls, calls.setdefault(frame.call, len(calls))))
        return tuple(found)

    def _leaf(self, value: Operand) -> Hashable:
        if isinstance(value, Ref):
            return self._variable(value.name)
        if isinstance(value, Take):
            return (Take, self._variable(value.name))
        if isinstance(value, int | float) and type(value) is not bool:
            self.literals[Place(self.offset, self.number)] = value
            self.number += 1
            return type(value).__name__
        return exact_key(value)

    def _variable(self, name: str) -> Hashable:
        load = self.body.loads.get(name)
        if load is None or load.slot.table == "compute_once":
            return self._number(name)
        if load.slot.table != WEIGHTS:
            return load.slot
        path = self.paths[load.slot.index]
        if path.startswith(self.region.prefix):
            self.uses_weights = True
            return ("weight", path[len(self.region.prefix) :])
        return self._number(load.slot)

    def _number(self, what: str | Slot) -> Hashable:
        if what not in self.numbers:
            self.numbers[what] = len(self.numbers)
            self.inputs.append(what)
        return (Ref, self.numbers[what])
