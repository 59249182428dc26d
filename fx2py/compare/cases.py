"""The inputs of both sides: recorded or given ones, seeded random ones, and the ends of the ranges of sizes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice

import torch

from fx2py.errors import ReplayError
from fx2py.graph.data import GraphData
from fx2py.replay.inputs import Inputs, admitted, made_inputs, recorded_inputs, shuffled_inputs
from fx2py.replay.sizes import end_sizes, symbol_sizes
from fx2py.trust import Policy

_MEMORY = 64 * 2**20
"""The bytes that the recorded values of the case with the largest sizes take together."""
_SPREADS = (1.0, 30.0, 1e-3, 1e3)
"""The spreads of made cases in turn, so that numbers get past the bounds of clamps and to the flat ends of activations."""


class NoInputsError(ReplayError):
    """There are no inputs, and nothing is recorded to make them from."""


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """The inputs of one call of each side. ``is_made``: fx2py chose them, and the graph may refuse them."""

    inputs: Inputs
    seed: int = 0
    is_made: bool = False


def cases_of(
    data: GraphData,
    given: Sequence[Inputs] = (),
    *,
    limit: int | None = None,
    seed: int = 0,
    device: torch.device | str | None = None,
    policy: Policy | None = None,
) -> Iterator[Case]:
    """The cases of a graph, each made when it is asked for.

    ``given`` inputs take the place of recorded ones. There are ``limit`` cases, or as many as are given if that is more;
    by default two seeded ones and the ends of sizes. Raises NoInputsError when there is nothing to take inputs from.
    """
    gate = policy or Policy()
    recorded = recorded_inputs(data.sample_inputs)
    own = tuple(given) or ((recorded,) if recorded is not None else ())
    made = _made(data, own, seed, gate, is_endless=limit is not None)
    wanted = None if limit is None else max(limit - len(own), 0)
    for inputs in own:
        yield Case(admitted(inputs, gate).on(device), seed)
    for inputs in islice(made, wanted):
        yield Case(admitted(inputs, gate).on(device), seed, is_made=True)


def _made(
    data: GraphData, own: Sequence[Inputs], seed: int, policy: Policy, *, is_endless: bool
) -> Iterator[Inputs]:
    """Seeded inputs: normally and widely distributed ones, the ends of sizes, then further seeds without end."""
    if own:
        yield shuffled_inputs(own[0], seed)
    try:
        yield _seeded(data, seed, policy, 0)
    except ReplayError as fault:
        if not own:
            raise NoInputsError(fault.message, fault.hint) from None
        yield from (shuffled_inputs(own[0], each) for each in (count(seed + 1) if is_endless else ()))
        return
    yield _seeded(data, seed, policy, 1)
    for name, sizes in end_sizes(data, _MEMORY) if symbol_sizes(data) else ():
        made = made_inputs(data, seed=seed, policy=policy, sizes=sizes)
        yield Inputs(made.args, made.kwargs, made.source, name)
    for number in count(2) if is_endless else ():
        yield _seeded(data, seed, policy, number)


def _seeded(data: GraphData, seed: int, policy: Policy, number: int) -> Inputs:
    """Made inputs; where numbers may be any, each ``number`` in turn has another spread."""
    spread = _SPREADS[number % len(_SPREADS)]
    made = made_inputs(data, seed=seed + number, policy=policy, spread=spread)
    name = made.name if spread == 1 else f"{made.name}, spread {spread:g}"
    return Inputs(made.args, made.kwargs, made.source, name)
