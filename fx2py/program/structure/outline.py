"""Functions for modules: every region that repeats, or is long, becomes a call; runs of equal calls become loops."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeAlias

import torch

from fx2py.graph.values import GETITEM, List, Ref, map_leaves, walk
from fx2py.program import ir
from fx2py.program.analyses.peak_memory import Lifetimes, lifetimes
from fx2py.program.exact_text import exact_key
from fx2py.program.identifiers import FreshNames
from fx2py.program.structure.differences import differences
from fx2py.program.structure.modules import Ends, module_tree, variable_origins
from fx2py.program.structure.moves import Moves, within_the_peak
from fx2py.program.structure.naming import (
    MOVED,
    Naming,
    unlike_any_node,
    wish_of,
    without_number,
)
from fx2py.program.structure.nesting import Kept
from fx2py.program.structure.regions import (
    Comparison,
    FlatBody,
    Interface,
    Place,
    Region,
    flat_body,
    names_modules,
    regions,
)
from fx2py.program.structure.wishes import Wishes, parameter_wish, wishes_of
from fx2py.runtime.weight_tree import Steps, weight_tree

SHORT = 2
"""A module of so many calls stays inline, however often it is called."""
_FEW = 3
"""So many times as many calls must need all that a function gives as do not."""
SHORT_ONCE = 12
"""A module that is called once and is so many calls long stays inline; the call of a function counts as one."""


@dataclass(frozen=True, slots=True)
class Inline:
    """A statement that stays as it is, and its index in the flat body."""

    index: int
    statement: ir.Assign | ir.Bind


@dataclass(frozen=True, slots=True)
class Instance:
    """One call of a module's function: what goes in, what comes out, where its weights are."""

    function: str
    region: Region
    interface: Interface
    numbers: Mapping[Place, str]


Item: TypeAlias = Inline | Instance


@dataclass(frozen=True, slots=True)
class Group:
    """Regions that one function serves; its text is made of the first."""

    name: str
    instances: tuple[tuple[Region, Interface], ...]
    numbers: Mapping[Place, str]
    """The parameters that stand for the numbers in which the instances differ."""


@dataclass(frozen=True, slots=True)
class _Draft:
    """A function whose variables are those of the first region that it serves, and the names that they should have."""

    function: ir.Function
    region: Region
    wishes: Wishes


