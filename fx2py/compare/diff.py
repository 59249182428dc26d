"""A graph in the interpreter and its generated code, or any two callables, run from equal state and compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import torch

from fx2py.artifact import Artifact
from fx2py.compare.report import EquivalenceReport
from fx2py.compare.runs import Run, compare_runs, record_run
from fx2py.compare.statements import compare_statements
from fx2py.compare.tensors import compare_values
from fx2py.errors import ReplayError
from fx2py.graph.data import GraphData
from fx2py.graph.tensors import EqualStorages, TensorCopies, shape_of, write_back
from fx2py.replay.interpreter import Reference
from fx2py.trust import Policy


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """A callable with its ``state``, the tensors that it reads and may change, by path.

    ``modules`` are the live modules that it calls, whose code may replace their own attributes and parameters.
    """

    call: Callable[..., object]
    state: Mapping[str, torch.Tensor] = field(default_factory=dict)
    modules: tuple[torch.nn.Module, ...] = ()


def diff_callables(
    reference: Side,
    candidate: Side,
    args: tuple[object, ...] = (),
    kwargs: Mapping[str, object] | None = None,
    *,
    seed: int = 0,
) -> EquivalenceReport:
    """Run both from the reference's state, on equal copies of the inputs and equal random generators, and compare.

    The two may share their state. Each side's state has its old values again afterwards.
    """
    copies = TensorCopies()
    start = {name: copies(tensor) for name, tensor in reference.state.items()}
    shared = {name: start[name] for name in candidate.state if name in start}
    expected = _run_and_restore(reference, start, args, kwargs or {}, seed)
    actual = _run_and_restore(candidate, shared, args, kwargs or {}, seed)
    return EquivalenceReport((compare_runs(expected, actual),))


def _run_and_restore(
    side: Side,
    start: Mapping[str, torch.Tensor],
    args: tuple[object, ...],
    kwargs: Mapping[str, object],
    seed: int,
) -> Run:
    copies = TensorCopies()
    old = {name: copies(tensor) for name, tensor in side.state.items()}
    write_back({name: side.state[name] for name in start}, start)
    with restored_attributes(side.modules):
        run = record_run(side.call, args, kwargs, side.state, seed)
    write_back(side.state, old)
    return run


@contextmanager
def restored_attributes(modules: tuple[torch.nn.Module, ...]) -> Iterator[None]:
    """Afterwards every attribute, parameter, buffer and submodule of the modules is the object that it was before."""
    tables = [
        table
        for module in modules
        for table in (module.__dict__, module._parameters, module._buffers, module._modules)
    ]
    before = [dict(table) for table in tables]
    try:
        yield
    finally:
        for table, items in zip(tables, before, strict=True):
            table.clear()
            table.update(items)


# -- a graph and its code


def diff_graph(
    data: GraphData,
    artifact: Artifact,
    args: tuple[object, ...] = (),
    kwargs: Mapping[str, object] | None = None,
    *,
    device: torch.device | str | None = None,
    seed: int = 0,
    policy: Policy | None = None,
) -> EquivalenceReport:
    """Run the graph in the reference interpreter and the artifact's code, from equal state and inputs, and compare.

    Raises UntrustedTargetError or ReplayError before anything runs when either side cannot be bound.
    """
    reference, candidate = bind_sides(data, artifact, device=device, policy=policy)
    found = compare_statements(data, artifact)
    report = diff_callables(reference, candidate, args, kwargs, seed=seed)
    return replace(report, statements=found.differing, unreadable=found.unreadable)


def bind_sides(
    data: GraphData,
    artifact: Artifact,
    *,
    device: torch.device | str | None = None,
    policy: Policy | None = None,
) -> tuple[Side, Side]:
    """The graph in the reference interpreter, and the artifact's code, each with its tensors on ``device``.

    The code is the generated one: compiled pieces round otherwise, and would differ from any interpreter.
    Raises UntrustedTargetError or ReplayError when either cannot be bound.
    """
    generated = artifact.without_compiled()
    placed = generated if device is None else generated.to(device)
    candidate = placed.bind(policy=policy)
    reference = Reference(data, policy, device=device)
    state = reference.tensors_by(placed.tensors)
    _require_same_weights(state, placed.tensors)
    live = tuple(record.original for _, record in data.root.walk() if record.original is not None)
    return (Side(reference, state, live), Side(candidate, placed.tensors, live))


def _require_same_weights(graph: Mapping[str, torch.Tensor], code: Mapping[str, torch.Tensor]) -> None:
    """Raise ReplayError when a weight of the code differs from the graph's: both sides run from the graph's weights,
    which would hide that."""
    have_equal_bits = EqualStorages()
    for name, tensor in code.items():
        own = graph.get(name, tensor)
        if (own.dtype, shape_of(own), own.layout) != (tensor.dtype, shape_of(tensor), tensor.layout):
            raise ReplayError(
                f"the code was generated from another graph: its {name} is {tensor.dtype} {list(shape_of(tensor))}, and the "
                f"graph's is {own.dtype} {list(shape_of(own))}.",
                "Generate the code of this graph.",
            )
        differing = 0 if own is tensor else compare_values(own, tensor, have_equal_bits)[0]
        if differing:
            raise ReplayError(
                f"the code holds other weights than the graph: {differing:,} of {own.numel():,} numbers of {name} differ.",
                "Generate the code of this graph, or name the model that it was generated from; weights that a call "
                "changed come back when the folder is opened again.",
            )
