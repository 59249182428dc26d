"""What a comparison found, as plain data: a mismatch is a result, not an exception."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

Verdict: TypeAlias = Literal["equivalent", "different", "not compared"]
Found: TypeAlias = Literal["static", "dynamic"]
Kind: TypeAlias = Literal["changed", "missing", "surplus", "order", "result", "table", "inputs"]
"""How a statement differs: it computes something else, only one side has it, or it stands in another order where that
matters. ``result``: a function returns another value. ``table``, ``inputs``: an entry of a table, or an input check,
differs."""


@dataclass(frozen=True, slots=True)
class LeafOutcome:
    """One leaf of a result, or one tensor that a run changed: its value on each side, and how they differ.

    ``differences`` names aspects: ``structure``, ``type``, ``dtype``, ``shape``, ``stride``, ``device``, ``layout``,
    ``requires_grad``, ``aliasing``, ``values``, ``change``. ``differing`` counts elements whose bits differ;
    ``max_difference`` is the largest absolute difference among those that are finite on both sides, None where none are.
    ``is_telling``: False where equality proves nothing, as for None and for tensors of nothing but NaN; and not
    ``is_deterministic`` where two runs of the reference differ too.
    """

    path: str
    expected: str
    actual: str
    differences: tuple[str, ...] = ()
    differing: int = 0
    max_difference: float | None = None
    is_telling: bool = True
    is_deterministic: bool = True

    @property
    def equal(self) -> bool:
        return not self.differences


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """One call of each side, from equal state, inputs and random generators.

    ``outputs`` has an entry for each leaf of the result, ``mutations`` one for each input, parameter or buffer that
    either side changed. ``raised`` holds what the reference and the candidate raised, as text, or None. ``case`` says
    which inputs these were, and ``call`` which call in a row it was, from 1.
    """

    outputs: tuple[LeafOutcome, ...]
    mutations: tuple[LeafOutcome, ...] = ()
    raised: tuple[str | None, str | None] = (None, None)
    same_random_state: bool = True
    case: str = ""
    call: int = 1

    @property
    def leaves(self) -> tuple[LeafOutcome, ...]:
        return (*self.outputs, *self.mutations)

    @property
    def differing(self) -> tuple[LeafOutcome, ...]:
        """The leaves that are not equal."""
        return tuple(leaf for leaf in self.leaves if not leaf.equal)

    @property
    def verdict(self) -> Verdict:
        """``not compared``: nothing differs, but both sides raised, or no result was there that could have differed."""
        if self.differing or self.raised[0] != self.raised[1] or not self.same_random_state:
            return "different"
        return "not compared" if self.reason else "equivalent"

    @property
    def reason(self) -> str:
        """Why equality proves nothing here, or ''."""
        if self.raised[0] is not None:
            return "both sides raise the same error"
        if not self.leaves or all(leaf.expected == "None" for leaf in self.leaves):
            return "nothing is returned or changed"
        if any(leaf.is_telling for leaf in self.leaves):
            return ""
        is_noise = not all(leaf.is_deterministic for leaf in self.leaves)
        return "two runs of the graph itself differ" if is_noise else "every result is NaN"


@dataclass(frozen=True, slots=True)
class Deviation:
    """How far apart two tensors are; pairs have the reference's number first.

    ``differing`` of ``shape``'s elements differ in their bits. ``largest`` is the greatest absolute difference,
    ``relative`` the greatest one divided by the reference's magnitude, and ``ulps`` counts the representable numbers in
    between, all over elements that are finite on both sides; None where none are. ``worst`` is the index of the element with
    the largest difference.
    """

    dtype: str
    shape: tuple[int, ...]
    differing: int
    largest: float | None = None
    relative: float | None = None
    ulps: int | None = None
    worst: tuple[int, ...] | None = None
    nans: tuple[int, int] = (0, 0)
    infinities: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class Divergence:
    """One statement, table entry or result in which code and graph differ.

    ``line`` and ``end_line`` are those of ``file`` in the generated folder, 0 where a statement is missing at its very
    end. ``function`` is the generated function that the place is in, '' for a table. ``node``, ``module_path`` and
    ``source_line`` (of the model) are the graph's. ``expected`` and ``actual`` are summaries: of what the statement says
    where it was found statically, of its result where it was found by running both sides.

    ``chain`` leads to the statement through calls, loops and nested graphs, outermost first (``layer 7 of 12``,
    ``llama_attention``); ``serves`` has the module paths of all calls for which a shared statement stands. ``entered``
    has what the statement read, each with its name, and ``deviations`` how far its results are apart.
    ``explains_rest``: whether all later differences follow from this one; None where that was not asked.
    """

    found: Found
    kind: Kind
    line: int
    end_line: int
    expected: str
    actual: str
    node: str = ""
    module_path: str = ""
    source_line: str = ""
    function: str = ""
    file: str = "execution_fn.py"
    chain: tuple[str, ...] = ()
    serves: tuple[str, ...] = ()
    entered: tuple[str, ...] = ()
    deviations: tuple[Deviation, ...] = ()
    explains_rest: bool | None = None


@dataclass(frozen=True, slots=True)
class Precision:
    """How far each side's output is from that of the graph in double precision: the largest absolute differences."""

    path: str
    graph: float
    code: float

    @property
    def closer(self) -> Literal["graph", "code", "neither"]:
        if self.graph == self.code:
            return "neither"
        return "graph" if self.graph < self.code else "code"


