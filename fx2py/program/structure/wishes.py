"""What the variables of a function should be named: after the lines of the model that made them, and after its modules.

The last result of a line has the name that the line assigns to. What a module gives on the way there has the name that
the module has in the one around it (``gate_proj``). What is made of one value alone (a view of it, its square root) keeps
its name, and the rest is on the way to the result of the line and has its name, as has what only the result is made of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from fx2py.graph.data import SourceLine
from fx2py.graph.values import GETATTR, GETITEM, Name, OpName, Ref, walk
from fx2py.program.ir import Assign, Bind, Load, Method
from fx2py.program.native import operator_of
from fx2py.program.structure.regions import FlatBody, Interface, Region
from fx2py.program.structure.source_text import line_at, name_given_to, names_read, operands_of, targets_of

_LONG = 20
"""A name that takes more columns is given to the result of its line alone."""


@dataclass(frozen=True, slots=True)
class _Part:
    """A statement, or the call of a module, of a region: where it stands, what it gives, and the module."""

    start: int
    end: int
    outputs: tuple[str, ...]
    child: Region | None = None


@dataclass(slots=True)
class Wishes:
    """The names that variables should have. ``like``: the variable whose name another should keep, in their order.

    ``others``: what later lines call a variable, as ``residual`` is what an earlier one called ``hidden_states``.
    """

    names: dict[str, str] = field(default_factory=dict)
    like: dict[str, str] = field(default_factory=dict)
    others: dict[str, list[str]] = field(default_factory=dict)

    def of(self, variable: str) -> str:
        """The name that a variable should have; the variable itself where nothing says more."""
        while variable not in self.names and variable in self.like:
            variable = self.like[variable]
        return self.names.get(variable, variable)


Known: TypeAlias = Callable[[Region], "tuple[Region, Wishes] | None"]
"""For a call of a module's function: the first call of it, and the wishes of that one."""


def wishes_of(
    region: Region, body: FlatBody, interface: Callable[[Region], Interface], known: Known
) -> Wishes:
    """What the lines of the model say of the variables that a function made of a region has.

    Those of the modules that stand inline in it are among them; of the functions that it calls, only what they give.
    """
    wanted = _Wanted(body, interface, known, region)
    wanted.region(region)
    return wanted.found


def parameter_wish(region: Region, body: FlatBody, variable: str, argument: str) -> str:
    """What a function's own lines call a value that it is given, or the name of the first argument."""
    assigned: set[str] = set()
    for statement in body.statements[region.start : region.end]:
        line = line_at(statement.origin, region.depth)
        if line is None:
            continue
        if variable in statement.parts.variables:
            read = names_read(line.code)
            stack = statement.origin.meta.stack if statement.origin is not None else ()
            called = next((name_given_to(frame.path, line.code) for frame in stack[-1:]), "")
            if called and called in read:
                return called
            if argument in read:
                return argument
            own = [name for name in read if name not in assigned and name not in targets_of(line.code)]
            own = own or [name for name in read if name not in assigned]
            return own[0] if len(own) == 1 and own[0] != "input" else argument
        assigned.update(targets_of(line.code))
    return argument


