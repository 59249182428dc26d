"""Inputs made from what a graph records: shapes, dtypes, ranges of symbols, and tables that are indexed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from fx2py.errors import Argument, Hint, ReplayError
from fx2py.graph.data import GraphData, Node, SymMeta, TensorMeta
from fx2py.graph.values import Value
from fx2py.replay.containers import unflatten
from fx2py.replay.index_bounds import index_bound
from fx2py.replay.values import Values
from fx2py.runtime.sizes import SizeExpression
from fx2py.trust import Policy

PASS_INPUTS = Hint("Pass ", Argument.INPUTS, ".")
_SMALLEST = 3
"""The first symbol's size; each further symbol gets the next one, so that mixed up dimensions do not go unseen."""
_DEFAULT_BOUND = 2


def synthesize(data: GraphData, seed: int, policy: Policy) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Positional and keyword arguments that fit what is recorded; the same for the same seed.

    Raises ReplayError for an input without a record.
    """
    return arguments(data, _Maker(data, seed, policy).leaf, policy)


def arguments(
    data: GraphData, leaf: Callable[[Node], Any], policy: Policy
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Positional and keyword arguments for a graph in which each placeholder gets the value that ``leaf`` gives it."""
    convention = data.convention
    if convention is None:
        needed = (
            node for node in data.graph.placeholders if not node.args and not str(node.target).startswith("*")
        )
        return (), {str(node.target): leaf(node) for node in needed}
    constant = constant_values(policy)
    leaves = iter([leaf(node) for node in data.graph.placeholders])
    args = tuple(unflatten(tree, leaves, constant) for _, tree in convention.args)
    return args, {name: unflatten(tree, leaves, constant) for name, tree in convention.kwargs}


def constant_values(policy: Policy) -> Callable[[Value], Any]:
    """What a constant of a graph is as an object."""
    return Values(policy, None, lambda tensor: tensor, _no_attribute).constant


def fixed_inputs(data: GraphData) -> Mapping[str, Value]:
    """The placeholders that must have one value, by name, with that value."""
    checks = data.contract.checks if data.contract is not None else ()
    return {check.placeholder: check.value for check in checks if check.constant}


class _Maker:
    """Makes the value of each placeholder."""

    def __init__(self, data: GraphData, seed: int, policy: Policy) -> None:
        self._data = data
        self._generator = torch.Generator().manual_seed(seed)
        self._constants = fixed_inputs(data)
        self._sizes = symbol_sizes(data)
        self.constant = constant_values(policy)

    def leaf(self, node: Node) -> Any:
        """A value that fits what is recorded of a placeholder."""
        if node.name in self._constants:
            return self.constant(self._constants[node.name])
        meta = node.meta.value
        if isinstance(meta, TensorMeta):
            return self._tensor(node, meta)
        if isinstance(meta, SymMeta):
            return (
                {"float": 0.5, "bool": True}[meta.kind]
                if meta.kind != "int"
                else self._size(node, meta.expression)
            )
        raise ReplayError(
            f"nothing is recorded of the input {node.name!r}, so that no inputs can be made.",
            PASS_INPUTS,
        )

    def _tensor(self, node: Node, meta: TensorMeta) -> torch.Tensor:
        shape = [self._size(node, size) for size in meta.shape]
        value = self._elements(node, meta.dtype, shape)
        if meta.stride is not None:
            strides = [self._size(node, size) for size in meta.stride]
            if 0 not in strides:
                value = torch.empty_strided(shape, strides, dtype=meta.dtype).copy_(value)
        value = value if meta.device is None else value.to(meta.device)
        return value.requires_grad_(meta.requires_grad)

    def _elements(self, node: Node, dtype: torch.dtype, shape: list[int]) -> torch.Tensor:
        if dtype.is_floating_point or dtype.is_complex:
            wide = torch.complex64 if dtype.is_complex else torch.float32
            return torch.randn(shape, generator=self._generator, dtype=wide).to(dtype)
        bound = _DEFAULT_BOUND
        if dtype != torch.bool:
            known = index_bound(self._data.root, node.name)
            bound = bound if known is None else min(known, torch.iinfo(dtype).max)
        return torch.randint(0, bound, shape, generator=self._generator).to(dtype)

    def _size(self, node: Node, size: int | str) -> int:
        if isinstance(size, int):
            return size
        try:
            return int(SizeExpression(size).value(self._sizes))
        except (ValueError, ArithmeticError, KeyError):
            raise ReplayError(
                f"the size {size!r} of the input {node.name!r} cannot be chosen.",
                PASS_INPUTS,
            ) from None


def symbol_sizes(data: GraphData) -> Mapping[str, int]:
    """A size for each symbol of the inputs, in its range."""
    ranges = {name: (low, high) for name, low, high in data.contract.ranges} if data.contract else {}
    sizes: dict[str, int] = {}
    for node in data.graph.placeholders:
        meta = node.meta.value
        texts = meta.shape if isinstance(meta, TensorMeta) else ()
        texts = (meta.expression,) if isinstance(meta, SymMeta) else texts
        for text in texts:
            for symbol in _symbols(text) if isinstance(text, str) else ():
                low, high = ranges.get(symbol, (None, None))
                size = max(_SMALLEST + len(sizes), low or 0)
                sizes.setdefault(symbol, size if high is None else min(size, high))
    return sizes


def _symbols(expression: str) -> list[str]:
    """The names in a size expression; none when it is not arithmetic."""
    try:
        return sorted(SizeExpression(expression).names)
    except ValueError:
        return []


def _no_attribute(path: str) -> Any:
    raise ReplayError(f"the inputs refer to {path!r}, which only a graph can do.")
