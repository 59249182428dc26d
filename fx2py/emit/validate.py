"""Translation validation: the emitted text, read back, must be the Program that it was emitted from.

So a mistake in the printer is an InternalError when the text is generated, never a file that computes something else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

import torch

from fx2py.emit.module import Texts, import_order, imported_for
from fx2py.emit.parse import (
    Absent,
    Bits,
    BoundModule,
    BoundTables,
    BuiltModule,
    GrammarError,
    LiveConstant,
    Parsed,
    StoredTensor,
    parse,
)
from fx2py.emit.tables import NOT_IN_FILE, why_unwritable
from fx2py.emit.text import comment
from fx2py.errors import InternalError
from fx2py.graph import values as language
from fx2py.graph.data import ModuleRecord
from fx2py.program import ir
from fx2py.program.exact_text import bits_of, needs_slot, path_name, text_key


def validate(program: ir.Program, texts: Texts) -> None:
    """Raise InternalError unless ``texts`` read back as ``program``, statement by statement."""
    try:
        parsed = parse(texts)
    except GrammarError as error:
        place = f"{error.file}, line {error.line}"
        raise InternalError(f"the generated text leaves its grammar at {place}: {error}") from None
    for difference in differences(program, parsed):
        raise InternalError(f"the generated text differs from the program: {difference}")


def differences(program: ir.Program, parsed: Parsed) -> Iterator[str]:
    """What differs between a Program and the text that was read back, in the order of the file; empty when nothing does."""
    if len(program.functions) != len(parsed.functions):
        yield f"{len(program.functions)} functions became {len(parsed.functions)}"
        return
    for meant, read in zip(program.functions, parsed.functions, strict=True):
        yield from (f"{meant.name}: {difference}" for difference in _function_differences(meant, read))
    if program.op_aliases != parsed.op_aliases:
        yield "the operator aliases"
    containers = [(alias, replace(made, cls=path_name(made.cls.path))) for alias, made in program.containers]
    if containers != list(parsed.tables.containers):
        yield "the container classes"
    yield from import_differences(program, parsed.imports)
    yield from table_import_differences(program, parsed.table_imports)
    if not same_input_table(program.input_table, parsed.input_table):
        yield f"the inputs are checked against {parsed.input_table} for {program.input_table}"
    yield from table_differences(program, parsed.tables)


def same_input_table(one: ir.InputTable | None, other: ir.InputTable | None) -> bool:
    """Whether two tables demand the same of the inputs."""
    if one is None or other is None:
        return one is other
    rest, other_rest = ((table.ranges, table.guards, table.autocast) for table in (one, other))
    return rest == other_rest and same(language.Dict(one.demands), language.Dict(other.demands))


def _function_differences(meant: ir.Function, read: ir.Function) -> Iterator[str]:
    if meant.name != read.name or meant.tables != read.tables:
        yield f"its name or tables are {read.name}, {read.tables}"
    if len(meant.parameters) != len(read.parameters):
        yield f"{len(meant.parameters)} parameters became {len(read.parameters)}"
        return
    for ours, theirs in zip(meant.parameters, read.parameters, strict=True):
        if (ours.name, ours.kind) != (theirs.name, theirs.kind) or not same(ours.default, theirs.default):
            yield f"the parameter {ours.name}"
    if len(meant.body) != len(read.body):
        yield f"{len(meant.body)} statements became {len(read.body)}"
    for number, (one, other) in enumerate(zip(meant.body, read.body, strict=False)):
        if not same_statement(one, other):
            yield f"statement {number} is {other} for {one}"
    if not same(meant.result, read.result):
        yield f"the result is {read.result} for {meant.result}"


def same_statement(one: ir.Statement, other: ir.Statement) -> bool:
    """Whether two statements are the same, to the last bit of each literal."""
    if type(one) is not type(other):
        return False
    if type(one) is ir.Assign and type(other) is ir.Assign:
        return one.target == other.target and _same_call(one.call, other.call)
    if type(one) is ir.Unpack and type(other) is ir.Unpack:
        return one.targets == other.targets and _same_call(one.call, other.call)
    if type(one) is ir.Loop and type(other) is ir.Loop:
        return _same_loop(one, other)
    if type(one) is ir.Bind and type(other) is ir.Bind:
        return one.target == other.target and same(one.value, other.value)
    return one == other


def _same_loop(one: ir.Loop, other: ir.Loop) -> bool:
    is_whole = (one.start, one.stop) == (0, one.length) and other.stop in (ir.WHOLE, one.length)
    part = is_whole or (one.start, one.stop) == (other.start, other.stop)
    head = one.item == other.item and one.over == other.over and part
    return head and len(one.body) == len(other.body) and all(map(same_statement, one.body, other.body))


def _same_call(one: ir.Call, other: ir.Call) -> bool:
    if one.kwargs or other.kwargs:
        if [name for name, _ in one.kwargs] != [name for name, _ in other.kwargs]:
            return False
        if not same(*[tuple([value for _, value in call.kwargs]) for call in (one, other)]):
            return False
    return same(one.callee, other.callee) and same(one.args, other.args)


# -- imports --------------------------------------------------------------------------------------------------------

_WITH_THE_TEXT = frozenset({"torch", "math", "functools"})
"""What the text of a value may need though the value does not name it (``math.inf``); without it, parsing fails."""
_NEED_NO_IMPORT = frozenset({"builtins", "operator"})
"""Builtins have no module in the text, and most functions of ``operator`` are written as their sign."""


def import_differences(program: ir.Program, imports: tuple[str, ...]) -> Iterator[str]:
    """What ``execution_fn.py`` imports without need, needs without importing, or imports out of order."""
    parts = (part for function in program.functions for part in _named_in(function))
    yield from _differences(_homes(parts) | {"torch"}, imports)


def table_import_differences(program: ir.Program, imports: tuple[str, ...]) -> Iterator[str]:
    """The same of ``_tables.py``, which need not import torch."""
    yield from _differences(_homes(language.walk(*_values_in_tables(program))), imports)


def _differences(homes: set[str], imports: tuple[str, ...]) -> Iterator[str]:
    needed = {imported_for(home) for home in homes - _NEED_NO_IMPORT}
    surplus = set(imports) - needed - homes - (_WITH_THE_TEXT - {"torch"})
    if surplus or needed - set(imports):
        yield f"the imports {sorted(surplus)} are not needed, {sorted(needed - set(imports))} are missing"
    if list(imports) != [module for group in import_order(set(imports)) for module in group]:
        yield "the imports are doubled or out of order"


def _homes(parts: Iterable[ir.Operand]) -> set[str]:
    """The modules in which the names of parts are."""
    found: set[str] = set()
    for part in parts:
        if isinstance(part, language.Name):
            found.add(part.module)
        elif isinstance(part, language.EnumMember):
            found.add(part.cls.module)
        elif isinstance(part, language.Dict):
            found.update(name.module for name in (part.cls, part.factory) if name is not None)
        elif isinstance(part, (*language.TORCH_NAMED, language.Size)):
            found.add("torch")
    return found


def _values_in_tables(program: ir.Program) -> Iterator[ir.Operand]:
    for _, record in ir.modules_to_rebuild(program):
        if not why_unwritable(record):
            yield from record.attributes.values()
    yield from (constant.value for constant in program.consts)
    if program.input_table is not None:
        yield language.Dict(program.input_table.demands)


def _named_in(function: ir.Function) -> Iterator[ir.Operand]:
    yield from function.named
    yield from language.walk(*[parameter.default for parameter in function.parameters])


# -- tables ---------------------------------------------------------------------------------------------------------


def table_differences(program: ir.Program, tables: BoundTables) -> Iterator[str]:
    """What differs between a Program's tables and those that were read back; empty when nothing does."""
    stored = ir.bound_tensors(program)
    expected = ReadBack(program, {id(tensor): name for name, tensor in stored.items()})
    first = list(stored.values())[: tables.weight_count]
    if tables.weight_count != len(program.weights) or any(
        w.tensor is not t for w, t in zip(program.weights, first, strict=True)
    ):
        yield "the weights"
    constants = tuple(expected.constant(constant) for constant in program.consts)
    if not same(constants, tables.consts):
        yield f"the constants are {tables.consts} for {constants}"
    renamed = tuple((p.public_name, p.name) for p in program.entry.parameters if p.public_name != p.name)
    paths = tuple([weight.path for weight in program.weights]) if program.is_structured else None
    if tables.weight_paths != paths:
        yield "the paths of the weights"
    if tables.renamed != renamed:
        yield f"the renamed parameters are {tables.renamed}"
    if tables.whole != tuple(entry.path for entry in program.submods if entry.whole):
        yield f"the modules that are used as objects are {tables.whole}"
    if tables.below_autograd != program.below_autograd:
        yield f"whether it may run below ADInplaceOrView is {tables.below_autograd}"
    if [module.path for module in tables.built] != [path for path, _ in ir.modules_to_rebuild(program)]:
        yield "the order of the modules"
    if [entry.path for entry in program.submods] != [path for path, _ in tables.modules]:
        yield "the paths of the submodules"
        return
    for entry, (_, read) in zip(program.submods, tables.modules, strict=True):
        if not same_module(expected.submodule(entry), read):
            yield f"the submodule {entry.path!r}"


