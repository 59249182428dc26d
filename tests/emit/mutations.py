"""Every small change of a generated file: one literal, name, argument, statement or order at a time."""

from __future__ import annotations

import ast
import copy
import math
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from fx2py.emit.module import Texts

Change = Callable[[Any], None]


def mutants(texts: Texts, step: int = 1) -> Iterator[tuple[str, Texts]]:
    """What was changed, with its line, and the changed texts; every ``step``-th change of each file."""
    yield from ((what, texts._replace(source=text)) for what, text in _mutants_of(texts.source, step))
    tables = _mutants_of(texts.tables or "", step)
    yield from ((f"{what} of the tables", texts._replace(tables=text)) for what, text in tables)


def _mutants_of(text: str, step: int) -> Iterator[tuple[str, str]]:
    tree = ast.parse(text)
    if ast.get_docstring(tree) is not None:  # which is free, as comments are
        del tree.body[0]
    seen = {ast.unparse(tree)}
    changes = (
        (index, node, change) for index, node in enumerate(ast.walk(tree)) for change in _changes(node)
    )
    for index, node, (what, change) in islice(changes, 0, None, step):
        changed = copy.deepcopy(tree)
        change(list(ast.walk(changed))[index])
        mutant = ast.unparse(ast.fix_missing_locations(changed))
        if mutant not in seen and not _same_sets(mutant, text):
            seen.add(mutant)
            yield f"{what} at line {getattr(node, 'lineno', 0)}", mutant + "\n"


def _same_sets(mutant: str, text: str) -> bool:
    """Whether only the order of set displays differs, which means nothing."""

    def normal(source: str) -> str:
        tree = ast.parse(source)
        for node in ast.walk(tree):
            if isinstance(node, ast.Set):
                node.elts.sort(key=ast.dump)
        return ast.dump(tree)

    return "{" in mutant and normal(mutant) == normal(text)


def _changes(node: ast.AST) -> Iterator[tuple[str, Change]]:
    for kind, changes in _CHANGES.items():
        if isinstance(node, kind):
            yield from changes(node)
    for field, value in ast.iter_fields(node):
        if isinstance(value, list) and value and isinstance(value[0], ast.AST | None):
            yield from _list_changes(node, field, value)


def _setting(field: str, value: Any) -> Change:
    return lambda node: setattr(node, field, value)


def _list_changes(node: ast.AST, field: str, items: list[Any]) -> Iterator[tuple[str, Change]]:
    """Drop, double and swap what stands in a row: statements, arguments, items, names that are deleted."""
    lists = [name for name in (field, "values") if isinstance(node, ast.Dict) and field == "keys"] or [field]
    if isinstance(node, ast.Dict) and field == "values":
        return
    for index in range(len(items)):

        def drop(changed: ast.AST, index: int = index) -> None:
            for name in lists:
                del getattr(changed, name)[index]

        def double(changed: ast.AST, index: int = index) -> None:
            for name in lists:
                row = getattr(changed, name)
                row.insert(index, copy.deepcopy(row[index]))

        def swap(changed: ast.AST, index: int = index) -> None:
            for name in lists:
                row = getattr(changed, name)
                row[index], row[index + 1] = row[index + 1], row[index]

        if len(items) > 1 or field in ("args", "keywords", "elts", "keys"):
            yield f"a part of {field} dropped", drop
        # An item of a set that stands there twice is the same set.
        if (
            field not in ("ops", "comparators", "defaults", "kw_defaults", "kwonlyargs")
            and type(node) is not ast.Set
        ):
            yield f"a part of {field} doubled", double
        if index + 1 < len(items):
            yield f"parts of {field} swapped", swap


def _constant(node: ast.Constant) -> Iterator[tuple[str, Change]]:
    for value in _neighbours(node.value):
        yield f"{str(node.value)[:20]!r} became {str(value)[:20]!r}", _setting("value", value)


def _neighbours(value: Any) -> Iterator[Any]:
    if isinstance(value, bool):
        yield from (not value, int(value))
    elif isinstance(value, int):
        yield from (value + 1, float(value))
        if value in (0, 1):
            yield bool(value)
    elif isinstance(value, float):
        yield from (math.nextafter(value, 2 * value + 1), int(value))
        yield -value if value == 0.0 else 0.0
    elif isinstance(value, str):
        yield from (value + "x", value.swapcase(), value.encode(errors="replace"))
    elif isinstance(value, bytes):
        yield from (value + b"x", value.decode("latin-1"))
    else:
        yield from (0, False)


