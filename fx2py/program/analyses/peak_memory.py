"""Planned peak memory: the most bytes of results that are alive at once, from recorded shapes and the deletions."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod

from fx2py.graph.data import Target, TensorMeta, ValueMeta
from fx2py.graph.values import GETITEM, Name, OpName, Ref, item_taken, walk
from fx2py.operators.schema import may_return_view
from fx2py.program import ir

Storages = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PlannedPeak:
    """The most bytes that a call's own results take at once; None if ``unknown`` says why that cannot be told."""

    bytes: int | None
    unknown: str = ""


def planned_peak(program: ir.Program) -> PlannedPeak:
    """The planned peak of one call of the entry.

    Inputs, weights and what is computed once are not counted, because they outlive the call; nor is what an operator or
    a called module allocates inside. A result that may be a view counts as one.
    """
    plan = _entry_plan(program)
    for statement in program.entry.body:
        if plan.unknown:
            return PlannedPeak(None, plan.unknown)
        plan.step(statement)
    return PlannedPeak(None, plan.unknown) if plan.unknown else PlannedPeak(plan.peak)


def _entry_plan(program: ir.Program) -> _Plan:
    """The plan of the entry before its first statement; the functions that it calls have been run."""
    inside: dict[str, int] = {}
    entered: dict[Hashable, int] = {}
    unknown = ""
    for function in program.functions[:-1]:
        plan = _Plan(program, inside, entered)
        plan.run(function)
        unknown = unknown or plan.unknown
        inside[function.name] = plan.peak
    return _Plan(program, inside, entered, unknown=unknown)


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """The bytes alive during each call of the entry, and the storages of its result; ``unknown`` says why not, or ''.

    ``freed`` has the number of calls after which nothing holds a storage any more; those of the entry's result are left out.
    """

    peaks: Sequence[int]
    storages: Sequence[Sequence[int]]
    sizes: Sequence[int]
    freed: Mapping[int, int]
    unknown: str

    @property
    def peak(self) -> int:
        return max(self.peaks, default=0)

    def freed_later(self, ends: Sequence[int]) -> Mapping[int, tuple[int, int]]:
        """The storages that live longer if each result lives for so many calls: when each is freed now, and then."""
        last: dict[int, int] = {}
        for held, end in zip(self.storages, ends, strict=True):
            for storage in held:
                last[storage] = max(last.get(storage, 0), end)
        pairs = ((storage, self.freed.get(storage, end), end) for storage, end in last.items())
        return {storage: (now, then) for storage, now, then in pairs if now < then}

    def peaks_until(self, ends: Sequence[int]) -> Sequence[int]:
        """The bytes alive during each call if each result lives for so many calls."""
        more = [0] * (len(self.peaks) + 1)
        for storage, (start, end) in self.freed_later(ends).items():
            more[start] += self.sizes[storage]
            more[end] -= self.sizes[storage]
        return [peak + added for peak, added in zip(self.peaks, itertools.accumulate(more), strict=False)]


def lifetimes(program: ir.Program) -> Lifetimes:
    """The lives of storages in one call of the entry; what is moved into a call that frees it counts as freed before."""
    plan = _entry_plan(program)
    peaks: list[int] = []
    storages: list[Sequence[int]] = []
    for statement in program.entry.body:
        plan.peak = 0
        plan.step(statement)
        if isinstance(statement, ir.Assign | ir.Bind) and not ir.is_other_name(statement):
            held = plan.variables.get(statement.target or "", ())
            storages.append(list(itertools.chain(*held)))
            peaks.append(plan.peak)
            plan.calls = len(peaks)
    return Lifetimes(peaks, storages, plan.sizes, plan.freed, plan.unknown)


