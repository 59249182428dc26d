"""Translation validation: the emitted text, read back, must be the Program that it was emitted from."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from fx2py.emit.grammar import GrammarError
from fx2py.emit.module import Texts
from fx2py.emit.parse import Parsed, parse
from fx2py.emit.same import path_normal, same
from fx2py.emit.validate_imports import import_differences, table_import_differences
from fx2py.emit.validate_tables import table_differences
from fx2py.errors import InternalError
from fx2py.graph.values import Dict
from fx2py.program.ir import Assign, Bind, Call, Function, InputTable, Program, Statement

_DOTTED = (torch.dtype, torch.layout, torch.memory_format, torch.qscheme)


def validate(program: Program, texts: Texts) -> None:
    """Raise InternalError unless ``texts`` read back as ``program``, statement by statement."""
    try:
        parsed = parse(texts)
    except GrammarError as error:
        place = f"{error.file}, line {error.line}"
        raise InternalError(f"the generated text leaves its grammar at {place}: {error}") from None
    for difference in differences(program, parsed):
        raise InternalError(f"the generated text differs from the program: {difference}")


def differences(program: Program, parsed: Parsed) -> Iterator[str]:
    """What differs between a Program and a text that was read back, in order; nothing when they are the same."""
    if len(program.functions) != len(parsed.functions):
        yield f"{len(program.functions)} functions became {len(parsed.functions)}"
        return
    for meant, read in zip(program.functions, parsed.functions, strict=True):
        yield from (f"{meant.name}: {difference}" for difference in _function_differences(meant, read))
    if program.op_aliases != tuple(parsed.names.ops.items()):
        yield "the operator aliases"
    containers = [(alias, (path_normal(made.cls), made.fields)) for alias, made in program.containers]
    if containers != list(parsed.tables.containers):
        yield "the container classes"
    yield from import_differences(program, parsed.imports)
    yield from table_import_differences(program, parsed.table_imports)
    if not _same_table(program.input_table, parsed.input_table):
        yield f"the inputs are checked against {parsed.input_table} for {program.input_table}"
    yield from table_differences(program, parsed.tables)


def _same_table(one: InputTable | None, other: InputTable | None) -> bool:
    if one is None or other is None:
        return one is other
    rest, other_rest = ((table.ranges, table.guards, table.autocast) for table in (one, other))
    return rest == other_rest and same(Dict(one.demands), Dict(other.demands))


def _function_differences(meant: Function, read: Function) -> Iterator[str]:
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


def same_statement(one: Statement, other: Statement) -> bool:
    """Whether two statements are the same, to the last bit of each literal."""
    if type(one) is not type(other):
        return False
    if type(one) is Assign and type(other) is Assign:
        return one.target == other.target and _same_call(one.call, other.call)
    if type(one) is Bind and type(other) is Bind:
        return one.target == other.target and same(one.value, other.value)
    return one == other


def _same_call(one: Call, other: Call) -> bool:
    return (
        same(one.callee, other.callee)
        and same(one.args, other.args)
        and [name for name, _ in one.kwargs] == [name for name, _ in other.kwargs]
        and all(same(ours, theirs) for (_, ours), (_, theirs) in zip(one.kwargs, other.kwargs, strict=True))
    )
