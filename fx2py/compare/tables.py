"""The tables of a folder compared with those of its graph: constants, modules, weights, input checks."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace

from fx2py.compare.report import Divergence, Kind
from fx2py.emit.module import SOURCE, TABLES
from fx2py.emit.parse import Parsed
from fx2py.emit.validate import ReadBack, same, same_input_table, same_module
from fx2py.program.exact_text import path_name
from fx2py.program.ir import CHECK_INPUTS, Program, bound_tensors


def table_divergences(program: Program, parsed: Parsed, text: str | None) -> Iterator[Divergence]:
    """Each table entry that differs from the graph's, with its lines in ``text``; none for schemas 1 and 2."""
    for kind, table, entry, expected, actual in _differences(program, parsed):
        file = SOURCE if text is None else TABLES
        lines = (0, 0) if text is None else _lines_of(text, table, entry)
        yield Divergence(
            "static", kind, *lines, _shown(expected), _shown(actual), module_path=str(entry), file=file
        )


def _differences(program: Program, parsed: Parsed) -> Iterator[tuple[Kind, str, object, object, object]]:
    """Kind, table, entry (by index or name), the expected and the actual text."""
    tables = parsed.tables
    names = {id(tensor): name for name, tensor in bound_tensors(program).items()}
    read_back = ReadBack(program, names)
    meant = [read_back.constant(each) for each in program.consts]
    for place in range(max(len(meant), len(tables.consts))):
        pair = [each[place : place + 1] for each in (meant, list(tables.consts))]
        if not (pair[0] and pair[1] and same(pair[0][0], pair[1][0])):
            yield "table", "consts", place, pair[0], pair[1]
    modules = dict(tables.modules)
    for entry in program.submods:
        own, other = read_back.submodule(entry), modules.pop(entry.path, None)
        if not same_module(own, other):
            yield "table", "modules", entry.path, own, other
    for path, module in modules.items():
        yield "table", "modules", path, None, module
    if tables.weight_count != len(program.weights):
        yield "table", "weights", None, len(program.weights), tables.weight_count
    paths = tuple([weight.path for weight in program.weights])
    if tables.weight_paths not in (None, paths):
        yield "table", "names", "weights", paths, tables.weight_paths
    containers = {alias: replace(made, cls=path_name(made.cls.path)) for alias, made in program.containers}
    for alias, made in tables.containers:
        if containers.get(alias, made) != made:
            yield "table", "names", alias, containers[alias], made
    if not same_input_table(program.input_table, tables.input_table):
        yield "inputs", "names", CHECK_INPUTS, program.input_table, tables.input_table


def _lines_of(text: str, table: str, entry: object) -> tuple[int, int]:
    """The lines of an entry of a table that ``bind`` fills; those of the table where it has no such entry."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == table:
            found = _entry(node.value, entry) or node
            return found.lineno, found.end_lineno or found.lineno
    return 0, 0


def _entry(node: ast.expr, entry: object) -> ast.expr | None:
    if isinstance(node, ast.List) and isinstance(entry, int):
        return node.elts[entry] if entry < len(node.elts) else None
    if isinstance(node, ast.Dict):
        keys = [key.value if isinstance(key, ast.Constant) else None for key in node.keys]
        return node.values[keys.index(str(entry))] if entry in keys else None
    return None


_SHOWN = 200


def _shown(value: object) -> str:
    text = "" if value is None or value == [] else str(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
