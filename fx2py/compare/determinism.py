"""What two runs of one graph do not share: results of uninitialised memory, or of an order that threads decide."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TypeAlias

import torch

from fx2py.compare.cases import Case
from fx2py.compare.report import LeafOutcome, RunOutcome
from fx2py.compare.sides import Side, compare_case
from fx2py.graph.data import GraphData, Node
from fx2py.graph.values import Name, OpName

_UNINITIALISED = frozenset(
    {"empty", "empty_like", "empty_strided", "empty_permuted", "empty_quantized"}
    | {"new_empty", "new_empty_strided", "resize_", "resize_as_"}
)
"""What gives memory as it is, by the name of the operator, function or method."""


Noise: TypeAlias = Mapping[tuple[int, str], frozenset[str]]
"""The aspects in which two runs differ, by the number of the call and the path of a leaf."""


def uninitialised(data: GraphData) -> tuple[str, ...]:
    """The nodes of all graphs whose results hold whatever was in memory, with what they call."""
    return tuple(
        f"{node.name} ({_called(node)})"
        for _, record in data.root.walk()
        if record.graph is not None
        for node in record.graph.nodes
        if node.called in _UNINITIALISED
    )


def noise_of(reference: Side, case: Case, data: GraphData) -> Noise:
    """What two runs of the graph itself do not share."""
    noise = dict(_noise(reference, reference, case))
    if uninitialised(data):
        noise.update(_noise(reference, replace(reference, call=_filled(reference.call)), case))
    return noise


def _noise(one: Side, other: Side, case: Case) -> Iterator[tuple[tuple[int, str], frozenset[str]]]:
    for run in compare_case(one, other, case):
        yield from (((run.call, leaf.path), frozenset(leaf.differences)) for leaf in run.differing)


def without_noise(run: RunOutcome, noise: Noise) -> RunOutcome:
    """The outcome with what is noise counted as no difference, and as nothing that equality could prove."""

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


def _called(node: Node) -> str:
    target = node.target
    return target.path.removeprefix("torch.ops.") if isinstance(target, Name | OpName) else str(target)
