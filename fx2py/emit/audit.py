"""The audit of a generated file before it is run: its grammar, and every name in it against the policy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from fx2py.emit.grammar import GrammarError
from fx2py.emit.parse import Parsed, parse
from fx2py.errors import ArtifactError, UntrustedTargetError
from fx2py.graph.values import Dict, Name, OpName
from fx2py.program.ir import Assign, Bind, Function, Method
from fx2py.program.liveness import leaves, values_of
from fx2py.trust import Policy

_GETATTR = Name("builtins", "getattr")


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
            "Read the file; if you trust it, pass --trust.",
        ) from None
    admitted = set()
    for name in _checked_names(parsed, policy):
        admitted.add(name.path)
    _check_imports(parsed, admitted)


def _checked_names(parsed: Parsed, policy: Policy) -> Iterator[Name]:
    """Check each name of the functions and of the table of inputs; yields those that passed."""
    uses = [use for function in parsed.functions for use in _uses(function)]
    if parsed.input_table is not None:
        uses.append((None, (Dict(parsed.input_table.demands),)))
    for callee, values in uses:
        if isinstance(callee, Name | OpName):
            policy.check(callee, "call")
        elif isinstance(callee, Method):
            policy.check_method(callee.name)
        if callee == _GETATTR:
            policy.check_attribute(values[1] if len(values) > 1 else None)
        for value in leaves(iter(values)):
            if isinstance(value, Name | OpName):
                policy.check(value, "value")
        yield from (part for part in (callee, *leaves(iter(values))) if isinstance(part, Name))


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
                f"import {module}", "--trust", "is not the home of a name that the code uses"
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