class ReadBack:
    """What must be read back for a Program: its modules, constants and values in the classes of ``parse``."""

    def __init__(self, program: ir.Program, names: Mapping[int, str]) -> None:
        self.names = names
        self.modules: dict[int, BuiltModule | Absent] = {}
        for path, record in ir.modules_to_rebuild(program):
            self.modules[id(record)] = self._module(path, record)

    def submodule(self, entry: ir.Submodule) -> BoundModule:
        if entry.function is not None:
            return ir.Local(entry.function)
        return self.modules.get(id(entry.record)) or Absent(entry.path, NOT_IN_FILE)

    def constant(self, constant: ir.Constant) -> ir.Operand:
        if isinstance(constant.value, language.Live):
            return LiveConstant(constant.name, comment(constant.value.description))
        return self._value(constant.value)

    def _module(self, path: str, record: ModuleRecord) -> BuiltModule | Absent:
        reason = why_unwritable(record)
        if reason:
            return Absent(path, comment(reason))
        return BuiltModule(
            path,
            record.cls.path,
            record.training,
            tuple((name, self._value(value)) for name, value in record.attributes.items()),
            self._stored(record.parameters),
            self._stored(record.buffers),
            record.non_persistent,
            tuple(
                (name, None if child is None else self.modules[id(child)])
                for name, child in record.children.items()
            ),
        )

    def _stored(
        self, tensors: Mapping[str, torch.Tensor | None]
    ) -> tuple[tuple[str, StoredTensor | None], ...]:
        return tuple(
            (name, None if t is None else StoredTensor(self.names[id(t)])) for name, t in tensors.items()
        )

    def _value(self, value: ir.Operand) -> ir.Operand:
        """A bound value as it is read back: tensors by name, numbers without exact text by their bits."""
        return language.map_leaves(value, self._leaf)

    def _leaf(self, value: ir.Operand) -> ir.Operand:
        if isinstance(value, language.TensorValue):
            return StoredTensor(self.names[id(value.tensor)])
        if isinstance(value, float | complex) and needs_slot(value):
            return Bits(*bits_of(value))
        return value


