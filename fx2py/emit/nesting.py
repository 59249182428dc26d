"""Edited code read as generated code is, one call a statement: what nests in an expression becomes statements before it.

Python evaluates what a call takes before the call, from left to right, and so does the straight-line code that is read here.
``print``, ``assert``, ``breakpoint`` and an ``if`` around them look at values and bind none, so they are read as the calls
that they make; of two values, one of which they look at, both are read.
"""

from __future__ import annotations

import ast
from abc import abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from fx2py.graph.values import Name, Ref, Value
from fx2py.program.ir import (
    Assign,
    Call,
    Delete,
    Function,
    Loop,
    Method,
    Statement,
    expression,
    is_expression,
    names_in,
    straight,
)
from fx2py.syntax import BINARY, COMPARISONS, UNARY, ValueReader

_FORMAT, _ADD = Name("builtins", "format"), Name("operator", "add")
_CONVERSIONS = {
    ord("s"): Name("builtins", "str"),
    ord("r"): Name("builtins", "repr"),
    ord("a"): Name("builtins", "ascii"),
}


def let_go(call: Call) -> list[Statement]:
    """The end of the results without a name that a call takes."""
    read = names_in(*call.args, *[value for _, value in call.kwargs])
    names = tuple([name for name in read if is_expression(name)])
    return [Delete(names)] if names else []


class Nesting(ValueReader):
    """Reads statements and expressions; ``before`` has what is executed before the statement that is being read."""

    def __init__(self) -> None:
        self.before: list[Statement] = []
        self._count = 0
        self._only_looks = False

    @abstractmethod
    def last_call(self, node: ast.expr) -> Call | None:
        """The call that an expression makes last; None when it only builds a value."""

    @abstractmethod
    def path(self, node: ast.expr) -> str:
        """The dotted path that an expression names from an imported module or a builtin; '' if it is none."""

    @abstractmethod
    def is_number(self, node: ast.expr) -> bool:
        """Whether an expression is a number with its signs."""

    def value(self, node: ast.expr) -> Value:
        if type(node) is ast.Name:
            return self.name(node)
        handler = _HANDLERS.get(type(node))
        found = handler(self, node) if handler is not None else None
        return super().value(node) if found is None else found

    def nested(self, node: ast.expr, reason: str) -> Value:
        """The result of a call inside an expression."""
        call = self.last_call(node)
        if call is None:
            raise self.fault(node, reason)
        if self._only_looks and _may_write(call):
            raise self.fault(node, "a call inside an assert, an if or a print may change a value")
        return self.result(call)

    def result(self, call: Call) -> Value:
        """The result of a call that is made before, as a variable without a name in the text."""
        target = expression(self._count)
        self._count += 1
        self._make(target, call)
        return Ref(target)

    def _make(self, target: str | None, call: Call) -> None:
        self.before += [Assign(target, call), *let_go(call)]

    def looks(self, node: ast.stmt) -> bool:
        """Read a statement that looks at values and binds none; False for any other."""
        if type(node) not in _LOOKING_STATEMENTS:
            return False
        self._only_looks = True
        try:
            return self._looks(node)
        finally:
            self._only_looks = False

    def _looks(self, node: ast.stmt) -> bool:
        match node:
            case ast.Assert(test=test, msg=message):
                self._passed_to("bool", test)
                if message is not None:
                    self._passed_to("str", message)
            case ast.If(test=test, body=body, orelse=other):
                self._passed_to("bool", test)
                for part in (*body, *other):
                    if not self._looks(part):
                        raise self.fault(part, "an if stands around more than print, assert and breakpoint()")
            case ast.Expr(value=ast.Call(func=func) as call) if self.path(func) in _LOOKING:
                self._make(None, Call(_LOOKING[self.path(func)], *self.arguments(call)))
            case ast.Pass():
                pass
            case _:
                return False
        return True

    def _passed_to(self, function: str, node: ast.expr) -> None:
        self._make(None, Call(Name("builtins", function), (self.value(node),)))

    def one_of(self, nodes: list[ast.expr]) -> Value | None:
        """Values of which a statement looks at one or more; None where a statement does more than look."""
        return self.values(nodes) if self._only_looks else None


_LOOKING_STATEMENTS = frozenset[type]({ast.Assert, ast.If, ast.Expr, ast.Pass})
_LOOKING = {
    path: Name("builtins", path.removeprefix("builtins."))
    for path in ("builtins.print", "builtins.breakpoint")
}


# -- looks, left out -----------------------------------------------------------------------------------------------


def without_looks(functions: Iterable[Function]) -> tuple[Function, ...]:
    """Functions that compute the same and look at nothing: without the looks, and without what only they read.

    What changes a value in place stays, and so does what has a name.
    """
    return tuple([replace(each, body=_without_looks(each.body, names_in(each.result))) for each in functions])


