"""Right-hand sides in the text of a saved graph, as operations: FX prints each without parentheses, one a statement."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from fx2py.graph.data import Opcode, Target
from fx2py.graph.values import Name, Value
from fx2py.read.forward.values import Names, dotted, fault, getattr_step, keywords_of, shown, value_of

SELF = "self"
Operation: TypeAlias = "tuple[Opcode, Target, tuple[Value, ...], tuple[tuple[str, Value], ...]]"

BINARY: Mapping[type[ast.operator], str] = {
    ast.Add: "add",
    ast.Sub: "sub",
    ast.Mult: "mul",
    ast.FloorDiv: "floordiv",
    ast.Div: "truediv",
    ast.Mod: "mod",
    ast.Pow: "pow",
    ast.LShift: "lshift",
    ast.RShift: "rshift",
    ast.BitAnd: "and_",
    ast.BitOr: "or_",
    ast.BitXor: "xor",
    ast.MatMult: "matmul",
}
"""The functions of ``operator`` that FX prints as an operator between two values."""

_COMPARE: Mapping[type[ast.cmpop], str] = {
    ast.Eq: "eq",
    ast.NotEq: "ne",
    ast.Lt: "lt",
    ast.Gt: "gt",
    ast.LtE: "le",
    ast.GtE: "ge",
}
_UNARY: Mapping[type[ast.unaryop], str] = {ast.UAdd: "pos", ast.USub: "neg", ast.Invert: "invert"}
_FIRST_OPERAND: Mapping[type[ast.expr], str] = {
    ast.BinOp: "left",
    ast.Subscript: "value",
    ast.Call: "func",
    ast.Attribute: "value",
}


def operation(value: ast.expr, names: Names) -> Operation:
    """What the right-hand side of an assignment computes; ForwardFault for what FX does not print."""
    handler = _OPERATIONS.get(type(value))
    if handler is None:
        raise fault(value, f"is no operation of a saved graph: {shown(value)}")
    return handler(value, names)


def _call(value: Any, names: Names) -> Operation:
    own = _own_path(value)
    if own is not None:
        return "get_attr", own, (), ()
    path = _own_path(value.func)
    if path is not None:
        return "call_module", path, _args(value, names), _kwargs(value, names)
    found = _method(value.func, names)
    if found is not None:
        base, method = found
        return "call_method", method, (base, *_args(value, names)), _kwargs(value, names)
    return "call_function", names.target(value.func), _args(value, names), _kwargs(value, names)


def _attribute(value: Any, names: Names) -> Operation:
    path = _own_path(value)
    if path is not None:
        return "get_attr", path, (), ()
    base = value_of(value.value, names)
    return "call_function", Name("builtins", "getattr"), (base, value.attr), ()


def _binary(value: Any, names: Names) -> Operation:
    return _operator(BINARY[type(value.op)], value_of(value.left, names), value_of(value.right, names))


def _compare(value: Any, names: Names) -> Operation:
    kind = _COMPARE.get(type(value.ops[0]))
    if kind is None or len(value.ops) != 1:
        raise fault(value, f"is no operation of a saved graph: {shown(value)}")
    return _operator(kind, value_of(value.left, names), value_of(value.comparators[0], names))


def _subscript(value: Any, names: Names) -> Operation:
    return _operator("getitem", value_of(value.value, names), value_of(value.slice, names))


def _unary(value: Any, names: Names) -> Operation:
    """``-x``; where more than a value follows the sign, the sign is a literal's: ``-2 ** x`` is ``pow(-2, x)``."""
    kind = _UNARY.get(type(value.op))
    if kind is None:
        raise fault(value, f"is no operation of a saved graph: {shown(value)}")
    if kind == "neg" and _take_sign(value.operand):
        return operation(value.operand, names)
    return _operator(kind, value_of(value.operand, names))


def _args(call: ast.Call, names: Names) -> tuple[Value, ...]:
    return tuple([value_of(arg, names) for arg in call.args])


def _kwargs(call: ast.Call, names: Names) -> tuple[tuple[str, Value], ...]:
    return tuple(keywords_of(call, names).items()) if call.keywords else ()


def _own_path(node: ast.expr) -> str | None:
    """The path below the module that ``self.a.b`` spells; None for anything that is not reached from ``self``."""
    path = dotted(node)
    if path is None or not path.startswith(f"{SELF}."):
        return None
    return path[len(SELF) + 1 :]


def _method(function: ast.expr, names: Names) -> tuple[Value, str] | None:
    """The object and the name of a method call; None where a function is called by its name."""
    words: list[str] = []
    while (step := _step(function)) is not None:
        function, word = step
        words.append(word)
    if not words or (isinstance(function, ast.Name) and not _is_value(function, names)):
        return None
    return value_of(function, names), ".".join(reversed(words))


def _step(node: ast.expr) -> tuple[ast.expr, str] | None:
    return (node.value, node.attr) if isinstance(node, ast.Attribute) else getattr_step(node)


def _is_value(name: ast.Name, names: Names) -> bool:
    return names.is_local(name.id) or name.id in ("inf", "nan")


_OPERATIONS: Mapping[type[ast.expr], Callable[[Any, Names], Operation]] = {
    ast.Call: _call,
    ast.Attribute: _attribute,
    ast.BinOp: _binary,
    ast.Compare: _compare,
    ast.Subscript: _subscript,
    ast.UnaryOp: _unary,
}


def _operator(name: str, *args: Value) -> Operation:
    return "call_function", Name("operator", name), args, ()


def _take_sign(node: ast.expr) -> bool:
    """Negates the number that an operation binding tighter than a sign begins with; False where none does."""
    parent: Any = node
    while (field := _FIRST_OPERAND.get(type(parent))) is not None:
        if isinstance(parent, ast.BinOp) and not isinstance(parent.op, ast.Pow):
            return False
        child = getattr(parent, field)
        if _is_number(child):
            setattr(parent, field, ast.copy_location(ast.UnaryOp(ast.USub(), child), child))
            return True
        parent = child
    return False


def _is_number(node: ast.expr) -> bool:
    if isinstance(node, ast.Constant):
        return type(node.value) in (int, float, complex)
    return isinstance(node, ast.Name) and node.id in ("inf", "nan")
