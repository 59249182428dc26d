"""The audit of a generated file before it is run: its grammar, and every name in it against the policy.

The text is parsed, never compiled, so a file that is refused has run nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TypeAlias, TypeGuard

import torch

from fx2py.emit.module import SOURCE, TABLES, Texts
from fx2py.emit.older_schemas import parse_any
from fx2py.emit.parse import (
    Absent,
    BoundModule,
    BoundTables,
    BuiltModule,
    GrammarError,
    NotPythonError,
    Parsed,
    StoredTensor,
)
from fx2py.errors import (
    Admit,
    Argument,
    ArtifactError,
    Hint,
    InternalError,
    UntrustedTargetError,
    refusals_name,
)
from fx2py.graph.values import Dict, EnumMember, Name, OpName, Ref, Value, children, walk
from fx2py.program import ir
from fx2py.program.exact_text import path_name
from fx2py.program.structure.inlined import inlined
from fx2py.program.structure.written import reached, require_structured
from fx2py.runtime.weight_tree import weight_tree
from fx2py.trust import Policy, classes
from fx2py.trust.admitted import ValueKind
from fx2py.trust.calls import Calls, FileModule, KindOrModule, file_module

_FIELDS_OF = ir.Local(ir.FIELDS_OF)
_MOST_STEPS, _MOST_REPEATED = 100_000, 1_000
"""What structured code may amount to: so many statements and calls, and more in proportion to its text."""


def audit(texts: Texts, policy: Policy, place: str) -> None:
    """Raise unless running ``texts`` reaches only what ``policy`` admits; ``place`` names the source in errors.

    ArtifactError with the line when the text leaves the grammar of generated code; UntrustedTargetError when it names
    what is not admitted. Under a policy that trusts everything nothing is checked.
    """
    if policy.trust_all:
        return
    try:
        parsed = parse_any(texts)
    except NotPythonError as error:
        line = f", line {error.line}," if error.line else ""
        raise ArtifactError(f"{_beside(place, error.file)}{line} {error.reason}.", MEND_OR_ANEW) from None
    except GrammarError as error:
        line = f", line {error.line}" if error.line else ""
        raise _unreadable(f"{_beside(place, error.file)}{line}: {error}") from None
    except RecursionError:
        raise _unreadable(f"{place}: its expressions are nested too deeply") from None
    parsed = _as_flat(parsed, place)
    code = [value for function in parsed.functions for value in _values_in_code(function)]
    tables = list(_values_in_tables(parsed.tables))
    beside = place if texts.tables is None else _beside(place, TABLES)
    with refusals_name(beside):
        _check_tables(parsed.tables, policy)
    with refusals_name(place):
        for function in parsed.functions:
            _Body(parsed, function, policy).check()
        _check_imports(parsed.imports, code if texts.tables is not None else [*code, *tables])
    with refusals_name(beside):
        _check_imports(parsed.table_imports, tables)


MEND_OR_ANEW = Hint("Mend it, or write the folder anew from its graph: ", Argument.OVERWRITE, ".")


def _unreadable(what: str) -> ArtifactError:
    return ArtifactError(
        f"{what}, so it cannot be audited.",
        Hint("Undo that, or read the file and, if you trust it, pass ", Admit("trust_all"), "."),
    )


def _as_flat(parsed: Parsed, place: str) -> Parsed:
    """A file as one of flat code, which is what is audited; ArtifactError where structured code is not what it seems.

    Inlined code says what structured code does only where this has forms that ``require_structured`` knows.
    """
    try:
        return flattened(parsed)
    except (ValueError, RecursionError) as error:
        raise _unreadable(f"{place}: {error}") from None


def flattened(parsed: Parsed) -> Parsed:
    """Structured code inlined, without functions that nothing comes to; flat code as it is.

    Raises ValueError or RecursionError where it does not have the forms that can be inlined, or amounts to too much.
    """
    paths = parsed.tables.weight_paths
    if paths is None:
        return parsed
    functions = reached(parsed.functions, parsed.tables.functions)
    require_structured(functions, parsed.tables.functions, weight_tree(paths))
    written = sum(len(each.body) for each in functions)
    body = inlined(functions, paths, _MOST_STEPS + _MOST_REPEATED * written)
    entry = replace(functions[-1], body=body.statements, result=body.result)
    kept = [each for each in functions[:-1] if not each.is_module]
    return replace(parsed, functions=(*kept, entry))


def _beside(place: str, file: str) -> str:
    """The path of a file beside the source, where ``place`` is a path."""
    return place.removesuffix(SOURCE) + file if place.endswith(SOURCE) and file else place


def _check_tables(tables: BoundTables, policy: Policy) -> None:
    """Check each value of the tables and of the inputs' demands."""
    calls = Calls(policy, lambda value: ValueKind.DATA, _members(policy))
    calls.data(tables.consts, "a constant")
    if tables.input_table is not None:
        calls.data([Dict(tables.input_table.demands)], "a demand of the inputs")
    for module in _built(tables):
        for name, value in module.attributes:
            _check_attribute(calls, policy, value, f"the attribute {name!r} of {module.path!r}")


