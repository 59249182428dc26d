"""The structured form undone: functions and loops run on names in place of tensors, which gives the flat body back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fx2py.errors import InternalError
from fx2py.graph.values import CONTAINERS, GETATTR, GETITEM, List, Ref, map_leaves, references, walk
from fx2py.program import ir
from fx2py.program.exact_text import exact_key, key_of
from fx2py.program.structure.naming import MOVED, targets
from fx2py.program.structure.regions import FlatBody, flat_body
from fx2py.runtime.weight_tree import WeightTree, weight_tree


class Unsound(ValueError):
    """What structured code does that cannot be said in a flat body: it comes from an edited text."""


@dataclass(frozen=True, slots=True)
class CallSpan:
    """One call of a module's function: its part of the flat body, and the variables that each argument holds.

    ``shared``: the places of the arguments that a loop gives to each of its rounds.
    """

    function: str
    start: int
    end: int
    arguments: tuple[tuple[str, ...], ...]
    shared: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Inlined:
    """The straight-line body that structured code amounts to, with the deletions where values die, and its result.

    ``sources`` has, for each statement but the deletions, the one of the structured code that it comes from; ``calls``
    has every call of a module's function, inner ones first.
    """

    statements: tuple[ir.Assign | ir.Bind | ir.Delete, ...]
    result: ir.Operand
    sources: tuple[ir.Assign | ir.Bind | ir.Unpack, ...] = ()
    calls: tuple[CallSpan, ...] = ()

    @property
    def body(self) -> FlatBody:
        return FlatBody(
            tuple([each for each in self.statements if not isinstance(each, ir.Delete)]), {}, self.result
        )


def inlined(functions: Sequence[ir.Function], paths: Sequence[str], most: int | None = None) -> Inlined:
    """The body of the entry with every call of a module's function replaced by what it does, and loops unrolled.

    ``paths`` are those of the weights; ``most`` limits the statements and calls that are run, for a text that may have been
    written to have no end. Raises Unsound where a call, a name or a weight does not fit, and beyond the limit.
    """
    entry = functions[-1]
    called = {each.name: each for each in functions if each.is_module}
    run = _Inlining(called, weight_tree(paths), most)
    result = run.function(entry, {each.name: Ref(each.name) for each in entry.parameters})
    if _has_records(result):
        raise Unsound("a record of weights is returned")
    return Inlined(tuple(run.statements), result, tuple(run.sources), tuple(run.calls))


def require_same(flat: ir.Program, structured: ir.Program) -> None:
    """Raise InternalError unless the structured Program does what the flat one does, call by call, in its order."""
    paths = [weight.path for weight in flat.weights]
    by_name = {function.name: function for function in structured.functions}
    for function in flat.functions[:-1]:
        _require_same(function, inlined([by_name[function.name]], paths).body)
    _require_same(flat.entry, inlined(structured.functions, paths).body)


def _require_same(flat: ir.Function, body: FlatBody) -> None:
    one, other = _numbered(flat_body(flat)), _numbered(body)
    for index, (meant, found) in enumerate(zip(one, other, strict=False)):
        if meant != found:
            raise InternalError(f"call {index} of the structured form is another: {found} for {meant}")
    if len(one) != len(other):
        raise InternalError(f"the structured form has {len(other)} calls for {len(one)}")


class _Variables:
    """The variables of one call of a function, each holding the values that it stands for."""

    def __init__(self, run: _Inlining) -> None:
        self.run = run
        self.variables: dict[str, Any] = {}
        self.changing: frozenset[str] | None = None
        """In a loop, the variables that a round gives to the next."""

    def bind(self, name: str, value: Any) -> None:
        """Give a variable a value; the one before is let go only then, as Python does."""
        self.run.hold(value)
        self.drop(name)
        self.variables[name] = value

    def drop(self, name: str) -> None:
        if name in self.variables:
            self.run.release(self.variables.pop(name))

    def close(self) -> None:
        for name in list(self.variables):
            self.drop(name)


class _Inlining:
    """The functions run on names: ``statements`` has what they did, and where each value died."""

    def __init__(self, functions: Mapping[str, ir.Function], tree: WeightTree, most: int | None) -> None:
        self.functions = functions
        self.most = most
        self.tree = tree
        self.statements: list[ir.Assign | ir.Bind | ir.Delete] = []
        self.sources: list[ir.Assign | ir.Bind | ir.Unpack] = []
        self.holders: Counter[str] = Counter()
        self.count = self.steps = 0
        self.calls: list[CallSpan] = []

    def step(self) -> None:
        """Count a statement or a call that is run."""
        self.steps += 1
        if self.most is not None and self.steps > self.most:
            raise Unsound(f"it takes more than {self.most:,} steps")

    def hold(self, value: Any) -> None:
        self.holders.update(_held(value))

    def release(self, value: Any) -> None:
        """Let go of a value; the variables of the flat body that nothing holds any more end here."""
        gone = []
        for name in _held(value):
            self.holders[name] -= 1
            if not self.holders[name]:
                gone.append(name)
        if gone:
            self.statements.append(ir.Delete(tuple(gone)))

    def function(self, function: ir.Function, arguments: Mapping[str, Any], moved: Sequence[str] = ()) -> Any:
        """Run a body. The value of its result, which is held once more than it was; ``moved`` arguments were held before."""
        self.step()
        frame = _Variables(self)
        frame.bind(ir.WEIGHTS, self.tree)
        for name, value in arguments.items():
            frame.bind(name, value)
        for name in moved:
            self.release(arguments[name])
        self._body(function.body, frame)
        result = self._value(function.result, frame)
        self.hold(result)
        frame.close()
        return result

    def _body(self, body: Sequence[ir.Statement], frame: _Variables) -> None:
        for statement in body:
            self.step()
            if isinstance(statement, ir.Loop):
                self._loop(statement, frame)
            elif isinstance(statement, ir.Unpack):
                self._unpack(statement, frame)
            elif isinstance(statement, ir.Assign):
                self._assign(statement, frame)
            elif isinstance(statement, ir.Load):
                frame.bind(statement.target, statement.slot)
            elif isinstance(statement, ir.Bind):
                self._bind(statement, frame)
            else:
                for name in statement.names:
                    frame.drop(name)

    def _loop(self, loop: ir.Loop, frame: _Variables) -> None:
        records = self._field(loop.over, frame) if isinstance(loop.over, ir.Field) else None
        if records is not None and not (isinstance(records, WeightTree) and records.is_list):
            raise Unsound(f"{loop.over} is no list of records")
        stop = records.length if records is not None and loop.stop == ir.WHOLE else loop.stop
        frame.changing = frozenset(targets(loop))
        for place in range(loop.start, stop):
            if records is not None:
                frame.bind(loop.item, self._item(records, place))
            self._body(loop.body, frame)
        frame.changing = None

    def _item(self, records: WeightTree, place: int) -> WeightTree:
        below = records.below(place)
        if below is None:
            raise Unsound(f"there is no record {place} in a list of them")
        return below

    def _assign(self, statement: ir.Assign, frame: _Variables) -> None:
        result = self._call(statement, frame, statement.target is not None)
        if statement.target is not None:
            frame.bind(statement.target, result)
        self.release(result)

    def _unpack(self, statement: ir.Unpack, frame: _Variables) -> None:
        whole = self._call(statement, frame, True)
        results = whole
        if type(whole) is Ref:
            gets = [ir.Call(GETITEM, (whole, index)) for index in range(len(statement.targets))]
            results = tuple([self._flat(get, statement, True) for get in gets])
        if type(results) is not tuple or len(results) != len(statement.targets):
            raise Unsound(f"{', '.join(statement.targets)} are given other than one value each")
        for target, result in zip(statement.targets, results, strict=True):
            frame.bind(target, result)
        if results is not whole:
            self.release(results)
        self.release(whole)

    def _bind(self, statement: ir.Bind, frame: _Variables) -> None:
        value = self._value(statement.value, frame)
        if _has_records(value):
            raise Unsound("a record of weights is given another name")
        if type(value) in CONTAINERS and not (
            isinstance(value, List) and statement.target == MOVED and self.functions
        ):
            self.count += 1
            self.statements.append(ir.Bind(f"{self.count}", value, origin=statement.origin))
            self.sources.append(statement)
            value = Ref(f"{self.count}")
            self.holders[value.name] = 0
        frame.bind(statement.target, value)

    def _call(self, statement: ir.Assign | ir.Unpack, frame: _Variables, is_used: bool) -> Any:
        """What the call of a statement gives, held once."""
        call = statement.call
        function = self.functions.get(call.callee.name) if isinstance(call.callee, ir.Local) else None
        if function is None:
            args = tuple([self._value(value, frame) for value in call.args])
            kwargs = tuple([(name, self._value(value, frame)) for name, value in call.kwargs])
            return self._flat(ir.Call(self._value(call.callee, frame), args, kwargs), statement, is_used)
        names = [parameter.name for parameter in function.parameters]
        if len(names) != len(call.args):
            raise Unsound(f"{function.name} is given {len(call.args)} arguments")
        given: dict[str, Any] = {}
        moved: list[str] = []
        for name, value in zip(names, call.args, strict=True):
            if isinstance(value, ir.Take):
                given[name] = self._take(value, frame)
                moved.append(name)
            else:
                given[name] = self._value(value, frame)
        start = len(self.sources)
        result = self.function(function, given, moved)
        held = tuple([tuple(_held(value)) for value in given.values()])
        shared = _shared(call.args, frame.changing) if frame.changing is not None else frozenset()
        self.calls.append(CallSpan(function.name, start, len(self.sources), held, shared))
        return result

    def _take(self, value: ir.Take, frame: _Variables) -> Any:
        """The first item of a list, which the list no longer holds but the argument does."""
        held = frame.variables.get(value.name)
        if not isinstance(held, List) or not held.items:
            raise Unsound(f"{value.name} holds nothing to be taken")
        frame.variables[value.name] = List(held.items[1:])
        return held.items[0]

    def _flat(self, call: ir.Call, source: ir.Assign | ir.Unpack, is_used: bool) -> Any:
        if _has_records((call.callee, *call.args, *[value for _, value in call.kwargs])):
            if call.callee == GETATTR:
                raise Unsound(f"{call.args[1]} names no weight")
            raise Unsound("a record of weights is given to a call as a value")
        self.count += 1
        target = f"{self.count}" if is_used else None
        self.statements.append(ir.Assign(target, call, origin=source.origin))
        self.sources.append(source)
        if target is None:
            return None
        self.holders[target] = 1
        return Ref(target)

    def _value(self, value: Any, frame: _Variables) -> Any:
        def leaf(part: Any) -> Any:
            if type(part) is Ref:
                if part.name not in frame.variables:
                    raise Unsound(f"{part.name} is used before it is bound")
                return frame.variables[part.name]
            if isinstance(part, ir.Take):
                held = frame.variables.get(part.name)
                if not isinstance(held, Ref):
                    raise Unsound(f"{part.name} holds nothing to be taken")
                return ir.Take(held.name)
            return self._field(part, frame) if isinstance(part, ir.Field) else part

        return map_leaves(value, leaf)

    def _field(self, part: ir.Field, frame: _Variables) -> Any:
        found = frame.variables.get(part.base)
        for step in part.path:
            below = found.below(step) if isinstance(found, WeightTree) else None
            if below is None:
                raise Unsound(f"{part} names no weight")
            found = below
        if not isinstance(found, WeightTree):
            raise Unsound(f"{part.base} is no record of weights")
        return found if found.index is None else ir.Slot(ir.WEIGHTS, found.index)


def _shared(args: ir.Arguments, changing: frozenset[str]) -> frozenset[int]:
    """The places of the arguments that a call in a loop is given in each round."""
    return frozenset(
        place for place, each in enumerate(args) if isinstance(each, Ref) and each.name not in changing
    )


def _has_records(value: Any) -> bool:
    return any(isinstance(part, WeightTree) for part in walk(value))


def _held(value: Any) -> list[str]:
    """The variables of the flat body in a value, as often as it holds them."""
    return [] if isinstance(value, WeightTree) else list(references(value))


def is_other_name(statement: ir.Assign | ir.Bind) -> bool:
    """Whether a statement only gives a variable another name, which inlined code leaves out."""
    return isinstance(statement, ir.Bind) and isinstance(statement.value, Ref)


def _numbered(body: FlatBody) -> list[Hashable]:
    """The statements with variables numbered in the order of their definition, results that nobody reads left out."""
    numbers: dict[str, Hashable] = {}
    lines: list[Hashable] = []

    def leaf(part: ir.Operand) -> Hashable:
        if isinstance(part, Ref):
            load = body.loads.get(part.name)
            return exact_key(load.slot) if load is not None else numbers.get(part.name, part)
        return (ir.Take, numbers.get(part.name, part)) if isinstance(part, ir.Take) else exact_key(part)

    for statement in body.statements:
        if isinstance(statement, ir.Bind) and is_other_name(statement):
            numbers[statement.target] = leaf(statement.value)
            continue
        values = tuple([key_of(value, leaf) for value in statement.operands])
        names = tuple([name for name, _ in statement.call.kwargs]) if isinstance(statement, ir.Assign) else ()
        lines.append((type(statement).__name__, values, names))
        if statement.target is not None and statement.target in body.last_use:
            numbers[statement.target] = len(lines)
    return [*lines, key_of(body.result, leaf)]
