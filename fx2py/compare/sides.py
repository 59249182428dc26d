"""Any two callables, each with its state, run from equal state and compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import torch

from fx2py.compare.cases import Case
from fx2py.compare.report import EquivalenceReport, RunOutcome
from fx2py.compare.runs import Run, compare_runs, record_run, restored_modes
from fx2py.compare.state import Storages, may_be_written, values_of
from fx2py.compare.tolerance import BIT_FOR_BIT, Manner
from fx2py.graph.tensors import EqualStorages, TensorCopies, write_back
from fx2py.replay.inputs import Inputs


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """A callable with its ``state``, the tensors that it reads and may change, by path.

    ``modules`` are the live modules that it calls, whose code may replace their own attributes and parameters. Inputs are
    moved to ``device`` before they are passed; None passes them as they are. ``writes`` are the names of all of the state
    that a call may write to; None where that is not known.
    """

    call: Callable[..., object]
    state: Mapping[str, torch.Tensor] = field(default_factory=dict)
    modules: tuple[torch.nn.Module, ...] = ()
    device: torch.device | None = None
    writes: frozenset[str] | None = None

    @property
    def written(self) -> list[torch.Tensor]:
        """What of the state a call may write to."""
        return list(may_be_written(self.state, self.writes).values())

    def values(self) -> dict[str, torch.Tensor]:
        """The state as it is now, copied where a call may write to it."""
        return values_of(self.state, Storages(self.written))


def diff_callables(
    reference: Side,
    candidate: Side,
    args: tuple[object, ...] = (),
    kwargs: Mapping[str, object] | None = None,
    *,
    seed: int = 0,
    calls: int = 1,
    manner: Manner = BIT_FOR_BIT,
) -> EquivalenceReport:
    """Run both from the reference's state, on equal copies of the inputs and equal random generators, and compare.

    A second of the ``calls`` in a row starts from the state that the first one left. The two may share their state; each
    side's state has its old values again afterwards.
    """
    case = Case(Inputs(args, kwargs or {}), seed)
    return EquivalenceReport(compare_case(reference, candidate, case, calls=calls, manner=manner))


CALLS = 2
"""The calls in a row of each case: a change of buffers may affect only the next call."""


def compare_case(
    reference: Side,
    candidate: Side,
    case: Case,
    *,
    calls: int = CALLS,
    manner: Manner = BIT_FOR_BIT,
    own_state: bool = False,
) -> tuple[RunOutcome, ...]:
    """The outcome of each call in a row of both sides, up to the first that raises.

    With ``own_state`` the candidate starts from its own state, not from the reference's.
    """
    moved = TensorCopies(candidate.device) if candidate.device is not None else None
    start = values_of(reference.state, Storages([*reference.written, *candidate.written]))
    names = () if own_state else [name for name in candidate.state if name in start]
    shared = {name: start[name] if moved is None else moved(start[name]) for name in names}
    expected = run_in_a_row(reference, start, case, calls, manner.home)
    actual = run_in_a_row(candidate, shared, case, calls, manner.home)
    pairs = zip(expected, actual, strict=False)
    return tuple(
        replace(compare_runs(one, other, manner), case=case.inputs.name, call=call)
        for call, (one, other) in enumerate(pairs, 1)
    )


def run_in_a_row(
    side: Side, start: Mapping[str, torch.Tensor], case: Case, calls: int, home: torch.device | None = None
) -> list[Run]:
    """Each call of one side from the state ``start``, up to the first that raises; its old state is there again afterwards.

    What the runs hold is on the device ``home``; None is where it was made.
    """
    old = _old_values(side, start)
    write_back({name: side.state[name] for name in start}, start)
    known = {name: start.get(name, old[name]) for name in side.state}
    inputs = case.inputs.on(side.device)
    found: list[Run] = []
    try:
        with restored_attributes(side.modules):
            for _ in range(calls):
                run = record_run(
                    side.call,
                    inputs.args,
                    inputs.kwargs,
                    side.state,
                    case.seed,
                    may_refuse=case.is_made,
                    home=home,
                    known=known,
                )
                found.append(run)
                known |= {name: run.changed[name] for name in known if name in run.changed}
                if run.raised is not None:
                    break
    finally:
        write_back(side.state, old)
    return found


def _old_values(side: Side, start: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The state of a side before it gets the values ``start``, which are the old ones themselves where they are equal."""
    have_equal_bits = EqualStorages()
    equal = {name for name in side.state if name in start and have_equal_bits(side.state[name], start[name])}
    others = {name: tensor for name, tensor in side.state.items() if name not in equal}
    overwritten = [tensor for name, tensor in others.items() if name in start]
    return {**start, **values_of(others, Storages([*side.written, *overwritten]))}


@contextmanager
def undone(state: Mapping[str, torch.Tensor], modules: tuple[torch.nn.Module, ...]) -> Iterator[None]:
    """Afterwards tensors, live modules, random generators and modes are as they were before the block."""
    old = values_of(state, Storages(state.values()))
    with restored_attributes(modules), torch.random.fork_rng(), restored_modes():
        yield
    write_back(state, old)


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