def _members(policy: Policy) -> Callable[[Name], Name | EnumMember]:
    """What a name is as an argument under a policy: itself, or the member of an enum that the policy admits."""
    return lambda name: _argument(name, policy.classes)


def _check_attribute(tables: Calls, policy: Policy, value: Value, where: str) -> None:
    """A module may hold an admitted function, such as its activation, or a type; a graph's argument may be neither."""
    if _is_function(value):
        policy.check(value)
    elif not isinstance(value, Name) or tables.what(value, where) is not ValueKind.TYPE:
        tables.data([value], where)


class _Body:
    """Checks one function of a generated file; learns the kind of each variable on the way."""

    def __init__(self, parsed: Parsed, function: ir.Function, policy: Policy) -> None:
        self._parsed = parsed
        self._function = function
        self._calls = Calls(policy, self._leaf, _members(policy))

    def check(self) -> None:
        """Follow the statements in their order; each variable is bound once."""
        function, calls = self._function, self._calls
        where = f"{function.name}'s parameters"
        for parameter in function.parameters:
            calls.kinds[parameter.name] = ValueKind.DATA
            if parameter.default is not ir.REQUIRED:
                calls.data([parameter.default], where)
        self._statements(function.body)
        if function is self._parsed.functions[-1]:
            calls.result(function.result, f"{function.name}'s result")
        else:
            calls.data([function.result], f"{function.name}'s result")

    def _statements(self, body: Iterable[ir.Statement]) -> None:
        calls = self._calls
        for statement in body:
            if isinstance(statement, ir.Assign):
                found = self._call(statement.call, statement.target or "a statement")
                if statement.target is not None:
                    calls.kinds[statement.target] = found
            elif isinstance(statement, ir.Load):
                calls.kinds[statement.target] = self._slot(statement.slot)
            elif isinstance(statement, ir.Bind):
                calls.kinds[statement.target] = calls.what(statement.value, statement.target)
            elif not isinstance(statement, ir.Delete):
                raise InternalError(f"{type(statement).__name__} is no statement of flat code")

    def _call(self, call: ir.Call, where: str) -> KindOrModule:
        """What a call gives; its callee must be named in the text, or the text would not say what runs."""
        calls = self._calls
        if isinstance(call.callee, Name) and call.callee.path in _LOOKING:
            return _look(call, calls, where)
        if isinstance(call.callee, Name | OpName):
            return calls.function(call.callee, call.args, call.kwargs, where)
        if isinstance(call.callee, ir.Method):
            return calls.method(call.callee.name, call.args, call.kwargs, where)
        is_submodule = isinstance(call.callee, ir.Slot) and call.callee.table == "submods"
        if not isinstance(call.callee, ir.Local) and not is_submodule:
            raise UntrustedTargetError(
                "the call of a variable", "trust_all", reason="is decided only when the code runs"
            )
        if call.callee == _FIELDS_OF:
            _check_fields(call.args)
        return calls.code(call.args, call.kwargs, where)

    def _leaf(self, value: ir.Operand) -> KindOrModule:
        if isinstance(value, ir.Slot):
            return self._slot(value)
        return ValueKind.GRAPH if isinstance(value, ir.Local) else ValueKind.DATA

    def _slot(self, slot: ir.Slot) -> KindOrModule:
        """What a slot holds. A submodule is a graph if a function of the file stands for it, or if the caller must give it."""
        if slot.table != "submods":
            consts = self._parsed.tables.consts if slot.table == "consts" else ()
            is_device = slot.index < len(consts) and type(consts[slot.index]) is torch.device
            return ValueKind.DEVICE if is_device else ValueKind.DATA
        modules = self._parsed.tables.modules
        held = modules[slot.index][1] if slot.index < len(modules) else None
        return ValueKind.GRAPH if isinstance(held, ir.Local | Absent) else _module(held)


_Item: TypeAlias = "StoredTensor | BoundModule"