class Outline:
    """The functions of one Program's entry.

    ``sharing``: where few calls need less of what a function gives than all others, they are given the rest too.
    """

    def __init__(self, program: ir.Program, sharing: bool) -> None:
        self.program, self.sharing = program, sharing
        self.body = flat_body(program.entry)
        self.tree = weight_tree([weight.path for weight in program.weights])
        self.origins = variable_origins(program, self.body)
        self.devices = _the_device(program, self.body)
        self.root = regions(self.body)
        self.comparison = Comparison(self.body, program)
        self._interfaces = {
            id(each): self.comparison.interface(each) for each in (self.root, *self.root.walk())
        }
        self.groups = self._groups()
        self.module_names = program.module_names | {group.name for group in self.groups}
        """What the file itself defines, which no variable may hide."""
        self._function_of = {
            id(region): (group, interface) for group in self.groups for region, interface in group.instances
        }
        self._wishes: dict[str, Wishes] = {}

    def _groups(self) -> list[Group]:
        found: dict[Hashable, list[tuple[Region, Interface]]] = {}
        if self.sharing:
            self._share()
        for region in self.root.walk():
            interface = self.interface(region)
            found.setdefault((interface.key, interface.results), []).append((region, interface))
        names = FreshNames(self.program.module_names)
        alike = [pair for each in found.values() for pair in _with_few_numbers(each)]
        kept = self._worth_a_function([[region for region, _ in each] for each, _ in alike])
        return [
            Group(names.fresh(_snake(each[0][0].frame.cls)), tuple(each), numbers)
            for place, (each, numbers) in enumerate(alike)
            if place in kept
        ]

    def _share(self) -> None:
        """Give what most calls of a module give to the few that would give less of it."""
        alike: dict[Hashable, dict[tuple[int, ...], list[Region]]] = {}
        for region in self.root.walk():
            interface = self.interface(region)
            alike.setdefault(interface.key, {}).setdefault(interface.results, []).append(region)
        for by_results in alike.values():
            results, most = max(by_results.items(), key=lambda item: len(item[1]))
            for fewer, few in by_results.items():
                if set(fewer) < set(results) and _FEW * len(few) <= len(most):
                    for region in few:
                        self._give(region, results)

    def _give(self, region: Region, results: tuple[int, ...]) -> None:
        targets = [self.body.statements[region.start + offset].target for offset in results]
        outputs = tuple([target for target in targets if target is not None])
        self._interfaces[id(region)] = replace(self.interface(region), outputs=outputs, results=results)

    def _worth_a_function(self, alike: Sequence[Sequence[Region]]) -> set[int]:
        """Which of the regions that are alike become a function, by their places."""
        place_of = {id(region): place for place, each in enumerate(alike) for region in each}
        around = {id(child): place_of[id(region)] for region in self.root.walk() for child in region.children}
        at_one_place = [_is_at_one_place(each, alike, around) for each in alike]
        kept: set[int] = set()
        lengths: dict[int, int] = {}
        calls: dict[int, int] = {}
        for region in reversed(list(self.root.walk())):  # inner ones first
            length, called = region.size, 0
            before = -1
            for child in region.children:
                place = place_of[id(child)]
                length -= child.size
                if place not in kept:
                    length += lengths[id(child)]
                    called += calls[id(child)]
                elif place != before:  # equal ones in a row may be a loop
                    length += 1
                    called += 1
                before = place
            lengths[id(region)], calls[id(region)] = length, called
            place = place_of[id(region)]
            same = alike[place]
            is_short = length <= SHORT_ONCE if len(same) == 1 else length - called <= SHORT
            if region.size > SHORT and not (is_short and at_one_place[place]):
                kept.add(place)
        return kept

    def interface(self, region: Region) -> Interface:
        return self._interfaces[id(region)]

    def modules(self) -> ir.ModuleEntry:
        """The tree of the modules that ran."""

        def serves(region: Region) -> str:
            if region is self.root:
                return self.program.entry.name
            known = self._function_of.get(id(region))
            return known[0].name if known is not None else ""

        def ends(region: Region) -> Ends:
            interface = self.interface(region)
            return [each for each in interface.inputs if isinstance(each, str)], interface.outputs

        return module_tree(self.program, self.body, self.root, serves, ends)

    def functions(self, moves: Moves, kept: Callable[[str], Kept]) -> list[ir.Function]:
        """Callees before callers, the entry last; ``moves`` has the places of arguments to be moved into calls.

        ``kept``: what the expressions of a function may keep to the end of their statement.

        Names are given from the entry inwards, so that arguments name parameters.
        """
        entry, *others = self.drafts
        found = [self._named(entry, {}, moves, kept)]
        arguments: dict[str, tuple[ir.Operand, ...]] = {}
        for draft in others:
            for name, args in _calls(found[-1]):
                arguments.setdefault(name, args)
            wishes = {
                parameter.name: self._parameter_wish(draft.region, parameter.name, argument)
                for parameter, argument in zip(
                    draft.function.parameters, arguments[draft.function.name], strict=True
                )
            }
            found.append(self._named(draft, wishes, moves, kept))
        return found[::-1]

    @cached_property
    def drafts(self) -> tuple[_Draft, ...]:
        """The functions before variables have their names, the entry first and callers before callees."""
        found = [_Draft(_FunctionWriter(self, self.root).entry(), self.root, self._wishes_of(self.root))]
        for group in self._callers_first():
            region, interface = group.instances[0]
            writer = _FunctionWriter(self, region, group.numbers)
            function = writer.function(group.name, interface, len(group.instances), self._differs(group))
            found.append(_Draft(function, region, self._wishes_in(group)))
        return tuple(found)

    def _wishes_of(self, region: Region) -> Wishes:
        return wishes_of(region, self.body, self.interface, self._known_wishes)

    def _known_wishes(self, region: Region) -> tuple[Region, Wishes] | None:
        known = self._function_of.get(id(region))
        return None if known is None else (known[0].instances[0][0], self._wishes_in(known[0]))

    def _wishes_in(self, group: Group) -> Wishes:
        if group.name not in self._wishes:
            self._wishes[group.name] = self._wishes_of(group.instances[0][0])
        return self._wishes[group.name]

    def with_names(self, function: ir.Function) -> ir.Function:
        """A function that stands for no module, such as a branch of ``cond``, with its weights by their names."""
        loads = {each.target: each.slot for each in function.body if isinstance(each, ir.Load)}
        weights = {name: slot for name, slot in loads.items() if slot.table == ir.WEIGHTS}

        def leaf(part: ir.Operand) -> ir.Operand:
            slot = weights.get(part.name) if isinstance(part, Ref) else None
            return part if slot is None else self.weight(slot)

        body = [
            each for each in function.body if not isinstance(each, ir.Load) or each.slot.table != ir.WEIGHTS
        ]
        result = map_leaves(function.result, leaf)
        return replace(function, body=tuple([each.with_leaves(leaf) for each in body]), result=result)

    def weight(self, slot: ir.Slot) -> ir.Field:
        """A weight by its name, seen from the root."""
        return ir.Field(ir.WEIGHTS, self.tree.place(self.program.weights[slot.index].path))

    def _differs(self, group: Group) -> str:
        """In what a function differs from the first one of its class; '' for that one itself."""
        cls = group.instances[0][0].frame.cls
        first = next(each for each in self.groups if each.instances[0][0].frame.cls == cls)
        if first is group:
            return ""
        found = "; ".join(differences(self.body, first.instances[0], group.instances[0]))
        return f"unlike {first.name}, {found or 'it has other numbers'}"

    def _parameter_wish(self, region: Region, variable: str, argument: ir.Operand) -> str:
        name = without_number(_name_of(argument, variable))
        return parameter_wish(region, self.body, variable, name)

    def _callers_first(self) -> list[Group]:
        """Every function's callers before it."""
        order: dict[str, Group] = {}
        known = {group.name: group for group in self.groups}

        def visit(region: Region) -> None:
            for item in self.items(region):
                if isinstance(item, Instance) and item.function not in order:
                    group = known[item.function]
                    visit(group.instances[0][0])
                    order[item.function] = group

        visit(self.root)
        return list(order.values())[::-1]

    def _named(
        self, draft: _Draft, parameters: Mapping[str, str], moves: Moves, kept: Callable[[str], Kept]
    ) -> ir.Function:
        wishes = replace(draft.wishes, names={**draft.wishes.names, **parameters, **self.devices})
        nested = kept(draft.function.name)
        return Naming(draft.function, wishes, self.body.loads, moves, self.module_names, nested).run()

    def items(self, region: Region) -> Iterator[Item]:
        """What stands in a region: its own statements and those of inlined modules, and calls of functions."""
        index = region.start
        for child in region.children:
            yield from map(self._inline, range(index, child.start))
            known = self._function_of.get(id(child))
            if known is None:
                yield from self.items(child)
            else:
                yield Instance(known[0].name, child, known[1], known[0].numbers)
            index = child.end
        yield from map(self._inline, range(index, region.end))

    def _inline(self, index: int) -> Inline:
        return Inline(index, self.body.statements[index])


