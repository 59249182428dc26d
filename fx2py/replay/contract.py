"""The checks that an exported program makes of its inputs, from the recorded contract."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

import torch

from fx2py.errors import ReplayError
from fx2py.graph.data import InputCheck, InputContract

_OPERATORS: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.Div: operator.truediv,
}
_MAX_POWER = 64


def check_inputs(contract: InputContract, inputs: Mapping[str, Any], constant: Callable[[Any], Any]) -> None:
    """Raise ReplayError where an input is not what the exported program was specialised for.

    ``inputs`` maps each placeholder to its value; ``constant`` gives the Python object of a recorded value.
    """
    ranges = {symbol: (low, high) for symbol, low, high in contract.ranges}
    symbols: dict[str, int] = {}
    for check in contract.checks:
        value = inputs[check.placeholder]
        if check.shape is not None:
            _check_shape(check, value, symbols, ranges)
        elif check.constant:
            _check_constant(check.placeholder, value, constant(check.value))
        elif check.symbol is not None:
            _check_size(check.placeholder, value, check.symbol, symbols, ranges)


def evaluate(expression: str, symbols: Mapping[str, int]) -> Any:
    """The value of a size expression over known symbols; None when it is not plain arithmetic over them."""
    try:
        return _evaluate(ast.parse(expression, mode="eval").body, symbols)
    except (SyntaxError, RecursionError, MemoryError, KeyError, ZeroDivisionError, OverflowError):
        return None


def free_symbols(expression: str) -> frozenset[str]:
    """The names in a size expression; empty when it is not an expression."""
    try:
        tree = ast.parse(expression, mode="eval")
    except (SyntaxError, RecursionError, MemoryError):
        return frozenset()
    return frozenset(node.id for node in ast.walk(tree) if isinstance(node, ast.Name))


def solve(expression: str, size: int, known: Mapping[str, int]) -> int | None:
    """The one unknown symbol of a linear expression, so that the expression gives ``size``; None without solution."""
    (symbol,) = free_symbols(expression) - set(known)
    at_zero, at_one = (evaluate(expression, {**known, symbol: point}) for point in (0, 1))
    if at_zero is None or at_one is None or at_one == at_zero:
        return None
    guess = round((size - at_zero) / (at_one - at_zero))
    return guess if evaluate(expression, {**known, symbol: guess}) == size else None


def _evaluate(node: ast.expr, symbols: Mapping[str, int]) -> Any:
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return node.value
    if isinstance(node, ast.Name):
        return symbols[node.id]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_evaluate(node.operand, symbols)
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        left, right = _evaluate(node.left, symbols), _evaluate(node.right, symbols)
        if isinstance(node.op, ast.Pow) and abs(right) > _MAX_POWER:
            raise OverflowError
        return _OPERATORS[type(node.op)](left, right)
    raise KeyError(type(node).__name__)


def _check_shape(check: InputCheck, value: Any, symbols: dict[str, int], ranges: Mapping[str, Any]) -> None:
    shape = check.shape or ()
    if not isinstance(value, torch.Tensor):
        raise _wrong(f"{check.placeholder} to be a tensor", type(value))
    if value.ndim != len(shape):
        raise _wrong(f"{check.placeholder} to have {len(shape)} dimensions", tuple(value.shape))
    for index, (size, expected) in enumerate(zip(value.shape, shape, strict=True)):
        _check_size(f"{check.placeholder}.shape[{index}]", size, expected, symbols, ranges)


def _check_size(
    place: str, size: Any, expected: int | str, symbols: dict[str, int], ranges: Mapping[str, Any]
) -> None:
    if isinstance(size, torch.SymInt):
        return
    if isinstance(expected, int):
        if size != expected:
            raise _wrong(f"{place} to be equal to {expected}", size)
        return
    unknown = free_symbols(expected) - set(symbols)
    if len(unknown) == 1:
        solution = solve(expected, size, symbols)
        if solution is None and expected not in unknown:
            raise _wrong(f"{place} to be of the form {expected}", size)
        symbols[next(iter(unknown))] = size if solution is None else solution
    elif not unknown and (known := evaluate(expected, symbols)) is not None and known != size:
        raise _wrong(f"{place} to be equal to {known}", size)
    low, high = ranges.get(expected, (None, None))
    if (low is not None and size < low) or (high is not None and size > high):
        raise _wrong(f"{place} to be in the range {low} to {'any size' if high is None else high}", size)


def _check_constant(place: str, value: Any, expected: Any) -> None:
    both_nan = type(value) is type(expected) is float and math.isnan(value) and math.isnan(expected)
    if type(value) is not type(expected) or not (both_nan or value == expected):
        raise _wrong(f"{place} to be equal to {expected!r}", value)


def _wrong(expected: str, found: Any) -> ReplayError:
    return ReplayError(
        f"expected input {expected}, but got {found}.",
        "Pass inputs of the shapes that the model was exported for.",
    )