def _module(held: BoundModule) -> FileModule:
    """The module in a slot; of one that the caller gives in place of ``bind``'s, nothing is known."""
    if not isinstance(held, BuiltModule):
        return FileModule("", lambda name: None)
    items: tuple[Iterable[tuple[str, _Item]], ...] = (held.parameters, held.buffers, held.children)
    attributes = {name for name, _ in held.attributes}
    return file_module(held.cls, items, attributes, _item)


def _item(value: _Item) -> KindOrModule | None:
    if isinstance(value, StoredTensor):
        return ValueKind.DATA
    return None if value is None else _module(value)


def _check_fields(values: ir.Arguments) -> None:
    if not (
        isinstance(values[0], Ref)
        and all(_is_field(part) for part in walk(*values[1:]) if not children(part))
    ):
        raise UntrustedTargetError(
            "a field by a computed or hidden name", "trust_all", reason="is no data of a container"
        )


_LOOKING: Mapping[str, frozenset[str]] = {
    "builtins.print": frozenset({"sep", "end", "flush"}),
    "builtins.breakpoint": frozenset(),
    "builtins.format": frozenset(),
    "builtins.repr": frozenset(),
    "builtins.ascii": frozenset(),
}
"""Functions that an edit may call and a graph may not, with the keywords that they take. They turn data into text, which
calls nothing of a file; ``breakpoint`` is the one that binding puts in the place of Python's own."""


def _look(call: ir.Call, calls: Calls, where: str) -> ValueKind:
    """A look at values: they are data, and how they are printed is written as literals."""
    path = call.callee.path if isinstance(call.callee, Name) else ""
    for name, value in call.kwargs:
        if name not in _LOOKING[path] or type(value) not in (str, bool):
            raise UntrustedTargetError(
                f"{where}: {path}({name}=...)", "trust_all", reason="is written otherwise than as a literal"
            )
    if path == "builtins.breakpoint" and call.args:
        raise UntrustedTargetError(f"{where}: {path}", "trust_all", reason="takes arguments")
    calls.data(call.args, where)
    return ValueKind.DATA


def _values_in_code(function: ir.Function) -> Iterator[ir.Operand]:
    """The callees and arguments of a function, its result, and the defaults of its parameters."""
    yield from function.operands
    yield from (parameter.default for parameter in function.parameters)


def _values_in_tables(tables: BoundTables) -> Iterator[ir.Operand]:
    """The constants, the attributes of modules and what is demanded of the inputs."""
    yield from tables.consts
    for module in _built(tables):
        yield from (value for _, value in module.attributes)
    if tables.input_table is not None:
        yield Dict(tables.input_table.demands)


def _is_function(value: Value) -> TypeGuard[Name]:
    """Whether an attribute of a module names a function, such as its activation, rather than data."""
    return isinstance(value, Name) and _argument(value) is value and value.path not in classes.arguments()


def _built(tables: BoundTables) -> Iterator[BuiltModule]:
    """Every module that ``bind`` builds, submodules included."""
    stack = [module for _, module in tables.modules]
    while stack:
        module = stack.pop()
        if isinstance(module, BuiltModule):
            yield module
            stack.extend(child for _, child in module.children)


def _is_field(name: ir.Operand) -> bool:
    return name is None or (type(name) is str and not name.startswith("__"))


def _argument(name: Name, enums: Collection[str] = ()) -> Name | EnumMember:
    """A name as an argument: the text does not show whether a path ends in a member of an enum, torch's or of ``enums``."""
    if name.module in classes.enums() or name.module in enums:
        return EnumMember(path_name(name.module), name.qualname)
    return name


def _check_imports(imports: Iterable[str], values: Iterable[ir.Operand]) -> None:
    """An import executes a package, so it must be one that the policy admitted a name of, which the file uses."""
    parts = [part.factory if isinstance(part, Dict) else part for part in walk(*values)]
    admitted = {part.path for part in parts if isinstance(part, Name)}
    for module in imports:
        # An edit may have dropped the only use of a module of torch; one that is loaded executes nothing.
        own = module in _OWN_IMPORTS or (module.startswith("torch.") and module in sys.modules)
        if not own and not any(path.startswith(f"{module}.") for path in admitted):
            raise UntrustedTargetError(
                f"import {module}", "trust_all", reason="is not the home of a name that the code uses"
            )


_OWN_IMPORTS = frozenset({"torch", "torch.nn.functional", "math", "operator", "functools", "collections"})


def admitted_classes(policy: Policy) -> Callable[[str], object]:
    """A class finder for generated code: the class at a path when the policy admits it, else None."""

    def find(path: str) -> object:
        module, _, name = path.rpartition(".")
        try:
            return policy.resolve(Name(module, name), "module")
        except UntrustedTargetError:
            return None

    return find
