"""The audit of a generated file before it is run: its grammar, and every name in it against the policy."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Any

from fx2py.emit.grammar import GrammarError, path_name
from fx2py.emit.parse import Parsed, parse
from fx2py.emit.read_tail import Absent, BuiltModule, StoredTensor, Tail
from fx2py.errors import ArtifactError, UntrustedTargetError, admitting, refusals_name
from fx2py.graph.values import Dict, EnumMember, Name, OpName, Ref, walk
from fx2py.program.ir import FIELDS_OF, REQUIRED, Assign, Bind, Function, Load, Local, Method, Slot
from fx2py.program.liveness import leaves, values_of
from fx2py.trust import Policy, classes
from fx2py.trust.admitted import Kind
from fx2py.trust.calls import Calls, Module, What

_FIELDS_OF = Local(FIELDS_OF)


def audit(source: str, policy: Policy, place: str) -> None:
    """Raise unless running ``source`` reaches only what ``policy`` admits.

    ArtifactError with the line when the text leaves the grammar of generated code; UntrustedTargetError when it names
    what is not admitted. A policy that trusts everything is asked nothing.
    """
    if policy.trust_all:
        return
    try:
        parsed = parse(source)
    except GrammarError as error:
        raise ArtifactError(
            f"{place}, line {error.line}: {error}, so it is not code that fx2py would have written.",
            f"Read the file; if you trust it, pass {admitting('trust_all', '')}.",
        ) from None
    with refusals_name(place):
        _check_imports(parsed, {name.path for name in _checked_names(parsed, policy)})


def _checked_names(parsed: Parsed, policy: Policy) -> Iterator[Name]:
    """Check each call and value of the functions, the tables and the inputs' demands; yields the names that passed."""

    def member(name: Name) -> Name | EnumMember:
        return _argument(name, policy.classes)

    tables = Calls(policy, lambda value: Kind.DATA, member)
    tables.data(parsed.tail.consts, "a constant")
    if parsed.input_table is not None:
        tables.data([Dict(parsed.input_table.demands)], "a demand of the inputs")
    for module in _built(parsed.tail):
        for name, value in module.attributes:
            _check_attribute(tables, policy, value, f"the attribute {name!r} of {module.path!r}")
    for function in parsed.functions:
        _Body(parsed, function, policy, member).check()
    for callee, values in _all_uses(parsed):
        named = [part for value in values for part in _named_parts(value)]
        yield from (part for part in (callee, *named) if isinstance(part, Name))


def _check_attribute(tables: Calls, policy: Policy, value: Any, where: str) -> None:
    """A module may hold an admitted function, as an activation, where a graph may not; so it may a type."""
    if _is_function(value):
        policy.check(value)
    elif not isinstance(value, Name) or tables.what(value, where) is not Kind.TYPE:
        tables.data([value], where)


class _Body:
    """One function of a generated file, and what each of its variables is."""

    def __init__(
        self, parsed: Parsed, function: Function, policy: Policy, member: Callable[[Name], Name | EnumMember]
    ) -> None:
        self._parsed = parsed
        self._function = function
        self._calls = Calls(policy, self._leaf, member)

    def check(self) -> None:
        """Follow the statements in their order; each variable is bound once."""
        function, calls = self._function, self._calls
        where = f"{function.name}'s parameters"
        for parameter in function.parameters:
            calls.kinds[parameter.name] = Kind.DATA
            if parameter.default is not REQUIRED:
                calls.data([parameter.default], where)
        for statement in function.body:
            if isinstance(statement, Assign):
                found = self._call(statement, statement.target or "a statement")
            elif isinstance(statement, Load):
                found = self._slot(statement.slot)
            elif isinstance(statement, Bind):
                found = calls.what(statement.value, statement.target)
            else:
                continue
            if statement.target is not None:
                calls.kinds[statement.target] = found
        if function is self._parsed.functions[-1]:
            calls.result(function.result, f"{function.name}'s result")
        else:
            calls.data([function.result], f"{function.name}'s result")

    def _call(self, statement: Assign, where: str) -> What:
        """What is called must say by its own name what it is."""
        call, calls = statement.call, self._calls
        if isinstance(call.callee, Name | OpName):
            return calls.function(call.callee, call.args, call.kwargs, where)
        if isinstance(call.callee, Method):
            return calls.method(call.callee.name, call.args, call.kwargs, where)
        if not isinstance(call.callee, Local) and getattr(call.callee, "table", "") != "submods":
            raise UntrustedTargetError(
                "the call of a variable", "trust_all", reason="is decided only when the code runs"
            )
        if call.callee == _FIELDS_OF:
            _check_fields(call.args)
        return calls.code(call.args, call.kwargs, where)

    def _leaf(self, value: Any) -> What:
        if isinstance(value, Slot):
            return self._slot(value)
        return Kind.GRAPH if isinstance(value, Local) else Kind.DATA

    def _slot(self, slot: Slot) -> What:
        """What a slot holds. Of the submodules, functions of the file are graphs, and so may be what the caller must give."""
        if slot.table != "submods":
            return Kind.DATA
        modules = self._parsed.tail.modules
        held = modules[slot.index][1] if slot.index < len(modules) else None
        return Kind.GRAPH if isinstance(held, str | Absent) else _module(held)


