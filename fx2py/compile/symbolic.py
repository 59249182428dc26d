"""Inputs without numbers for a graph: fake tensors of the recorded dtypes and sizes, symbolic where those are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch._dynamo.source import ConstantSource
from torch._subclasses import FakeTensorMode
from torch.fx.experimental.symbolic_shapes import DimDynamic, ShapeEnv, StrictMinMaxConstraint
from torch.utils import _pytree as pytree
from torch.utils._sympy.numbers import int_oo
from torch.utils._sympy.value_ranges import ValueRanges

from fx2py.errors import ReplayError
from fx2py.graph.data import GraphData, Node, SymMeta, TensorMeta
from fx2py.replay.inputs import Inputs
from fx2py.replay.synthesis import PASS_INPUTS, arguments, constant_values, fixed_inputs, symbol_sizes
from fx2py.runtime.sizes import SizeExpression
from fx2py.trust import Policy

Arguments = tuple[tuple[Any, ...], dict[str, Any]]


def fake_arguments(data: GraphData, mode: FakeTensorMode, inputs: Inputs | None, policy: Policy) -> Arguments:
    """What to trace a graph with: ``inputs`` with their very sizes, else what the graph records, sizes that vary too.

    Raises ReplayError for an input without a record.
    """
    if inputs is None:
        return arguments(data, _Fakes(data, mode, policy).leaf, policy)

    def fake(tensor: torch.Tensor) -> torch.Tensor:
        return mode.from_tensor(tensor, static_shapes=True)

    args, kwargs = pytree.tree_map_only(torch.Tensor, fake, (inputs.args, dict(inputs.kwargs)))
    return args, kwargs


class _Fakes:
    """Makes the value of each placeholder."""

    def __init__(self, data: GraphData, mode: FakeTensorMode, policy: Policy) -> None:
        self._mode = mode
        self._fixed = fixed_inputs(data)
        self._constant = constant_values(policy)
        self._symbols = _symbols(data, mode.shape_env)

    def leaf(self, node: Node) -> Any:
        """A value that is what is recorded of a placeholder."""
        if node.name in self._fixed:
            return self._constant(self._fixed[node.name])
        meta = node.meta.value
        if isinstance(meta, TensorMeta):
            return self._tensor(node, meta)
        if isinstance(meta, SymMeta) and meta.kind == "int":
            return self._size(node, meta.expression)
        raise ReplayError(
            f"nothing is recorded of the input {node.name!r}, so that its pieces cannot be compiled.",
            PASS_INPUTS,
        )

    def _tensor(self, node: Node, meta: TensorMeta) -> torch.Tensor:
        shape = [self._size(node, size) for size in meta.shape]
        device = meta.device or torch.device("cpu")
        with self._mode:
            if meta.stride is None:
                return torch.empty(shape, dtype=meta.dtype, device=device)
            stride = [self._size(node, size) for size in meta.stride]
            return torch.empty_strided(shape, stride, dtype=meta.dtype, device=device)

    def _size(self, node: Node, size: int | str) -> Any:
        if isinstance(size, int):
            return size
        try:
            return SizeExpression(size).value(self._symbols)
        except (ValueError, ArithmeticError, KeyError):
            raise ReplayError(
                f"the size {size!r} of the input {node.name!r} has no meaning.", PASS_INPUTS
            ) from None


def _symbols(data: GraphData, environment: ShapeEnv | None) -> Mapping[str, Any]:
    """Each symbol of the inputs as a size that varies, in the range that the generated code checks."""
    assert environment is not None
    ranges = {name: (low, high) for name, low, high in data.contract.ranges} if data.contract else {}
    made: dict[str, Any] = {}
    for name, hint in symbol_sizes(data).items():
        low, high = ranges.get(name, (None, None))
        bounds = ValueRanges(0 if low is None else low, int_oo if high is None else high)
        source = ConstantSource(name)
        symbol = environment.create_symbol(
            hint,
            source,
            DimDynamic.DYNAMIC,
            StrictMinMaxConstraint(warn_only=False, vr=bounds),
            do_not_specialize_zero_one=True,
        )
        made[name] = environment.create_symintnode(symbol, hint=hint, source=source)
    return made