def _is_at_one_place(
    same: Sequence[Region], alike: Sequence[Sequence[Region]], around: Mapping[int, int]
) -> bool:
    """Whether one line would call a function for these regions: each is in another of the same function."""
    outer = {around.get(id(each)) for each in same}
    place = outer.pop()
    return len(same) == 1 or (not outer and place is not None and len(same) == len(alike[place]))


def _the_device(program: ir.Program, body: FlatBody) -> Mapping[str, str]:
    """The variables of the device, called so where a program names no other."""
    slots = [
        ir.Slot("consts", place)
        for place, each in enumerate(program.consts)
        if isinstance(each.value, torch.device)
    ]
    return {name: "device" for name, load in body.loads.items() if [load.slot] == slots}


class _FunctionWriter:
    """One function, made of the statements of one region."""

    def __init__(self, outline: Outline, region: Region, numbers: Mapping[Place, str] | None = None) -> None:
        self.outline, self.region, self.numbers = outline, region, numbers or {}
        self.given: dict[ir.Slot, str] = {}
        self.loads = outline.body.loads

    def function(self, name: str, interface: Interface, count: int, differs: str = "") -> ir.Function:
        parameters = []
        for each in interface.inputs:
            if isinstance(each, ir.Slot):
                self.given[each] = unlike_any_node(ir.WEIGHTS, each.index)
            variable = self.given[each] if isinstance(each, ir.Slot) else each
            parameters.append(ir.Parameter(variable, variable, origin=self.outline.origins.get(variable)))
        parameters += [ir.Parameter(name, name) for name in dict.fromkeys(self.numbers.values())]
        if interface.uses_weights:
            parameters.append(ir.Parameter(ir.WEIGHTS, ir.WEIGHTS))
        results = tuple([Ref(each) for each in interface.outputs])
        result: ir.Operand = results if len(results) > 1 else results[0] if results else None
        calls = ir.CalledModule(self.region.frame.cls, count, self.region.depth, differs)
        body = tuple(self._statements())
        return ir.Function(name, tuple(parameters), (), body, result, self.region.frame.path, calls)

    def entry(self) -> ir.Function:
        whole = self.outline.program.entry
        return replace(whole, body=tuple(self._statements()), result=self._operand(whole.result))

    def _statements(self) -> Iterator[ir.Statement]:
        items = list(self.outline.items(self.region))
        index = 0
        while index < len(items):
            run = _LayerRun.at(self, items, index)
            parts = self._parts_taken(items, index)
            if run is not None:
                yield from run.statements()
                index += run.length
            elif parts:
                made = self._single(items[index])
                assert isinstance(made, ir.Assign)
                yield ir.Unpack(parts, made.call, origin=made.origin)
                index += 1 + len(parts)
            else:
                yield self._single(items[index])
                index += 1

    def _parts_taken(self, items: Sequence[Item], index: int) -> tuple[str, ...]:
        """The variables of the items of a tuple, where the statements that follow take all of them and nothing else does."""
        first = items[index]
        origin = first.statement.origin if isinstance(first, Inline) else None
        made = origin.meta.value if origin is not None else None
        if not isinstance(first, Inline) or not isinstance(made, tuple) or len(made) < 2:
            return ()
        parts = []
        for place, item in enumerate(items[index + 1 : index + 1 + len(made)]):
            taken = item.statement if isinstance(item, Inline) else None
            whole = Ref(first.statement.target or "")
            if (
                not isinstance(taken, ir.Assign)
                or taken.target is None
                or taken.call != ir.Call(GETITEM, (whole, place))
            ):
                return ()
            parts.append(taken.target)
        done = isinstance(first.statement, ir.Assign) and len(parts) == len(made)
        ends = self.outline.body.last_use.get(first.statement.target or "", -1) == first.index + len(made)
        return tuple(parts) if done and ends else ()

    def _single(self, item: Item) -> ir.Statement:
        if isinstance(item, Instance):
            return self._call(item, self.arguments(item), item.interface.outputs)
        statement, place = item.statement, item.index - self.region.start
        if isinstance(statement, ir.Bind):
            return replace(statement, value=self._numbered(place, (statement.value,))[0])
        call = statement.call
        values = self._numbered(place, (*call.args, *[value for _, value in call.kwargs]))
        count = len(call.args)
        kwargs = tuple(zip([name for name, _ in call.kwargs], values[count:], strict=True))
        return replace(statement, call=ir.Call(call.callee, values[:count], kwargs))

    def _numbered(self, offset: int, values: tuple[ir.Operand, ...]) -> tuple[ir.Operand, ...]:
        """The values of a statement as they stand in this function: weights by name, numbers that differ as parameters."""
        count = iter(range(10**9))

        def leaf(part: ir.Operand) -> ir.Operand:
            if type(part) in (int, float):
                name = self.numbers.get(Place(offset, next(count)))
                return part if name is None else Ref(name)
            return self._operand(part)

        return tuple([map_leaves(value, leaf) for value in values])

    def _call(self, item: Instance, args: tuple[ir.Operand, ...], outputs: tuple[str, ...]) -> ir.Statement:
        call = ir.Call(ir.Local(item.function), args)
        if len(outputs) > 1:
            return ir.Unpack(outputs, call)
        return ir.Assign(outputs[0] if outputs else None, call)

    def arguments(self, item: Instance) -> tuple[ir.Operand, ...]:
        inputs = [
            self._weight(each) if isinstance(each, ir.Slot) else Ref(each) for each in item.interface.inputs
        ]
        places = {name: place for place, name in reversed(list(item.numbers.items()))}
        numbers = [self.number(item, places[name]) for name in dict.fromkeys(item.numbers.values())]
        weights = [self.record(item.region)] if item.interface.uses_weights else []
        return (*inputs, *numbers, *weights)

    def number(self, item: Instance, place: Place) -> ir.Operand:
        """A number that a call is given, as it stands in this function: one of its own parameters where its calls differ."""
        offset = item.region.start + place.offset - self.region.start
        name = self.numbers.get(Place(offset, place.number))
        return item.interface.numbers[place] if name is None else Ref(name)

    def record(self, region: Region) -> ir.Field:
        """Where the weights of a module are, seen from here."""
        return ir.Field(ir.WEIGHTS, self._below(region.frame.path))

    def absolute(self, record: ir.Field) -> Steps:
        """Where a record that is seen from here is in the whole tree."""
        return (*self.outline.tree.place(self.region.frame.path), *record.path)

    def _below(self, path: str) -> Steps:
        return self.outline.tree.place(path)[len(self.outline.tree.place(self.region.frame.path)) :]

    def _operand(self, value: ir.Operand) -> ir.Operand:
        def leaf(part: ir.Operand) -> ir.Operand:
            load = self.loads.get(part.name) if type(part) is Ref else None
            return self._weight(load.slot) if load is not None and load.slot.table == ir.WEIGHTS else part

        return map_leaves(value, leaf)

    def _weight(self, slot: ir.Slot) -> ir.Operand:
        if slot in self.given:
            return Ref(self.given[slot])
        return ir.Field(ir.WEIGHTS, self._below(self.outline.program.weights[slot.index].path))


