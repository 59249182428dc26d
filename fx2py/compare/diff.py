"""A graph in the reference interpreter and its generated code, compared on several cases."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from fx2py.artifact import Artifact
from fx2py.compare.cases import Case, NoInputsError, cases_of
from fx2py.compare.coverage import Coverage
from fx2py.compare.determinism import noise_of, uninitialised, unstable, without_noise
from fx2py.compare.report import EquivalenceReport, RunOutcome
from fx2py.compare.sides import CALLS, Side, compare_case
from fx2py.compare.state import Storages, Unwritten, shared
from fx2py.compare.statements import Statements, compare_statements
from fx2py.compare.stepping import first_divergence
from fx2py.compare.tensors import compare_values
from fx2py.compare.tolerance import BIT_FOR_BIT, Manner
from fx2py.compare.trials import shown_by_trial
from fx2py.errors import ReplayError, UnsupportedGraphError
from fx2py.graph.data import GraphData
from fx2py.graph.tensors import EqualStorages, shape_of
from fx2py.replay.inputs import Inputs
from fx2py.replay.interpreter import Reference
from fx2py.trust import Policy


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """A graph in the reference interpreter and the code of an artifact, both bound, with what they were bound for."""

    data: GraphData
    artifact: Artifact
    reference: Side
    candidate: Side
    device: torch.device | str | None
    policy: Policy | None

    def cases(self, given: Sequence[Inputs], limit: int | None, seed: int) -> Iterator[Case]:
        """The cases of ``cases_of``, on the device of the pair."""
        return cases_of(self.data, given, limit=limit, seed=seed, device=self.device, policy=self.policy)

    def writing(self, names: frozenset[str] | None) -> Pair:
        """The pair, of which is known what of their state both sides may write to."""
        sides = {name: replace(getattr(self, name), writes=names) for name in ("reference", "candidate")}
        return replace(self, **sides)


def bind_pair(
    data: GraphData,
    artifact: Artifact,
    *,
    device: torch.device | str | None = None,
    device_b: torch.device | str | None = None,
    policy: Policy | None = None,
) -> Pair:
    """The graph and the artifact's code, each with its tensors on ``device``, the code on ``device_b`` where that is given.

    The code is the generated one: compiled pieces round otherwise, and would differ from any interpreter.
    Raises UntrustedTargetError or ReplayError when either cannot be bound.
    """
    generated, own = artifact.without_compiled(), device_b or device
    placed = generated if own is None else generated.to(own)
    reference = Reference(data, policy, device=device)
    state = reference.tensors_by(placed.tensors)
    _require_same_weights(state, placed.tensors)
    if device_b is None:
        placed = replace(placed, tensors=shared(placed.tensors, state))
    candidate = placed.bind(policy=policy)
    apart = None if device_b is None else torch.device(device_b)
    live = data.live_modules
    sides = Side(reference, state, live), Side(candidate, placed.tensors, live, apart)
    compared = artifact if own is not None else replace(artifact, tensors=placed.tensors)
    return Pair(data, compared, *sides, device, policy)


_SEARCHED = 16
"""The number of cases that are tried if a statement differs, to see whether any result differs."""


def diff_pair(
    pair: Pair,
    given: Sequence[Inputs] = (),
    *,
    cases: int | None = None,
    seed: int = 0,
    manner: Manner = BIT_FOR_BIT,
) -> EquivalenceReport:
    """Compare a graph and its code, first by reading both, then on the cases of ``cases_of`` up to the first that differs.

    On that one both run again, statement by statement, if they are on one device: also within tolerances the first
    statement whose bits differ is the one that a difference comes from. More cases are tried where a
    statement differs. Where several processes run the graph together, all of them run one case: they must
    make the same calls. Raises ReplayError where given inputs do not fit.
    """
    said = statements_of(pair)
    pair = pair.writing(said.written)
    is_alone = not _is_one_of_several()
    limit = (cases or (_SEARCHED if said.differing else None)) if is_alone else 1
    tries = _Tries(pair, is_alone, manner)
    obstacle, first, unknown = "", None, tries.unknown
    try:
        for case in pair.cases(given, limit, seed):
            differs = tries.differ_on(case)
            if tries.is_noisy and not unknown:
                unknown = unstable(pair, case)
            if differs:
                if is_alone and manner.home is None:  # kernels of two devices differ everywhere
                    first = first_divergence(
                        pair.data,
                        pair.artifact,
                        case,
                        device=pair.device,
                        policy=pair.policy,
                        writes=said.written,
                    )
                break
    except NoInputsError as fault:
        obstacle = fault.message
    report = EquivalenceReport(
        tuple(tries.runs),
        said.differing,
        said.unreadable,
        first,
        not_run=tries.coverage.not_run(),
        nondeterministic=unknown if tries.is_noisy else (),
        obstacle=obstacle,
    )
    unseen = report.differing_unseen
    if unseen and is_alone and not tries.is_noisy:
        unseen = tuple(shown_by_trial(pair, next(pair.cases(given, 1, seed)), unseen, manner))
    tries.unwritten.require_no_change()
    return replace(report, tried=unseen)  # what cannot be tried counts


def diff_sides(
    one: Side,
    other: Side,
    cases: Iterable[Case],
    manner: Manner,
    *,
    calls: int = CALLS,
    own_state: bool = False,
) -> EquivalenceReport:
    """Compare any two sides on the cases of ``cases_of``, up to the first that differs."""
    runs: list[RunOutcome] = []
    try:
        for case in cases:
            found = compare_case(one, other, case, calls=calls, manner=manner, own_state=own_state)
            runs += found
            if _differs(found):
                break
    except NoInputsError as fault:
        return EquivalenceReport(tuple(runs), obstacle=fault.message)
    return EquivalenceReport(tuple(runs))


def statements_of(pair: Pair) -> Statements:
    """The statements of the code that differ from the graph; unknown if the graph cannot be translated now."""
    try:
        return compare_statements(pair.data, pair.artifact)
    except UnsupportedGraphError as fault:  # other releases of fx2py generate what this one does not
        return Statements(None, fault.message)


class _Tries:
    """The runs of a pair so far, and what is known of noise."""

    def __init__(self, pair: Pair, is_alone: bool, manner: Manner) -> None:
        self.coverage = Coverage(pair.artifact.source, pair.candidate.call)
        self.unknown = uninitialised(pair.data)
        self.runs: list[RunOutcome] = []
        self.is_noisy = False
        self._pair = pair
        self._watched = replace(pair.candidate, call=self.coverage.watched(pair.candidate.call))
        self._is_alone = is_alone
        self._manner = manner
        written = Storages([*pair.reference.written, *pair.candidate.written])
        both = {**pair.candidate.state, **pair.reference.state}
        self.unwritten = Unwritten({name: each for name, each in both.items() if each not in written})

    def differ_on(self, case: Case) -> bool:
        """Run a case, and return whether it differs."""
        found = compare_case(self._pair.reference, self._watched, case, manner=self._manner)
        if self._is_alone and (self.unknown or _differs(found)):
            noise = noise_of(self._pair.reference, case, self._pair.data)
            found = tuple(without_noise(run, noise) for run in found)
            self.is_noisy = self.is_noisy or bool(noise)
        self.unwritten.require_no_write()
        self.runs += found
        return _differs(found)


def _differs(found: Iterable[RunOutcome]) -> bool:
    return any(run.verdict == "different" for run in found)


def _is_one_of_several() -> bool:
    distributed = torch.distributed
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1


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