def _without_looks(body: Sequence[Statement], read: Iterable[str]) -> tuple[Statement, ...]:
    kept: list[Statement] = []
    wanted = set(read)
    for statement in reversed(body):
        if isinstance(statement, Loop):
            statement = replace(statement, body=_without_looks(statement.body, ()))
        elif isinstance(statement, Assign) and (_is_look(statement) or _is_only_looked_at(statement, wanted)):
            continue
        elif isinstance(statement, Delete):
            kept.append(statement)
            continue
        wanted.update(statement.parts.variables)
        kept.append(statement)
    assigned = {each.target for each in straight(kept) if isinstance(each, Assign)}
    return tuple([left for each in reversed(kept) if (left := _without_ends(each, assigned)) is not None])


def _is_look(statement: Assign) -> bool:
    return statement.target is None and statement.call.callee in _LOOKS


def _is_only_looked_at(statement: Assign, wanted: Collection[str]) -> bool:
    target = statement.target
    is_unread = target is not None and is_expression(target) and target not in wanted
    return is_unread and not _may_write(statement.call)


def _may_write(call: Call) -> bool:
    """Whether a call may change what it takes: by its name, or asked to by an argument (``out=``, ``inplace``, ``training``)."""
    if not isinstance(call.callee, Name | Method) or _writes(call.callee):
        return True
    asked = any(name in _WRITING_ARGUMENTS and value is not False for name, value in call.kwargs)
    is_torchs = isinstance(call.callee, Name) and call.callee.module not in ("builtins", "operator")
    return asked or (is_torchs and any(value is True for value in call.args))


_WRITING_ARGUMENTS = frozenset({"out", "inplace", "training", "train", "use_input_stats"})


def _writes(callee: Name | Method) -> bool:
    """Whether a call may change what it takes: torch's names say so by their last character."""
    if isinstance(callee, Method):
        return callee.name.endswith("_")
    return callee.qualname not in _SIGNS if callee.module == "operator" else callee.qualname.endswith("_")


_SIGNS = frozenset(
    {
        *(*BINARY.values(), *COMPARISONS.values(), *UNARY.values()),
        *("contains", "getitem", "is_", "is_not", "not_"),
    }
)


def _without_ends(statement: Statement, assigned: Collection[str | None]) -> Statement | None:
    """A statement that deletes no expression which was left out."""
    if not isinstance(statement, Delete):
        return statement
    names = tuple([name for name in statement.names if not is_expression(name) or name in assigned])
    return Delete(names) if names else None


_LOOKS = tuple([Name("builtins", name) for name in ("print", "breakpoint", "bool", "str")])


# -- handlers ----------------------------------------------------------------------------------------------------


def _nested(reader: Nesting, node: ast.expr) -> Value:
    return reader.nested(node, "this operation is not written")


def _unary(reader: Nesting, node: ast.UnaryOp) -> Value | None:
    return None if reader.is_number(node) else _nested(reader, node)


def _compare(reader: Nesting, node: ast.Compare) -> Value | None:
    return reader.one_of([node.left, *node.comparators]) if len(node.ops) > 1 else _nested(reader, node)


def _text(reader: Nesting, node: ast.JoinedStr) -> Value:
    """A formatted string: its parts, added up."""
    whole: Value = ""
    for part in node.values:
        text = part.value if isinstance(part, ast.Constant) else _formatted(reader, part)
        whole = text if whole == "" else reader.result(Call(_ADD, (whole, text)))
    return whole


def _formatted(reader: Nesting, node: ast.expr) -> Value:
    if not isinstance(node, ast.FormattedValue):
        raise reader.unknown(node)
    value = reader.value(node.value)
    if node.conversion in _CONVERSIONS:
        value = reader.result(Call(_CONVERSIONS[node.conversion], (value,)))
    return reader.result(Call(_FORMAT, (value, _specification(reader, node.format_spec))))


def _specification(reader: Nesting, node: ast.expr | None) -> str:
    """How a value is formatted: a literal, since a computed one could be of any width."""
    parts = node.values if isinstance(node, ast.JoinedStr) else []
    texts = [part.value for part in parts if isinstance(part, ast.Constant) and type(part.value) is str]
    if len(texts) != len(parts):
        raise reader.fault(parts[0], "the format of a value is computed")
    return "".join(texts)


_HANDLERS: Mapping[type[ast.expr], Callable[[Any, Any], Value | None]] = {
    ast.BinOp: _nested,
    ast.UnaryOp: _unary,
    ast.Compare: _compare,
    ast.BoolOp: lambda reader, node: reader.one_of(node.values),
    ast.IfExp: lambda reader, node: reader.one_of([node.test, node.body, node.orelse]),
    ast.JoinedStr: _text,
}
"""None of a handler leaves an expression to the reader of values."""