@dataclass(frozen=True, slots=True)
class _LayerRun:
    """Consecutive calls of one function that differ in nothing but what the one before gives, and in their weights."""

    writer: _FunctionWriter
    instances: Sequence[Instance]
    carried: Mapping[int, int]
    """The place of the result that each carried argument is, by the argument's place."""
    over: ir.Field | int
    start: int

    @property
    def length(self) -> int:
        return len(self.instances)

    @classmethod
    def at(cls, writer: _FunctionWriter, items: Sequence[Item], index: int) -> _LayerRun | None:
        """The longest run that begins at ``items[index]``; None where there is none.

        Whatever a run begins with, two calls or more, is one too: its length is found by doubling, then by halving.
        """
        found, length, too_long = None, 1, 2
        while (longer := cls._among(writer, items[index : index + too_long], too_long)) is not None:
            found, length, too_long = longer, too_long, 2 * too_long
        while too_long - length > 1:
            middle = (length + too_long) // 2
            longer = cls._among(writer, items[index : index + middle], middle)
            found, length, too_long = (
                (found, length, middle) if longer is None else (longer, middle, too_long)
            )
        return found

    @classmethod
    def _among(cls, writer: _FunctionWriter, items: Sequence[Item], count: int) -> _LayerRun | None:
        calls = [each for each in items if isinstance(each, Instance) and each.function == _called(items[0])]
        return cls._of(writer, calls) if len(calls) == count else None

    @classmethod
    def _of(cls, writer: _FunctionWriter, instances: Sequence[Instance]) -> _LayerRun | None:
        carried: dict[int, int] = {}
        inputs = [each.interface.inputs for each in instances]
        for place, argument in enumerate(inputs[0]):
            if all(each[place] == argument for each in inputs):
                continue
            results = [each.interface.outputs for each in instances[:-1]]
            sources = {
                outputs.index(each[place]) if each[place] in outputs else -1
                for outputs, each in zip(results, inputs[1:], strict=True)
            }
            if len(sources) != 1 or -1 in sources:
                return None
            carried[place] = sources.pop()
        if not _feeds_only_the_next(writer.outline.body, instances, carried):
            return None
        numbers = [[exact_key(writer.number(each, place)) for place in each.numbers] for each in instances]
        if any(each != numbers[0] for each in numbers):
            return None
        over = _records(writer, instances)
        return None if over is None else cls(writer, instances, carried, over[0], over[1])

    def statements(self) -> Iterator[ir.Statement]:
        first, last = self.instances[0], self.instances[-1]
        outputs = last.interface.outputs
        for place, result in self.carried.items():
            argument = first.interface.inputs[place]
            yield ir.Bind(
                outputs[result],
                self.writer._weight(argument) if isinstance(argument, ir.Slot) else Ref(argument),
            )
        args = list(self.writer.arguments(first))
        for place, result in self.carried.items():
            args[place] = Ref(outputs[result])
        item = unlike_any_node(
            _item_name(self.over, first.region.frame.cls) if isinstance(self.over, ir.Field) else "_", 0
        )
        if first.interface.uses_weights:
            args[-1] = ir.Field(item) if isinstance(self.over, ir.Field) else args[-1]
        call = self.writer._call(first, tuple(args), outputs)
        length = (
            self.writer.outline.tree.at(self.writer.absolute(self.over)).length
            if isinstance(self.over, ir.Field)
            else self.length
        )
        yield ir.Loop(item, self.over, self.start, self.start + self.length, length, (call,))