def same_module(meant: BoundModule, read: BoundModule) -> bool:
    """Whether a module was read back as it was meant, attributes to the last bit, its children likewise."""
    if not isinstance(meant, BuiltModule) or not isinstance(read, BuiltModule):
        return bool(meant == read)
    bare = replace(meant, attributes=(), children=())
    return (
        bare == replace(read, attributes=(), children=())
        and same(language.Dict(meant.attributes), language.Dict(read.attributes))
        and [name for name, _ in meant.children] == [name for name, _ in read.children]
        and all(
            same_module(ours, theirs)
            for (_, ours), (_, theirs) in zip(meant.children, read.children, strict=True)
        )
    )


# -- sameness -------------------------------------------------------------------------------------------------------


_EQUAL = frozenset[type]({type(None), bool, int, str, language.Ref, language.OpName})
"""The types of which two values that are equal are the same."""


def same(one: ir.Operand, other: ir.Operand) -> bool:
    """Whether two values are of the same type and bits (0.0 is not -0.0, True is not 1, nan is nan)."""
    kind = type(one)
    if kind in _EQUAL:
        return kind is type(other) and bool(one == other)
    if kind is tuple or kind is language.List:
        inner, theirs = language.children(one), language.children(other)
        return kind is type(other) and len(inner) == len(theirs) and all(map(same, inner, theirs))
    return text_key(one) == text_key(other)
