"""Arithmetic over sizes, in which checks and guards of inputs are written: text to functions, without ``eval``."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

Evaluator: TypeAlias = Callable[[Any], Any]
"""The value of an expression, from what its names stand for."""
BinaryOperators: TypeAlias = dict[type[ast.AST], Callable[[Any, Any], Any]]


def limited_power(base: Any, power: Any) -> Any:
    """``base**power``, but for results so large that computing them would take all memory."""
    if abs(power) > 64 or (isinstance(base, int) and base.bit_length() * abs(power) > 4096):
        raise OverflowError(f"a size is raised to the power {power}")
    return base**power


ARITHMETIC: BinaryOperators = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Div: operator.truediv,
    ast.Pow: limited_power,
}
COMPARISONS: BinaryOperators = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
CALLS: dict[str, Callable[..., Any]] = {
    "Max": max,
    "Min": min,
    "max": max,
    "min": min,
    "Abs": abs,
    "abs": abs,
    "Mod": operator.mod,
    "FloorDiv": operator.floordiv,
    "CleanDiv": operator.floordiv,
    "floor": math.floor,
    "math.floor": math.floor,
    "ceiling": math.ceil,
    "math.ceil": math.ceil,
}


class SizeExpression:
    """A size as an expression over named sizes: its ``names``, and ``value``, a function of a mapping of their sizes.

    Raises ValueError when the text is not arithmetic over names.
    """

    def __init__(self, text: str) -> None:
        tree = expression_tree(text)
        found = [node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id not in CALLS]
        self.names = tuple(dict.fromkeys(found))
        self.value = compiled_expression(tree, self._size)

    @staticmethod
    def _size(node: ast.expr) -> Evaluator | None:
        return operator.itemgetter(node.id) if isinstance(node, ast.Name) else None

    def fits(self, size: int, sizes: dict[str, int]) -> bool:
        """Whether the value is ``size``. A single name that has no size yet gets the one for which it is; with several
        such names nothing can be told, and the answer is yes."""
        unknown = [name for name in self.names if name not in sizes]
        if len(unknown) > 1:
            return True
        try:
            if unknown:
                sizes[unknown[0]] = self._solution(unknown[0], size, sizes)
            return bool(self.value(sizes) == size)
        except ArithmeticError:
            return False

    def _solution(self, name: str, size: int, sizes: dict[str, int]) -> int:
        """The value of ``name`` for which the expression is ``size``, if it is linear."""
        start, end = (self.value({**sizes, name: point}) for point in (0, 1))
        found: int = round((size - start) / (end - start))
        return found


def expression_tree(text: str) -> ast.expr:
    """The syntax tree of an expression; ValueError when the text is not one."""
    try:
        return ast.parse(text, mode="eval").body
    except (SyntaxError, MemoryError, RecursionError) as error:
        raise ValueError(f"{text!r} is no expression: {error}") from None


def compiled_expression(
    node: ast.expr, variable: Callable[[ast.expr], Evaluator | None], depth: int = 100
) -> Evaluator:
    """The function of an expression; ``variable`` gives that of a name or place, None for any other node.

    Raises ValueError where ``node`` is neither arithmetic nor a comparison.
    """

    def inner(part: ast.expr) -> Evaluator:
        return compiled_expression(part, variable, depth - 1)

    if depth and (found := variable(node)) is not None:
        return found
    if depth and isinstance(node, ast.Constant) and type(node.value) in (bool, int, float, str):
        constant = node.value
        return lambda known: constant
    if depth and isinstance(node, ast.BinOp) and type(node.op) in ARITHMETIC:
        return applied_to(ARITHMETIC[type(node.op)], inner(node.left), inner(node.right))
    if depth and isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.Not)):
        return applied_to(
            operator.neg if isinstance(node.op, ast.USub) else operator.not_, inner(node.operand)
        )
    if depth and isinstance(node, ast.Compare) and all(type(sign) in COMPARISONS for sign in node.ops):
        sides = [inner(side) for side in (node.left, *node.comparators)]
        steps = zip(node.ops, sides[:-1], sides[1:], strict=True)
        return all_of([applied_to(COMPARISONS[type(sign)], left, right) for sign, left, right in steps])
    if depth and isinstance(node, ast.BoolOp):
        conditions = [inner(part) for part in node.values]
        return all_of(conditions) if isinstance(node.op, ast.And) else any_of(conditions)
    if depth and isinstance(node, ast.Call) and ast.unparse(node.func) in CALLS and not node.keywords:
        return applied_to(CALLS[ast.unparse(node.func)], *[inner(part) for part in node.args])
    raise ValueError(f"{type(node).__name__} is no arithmetic over sizes")


def applied_to(function: Callable[..., Any], *operands: Evaluator) -> Evaluator:
    if len(operands) == 2:
        left, right = operands
        return lambda known: function(left(known), right(known))
    return lambda known: function(*[operand(known) for operand in operands])


def all_of(conditions: list[Evaluator]) -> Evaluator:
    if len(conditions) == 1:
        return conditions[0]
    return lambda known: all(condition(known) for condition in conditions)


def any_of(conditions: list[Evaluator]) -> Evaluator:
    return lambda known: any(condition(known) for condition in conditions)


def guard_condition(text: str, leaves: Iterable[str]) -> Evaluator:
    """A condition over leaves (``d['a'].shape[0] > n``) as a function of their list; ValueError when it is not one."""
    positions = {path: index for index, path in enumerate(leaves)}

    def variable(node: ast.expr) -> Evaluator | None:
        if ast.unparse(node) in positions:
            return operator.itemgetter(positions[ast.unparse(node)])
        if not isinstance(node, ast.Subscript) or not isinstance(node.value, ast.Attribute):
            return None
        tensor, dimension = ast.unparse(node.value.value), ast.unparse(node.slice)
        if node.value.attr != "shape" or tensor not in positions or not dimension.isdecimal():
            return None
        position, index = positions[tensor], int(dimension)
        return lambda values: values[position].shape[index]

    return compiled_expression(expression_tree(text), variable)
