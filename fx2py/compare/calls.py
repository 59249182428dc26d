"""Whether two calls with different spellings are equivalent: ``x + y`` and ``torch.add(x, y)``."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import replace
from functools import cache

from fx2py.compare.meaning import Operands, Step
from fx2py.graph.values import List, Name, OpName, Size
from fx2py.operators.facts import METHOD, Facts, NativeForm, facts_named, facts_of, table
from fx2py.operators.schema import defaults_of, schema_of
from fx2py.program.exact_text import exact_key
from fx2py.program.ir import Assign, Call, Callee, Method, Program, Statement

Argument = tuple[Hashable, tuple[int, ...]]
"""The shape of an argument, and the indices of its values among those of its statement."""


def operators_of(step: Step) -> tuple[OpName, ...]:
    """The ATen overloads that a step may call: the one that it names, or those with a native form of its callee."""
    statement = step.statement
    if not isinstance(statement, Assign):
        return ()
    callee, origin = statement.call.callee, statement.origin
    if isinstance(callee, OpName):
        return (callee,) if callee.namespace == "aten" else ()
    if origin is not None and isinstance(origin.target, OpName):
        return (origin.target,)
    name = _native_name(callee)
    return () if name is None else _reached_from().get(name, ())


def facts_about(step: Step) -> tuple[Facts, ...]:
    """What is known of each overload that a step may call; empty where that is not known."""
    return tuple([facts_of(op) for op in operators_of(step)])


def with_overloads(program: Program) -> Program:
    """A Program that was read from a text with an overload as the callee of each native call.

    Only where all overloads that the call may reach do the same with memory: what else they do is not told.
    """
    functions = [
        replace(function, body=tuple(map(_with_overload, function.body))) for function in program.functions
    ]
    return replace(program, functions=tuple(functions))


def _with_overload(statement: Statement) -> Statement:
    if not isinstance(statement, Assign):
        return statement
    call = statement.call
    reached = _reached_from().get(_native_name(call.callee) or "", ())
    if not any(_is_called(form, call) for op in reached for form in facts_of(op).native):
        return statement
    does_the_same = len({facts_of(op).memory for op in reached}) == 1
    return replace(statement, call=replace(call, callee=reached[0])) if does_the_same else statement


def _native_name(callee: Callee) -> str | None:
    if isinstance(callee, Method):
        return f"{METHOD}.{callee.name}"
    return callee.path if isinstance(callee, Name) else None


@cache
def _reached_from() -> Mapping[str, tuple[OpName, ...]]:
    """The overloads that each native callee may reach."""
    found: dict[str, tuple[OpName, ...]] = {}
    for record, lines in table().items():
        name, _, overload = record.partition(".")
        if not any(line.startswith("native ") for line in lines):
            continue
        for form in facts_named(record).native:
            op = OpName("aten", name, overload)
            found[form.callee.path] = (*found.get(form.callee.path, ()), op)
    return found


def arguments_by_name(step: Step, op: OpName) -> dict[str, Argument] | None:
    """The arguments of a step that reaches ``op``, by their names in the schema, without those equal to their defaults.

    None where the step does not call the overload in a way that is proven to reach it.
    """
    statement, schema = step.statement, schema_of(op)
    if not isinstance(statement, Assign) or schema is None:
        return None
    call = statement.call
    arguments = _numbered(step.operands)
    args, values = arguments[: len(call.args)], arguments[len(call.args) :]
    if call.callee != op:
        form = next((each for each in facts_of(op).native if _is_called(each, call)), None)
        if form is None:
            return None
        args = _gathered(form, args)
    names = [each.name for each in schema.arguments]
    if len(args) > len(names):
        return None
    given = dict(zip(names, args, strict=False)) | dict(
        zip([name for name, _ in call.kwargs], values, strict=True)
    )
    defaults = defaults_of(op)
    return {
        name: (_as_list(shape), uses)
        for name, (shape, uses) in given.items()
        if name not in defaults or (shape, uses) != (exact_key(defaults[name]), ())
    }


def _as_list(shape: Hashable) -> Hashable:
    """An overload takes a tuple where its schema says a list."""
    match shape:
        case (kind, _, tuple(parts)) if kind is tuple or kind is Size:
            return (List, (), parts)
    return shape


def _is_called(form: NativeForm, call: Call) -> bool:
    called = _native_name(call.callee)
    spread = any(each.spread for each in form.positional)
    names = [name for name, _ in call.kwargs]
    return (
        called == form.callee.path
        and (spread or len(call.args) <= len(form.positional))
        and all(name in form.by_name for name in names)
    )


def _numbered(operands: Operands) -> list[Argument]:
    """The arguments after the callee, each with the indices of its values."""
    numbered: list[Argument] = []
    place = 0
    for shape, uses in zip(operands.shapes, operands.uses, strict=True):
        numbered.append((shape, tuple(range(place, place + len(uses)))))
        place += len(uses)
    return numbered[1:]


def _gathered(form: NativeForm, args: list[Argument]) -> list[Argument]:
    """The positional arguments with those that are spread as the one list that the schema has."""
    place = next((index for index, each in enumerate(form.positional) if each.spread), None)
    if place is None:
        return args
    shapes = tuple([shape for shape, _ in args[place:]])
    uses = tuple([use for _, places in args[place:] for use in places])
    return [*args[:place], ((List, (), shapes), uses)]
