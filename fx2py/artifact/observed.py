"""Generated code whose statements report what they give: its syntax tree with calls of an observer between them."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

from fx2py.program.ir import ENTRY, WEIGHTS

PlaceKind: TypeAlias = Literal["entered", "assigned", "called", "header", "returned"]
OBSERVER = "<observer>"
"""The observer's name in the module: no text can read or assign it, since it is no identifier."""


@dataclass(frozen=True, slots=True)
class Place:
    """A place in generated code that reports: a statement, the start of a function, the header of a loop or a branch.

    An ``assigned`` place gives values to ``targets``, a ``called`` one drops its result or writes into something. A
    ``header`` reaches to the end of its block and has the loop's variable as its target. ``reads`` are the expressions whose values it takes: variables and records of weights. Places of one ``key`` have the
    same text but for its layout.
    """

    kind: PlaceKind
    function: str
    line: int
    end_line: int
    key: str
    targets: tuple[str, ...]
    reads: tuple[str, ...]


class CodeObserver(Protocol):
    """Is told of each place that runs, by its index, with the values of what it reads."""

    def before(self, index: int, operands: tuple[Any, ...]) -> None:
        """The place is about to run. The start of a function and a header have no ``after``; a loop's comes each round."""

    def after(self, index: int, value: Any, operands: tuple[Any, ...]) -> Any:
        """The place has given ``value``, None where it assigns nothing; the code goes on with what this returns."""


def observed(tree: ast.Module) -> tuple[Place, ...]:
    """Make the functions of a file call the object that the module has as ``OBSERVER``; their places, in order.

    The entry is the last of them, also in a file of an older schema, which has more functions below it.
    """
    found: list[Place] = []
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            _Observed(node, found).change()
            if node.name == ENTRY:
                break
    return tuple(found)


class _Observed:
    """One function; ``bound`` are the variables that have a value where it is being changed, ``records`` may be weights."""

    def __init__(self, function: ast.FunctionDef, found: list[Place]) -> None:
        self.function = function
        self.found = found
        args = function.args
        self.parameters = [each.arg for each in (*args.posonlyargs, *args.args)]
        others = [*args.kwonlyargs, *[each for each in (args.vararg, args.kwarg) if each is not None]]
        self.bound = {*self.parameters, *[each.arg for each in others]}
        self.records: set[str] = {WEIGHTS}

    def change(self) -> None:
        body = self.function.body
        first = 0 if ast.get_docstring(self.function, clean=False) is None else 1
        index = self._place("entered", self.function, self.function.args, self.parameters)
        start = self._before(index, self.function)
        self.function.body = [*body[:first], start, *self._block(body[first:])]

    def _block(self, body: Iterable[ast.stmt]) -> list[ast.stmt]:
        return [changed for statement in body for changed in self._statement(statement)]

    def _statement(self, node: ast.stmt) -> Sequence[ast.stmt]:
        match node:
            case ast.Assign(targets=[ast.Name() | ast.Tuple() as target]) if _names_of(target):
                return self._assigned(node, target)
            case ast.AugAssign(target=ast.Name() as target) | ast.AnnAssign(
                target=ast.Name() as target, value=ast.expr()
            ):
                return self._assigned(node, target)
            case ast.Assign() | ast.AugAssign() | ast.Assert():
                return self._written(node)
            case ast.Expr(value=value) if not isinstance(value, ast.Constant):
                return self._reporting(node, "called", value)
            case ast.Return(value=ast.expr() as value):
                return self._reporting(node, "returned", value)
            case ast.Delete():
                self.bound -= _stored(node, ast.Del)
            case ast.For() | ast.While():
                return [self._loop(node)]
            case ast.If() | ast.With() | ast.Try():
                return self._branches(node)
        return [node]

    def _assigned(self, node: ast.stmt, target: ast.expr) -> list[ast.stmt]:
        names = _names_of(target)
        index = self._place("assigned", node, node, self._reads(node), names)
        before = self._before(index, node)
        self.bound.update(names)
        value = ast.Tuple([ast.Name(name, ast.Load()) for name in names], ast.Load())
        targets = ast.Tuple([ast.Name(name, ast.Store()) for name in names], ast.Store())
        is_one = isinstance(target, ast.Name)
        given, into = (value.elts[0], targets.elts[0]) if is_one else (value, targets)
        return [before, node, ast.copy_location(ast.Assign([into], self._after(index, given)), node)]

    def _written(self, node: ast.stmt) -> list[ast.stmt]:
        """An assignment to a part of something, or an assertion, which give no value of their own."""
        index = self._place("called", node, node, self._reads(node))
        after = ast.copy_location(ast.Expr(self._after(index, ast.Constant(None))), node)
        return [self._before(index, node), node, after]

    def _reporting(self, node: ast.Expr | ast.Return, kind: PlaceKind, value: ast.expr) -> list[ast.stmt]:
        """A statement whose expression passes through the observer."""
        index = self._place(kind, node, node, self._reads(node))
        node.value = ast.copy_location(self._after(index, value), value)
        return [self._before(index, node), node]

    def _loop(self, node: ast.For | ast.While) -> ast.stmt:
        header = node.iter if isinstance(node, ast.For) else node.test
        targets = tuple(_stored(node.target)) if isinstance(node, ast.For) else ()
        index = self._place("header", node, header, [], targets)
        outside, records = set(self.bound), set(self.records)
        if isinstance(node, ast.For):
            self.bound |= _stored(node.target)
            self.records |= _stored(node.target)
        node.body = [self._before(index, node), *self._block(node.body)]
        node.orelse = self._block(node.orelse)
        self.bound, self.records = outside - _stored(node, ast.Del), records
        return node

    def _branches(self, node: ast.If | ast.With | ast.Try) -> list[ast.stmt]:
        header = node.test if isinstance(node, ast.If) else ast.Constant(type(node).__name__)
        index = self._place("header", node, header, [])
        outside = set(self.bound)
        gone = _stored(node, ast.Del)
        blocks = [node, *(node.handlers if isinstance(node, ast.Try) else [])]
        for each in blocks:
            for field in ("body", "orelse", "finalbody"):
                self.bound = outside - gone
                if getattr(each, field, None):
                    setattr(each, field, self._block(getattr(each, field)))
        self.bound = outside - gone
        return [self._before(index, node), node]

    def _reads(self, node: ast.AST) -> list[str]:
        return [text for text in _read_texts(node, self.records) if text.partition(".")[0] in self.bound]

    def _place(
        self, kind: PlaceKind, node: ast.stmt, said: ast.AST, reads: list[str], targets: tuple[str, ...] = ()
    ) -> int:
        end = node.lineno if kind == "entered" else node.end_lineno or node.lineno
        unique = tuple(dict.fromkeys(reads))
        self.found.append(Place(kind, self.function.name, node.lineno, end, ast.dump(said), targets, unique))
        return len(self.found) - 1

    def _before(self, index: int, node: ast.AST) -> ast.stmt:
        return ast.copy_location(ast.Expr(self._call("before", index)), node)

    def _after(self, index: int, value: ast.expr) -> ast.expr:
        return self._call("after", index, value)

    def _call(self, method: str, index: int, *values: ast.expr) -> ast.expr:
        function = ast.Attribute(ast.Name(OBSERVER, ast.Load()), method, ast.Load())
        operands = [_expression(text) for text in self.found[index].reads]
        return ast.Call(function, [ast.Constant(index), *values, ast.Tuple(operands, ast.Load())], [])