def _name(node: ast.Name) -> Iterator[tuple[str, Change]]:
    for other in ("other", "x", "torch", f"{node.id}_"):
        yield f"{node.id} became {other}", _setting("id", other)


def _attribute(node: ast.Attribute) -> Iterator[tuple[str, Change]]:
    yield f".{node.attr} became another", _setting("attr", f"{node.attr}x")


def _renamed(field: str) -> Callable[[Any], Iterator[tuple[str, Change]]]:
    def changes(node: Any) -> Iterator[tuple[str, Change]]:
        name = getattr(node, field)
        yield f"{name} renamed", _setting(field, f"{name}x" if name else "x")

    return changes


def _binary(node: ast.BinOp) -> Iterator[tuple[str, Change]]:
    def swap(changed: Any) -> None:
        changed.left, changed.right = changed.right, changed.left

    yield "operands swapped", swap
    yield "another operator", _setting("op", ast.Sub() if isinstance(node.op, ast.Add) else ast.Add())


def _compare(node: ast.Compare) -> Iterator[tuple[str, Change]]:
    yield "another comparison", _setting("ops", [ast.GtE() if isinstance(node.ops[0], ast.Gt) else ast.Gt()])


def _unary(node: ast.UnaryOp) -> Iterator[tuple[str, Change]]:
    yield "another sign", _setting("op", ast.UAdd() if isinstance(node.op, ast.USub) else ast.USub())


def _slice(node: ast.Slice) -> Iterator[tuple[str, Change]]:
    for bound in ("lower", "upper", "step"):
        if getattr(node, bound) is not None:
            yield f"without its {bound} bound", _setting(bound, None)
        else:
            yield f"with a {bound} bound", _setting(bound, ast.Constant(1))


def _assign(node: ast.Assign) -> Iterator[tuple[str, Change]]:
    yield "an augmented assignment", lambda changed: setattr(
        changed, "value", ast.Tuple([changed.value], ast.Load())
    )


def _signature(node: ast.arguments) -> Iterator[tuple[str, Change]]:
    def to_positional(changed: Any) -> None:
        changed.args.append(changed.kwonlyargs.pop(0))
        default = changed.kw_defaults.pop(0)
        if default is not None or changed.defaults:
            changed.defaults.append(default or ast.Constant(None))

    if node.kwonlyargs:
        yield "a keyword-only parameter made positional", to_positional
        yield "a default given", lambda changed: changed.kw_defaults.__setitem__(-1, ast.Constant(7))
    if node.args and not node.defaults:
        yield "a default given", _setting("defaults", [ast.Constant(7)])
    if node.vararg is None:
        yield "a variadic parameter added", _setting("vararg", ast.arg("extra"))
    if node.kwarg is None:
        yield "a variadic keyword parameter added", _setting("kwarg", ast.arg("extra"))


def _starred(node: ast.Call) -> Iterator[tuple[str, Change]]:
    if node.args:
        yield "an argument unpacked", lambda changed: changed.args.__setitem__(
            0, ast.Starred(changed.args[0], ast.Load())
        )
    yield "a keyword argument added", lambda changed: changed.keywords.append(
        ast.keyword("extra", ast.Constant(1))
    )


def _delete(node: ast.Delete) -> Iterator[tuple[str, Change]]:
    yield "another name deleted", lambda changed: setattr(changed.targets[0], "id", "other")


def _module(node: ast.Module) -> Iterator[tuple[str, Change]]:
    yield "an import added", lambda changed: changed.body.insert(0, ast.Import([ast.alias("os")]))
    yield "a statement added", lambda changed: changed.body.append(ast.parse("extra = 1").body[0])


_CHANGES: dict[type[ast.AST], Callable[[Any], Iterator[tuple[str, Change]]]] = {
    ast.Constant: _constant,
    ast.Name: _name,
    ast.Attribute: _attribute,
    ast.arg: _renamed("arg"),
    ast.keyword: _renamed("arg"),
    ast.alias: _renamed("name"),
    ast.FunctionDef: _renamed("name"),
    ast.BinOp: _binary,
    ast.Compare: _compare,
    ast.UnaryOp: _unary,
    ast.Slice: _slice,
    ast.Assign: _assign,
    ast.arguments: _signature,
    ast.Call: _starred,
    ast.Delete: _delete,
    ast.Module: _module,
}
