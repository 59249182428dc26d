"""A reference and a candidate run from equal state, and compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch

from fx2py.compare.report import EquivalenceReport
from fx2py.compare.runs import Run, compare_runs, record_run
from fx2py.graph.tensors import TensorCopies, write_back


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """A callable with the tensors that it reads and may change, by path, and the modules that may replace them."""

    call: Callable[..., Any]
    state: Mapping[str, torch.Tensor] = field(default_factory=dict)
    modules: tuple[torch.nn.Module, ...] = ()


def diff_callables(
    reference: Side,
    candidate: Side,
    args: tuple[Any, ...] = (),
    kwargs: Mapping[str, Any] | None = None,
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
    return compare_runs(expected, actual)


def _run_and_restore(
    side: Side, start: Mapping[str, torch.Tensor], args: tuple[Any, ...], kwargs: Mapping[str, Any], seed: int
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
    """Every attribute, parameter and buffer of the modules is the object that it was before."""
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