@dataclass(frozen=True, slots=True)
class NotRun:
    """A function or a branch of the code that no case ran, by the name and the first line of its function."""

    function: str
    line: int
    what: str = ""


@dataclass(frozen=True, slots=True)
class EquivalenceReport:
    """What comparing a reference and a candidate found: each call of each case, and the statements that differ.

    ``statements`` has the statements that differ statically; None where the code cannot be parsed, which
    ``unreadable`` explains. ``first_divergent`` is the first statement whose results differ, by running both.
    ``nondeterministic`` names operators whose results two runs of the reference do not share; ``obstacle`` says why
    nothing could be run. ``precision`` has the distances of both sides from the graph in double precision, if asked for.
    ``tried`` are those of the statements, unseen in all cases, that change a result when other values enter them, and those
    that could not be tried.
    """

    runs: tuple[RunOutcome, ...] = ()
    statements: tuple[Divergence, ...] | None = None
    unreadable: str = ""
    first_divergent: Divergence | None = None
    not_run: tuple[NotRun, ...] = ()
    nondeterministic: tuple[str, ...] = ()
    obstacle: str = ""
    precision: tuple[Precision, ...] = ()
    tried: tuple[Divergence, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """``different`` where a run differs, or a statement differs that no run can have settled.

        A statement whose difference showed neither in a case nor on other values is left to the runs' verdict.
        """
        verdicts = {run.verdict for run in self.runs}
        if "different" in verdicts or self.first_divergent is not None:
            return "different"
        if self.unsettled if "equivalent" in verdicts else self.statements:
            return "different"
        return "equivalent" if "equivalent" in verdicts else "not compared"

    @property
    def equal(self) -> bool:
        """Whether the candidate did exactly what the reference did."""
        return self.verdict == "equivalent"

    @property
    def reason(self) -> str:
        """Why nothing was compared, or ''."""
        return self.obstacle or (self.shown.reason if self.verdict == "not compared" else "")

    @property
    def divergence(self) -> Divergence | None:
        """The place to look at first.

        It is the first statement whose result differs, with its text if that differs too. If it does not, it is the last
        statement before that one whose text differs, which is the cause.
        """
        ran, found = self.first_divergent, self.statements or ()
        if ran is None:
            return (*self.unsettled, *found, None)[0]
        if not found:
            return ran
        for each in found:
            if each.file == ran.file and each.line <= ran.line <= each.end_line:
                return replace(
                    each,
                    chain=ran.chain or each.chain,
                    entered=ran.entered,
                    deviations=ran.deviations,
                    explains_rest=ran.explains_rest,
                )
        before = [each for each in found if (each.file, each.function) == (ran.file, ran.function)]
        before = [each for each in before if each.line <= ran.line]
        return (*before[-1:], *found)[0]

    @property
    def unsettled(self) -> tuple[Divergence, ...]:
        """The statements whose difference shows on other values than those of the cases, those that no case ran, and tables
        and input checks, which no run exercises completely."""
        asleep = {each.function for each in self.not_run}
        return (
            *self.tried,
            *[
                each
                for each in self.statements or ()
                if each.kind in ("table", "inputs") or each.function in asleep
            ],
        )

    @property
    def differing_unseen(self) -> tuple[Divergence, ...]:
        """The statements that differ although the two are equivalent."""
        return (self.statements or ()) if self.verdict == "equivalent" else ()

    @property
    def is_complete(self) -> bool:
        """Whether all code was read and ran, and says what the graph says word for word."""
        return not (self.not_run or self.unreadable or self.differing_unseen)

    @property
    def shown(self) -> RunOutcome:
        """The run to show: the first that differs, else the first that compared something, else the first."""
        return (
            _first(self.runs, "different")
            or _first(self.runs, "equivalent")
            or (*self.runs, RunOutcome(()))[0]
        )

    @property
    def outputs(self) -> tuple[LeafOutcome, ...]:
        return self.shown.outputs

    @property
    def mutations(self) -> tuple[LeafOutcome, ...]:
        return self.shown.mutations

    @property
    def raised(self) -> tuple[str | None, str | None]:
        return self.shown.raised

    @property
    def same_random_state(self) -> bool:
        return self.shown.same_random_state

    @property
    def differing(self) -> tuple[LeafOutcome, ...]:
        """The leaves that differ in the run to show."""
        return self.shown.differing


def _first(runs: Iterable[RunOutcome], verdict: Verdict) -> RunOutcome | None:
    return next((run for run in runs if run.verdict == verdict), None)