def _expression(text: str) -> ast.expr:
    """The tree of an operand, without places of its own: it is read where its statement stands."""
    tree = ast.parse(text, mode="eval").body
    for node in ast.walk(tree):
        for place in ("lineno", "end_lineno", "col_offset", "end_col_offset"):
            vars(node).pop(place, None)
    return tree


def _names_of(target: ast.expr) -> tuple[str, ...]:
    """The variables of a target that is a name or a tuple of names; () for any other."""
    parts = target.elts if isinstance(target, ast.Tuple) else [target]
    return (
        tuple([part.id for part in parts if isinstance(part, ast.Name)])
        if all(isinstance(part, ast.Name) for part in parts)
        else ()
    )


def _stored(node: ast.AST, context: type[ast.expr_context] = ast.Store) -> set[str]:
    return {
        each.id for each in ast.walk(node) if isinstance(each, ast.Name) and isinstance(each.ctx, context)
    }


def _read_texts(node: ast.AST, records: set[str]) -> Iterator[str]:
    """The variables that are read, and the weights of records: ``x``, ``weights.h[0].bias``."""
    if isinstance(node, ast.Lambda | ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
        return
    if isinstance(node, ast.Name):
        if isinstance(node.ctx, ast.Load):
            yield node.id
        return
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        for child in (node.func.value, *node.args, *node.keywords):
            yield from _read_texts(child, records)
        return
    if isinstance(node, ast.Attribute | ast.Subscript) and _is_weight(node, records):
        yield ast.unparse(node)
        return
    for child in ast.iter_child_nodes(node):
        yield from _read_texts(child, records)


def _is_weight(node: ast.expr, records: set[str]) -> bool:
    while isinstance(node, ast.Attribute) or (
        isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant)
    ):
        node = node.value
    return isinstance(node, ast.Name) and node.id in records
