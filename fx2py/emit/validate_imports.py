"""Validation of the imports: a file imports the home of every name that it uses, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch

from fx2py.emit.module import import_order, imported_for
from fx2py.emit.tables import why_unwritable
from fx2py.graph.values import Dict, EnumMember, Name, Size, walk
from fx2py.program.ir import Function, Program, modules_to_rebuild
from fx2py.program.liveness import values_of

_WITH_THE_TEXT = frozenset({"torch", "math", "functools"})
"""Needed by how a value is written, not by what it is: reading misses these itself when they are not there."""
_MAY_BE_A_SIGN = frozenset({"builtins", "operator"})
_NAMED_IN_TORCH = (torch.dtype, torch.layout, torch.memory_format, torch.qscheme, Size)


def import_differences(program: Program, imports: tuple[str, ...]) -> Iterator[str]:
    """What ``execution_fn.py`` imports without need, needs without importing, or imports out of order."""
    values = (value for function in program.functions for value in _values_in(function))
    yield from _differences(_homes_in(values) | {"torch"}, imports)


def table_import_differences(program: Program, imports: tuple[str, ...]) -> Iterator[str]:
    """The same of ``_tables.py``, which need not import torch."""
    yield from _differences(_homes_in(_values_in_tables(program)), imports)


def _differences(homes: set[str], imports: tuple[str, ...]) -> Iterator[str]:
    needed = {imported_for(home) for home in homes - _MAY_BE_A_SIGN}
    surplus = set(imports) - needed - homes - (_WITH_THE_TEXT - {"torch"})
    if surplus or needed - set(imports):
        yield f"the imports {sorted(surplus)} are not needed, {sorted(needed - set(imports))} are missing"
    if list(imports) != [module for group in import_order(set(imports)) for module in group]:
        yield "the imports are doubled or out of order"


def _homes_in(values: Iterable[Any]) -> set[str]:
    return {home for value in values for part in walk(value) for home in _homes(part)}


def _homes(part: Any) -> Iterator[str]:
    if isinstance(part, Name):
        yield part.module
    elif isinstance(part, EnumMember):
        yield part.cls.module
    elif isinstance(part, Dict):
        yield from (name.module for name in (part.cls, part.factory) if name is not None)
    elif isinstance(part, _NAMED_IN_TORCH):
        yield "torch"


def _values_in_tables(program: Program) -> Iterator[Any]:
    for _, record in modules_to_rebuild(program):
        if not why_unwritable(record):
            yield from record.attributes.values()
    yield from (constant.value for constant in program.consts)
    if program.input_table is not None:
        yield Dict(program.input_table.demands)


def _values_in(function: Function) -> Iterator[Any]:
    for statement in function.body:
        yield from values_of(statement)
    yield function.result
    yield from (parameter.default for parameter in function.parameters)