@dataclass(slots=True)
class _Plan:
    """Abstract execution of one function: which storages are alive after each statement.

    ``entered`` has the peak of each call that arguments were moved into, beyond what was alive before it.
    """

    program: ir.Program
    peaks: Mapping[str, int]
    entered: dict[Hashable, int]
    sizes: list[int] = field(default_factory=list)
    holders: Counter[int] = field(default_factory=Counter)
    variables: dict[str, tuple[Storages, ...]] = field(default_factory=dict)
    live: int = 0
    peak: int = 0
    unknown: str = ""
    calls: int = 0
    freed: dict[int, int] = field(default_factory=dict)

    def run(self, function: ir.Function) -> None:
        for statement in function.body:
            self.step(statement)

    def step(self, statement: ir.Statement) -> None:
        if type(statement) is ir.Delete:
            for name in statement.names:
                self._release(self.variables.pop(name, ()))
        elif type(statement) is not ir.Load:
            self._make(statement)

    def _make(self, statement: ir.Statement) -> None:
        read = list(walk(*statement.operands))
        self._call(statement, read)
        parts = self._parts(statement, [part.name for part in read if type(part) is Ref])
        self._hold(parts)
        self.peak = max(self.peak, self.live)
        target = statement.target if isinstance(statement, ir.Assign | ir.Bind) else None
        if target is None:
            self._release(parts)
        else:
            self.variables[target] = parts

    def _call(self, statement: ir.Statement, read: Sequence[ir.Operand]) -> None:
        """The peak inside a call; one that arguments are moved into is executed step by step, since it frees them itself."""
        moved = [part for part in read if type(part) is ir.Take]
        if moved and isinstance(statement, ir.Assign):
            self._enter(statement.call, self.variables.pop(moved[0].name, ()))
        else:
            self.peak = max(self.peak, self.live + self._inside(read))

    def _enter(self, call: ir.Call, moved: tuple[Storages, ...]) -> None:
        name = self._function(call.callee) if isinstance(call.callee, ir.Slot) else ""
        key = self._entered(name, moved)
        before, live = self.peak, self.live
        if key in self.entered:
            self._release(moved)
        else:
            function = next(item for item in self.program.functions if item.name == name)
            places = [place for place, value in enumerate(call.args) if type(value) is ir.Take]
            outer, self.peak = self.variables, live
            self.variables = {
                function.parameters[place].name: (storages,)
                for place, storages in zip(places, moved, strict=False)
            }
            self.run(function)
            for parts in self.variables.values():
                self._release(parts)
            self.variables = outer
            self.entered[key] = self.peak - live
        self.peak = max(before, live + self.entered[key])

    def _entered(self, name: str, moved: tuple[Storages, ...]) -> Hashable:
        """All that the peak inside a call depends on: the function, and the storages that are moved into it."""
        order: dict[int, int] = {}
        places = tuple([tuple([order.setdefault(each, len(order)) for each in parts]) for parts in moved])
        return name, places, tuple([(self.sizes[each], self.holders[each]) for each in order])

    def _parts(self, statement: ir.Statement, read: Sequence[str]) -> tuple[Storages, ...]:
        """The storages of a statement's result: one entry for a tensor, one for each item of a tuple."""
        held = [self.variables.get(name, ()) for name in read]
        if not isinstance(statement, ir.Assign) or statement.origin is None:
            return tuple(storages for parts in held for storages in parts)
        call, meta = statement.call, statement.origin.meta.value
        taken = item_taken(call.callee, call.args, call.kwargs)
        if taken is not None:
            index = taken[1]
            if len(held[0]) > 1 and -len(held[0]) <= index < len(held[0]):
                return (held[0][index],)
        if _makes_view(statement.origin.target):
            return held[0] if held else ()
        return tuple(
            (self._allocate(part, statement.origin.name),) for part in _tensors(meta, statement, self)
        )

    def _allocate(self, meta: TensorMeta, name: str) -> int:
        symbols = sorted({size for size in meta.shape if isinstance(size, str)})
        if symbols:
            self.unknown = (
                self.unknown or f"the sizes {', '.join(symbols)} of {name} are known only in a call"
            )
        self.sizes.append(0 if symbols else prod(map(int, meta.shape)) * meta.dtype.itemsize)
        return len(self.sizes) - 1

    def _inside(self, read: Sequence[ir.Operand]) -> int:
        """The peak of the generated functions that a statement calls."""
        called = [
            part
            for part in read
            if type(part) is ir.Slot or (type(part) is ir.Local and part.name != ir.COMPUTE_ONCE)
        ]
        return max((self.peaks.get(self._function(part), 0) for part in called), default=0)

    def _function(self, part: ir.Local | ir.Slot) -> str:
        """The name of the generated function that a value refers to, or ''."""
        if isinstance(part, ir.Local):
            return part.name
        return (self.program.submods[part.index].function or "") if part.table == "submods" else ""

    def _hold(self, parts: tuple[Storages, ...]) -> None:
        for storage in (storage for storages in parts for storage in storages):
            if not self.holders[storage]:
                self.live += self.sizes[storage]
            self.holders[storage] += 1

    def _release(self, parts: tuple[Storages, ...]) -> None:
        for storage in (storage for storages in parts for storage in storages):
            self.holders[storage] -= 1
            if not self.holders[storage]:
                self.live -= self.sizes[storage]
                self.freed[storage] = self.calls


def _tensors(meta: ValueMeta, statement: ir.Assign, plan: _Plan) -> Iterator[TensorMeta]:
    """The tensors of a recorded result; if nothing is recorded, the peak becomes unknown."""
    stack = [meta]
    while stack:
        part = stack.pop()
        if isinstance(part, TensorMeta):
            yield part
        elif isinstance(part, tuple):
            stack.extend(reversed(part))
        elif part is None and meta is None and statement.target is not None and statement.origin is not None:
            plan.unknown = plan.unknown or f"no shape of {statement.origin.name} is recorded"


def _makes_view(target: Target) -> bool:
    """Whether the schema of a call's operator says that its result may alias its first argument."""
    if isinstance(target, OpName):
        return may_return_view(target)
    if isinstance(target, Name):
        return target == GETITEM or may_return_view(OpName("aten", target.qualname.rpartition(".")[2], None))
    return isinstance(target, str) and may_return_view(OpName("aten", target, None))
