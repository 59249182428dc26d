"""Edited code made parsable, so that the rest of it can be compared.

A name that has no value becomes one that is unbound, and a statement of a form that is not read becomes a call of what is
not known, on the same lines. The result is never run.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator, Sequence

from fx2py.emit.module import SOURCE, Texts
from fx2py.emit.older_schemas import parse_any
from fx2py.emit.parse import GrammarError, Parsed
from fx2py.graph.values import Name
from fx2py.syntax import NotPython, parsed

UNBOUND, UNREAD = Name("torch", "fx2py_unbound"), Name("torch", "fx2py_unread")
"""The names that replace one without a value, and a statement that cannot be parsed."""
_PREFIX = "fx2py_unbound_"
_MOST = 50
"""The most statements that are replaced."""


def read_repaired(texts: Texts, fault: GrammarError) -> Parsed:
    """What a text says apart from what makes it unreadable; raises ``fault`` where that is not in its statements."""
    if texts.tables is None or (fault.file or SOURCE) != SOURCE:
        raise fault
    try:
        text = _with_unbound_names(texts.source)
        for _ in range(_MOST):
            try:
                return parse_any(texts._replace(source=text))
            except GrammarError as error:
                text = _without(text, error)
    except (NotPython, _NoStatementError):
        pass
    raise fault


class _NoStatementError(Exception):
    """The fault is outside the statements of functions."""


def _with_unbound_names(source: str) -> str:
    """The text without ``del``, with each name that has no value where it is read replaced by an unbound one."""
    tree = parsed(source)
    outer = {name for node in tree for name in _bound(node)} | set(dir(builtins))
    edits: list[tuple[ast.stmt, str]] = []
    for function in (node for node in tree if isinstance(node, ast.FunctionDef)):
        known = outer | {each.arg for each in ast.walk(function.args) if isinstance(each, ast.arg)}
        known |= {
            name for node in ast.walk(function) if isinstance(node, ast.For) for name in _bound(node.target)
        }
        for node in _statements(function.body):
            if isinstance(node, ast.Delete):
                edits.append((node, ""))
                known -= {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}
                continue
            names = [name for name in dict.fromkeys(_read(node)) if name not in known]
            if names:
                prefix = f"{_PREFIX}{len(edits)}_"
                parts = [f'{prefix}{name} = {UNBOUND.path}("{name}")' for name in names]
                for each in ast.walk(node):
                    if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Load) and each.id in names:
                        each.id = f"{prefix}{each.id}"
                edits.append((node, "; ".join([*parts, ast.unparse(node)])))
            known |= set(_bound(node))
    return _edited(source, edits)


def _without(text: str, fault: GrammarError) -> str:
    """The text with the statement at fault replaced by a call of an unknown function."""
    for function in (node for node in parsed(text) if isinstance(node, ast.FunctionDef)):
        for node in function.body:
            own = (
                ast.unparse(node)
                if node.lineno <= fault.line <= (node.end_lineno or node.lineno)
                else _PREFIX
            )
            if not own.startswith(_PREFIX) and UNREAD.path not in own:
                return _edited(text, [(node, _unread(node))])
    raise _NoStatementError


def _unread(node: ast.stmt) -> str:
    names = sorted({each.id for each in ast.walk(node) if isinstance(each, ast.Name)} & {*_read(node)})
    call = f"{UNREAD.path}({', '.join([repr(ast.unparse(node)), *names])})"
    if isinstance(node, ast.Return):
        return f"fx2py_result = {call}; return fx2py_result"
    return "; ".join([f"{name} = {call}" for name in dict.fromkeys(_bound(node))] or [call])


def _statements(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    for node in body:
        yield from (_statements(node.body) if isinstance(node, ast.For) else (node,))


def _read(node: ast.stmt) -> Iterator[str]:
    """The variables that a statement reads; modules and functions of the file are among them."""
    return (
        each.id for each in ast.walk(node) if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Load)
    )


def _bound(node: ast.stmt | ast.expr) -> Iterator[str]:
    """The names that a statement, or the target of a loop, binds."""
    if isinstance(node, ast.FunctionDef):
        yield node.name
        return
    for each in ast.walk(node):
        if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store):
            yield each.id
        elif isinstance(each, ast.alias):
            yield each.asname or each.name.partition(".")[0]


def _edited(source: str, edits: Sequence[tuple[ast.stmt, str]]) -> str:
    """The text with statements replaced, each on the lines that it had."""
    lines = source.splitlines(keepends=True)
    for node, text in reversed(edits):
        first, last = node.lineno - 1, (node.end_lineno or node.lineno) - 1
        start = lines[first].encode()[: node.col_offset].decode()
        end = lines[last].encode()[node.end_col_offset or 0 :].decode()
        lines[first : last + 1] = [f"{start}{text}{end}", *["\n"] * (last - first)]
    return "".join(lines)
