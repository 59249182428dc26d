"""What an exported program requires of its inputs, checked on the leaves that a call passes.

The checks that generated code makes are written from the same contract, but independently of these.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.utils import _pytree as pytree

from fx2py.errors import ReplayError
from fx2py.graph.data import CallingConvention, InputCheck, InputContract
from fx2py.runtime.checks import kind_of
from fx2py.runtime.sizes import SizeExpression, compiled_expression, expression_tree

_COMPARED = (bool, int, float, complex, str)
_LOWEST_CHECKED = 3
"""torch.export assumes dynamic sizes of at least 2, but checks no lower bound of 2 or less when the program runs.

Source: ``_check_input_constraints_for_graph`` in torch/_export/utils.py.
"""
_OF_INPUT = re.compile(r"\bL\['(\w+)'\]")
Leaves = Sequence[tuple[str, Any]]
"""The leaves of a call's arguments, each with the expression that reaches it from the parameters."""


class Contract:
    """The checks of a program; called with the leaves and the arguments by parameter, raises ReplayError for a misfit."""

    def __init__(self, contract: InputContract) -> None:
        self._checks = contract.checks
        self._ranges = {text: (low, high) for text, low, high in contract.ranges}
        self._guards = contract.guards

    def __call__(self, leaves: Leaves, given: Mapping[str, Any]) -> None:
        sizes: dict[str, int] = {}
        for check, (path, value) in zip(self._checks, leaves, strict=True):
            self._leaf(check, path, value, sizes)
        for guard in self._guards:
            self._guard(guard, leaves, given)

    def _leaf(self, check: InputCheck, path: str, value: Any, sizes: dict[str, int]) -> None:
        if check.shape is not None:
            shape = _tuple(check.shape)
            is_tensor = isinstance(value, torch.Tensor)
            _require(is_tensor, f"{path} must be a tensor of shape {shape}, not {kind_of(value)}")
            fits = len(value.shape) == len(check.shape)
            _require(fits, f"{path} must have the shape {shape}, not {_tuple(value.shape)}")
            for index, (size, wanted) in enumerate(zip(value.shape, check.shape, strict=True)):
                self._size(f"{path}.shape[{index}]", size, wanted, sizes)
        elif check.symbol is not None:
            _require(isinstance(value, int | torch.SymInt), f"{path} must be an int, not {kind_of(value)}")
            self._size(path, value, check.symbol, sizes)
        elif check.constant and type(check.value) in _COMPARED:
            _require(_is_same(value, check.value), f"{path} must be {check.value!r}, not {_shown(value)}")
        else:  # ``ep.module()`` does not look at an input that was None at export either
            _require(pytree.tree_is_leaf(value), f"{path} must be no container, not {kind_of(value)}")

    def _size(self, path: str, size: Any, wanted: int | str, sizes: dict[str, int]) -> None:
        if isinstance(
            size, torch.SymInt
        ):  # comparing a symbolic size, as of a fake tensor, would add a guard
            return
        if isinstance(wanted, int):
            _require(size == wanted, f"{path} must be {wanted}, not {size}")
            return
        known = _value(wanted, size, sizes)
        _require(known is None or known == size, f"{path} must be {wanted} = {known}, not {size}")
        low, high = self._ranges.get(wanted, (None, None))
        if low is not None and low >= _LOWEST_CHECKED:
            _require(size >= low, f"{path} must be at least {low}, not {size}")
        if high is not None:
            _require(size <= high, f"{path} must be at most {high}, not {size}")

    def _guard(self, text: str, leaves: Leaves, given: Mapping[str, Any]) -> None:
        try:
            holds = compiled_expression(expression_tree(text), lambda node: _source(node, leaves, given))
        except (ValueError, RecursionError):
            return  # neither torch's guard nor the code's can be said in arithmetic
        said = _OF_INPUT.sub(r"\1", ast.unparse(expression_tree(text))).replace(".size()[", ".shape[")
        _require(bool(holds(None)), f"the inputs must satisfy {said}, which these do not")


