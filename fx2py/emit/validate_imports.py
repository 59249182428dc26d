"""Validation of the imports: a file imports the home of every name that it uses, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fx2py.emit.module import comes_with_torch, import_order
from fx2py.emit.tail import why_unwritable
from fx2py.graph.values import Dict, EnumMember, Name, walk
from fx2py.program.bound import modules_to_rebuild
from fx2py.program.ir import Function, Program
from fx2py.program.liveness import values_of

_WITH_THE_TEXT = frozenset({"torch", "math", "functools"})
"""Needed by how a value is written, not by what it is: reading misses these itself when they are not there."""
_MAY_BE_A_SIGN = frozenset({"builtins", "operator"})


def import_differences(program: Program, imports: tuple[str, ...]) -> Iterator[str]:
    """What a file imports without need, needs without importing, or imports out of order."""
    homes = {home for value in _values(program) for part in walk(value) for home in _homes(part)}
    surplus = set(imports) - homes - _WITH_THE_TEXT
    needed = {home for home in homes - _MAY_BE_A_SIGN if not comes_with_torch(home)} | {"torch"}
    if surplus or needed - set(imports):
        yield f"the imports {sorted(surplus)} are not needed, {sorted(needed - set(imports))} are missing"
    if list(imports) != [module for group in import_order(set(imports)) for module in group]:
        yield "the imports are doubled or out of order"


def _homes(part: Any) -> Iterator[str]:
    if isinstance(part, Name):
        yield part.module
    elif isinstance(part, EnumMember):
        yield part.cls.module
    elif isinstance(part, Dict):
        yield from (name.module for name in (part.cls, part.factory) if name is not None)


def _values(program: Program) -> Iterator[Any]:
    for function in program.functions:
        yield from _values_in(function)
    for _, record in modules_to_rebuild(program):
        if not why_unwritable(record):
            yield from record.attributes.values()
    if program.input_table is not None:
        yield Dict(program.input_table.demands)


def _values_in(function: Function) -> Iterator[Any]:
    for statement in function.body:
        yield from values_of(statement)
    yield function.result
    yield from (parameter.default for parameter in function.parameters)
