"""The audit of a generated file before it is run: its grammar, and every name in it against the policy."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Any

from fx2py.emit.grammar import GrammarError, path_name
from fx2py.emit.parse import Parsed, parse
from fx2py.emit.read_tail import BuiltModule, Tail
from fx2py.errors import ArtifactError, UntrustedTargetError, admitting, refusals_name
from fx2py.graph.values import GETATTR, Dict, EnumMember, Name, OpName, Ref, walk
from fx2py.program.ir import FIELDS_OF, Assign, Bind, Function, Load, Local, Method
from fx2py.program.liveness import leaves, values_of
from fx2py.trust import Policy, classes
from fx2py.trust.functions import BACKEND

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
    """Check each name of the functions, the tables and the inputs' demands; yields those that passed."""
    for function in parsed.functions:
        _check_operands(function, policy)
    for callee, values in _all_uses(parsed):
        _check_callee(callee, values, policy)
        named = [part for value in values for part in _named_parts(value)]
        for value in named:
            policy.check(_argument(value, policy.classes), "value")
        yield from (part for part in (callee, *named) if isinstance(part, Name))


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


def _check_callee(callee: Any, values: tuple[Any, ...], policy: Policy) -> None:
    """What is called must say by its own name what it is."""
    if isinstance(callee, Name | OpName):
        policy.check(callee, "call")
    elif isinstance(callee, Method):
        policy.check_method(callee.name)
    elif callee is not None and not isinstance(callee, Local) and getattr(callee, "table", "") != "submods":
        raise UntrustedTargetError(
            "the call of a variable", "trust_all", reason="is decided only when the code runs"
        )
    if callee == GETATTR:
        policy.check_attribute(values[1] if len(values) > 1 else None)
    if callee == BACKEND:
        policy.check_backend(values[0] if len(values) == 1 else None)
    if callee == _FIELDS_OF and not (
        isinstance(values[0], Ref) and all(map(_is_field, leaves(iter(values[1:]))))
    ):
        raise UntrustedTargetError(
            "a field by a computed or hidden name", "trust_all", reason="is no data of a container"
        )


def _check_operands(function: Function, policy: Policy) -> None:
    """What a higher-order operator calls must be a function of the file or a module, not what the code computes."""
    computed = {s.target for s in function.body if type(s) is Assign or type(s) is Bind}
    computed |= {parameter.name for parameter in function.parameters}
    modules = {s.target for s in function.body if type(s) is Load and s.slot.table == "submods"} - computed
    for statement in function.body:
        if type(statement) is Assign and isinstance(statement.call.callee, OpName):
            policy.check_operands(
                statement.call.callee,
                statement.call.args,
                lambda part: isinstance(part, Ref) and part.name not in modules,
            )


def _is_field(name: Any) -> bool:
    return name is None or (type(name) is str and not name.startswith("__"))


def _argument(name: Name | OpName, enums: Collection[str] = ()) -> Name | OpName | EnumMember:
    """A name as an argument; text writes the member of an enum, torch's or one of ``enums``, as any other path."""
    if isinstance(name, Name) and (name.module in classes.enums() or name.module in enums):
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