class _Wanted:
    def __init__(
        self, body: FlatBody, interface: Callable[[Region], Interface], known: Known, outer: Region
    ) -> None:
        self.body, self.interface, self.known, self.outer = body, interface, known, outer
        self.found = Wishes()
        self.made = body.made

    def region(self, region: Region) -> None:
        for line, parts in self._lines(region):
            for part in parts:
                if part.child is not None:
                    self._child(part.child)
            for each in self._rounds(parts):
                self._line(region, line, each)

    def _child(self, child: Region) -> None:
        known = self.known(child)
        if known is None:
            self.region(child)
        else:
            self._as_in_first(child, *known)

    def _as_in_first(self, child: Region, first: Region, wishes: Wishes) -> None:
        """Let what a call of a function gives have the names that the first call gives to the same results."""
        inputs = dict(zip(self.interface(first).inputs, self.interface(child).inputs, strict=True))
        outputs = zip(self.interface(first).outputs, self.interface(child).outputs, strict=True)
        for there, here in outputs:
            end = there
            while end not in wishes.names and end in wishes.like:
                end = wishes.like[end]
            own = here
            if end != there:
                made = self.made.get(end, -1) - first.start + child.start
                given = self.body.statements[made].target if end not in inputs else inputs[end]
                assert isinstance(given, str)
                own = self.found.like[here] = given
            if end in wishes.names:
                self.found.names[own] = wishes.names[end]

    def _lines(self, region: Region) -> Iterator[tuple[SourceLine | None, list[_Part]]]:
        """The parts of a region that stand in one line of its module."""
        group: list[_Part] = []
        before: SourceLine | None = None
        for part in self._parts(region):
            line = line_at(self.body.statements[part.start].origin, region.depth)
            if group and (line is None or line != before):
                yield before, group
                group = []
            group.append(part)
            before = line
        if group:
            yield before, group

    def _rounds(self, parts: Sequence[_Part]) -> Iterator[Sequence[_Part]]:
        """The parts of a line, those of each round for themselves where the line calls modules in a loop."""
        kinds = [self._kind_of(part) for part in parts]
        length = len(parts)
        if any(part.child is not None for part in parts):
            lengths = (each for each in range(1, length) if length % each == 0)
            length = next((each for each in lengths if kinds[each:] == kinds[:-each]), length)
        return (parts[start : start + length] for start in range(0, len(parts), length))

    def _kind_of(self, part: _Part) -> tuple[str, bool]:
        if part.child is not None:
            return part.child.frame.cls, True
        return _kind(self.body.statements[part.start]), False

    def _parts(self, region: Region) -> Iterator[_Part]:
        index = region.start
        for child in region.children:
            yield from map(self._statement, range(index, child.start))
            yield _Part(child.start, child.end, self.interface(child).outputs, child)
            index = child.end
        yield from map(self._statement, range(index, region.end))

    def _statement(self, index: int) -> _Part:
        target = self.body.statements[index].target
        return _Part(index, index + 1, () if target is None else (target,))

    def _line(self, region: Region, line: SourceLine | None, parts: Sequence[_Part]) -> None:
        end = parts[-1].end
        results = [name for part in parts for name in part.outputs if self.body.last_use.get(name, -1) >= end]
        names = targets_of(line.code) if line is not None else ()
        if any(self._gives_several(part, len(names)) for part in parts):
            names = self._in_order(results, names)
        kept = results[-len(names) :] if names else []
        given = {result: name for result, name in zip(kept, names, strict=False) if name}
        ahead = names[-1] if names else ""
        for part in reversed(parts):
            for name in reversed(part.outputs):
                ahead = given.get(name, ahead)
                if name in given:
                    self.found.names[name] = given[name]
                elif not (part.child is not None and name in results and name in self.found.names):
                    self._on_the_way(region, part, name, ahead)
        for part in reversed(parts):
            self._lead(part, parts[0].start)
        if line is not None and region is self.outer:
            self._operands(parts[-1], line)

    def _lead(self, part: _Part, start: int) -> None:
        """Let what a result is made of alone, in the same line, have its name: it dies there, so that none is freed twice."""
        statement = self.body.statements[part.start]
        name = self.found.names.get(statement.target or "")
        is_item = _kind(statement) == "getitem"
        operands = [] if part.child is not None or is_item else self._tensors(statement)
        made = self.made.get(operands[0], -1) if len(operands) == 1 else -1
        if not name or made < start:
            return
        if self.body.last_use.get(operands[0]) == part.start:
            self.found.names[operands[0]] = _brief(name)

    def _in_order(self, results: Sequence[str], names: Sequence[str]) -> tuple[str, ...]:
        """The names that a line gives to what a module returns, in the order in which the module made it; () if unsure."""
        left = list(names)
        found: list[str] = []
        for result in results:
            own = self.found.of(result)
            found.append(next((name for name in left if name.endswith(own)), ""))
            if found[-1]:
                left.remove(found[-1])
        if found.count("") == 1 == len(left):
            return tuple([name or left[0] for name in found])
        return () if "" in found else tuple(found)

    def _gives_several(self, part: _Part, names: int) -> bool:
        """Whether a module gives several values, which a line of so many names, or the module's own lines, tell apart."""
        if part.child is None or len(part.outputs) < 2:
            return False
        own = {self.found.of(name) for name in part.outputs}
        return names > 1 or len(own) == len(part.outputs)

    def _on_the_way(self, region: Region, part: _Part, name: str, ahead: str) -> None:
        """A value that a line makes and does not assign."""
        statement = self.body.statements[part.end - 1]
        kind = _kind(statement)
        operands = self._tensors(statement)
        if part.child is not None and not (kind == "dropout" and part.end == part.start + 1):
            if name == part.outputs[-1] and not self._gives_several(part, len(part.outputs)):
                self._of_module(region, part.child, name, ahead)
            return
        if key := _key(statement):
            self.found.names[name] = key
        elif kind.endswith("_") and not kind.startswith("_") and operands and operands[0]:
            self.found.like[name] = operands[0]  # an operator that writes to its operand returns it
        elif len(operands) == 1 and operands[0]:
            self.found.like[name] = operands[0]
        elif ahead:
            self.found.names[name] = _brief(ahead)
        elif len(operands) == 1:
            self.found.names[name] = next(each.target for each in self._loads(statement))
        elif first := next(filter(None, operands), ""):
            self.found.like[name] = first

    def _of_module(self, region: Region, child: Region, name: str, ahead: str) -> None:
        """What a module gives on the way: named after it; one of a Sequential keeps the name of what it was given."""
        given = [each for each in self.interface(child).inputs if isinstance(each, str)]
        called = _module_name(child, region) or ahead
        if called:
            self.found.names[name] = called
        elif given:
            self.found.like[name] = given[0]

    def _loads(self, statement: Assign | Bind) -> Iterator[Load]:
        """The weights that a statement reads."""
        for part in walk(*statement.operands):
            load = self.body.loads.get(part.name) if type(part) is Ref else None
            if load is not None and not _is_constant(load):
                yield load

    def _tensors(self, statement: Assign | Bind) -> list[str]:
        """The variables that a statement reads, '' for a weight."""
        names = dict.fromkeys([part.name for part in walk(*statement.operands) if type(part) is Ref])
        loads = {name: self.body.loads[name] for name in names if name in self.body.loads}
        return ["" if name in loads else name for name in names if not _is_constant(loads.get(name))]

    def _operands(self, last: _Part, line: SourceLine) -> None:
        """What a line that ends in an operation calls the two values that it is made of."""
        statement = self.body.statements[last.start]
        if last.child is not None or not isinstance(statement, Assign):
            return
        for value, name in zip(statement.call.args, operands_of(line.code), strict=False):
            if name and type(value) is Ref and len(statement.call.args) == 2:
                self.found.others.setdefault(value.name, []).append(name)


