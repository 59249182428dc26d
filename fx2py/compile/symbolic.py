"""Inputs without numbers for a graph: fake tensors of the recorded dtypes and sizes, symbolic where those are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext

import torch
from torch._dynamo.source import ConstantSource
from torch._subclasses import FakeTensorMode
from torch.fx.experimental.symbolic_shapes import DimDynamic, ShapeEnv, StrictMinMaxConstraint
from torch.utils import _pytree as pytree
from torch.utils._sympy.numbers import int_oo
from torch.utils._sympy.value_ranges import ValueRanges

from fx2py.graph.data import GraphData, Node, TensorMeta
from fx2py.replay.inputs import Arguments, InputMaker, Inputs
from fx2py.replay.sizes import symbol_sizes
from fx2py.trust import Policy


def fake_arguments(data: GraphData, mode: FakeTensorMode, inputs: Inputs | None, policy: Policy) -> Arguments:
    """What to trace a graph with: ``inputs`` with their sizes as constants, else tensors of the recorded shapes.

    Recorded sizes that are symbolic stay so. Raises ReplayError for an input of which nothing is recorded.
    """
    if inputs is None:
        return _FakeInputs(data, mode, policy).arguments()

    def fake(tensor: torch.Tensor) -> torch.Tensor:
        return mode.from_tensor(tensor, static_shapes=True)

    args, kwargs = pytree.tree_map_only(torch.Tensor, fake, (inputs.args, dict(inputs.kwargs)))
    return args, kwargs


class _FakeInputs(InputMaker[int | torch.SymInt]):
    """Fake tensors, with symbolic sizes where the graph records such."""

    def __init__(self, data: GraphData, mode: FakeTensorMode, policy: Policy) -> None:
        super().__init__(data, policy, _symbols(data, mode.shape_env))
        self._mode = mode

    def tensor(
        self,
        node: Node,
        meta: TensorMeta,
        shape: Sequence[int | torch.SymInt],
        strides: Sequence[int | torch.SymInt] | None,
    ) -> torch.Tensor:
        device = meta.device or torch.device("cpu")
        with self._mode:
            if strides is None:
                return torch.empty(shape, dtype=meta.dtype, device=device)
            return torch.empty_strided(shape, strides, dtype=meta.dtype, device=device)


@contextmanager
def discarded_sizes(mode: FakeTensorMode) -> Iterator[None]:
    """Sizes that depend on data (unbacked symbols) may be made in the block without being bound to a node.

    ``ShapeEnv`` keeps each as pending until a node of the graph that is traced binds it, and raises
    PendingUnbackedSymbolNotFound for the next graph. Nothing traces what runs in the block.
    """
    environment = mode.shape_env
    with nullcontext() if environment is None else environment.ignore_fresh_unbacked_symbols():
        yield


def _symbols(data: GraphData, environment: ShapeEnv | None) -> Mapping[str, int | torch.SymInt]:
    """Each symbol of the inputs as a dynamic size, in the range that the generated code checks."""
    assert environment is not None, "compile_pieces makes the mode with one"
    ranges = {name: (low, high) for name, low, high in data.contract.ranges} if data.contract else {}
    made: dict[str, int | torch.SymInt] = {}
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
