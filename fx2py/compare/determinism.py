"""Where two runs of one graph differ: results of uninitialised memory, or of an order that threads decide."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

import torch
from torch._ops import OpOverload

from fx2py.compare.cases import Case
from fx2py.compare.digests import Digests
from fx2py.compare.report import LeafOutcome, RunOutcome
from fx2py.compare.sides import Side, compare_case, run_in_a_row
from fx2py.graph.data import GraphData, Node
from fx2py.graph.values import Name, OpName
from fx2py.operators.interception import Operator, intercepted
from fx2py.replay.interpreter import Reference

if TYPE_CHECKING:
    from fx2py.compare.diff import Pair

_UNINITIALISED = frozenset(
    {"empty", "empty_like", "empty_strided", "empty_permuted", "empty_quantized"}
    | {"new_empty", "new_empty_strided", "resize_", "resize_as_"}
)
"""Operators, functions and methods, by name, that return uninitialised memory."""


Noise: TypeAlias = Mapping[tuple[int, str], frozenset[str]]
"""The aspects in which two runs differ, by the number of the call and the path of a leaf."""


def uninitialised(data: GraphData) -> tuple[str, ...]:
    """The nodes of all graphs that return uninitialised memory, with what they call."""
    return tuple(
        f"{node.name} ({_called(node)})"
        for _, record in data.root.walk()
        if record.graph is not None
        for node in record.graph.nodes
        if node.called in _UNINITIALISED
    )


def noise_of(reference: Side, case: Case, data: GraphData) -> Noise:
    """Where two runs of the graph itself differ."""
    noise = dict(_noise(reference, reference, case))
    if uninitialised(data):
        filled, zeroed = (replace(reference, call=fill(reference.call)) for fill in (_filled, _zeroed))
        noise.update(_noise(reference, filled, case))
        noise.update(_noise(zeroed, filled, case))  # what was in memory may have been NaN too
    return noise


def unstable(pair: Pair, case: Case) -> tuple[str, ...]:
    """The nodes whose results differ between two runs although their operands are equal, with what they call."""
    one, other = (_results(pair, case) for _ in range(2))
    return tuple(
        dict.fromkeys(
            f"{ours.path} ({_called(ours.node)})"
            for ours, theirs in zip(one, other, strict=False)
            if ours.entered == theirs.entered and ours.given != theirs.given
        )
    )


def _results(pair: Pair, case: Case) -> list[_Result]:
    observer, data, writes = _Results(), pair.data, pair.reference.writes
    reference = Reference(data, pair.policy, device=pair.device, observe=observer)
    side = Side(reference, reference.tensors_by(writes or ()), data.live_modules, writes=writes)
    run_in_a_row(side, side.values(), case, 1)
    return observer.found


@dataclass(frozen=True, slots=True)
class _Result:
    """A node that ran, with digests of its operands and its result."""

    path: str
    node: Node
    entered: tuple[bytes, ...]
    given: bytes | None


class _Results:
    """Observes the reference run."""

    def __init__(self) -> None:
        self.found: list[_Result] = []
        self._digests = Digests({})
        self._entered: list[tuple[bytes, ...]] = []

    def before(self, path: str, node: Node, operands: tuple[object, ...]) -> None:
        self._entered.append(self._digests.tensors_in(operands))

    def after(self, path: str, node: Node, value: object, operands: tuple[object, ...]) -> None:
        self.found.append(_Result(path, node, self._entered.pop(), self._digests(value)))


def _noise(one: Side, other: Side, case: Case) -> Iterator[tuple[tuple[int, str], frozenset[str]]]:
    for run in compare_case(one, other, case):
        yield from (((run.call, leaf.path), frozenset(leaf.differences)) for leaf in run.differing)


def without_noise(run: RunOutcome, noise: Noise) -> RunOutcome:
    """The outcome without differences that are noise; equality of such a leaf proves nothing either."""

    def settled(leaf: LeafOutcome) -> LeafOutcome:
        found = noise.get((run.call, leaf.path))
        if found is None:
            return leaf
        left = tuple(aspect for aspect in leaf.differences if aspect not in found)
        return replace(leaf, differences=left, is_telling=bool(left), is_deterministic=False)

    outputs, mutations = tuple(map(settled, run.outputs)), tuple(map(settled, run.mutations))
    return replace(run, outputs=outputs, mutations=mutations)


def _filled(call: Callable[..., object]) -> Callable[..., object]:
    """``call`` with NaN in uninitialised memory, with which torch fills it for deterministic algorithms
    (``torch.utils.deterministic.fill_uninitialized_memory``)."""

    @functools.wraps(call, updated=())
    def filled(*args: object, **kwargs: object) -> object:
        before = (
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
        )
        torch.use_deterministic_algorithms(True, warn_only=True)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return call(*args, **kwargs)
        finally:
            torch.use_deterministic_algorithms(before[0], warn_only=before[1])

    return filled


def _zeros(func: Operator, args: tuple[object, ...], kwargs: Mapping[str, object]) -> object:
    """The result of an operator, with zeros in new memory; ``resize_`` is left alone, since it keeps the old elements."""
    result = func(*args, **kwargs)
    name = func.overloadpacket.__name__ if isinstance(func, OpOverload) else ""
    is_new = name in _UNINITIALISED and not name.endswith("_")
    return result.zero_() if is_new and isinstance(result, torch.Tensor) else result


def _zeroed(call: Callable[..., object]) -> Callable[..., object]:
    """``call`` with zeros in uninitialised memory."""

    @functools.wraps(call, updated=())
    def zeroed(*args: object, **kwargs: object) -> object:
        with intercepted(_zeros, higher_order=True):
            return call(*args, **kwargs)

    return zeroed


def _called(node: Node) -> str:
    target = node.target
    return target.path.removeprefix("torch.ops.") if isinstance(target, Name | OpName) else str(target)