def _called(item: Item) -> str:
    return item.function if isinstance(item, Instance) else ""


def _feeds_only_the_next(body: FlatBody, instances: Sequence[Instance], carried: Mapping[int, int]) -> bool:
    """Whether every result but the last ones is read by the next call alone, as the argument that takes it."""
    for one, other in itertools.pairwise(instances):
        if set(carried.values()) != set(range(len(one.interface.outputs))):
            return False
        if any(body.last_use.get(name, -1) >= other.region.end for name in one.interface.outputs):
            return False
    return len(set(carried.values())) == len(carried)


def _records(writer: _FunctionWriter, instances: Sequence[Instance]) -> tuple[ir.Field | int, int] | None:
    """The list whose records the calls take in its order, and the first place; else how often to call."""
    if not instances[0].interface.uses_weights:
        return len(instances), 0
    places = [writer.record(each.region).path for each in instances]
    if len(set(places)) == 1:
        return len(instances), 0
    *outer, start = places[0]
    if type(start) is not int or places != [(*outer, start + step) for step in range(len(places))]:
        return None
    return ir.Field(ir.WEIGHTS, tuple(outer)), start


def _calls(function: ir.Function) -> Iterator[tuple[str, tuple[ir.Operand, ...]]]:
    """Every call of a module's function in a function: its name, and the arguments before they were moved."""
    box: list[ir.Operand] = []
    for statement in ir.straight(function.body):
        if isinstance(statement, ir.Bind) and statement.target == MOVED and isinstance(statement.value, List):
            box = list(statement.value.items)
        elif isinstance(statement, ir.Assign | ir.Unpack) and isinstance(statement.call.callee, ir.Local):
            args = [box.pop(0) if isinstance(each, ir.Take) else each for each in statement.call.args]
            yield statement.call.callee.name, tuple(args)


