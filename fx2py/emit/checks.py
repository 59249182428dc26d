"""The table that ``check_inputs`` is made from: written as literals in ``_tables.py``, and read back."""

from __future__ import annotations

import ast
from dataclasses import replace
from typing import Any

from fx2py.emit import text
from fx2py.emit.expressions import Scope, value_text
from fx2py.emit.grammar import GrammarError, Names, of_runtime, read_value
from fx2py.graph.values import Dict, List, Record, children
from fx2py.program.input_table import parts_of_fields
from fx2py.program.ir import CHECK_INPUTS, FIELDS, InputTable
from fx2py.runtime.checks import Integer, Shape

RUNTIME = "runtime"
"""What stands before each name of the runtime, which is a parameter of ``bind``."""


def checks_text(table: InputTable, scope: Scope) -> str:
    """The expression that makes ``check_inputs``, on one line."""
    demands = replace(scope, special=lambda value: _demand_text(value, demands))
    parts = [value_text(Dict(table.demands), demands)]
    if table.ranges:
        ranges = Dict(tuple((name, (low, high)) for name, low, high in table.ranges))
        parts.append(f"ranges={value_text(ranges, scope)}")
    if table.guards:
        parts.append(f"guards={value_text(List(table.guards), scope)}")
    if not table.autocast:
        parts.append("autocast=False")
    return f"{RUNTIME}.input_checks({', '.join(parts)})"


def _demand_text(value: Any, scope: Scope) -> str:
    if type(value) is Shape:
        return f"{RUNTIME}.Shape({', '.join([text.plain(size) for size in value])})"
    if type(value) is Integer:
        return f"{RUNTIME}.Integer({text.quoted(str(value))})"
    if type(value) is not Record or value.cls != FIELDS:
        return ""
    path, fields, detail = parts_of_fields(value)
    rest = "" if detail is None else f", {value_text(detail, scope)}"
    return f"{RUNTIME}.Fields({text.quoted(path)}, {value_text(fields, scope)}{rest})"


def read_table(node: ast.expr, names: Names) -> InputTable:
    """The table in ``input_checks(...)``; GrammarError when it is of another form than fx2py writes."""
    if of_runtime(node, names) != "input_checks" or not isinstance(node, ast.Call) or len(node.args) != 1:
        raise GrammarError(node, f"{CHECK_INPUTS} is not made by input_checks")
    demands = replace(names, special=lambda part: _read_demand(part, demands))
    table = read_value(node.args[0], demands)
    options = {keyword.arg: read_value(keyword.value, names) for keyword in node.keywords}
    ranges, guards = options.pop("ranges", Dict()), options.pop("guards", List())
    autocast = options.pop("autocast", True)
    order = [keyword.arg for keyword in node.keywords]
    if (
        options
        or order != [name for name in ("ranges", "guards", "autocast") if name in order]
        or type(autocast) is not bool
        or not (type(table) is type(ranges) is Dict)
        or type(guards) is not List
    ):
        raise GrammarError(node, "the table of the inputs has another form than fx2py writes")
    bounds = tuple((name, *_pair(bound, node)) for name, bound in ranges.items)
    keys = [name for name, *_ in (*table.items, *bounds)]
    if any(type(part) is not str for part in (*keys, *guards.items)):
        raise GrammarError(node, "a name in the table of the inputs is no text")
    return InputTable(table.items, bounds, guards.items, autocast)  # type: ignore[arg-type]


def _pair(value: Any, node: ast.AST) -> tuple[Any, Any]:
    if len(children(value)) != 2 or any(type(end) not in (int, type(None)) for end in children(value)):
        raise GrammarError(node, "a range is not written as its two ends")
    return value  # type: ignore[no-any-return]


def _read_demand(node: ast.expr, names: Names) -> Any:
    """What only a table may hold; None for everything else."""
    if not isinstance(node, ast.Call) or node.keywords:
        return None
    kind = of_runtime(node, names)
    if kind not in ("Shape", "Integer", "Fields"):
        return None
    parts = [read_value(part, names) for part in node.args]
    if kind == "Shape" and all(type(part) in (int, str, type(...)) for part in parts):
        return Shape(*parts)
    if kind == "Integer" and [type(part) for part in parts] == [str]:
        return Integer(parts[0])
    if kind == "Fields" and [type(part) for part in parts[:2]] == [str, Dict] and len(parts) < 4:
        detail = parts[2] if len(parts) == 3 else None
        return Record(FIELDS, (("path", parts[0]), ("fields", parts[1]), ("detail", detail)))
    raise GrammarError(node, f"{kind} is not written as fx2py writes it")
