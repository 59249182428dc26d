"""Which side is closer to the result in double precision: the graph with each number and each dtype in it widened."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch.utils import _pytree as pytree

from fx2py.compare.cases import Case
from fx2py.compare.diff import Pair
from fx2py.compare.leaves import leaves_with_paths
from fx2py.compare.report import Precision
from fx2py.compare.runs import Run
from fx2py.compare.sides import Side, run_in_a_row
from fx2py.errors import ReplayError
from fx2py.graph.data import Graph, GraphData, ModuleRecord, Node
from fx2py.graph.tensors import TensorCopies
from fx2py.graph.values import TensorValue, Value
from fx2py.replay.inputs import Inputs
from fx2py.replay.interpreter import Reference

_WIDE = {
    **dict.fromkeys((torch.float16, torch.bfloat16, torch.float32), torch.float64),
    **dict.fromkeys((torch.complex32, torch.complex64), torch.complex128),
}
_NARROWING = frozenset({"half", "bfloat16", "float"})
"""Methods that give a narrower tensor than ``double``."""


def precision(pair: Pair, case: Case) -> tuple[Precision, ...]:
    """The distances of both sides from the graph in double precision, for each output of floating point.

    Raises ReplayError when the graph cannot be run so.
    """
    reference = Reference(in_double(pair.data), pair.policy, device=pair.device)
    wide = _only_run(Side(reference, reference.tensors, device=pair.reference.device), _widened(case))
    if wide.raised is not None:
        raise ReplayError(
            f"the graph cannot be run in float64: {type(wide.raised).__name__}: {wide.raised}.",
            "Compare without double precision as the reference.",
        )
    state = {
        name: pair.reference.state[name] for name in pair.candidate.state if name in pair.reference.state
    }
    one, other = _only_run(pair.reference, case), _only_run(pair.candidate, case, state)
    sides = [dict(leaves_with_paths("output", run.result)) for run in (wide, one, other)]
    return tuple(
        Precision(path, _distance(exact, sides[1][path]), _distance(exact, sides[2][path]))
        for path, exact in sides[0].items()
        if isinstance(exact, torch.Tensor)
        and exact.is_floating_point()
        and path in sides[1]
        and path in sides[2]
    )


def _only_run(side: Side, case: Case, start: Mapping[str, torch.Tensor] | None = None) -> Run:
    own = side.state if start is None else start
    copies = TensorCopies(side.device)
    (run,) = run_in_a_row(
        side, {name: copies(tensor) for name, tensor in own.items()}, case, 1, torch.device("cpu")
    )
    return run


def _distance(exact: torch.Tensor, found: object) -> float:
    """The largest absolute difference; infinite where only one is finite or the shapes differ."""
    if not isinstance(found, torch.Tensor) or found.shape != exact.shape:
        return float("inf")
    exact, found = exact.detach(), found.detach().to(torch.float64)
    apart, same = (exact - found).abs(), (exact == found) | (exact.isnan() & found.isnan())
    return float(apart.masked_fill(same, 0).nan_to_num(nan=float("inf")).max()) if apart.numel() else 0.0


def _widened(case: Case) -> Case:
    args, kwargs = pytree.tree_map_only(torch.Tensor, _wide, (case.inputs.args, dict(case.inputs.kwargs)))
    return replace(case, inputs=Inputs(args, kwargs, case.inputs.source, case.inputs.name))


def _wide(tensor: torch.Tensor) -> torch.Tensor:
    dtype = _WIDE.get(tensor.dtype)
    return tensor if dtype is None else tensor.detach().to(dtype).requires_grad_(tensor.requires_grad)


# -- the graph in double precision


def in_double(data: GraphData) -> GraphData:
    """The graph with its tensors and the dtypes that it names in double precision."""
    return replace(data, root=_Widening().record(data.root))


class _Widening:
    """Converts each tensor and each module once, so that sharing is kept."""

    def __init__(self) -> None:
        self._records: dict[int, ModuleRecord] = {}
        self._tensors: dict[int, torch.Tensor] = {}

    def record(self, own: ModuleRecord) -> ModuleRecord:
        if id(own) not in self._records:
            self._records[id(own)] = replace(
                own,
                graph=None if own.graph is None else Graph(tuple(map(self._node, own.graph.nodes))),
                parameters={name: self._optional(each) for name, each in own.parameters.items()},
                buffers={name: self._optional(each) for name, each in own.buffers.items()},
                attributes={name: self._value(each) for name, each in own.attributes.items()},
                children={name: child and self.record(child) for name, child in own.children.items()},
                original=None if own.original is None else copy.deepcopy(own.original).double(),
            )
        return self._records[id(own)]

    def _optional(self, tensor: torch.Tensor | None) -> torch.Tensor | None:
        return None if tensor is None else self._tensor(tensor)

    def _tensor(self, tensor: torch.Tensor) -> torch.Tensor:
        if id(tensor) not in self._tensors:
            wide = _wide(tensor)
            is_parameter = isinstance(tensor, torch.nn.Parameter) and wide is not tensor
            self._tensors[id(tensor)] = (
                torch.nn.Parameter(wide, tensor.requires_grad) if is_parameter else wide
            )
        return self._tensors[id(tensor)]

    def _node(self, node: Node) -> Node:
        narrows = node.op == "call_method" and node.target in _NARROWING
        return replace(node, target="double") if narrows else node.with_leaves(self._value)

    def _value(self, value: Value) -> Any:
        if isinstance(value, torch.dtype):
            return _WIDE.get(value, value)
        return TensorValue(self._tensor(value.tensor)) if isinstance(value, TensorValue) else value
