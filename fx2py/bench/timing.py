"""Timing of several callables against each other, in interleaved rounds, so that a busy machine slows all alike."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from functools import partial
from statistics import median, quantiles
from time import perf_counter
from typing import NamedTuple, TypeAlias

import torch

from fx2py.collector import collector_paused

Clock: TypeAlias = Callable[[], float]

_SHORTEST_SAMPLE = 0.002
_WARM_UPS = 3
_NOISE = 0.25


class Timing(NamedTuple):
    """Seconds of one call: the median of the rounds, and the distance of the quartiles as a part of it."""

    seconds: float
    spread: float


def interleave(
    contenders: Mapping[str, Callable[[], object]], rounds: int = 15, clock: Clock = perf_counter
) -> dict[str, Timing]:
    """Time each callable, in rounds. A sample is as many calls as take two milliseconds.

    The garbage collector rests meanwhile. ``time.thread_time`` as the ``clock`` leaves out what other processes take,
    where all the work is done by this thread.
    """
    loops = {name: _calls_a_sample(call, clock) for name, call in contenders.items()}
    gc.collect()
    with collector_paused():
        return in_rounds(
            {name: partial(_sample, call, loops[name], clock) for name, call in contenders.items()}, rounds
        )


def in_rounds(samplers: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, Timing]:
    """What each sampler measures; every round asks all of them, each time beginning with another one."""
    samples: dict[str, list[float]] = {name: [] for name in samplers}
    names = list(samplers)
    for start in range(rounds):
        for name in (names[(start + place) % len(names)] for place in range(len(names))):
            samples[name].append(samplers[name]())
    return {name: _timing(values) for name, values in samples.items()}


def too_noisy(timings: Mapping[str, Timing]) -> str:
    """Why the ratios of these timings cannot be trusted; '' when they can."""
    loud = [name for name, timing in timings.items() if timing.spread > _NOISE]
    if not loud:
        return ""
    return (
        f"The machine is too noisy to tell: the rounds of {', '.join(loud)} lie more than {_NOISE:.0%} apart."
    )


def _calls_a_sample(call: Callable[[], object], clock: Clock) -> int:
    for _ in range(_WARM_UPS):
        call()
    return max(1, round(_SHORTEST_SAMPLE / max(_sample(call, 1, clock), 1e-9)))


def _sample(call: Callable[[], object], loops: int, clock: Clock) -> float:
    start = clock()
    for _ in range(loops):
        call()
    if torch.accelerator.is_available():
        torch.accelerator.synchronize()
    return (clock() - start) / loops


def _timing(samples: list[float]) -> Timing:
    middle = median(samples)
    low, _, high = quantiles(samples, n=4) if len(samples) > 1 else (middle, middle, middle)
    return Timing(middle, (high - low) / middle)
