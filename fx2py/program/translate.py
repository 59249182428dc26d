"""From a graph to its finished Program: lowering, then each pass in order, the result of each verified."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from fx2py.graph.data import GraphData
from fx2py.graph.values import OpName
from fx2py.program.ir import Applied, Bind, Delete, Function, Load, Program, Statement, names_in, with_applied
from fx2py.program.liveness import finish
from fx2py.program.lower import lower
from fx2py.program.options import DEFAULT, Embedding, GenerateOptions
from fx2py.program.passes import (
    below_autograd,
    built_items,
    computed_once,
    conversions,
    identities,
    metadata_asserts,
)
from fx2py.program.passes.computed_once import compute_once
from fx2py.program.passes.rewriting import Pass
from fx2py.program.verify import verify

UNTYPED: Mapping[str, Pass] = {
    built_items.NAME: built_items.take_built_items,
    identities.NAME: identities.leave_out_identities,
}
TYPED: Mapping[str, Pass] = {
    metadata_asserts.NAME: metadata_asserts.leave_out_metadata_asserts,
    conversions.NAME: conversions.leave_out_conversions,
}
"""Passes that rely on inferred dtypes, which autocast would change."""


@dataclass(frozen=True, slots=True)
class Stage:
    """The Program after one step of the translation, and the name of the step."""

    name: str
    program: Program


def translate(
    data: GraphData, options: GenerateOptions = DEFAULT, embedding: Embedding | None = None
) -> Program:
    """Translate a graph into a Program; raises UnsupportedGraphError with every finding, not only the first."""
    *_, last = stages(data, options, embedding)
    return last.program


def stages(
    data: GraphData, options: GenerateOptions = DEFAULT, embedding: Embedding | None = None
) -> Iterator[Stage]:
    """The translation step by step; raises as ``translate`` does."""
    program = lower(data, options, embedding)
    yield Stage("lowered", program)
    if options.optimize:
        for name, after in _optimized(program):
            program = after
            yield Stage(name, program)
    if not (options.exact_ops or embedding):
        yield Stage(below_autograd.NAME, below_autograd.run_below_autograd(program))


def _optimized(program: Program) -> Iterator[tuple[str, Program]]:
    """The name of each pass of ``-O`` with the Program after it, whose report says what was removed or moved."""
    for name, leave_out in UNTYPED.items():
        program, _ = _apply(leave_out, program)
        yield name, program
    for name, leave_out in TYPED.items():
        program, applied = _apply(leave_out, program)
        program = _without_autocast(program) if applied else program
        yield name, program
    program, moved = compute_once(program)
    if moved:
        program = _without_autocast(with_applied(program, moved))
        verify(program)
    yield computed_once.NAME, program


def _without_autocast(program: Program) -> Program:
    """The Program whose input checks refuse autocast, under which inferred types would not hold."""
    if program.input_table is None:
        return program
    return replace(program, input_table=replace(program.input_table, autocast=False))


def _apply(leave_out: Pass, program: Program) -> tuple[Program, tuple[Applied, ...]]:
    done: dict[str, Function] = {}
    found: list[Applied] = []
    for function in program.functions:
        body = tuple(statement for statement in function.body if not isinstance(statement, Delete))
        changed, applied = leave_out(replace(function, body=body), program)
        done[function.name] = _finished(changed, done)
        found += applied
    if found:
        program = replace(program, functions=tuple(done.values()))
        program = replace(program, op_aliases=_used_aliases(program))
        program = with_applied(program, found)
        verify(program)
    return program, tuple(found)


def _used_aliases(program: Program) -> tuple[tuple[str, OpName], ...]:
    used = {part for each in program.functions for part in each.named if isinstance(part, OpName)}
    return tuple((alias, op) for alias, op in program.op_aliases if op in used)


def _finished(function: Function, earlier: Mapping[str, Function]) -> Function:
    """The function with its deletions, without loads and containers that became dead code."""
    used = set(names_in(function.result))
    body: list[Statement] = []
    for item in reversed(function.body):
        if not isinstance(item, (Load, Bind)) or item.target in used:
            used.update(item.parts.variables)
            body.append(item)
    body.reverse()
    return finish(function.name, function.parameters, body, function.result, function.path, earlier)