def _module(held: Any) -> Module:
    """A module that ``bind`` builds, or that the caller gives: of that nothing is known."""
    if not isinstance(held, BuiltModule):
        return Module("", lambda name: None)

    def part(name: str) -> What | None:
        tables = (held.parameters, held.buffers, held.children)
        found = [value for table in tables for own, value in table if own == name]
        if len(found) != 1 or found[0] is None or any(own == name for own, _ in held.attributes):
            return None
        return Kind.DATA if isinstance(found[0], StoredTensor) else _module(found[0])

    return Module(held.cls, part)


def _check_fields(values: tuple[Any, ...]) -> None:
    if not (isinstance(values[0], Ref) and all(map(_is_field, leaves(iter(values[1:]))))):
        raise UntrustedTargetError(
            "a field by a computed or hidden name", "trust_all", reason="is no data of a container"
        )


def _named_parts(value: Any) -> Iterator[Name | OpName]:
    for part in walk(value):
        found = part.factory if isinstance(part, Dict) else part
        if isinstance(found, Name | OpName):
            yield found


def _all_uses(parsed: Parsed) -> Iterator[tuple[Any, tuple[Any, ...]]]:
    for function in parsed.functions:
        yield from _uses(function)
    yield None, parsed.tail.consts
    for module in _built(parsed.tail):
        for _, value in module.attributes:
            yield (value, ()) if _is_function(value) else (None, (value,))
    if parsed.input_table is not None:
        yield None, (Dict(parsed.input_table.demands),)


def _is_function(value: Any) -> bool:
    """Whether a module's attribute is a function, as an activation is; a graph's argument never is."""
    return isinstance(value, Name) and _argument(value) is value and value.path not in classes.arguments()


def _built(tail: Tail) -> Iterator[BuiltModule]:
    """Every module that ``bind`` builds."""
    stack = [module for _, module in tail.modules]
    while stack:
        module = stack.pop()
        if isinstance(module, BuiltModule):
            yield module
            stack.extend(child for _, child in module.children)


def _is_field(name: Any) -> bool:
    return name is None or (type(name) is str and not name.startswith("__"))


def _argument(name: Name, enums: Collection[str] = ()) -> Name | EnumMember:
    """A name as an argument; text writes the member of an enum, torch's or one of ``enums``, as any other path."""
    if name.module in classes.enums() or name.module in enums:
        return EnumMember(path_name(name.module), name.qualname)
    return name


def _uses(function: Function) -> Iterator[tuple[Any, tuple[Any, ...]]]:
    """What a function calls and the values it names, statement by statement."""
    for statement in function.body:
        if type(statement) is Assign:
            call = statement.call
            yield call.callee, (*call.args, *(value for _, value in call.kwargs))
        elif type(statement) is Bind:
            yield None, tuple(values_of(statement))
    yield None, (function.result, *(parameter.default for parameter in function.parameters))


def _check_imports(parsed: Parsed, admitted: set[str]) -> None:
    """An import executes a package, so each must be the home of a name that was admitted."""
    for module in parsed.imports:
        own = module in _OWN_IMPORTS or any(path.startswith(f"{module}.") for path in admitted)
        if not own:
            raise UntrustedTargetError(
                f"import {module}", "trust_all", reason="is not the home of a name that the code uses"
            )


_OWN_IMPORTS = frozenset({"torch", "torch.nn.functional", "math", "operator", "functools", "collections"})


def admitted_classes(policy: Policy) -> Callable[[str], Any]:
    """A class finder for generated code: the class at a path when the policy admits it, else None."""

    def find(path: str) -> Any:
        module, _, name = path.rpartition(".")
        try:
            return policy.resolve(Name(module, name), "module")
        except UntrustedTargetError:
            return None

    return find