def _name_of(argument: ir.Operand, own: str) -> str:
    """The name of a parameter after the first argument that it is given."""
    if isinstance(argument, ir.Field):
        return "_".join([str(step) for step in argument.path[-2:]]) or wish_of(own)
    return argument.name if isinstance(argument, Ref) else wish_of(own)


def _item_name(over: ir.Field, cls: str) -> str:
    """A name for one of a list of records: ``layer`` for ``layers`` and ``layer1``, else after the class of their modules."""
    name = str(over.path[-1]) if over.path else ""
    one = name.rstrip("0123456789").rstrip("_").removesuffix("s")
    return one if len(one) > 1 and one != name else _snake(cls).rpartition("_")[2]


_MOST_NUMBERS = 3
_WORDS = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z0-9])(?=[A-Z][a-z])|(?<=[0-9])(?=[A-Z]{2})")


def _with_few_numbers(
    alike: list[tuple[Region, Interface]],
) -> Iterator[tuple[list[tuple[Region, Interface]], Mapping[Place, str]]]:
    """The regions that one function serves, and the names of the numbers that it is given; too many: several functions."""
    columns: dict[tuple[Hashable, ...], list[Place]] = {}
    for place in alike[0][1].numbers:
        column = tuple([exact_key(interface.numbers[place]) for _, interface in alike])
        if any(number != column[0] for number in column):
            columns.setdefault(column, []).append(place)
    if len(columns) <= _MOST_NUMBERS:
        found: dict[Place, str] = {}
        for places in columns.values():
            wish = "size" if type(alike[0][1].numbers[places[0]]) is int else "factor"
            found |= dict.fromkeys(places, unlike_any_node(wish, len(found)))
        yield alike, dict(sorted(found.items(), key=lambda item: (item[0].offset, item[0].number)))
        return
    exact: dict[Hashable, list[tuple[Region, Interface]]] = {}
    for region, interface in alike:
        numbers = tuple([exact_key(number) for number in interface.numbers.values()])
        exact.setdefault(numbers, []).append((region, interface))
    for each in exact.values():
        yield each, {}