def checks_of(contract: InputContract | None, convention: CallingConvention | None) -> Contract | None:
    """The checks of a program; None where none are recorded, or not one for each leaf."""
    if contract is None or convention is None:
        return None
    trees = (*convention.args, *convention.kwargs)
    count = sum(tree.leaf_count for _, tree in trees)
    return Contract(contract) if trees and count == len(contract.checks) else None


def _require(fits: bool, fault: str) -> None:
    if not fits:
        hint = "Pass inputs of the shapes and structure that the model was exported for."
        raise ReplayError(f"{fault}.", hint)


def _tuple(sizes: Sequence[int | str]) -> str:
    return f"({', '.join(map(str, sizes))}{',' if len(sizes) == 1 else ''})"


def _shown(value: object) -> str:
    return repr(value) if value is None or type(value) in _COMPARED else kind_of(value)


def _is_same(value: Any, wanted: Any) -> bool:
    if type(value) is not type(wanted):
        return False
    return bool(value == wanted) or (isinstance(wanted, float) and math.isnan(value) and math.isnan(wanted))


def _value(wanted: str, size: int, sizes: dict[str, int]) -> int | None:
    """What a size must be; a symbol that is not known yet becomes what makes it ``size``. None where nothing can be told."""
    try:
        expression = SizeExpression(wanted)
        unknown = [name for name in expression.names if name not in sizes]
        if len(unknown) > 1:
            return None
        for name in unknown:  # linear in a dimension, as torch.export derives one from another
            start, end = (expression.value({**sizes, name: point}) for point in (0, 1))
            sizes[name] = round((size - start) / (end - start))
        value: int = expression.value(sizes)
        return value
    except ArithmeticError:
        return -1
    except (ValueError, RecursionError):
        return None


def _source(node: ast.expr, leaves: Leaves, given: Mapping[str, Any]) -> Callable[[Any], Any] | None:
    """What torch's name of an input or of its size stands for: ``L['x'].size()[0]``, ``L['flat_args'][2]``."""
    found = _object(node, leaves, given)
    return None if found is None else lambda _: found[0]


def _object(node: ast.expr, leaves: Leaves, given: Mapping[str, Any]) -> tuple[Any] | None:
    match node:
        case ast.Subscript(value=ast.Name(id="L"), slice=ast.Constant(value=str(name))) if name in given:
            return (given[name],)
        case ast.Subscript(value=base, slice=ast.Constant(value=key)):
            return _part(base, key, leaves, given)
        case ast.Attribute(value=base, attr=name):
            held = _object(base, leaves, given)
            if held is not None and name in getattr(held[0], "_fields", ()):
                return (getattr(held[0], name),)
    return None


def _part(base: ast.expr, key: Any, leaves: Leaves, given: Mapping[str, Any]) -> tuple[Any] | None:
    """One dimension of a shape, a leaf by its number, one of variadic arguments, or a part of a container."""
    match base:
        case ast.Call(func=ast.Attribute(value=tensor, attr="size"), args=[]) | ast.Attribute(
            value=tensor, attr="shape"
        ):
            held = _object(tensor, leaves, given)
            return (held[0].shape[key],) if held is not None and isinstance(held[0], torch.Tensor) else None
        case ast.Subscript(value=ast.Name(id="L"), slice=ast.Constant(value="flat_args")) if type(key) is int:
            return (leaves[key][1],) if key < len(leaves) else None
        case ast.Subscript(value=ast.Name(id="L"), slice=ast.Constant(value=str(name))) if (
            f"{name}_{key!s}" in given
        ):
            return (given[f"{name}_{key!s}"],)
    held = _object(base, leaves, given)
    return (held[0][key],) if held is not None and isinstance(held[0], dict | list | tuple) else None