def _is_constant(load: Load | None) -> bool:
    return load is not None and load.slot.table != "weights"


def _kind(statement: Assign | Bind) -> str:
    """The name of the operator that a statement calls, or of another function."""
    op = operator_of(statement)
    if op is not None:
        return op.name
    callee = statement.call.callee if isinstance(statement, Assign) else None
    if isinstance(callee, Name):
        return callee.qualname.rpartition(".")[2]
    return callee.name if isinstance(callee, Method | OpName) else ""


def _brief(name: str) -> str:
    """A name for what is on the way to a result: the result's, of a long one the last word."""
    return name if len(name) <= _LONG else name.rpartition("_")[2]


def _key(statement: Assign | Bind) -> str:
    """The key of the item, or the name of the attribute, that a statement takes; '' for any other."""
    call = statement.call if isinstance(statement, Assign) else None
    key = call.args[1] if call is not None and call.callee in (GETITEM, GETATTR) else None
    return key if isinstance(key, str) and key.isidentifier() else ""


def _module_name(child: Region, region: Region) -> str:
    """What a module is called in the one around it; one of a list as the list, '' for one of a Sequential."""
    parts = child.frame.path.removeprefix(region.prefix).split(".")
    return next((part for part in reversed(parts) if not part.isdigit()), "")
