"""``-O``: the passes over a Program, in their order; what each leaves is verified."""

from __future__ import annotations

from dataclasses import replace

from fx2py.graph.values import OpName, Ref
from fx2py.program.ir import Applied, Bind, Delete, Function, Load, Program, Statement
from fx2py.program.liveness import finish, leaves, used_names, values_of
from fx2py.program.passes.built_items import take_built_items
from fx2py.program.passes.computed_once import compute_once
from fx2py.program.passes.conversions import leave_out_conversions
from fx2py.program.passes.identities import leave_out_identities
from fx2py.program.passes.metadata_asserts import leave_out_metadata_asserts
from fx2py.program.passes.rewriting import Pass
from fx2py.program.verify import verify

UNTYPED: tuple[Pass, ...] = (take_built_items, leave_out_identities)
TYPED: tuple[Pass, ...] = (leave_out_metadata_asserts, leave_out_conversions)
"""Passes that rely on the types of tensors, which autocast would change."""


def optimize(program: Program) -> Program:
    """The Program with everything left out or moved that provably changes nothing; says in ``optimizations`` what that was."""
    for leave_out in UNTYPED:
        program, _ = _apply(leave_out, program)
    relied_on_types = False
    for leave_out in TYPED:
        program, applied = _apply(leave_out, program)
        relied_on_types = relied_on_types or bool(applied)
    program, moved = compute_once(program)
    if moved:
        program = replace(program, optimizations=(*program.optimizations, *moved))
        verify(program)
        relied_on_types = True
    if relied_on_types and program.input_table is not None:
        program = replace(program, input_table=replace(program.input_table, autocast=False))
    return program


def _apply(leave_out: Pass, program: Program) -> tuple[Program, tuple[Applied, ...]]:
    done: list[Function] = []
    found: list[Applied] = []
    for function in program.functions:
        body = tuple(statement for statement in function.body if not isinstance(statement, Delete))
        changed, applied = leave_out(replace(function, body=body), program)
        done.append(_finished(changed, done))
        found += applied
    if found:
        program = replace(
            program,
            functions=tuple(done),
            op_aliases=_used_aliases(program, done),
            optimizations=(*program.optimizations, *found),
        )
        verify(program)
    return program, tuple(found)


def _used_aliases(program: Program, functions: list[Function]) -> tuple[tuple[str, OpName], ...]:
    values = (
        value for function in functions for statement in function.body for value in values_of(statement)
    )
    used = {part for part in leaves(values) if isinstance(part, OpName)}
    return tuple((alias, op) for alias, op in program.op_aliases if op in used)


def _finished(function: Function, earlier: list[Function]) -> Function:
    """The function with its deletions, and without loads and containers that nothing needs any more."""
    used = {part.name for part in leaves(iter((function.result,))) if type(part) is Ref}
    body: list[Statement] = []
    for item in reversed(function.body):
        if not isinstance(item, (Load, Bind)) or item.target in used:
            used.update(used_names(item))
            body.append(item)
    body.reverse()
    return finish(function.name, function.parameters, body, function.result, function.path, earlier)