def _snake(cls: str) -> str:
    """A class path as the name of a function: ``transformers...LlamaRMSNorm`` is ``llama_rms_norm``."""
    return _WORDS.sub("_", cls.rpartition(".")[2] or "module").lower()


def structured(program: ir.Program) -> ir.Program:
    """The Program with functions for its modules, in its own right: ``inlined`` gives the flat one back."""
    if not names_modules(program.entry):
        return program
    try:
        found = lifetimes(program)
        shared, keeps = _with_outline(program, Outline(program, sharing=not found.unknown), found)
        return shared if keeps else _with_outline(program, Outline(program, sharing=False), found)[0]
    except ValueError:  # two weights whose paths are no places in one tree
        return program


def _with_outline(program: ir.Program, outline: Outline, found: Lifetimes) -> tuple[ir.Program, bool]:
    """The Program with an outline's functions, and whether it keeps to the planned peak."""
    others = tuple(map(outline.with_names, program.functions[:-1]))

    def form(moves: Moves, kept: Callable[[str], Kept]) -> ir.Program:
        functions = (*others, *outline.functions(moves, kept))
        return replace(program, functions=tuple(_with_tables(functions)), is_structured=True)

    made, keeps = within_the_peak(found, form)
    return replace(made, modules=outline.modules()), keeps


def _with_tables(functions: Sequence[ir.Function]) -> Iterator[ir.Function]:
    """The functions with the tables that they read, or hand on to a function that does."""
    known: dict[str, ir.Function] = {}
    for function in functions:
        if function.is_module or function is functions[-1]:
            needed = set(_tables_read(function, known))
            function = replace(function, tables=tuple([each for each in ir.TABLE_NAMES if each in needed]))
        known[function.name] = function
        yield function


def _tables_read(function: ir.Function, known: Mapping[str, ir.Function]) -> Iterator[ir.TableName]:
    for part in walk(*function.operands):
        if isinstance(part, ir.Slot):
            yield part.table
        elif part == ir.Local(ir.COMPUTE_ONCE):
            yield ir.COMPUTE_ONCE
        elif isinstance(part, ir.Local) and part.name in known:
            yield from known[part.name].tables
        elif isinstance(part, ir.Field) and part.base == ir.WEIGHTS and not function.is_module:
            yield ir.WEIGHTS
