"""What a comparison of two runs found, as plain data: a mismatch is a result, not an exception."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LeafOutcome:
    """One leaf of a result, or one tensor that a run changed: what each side has, and in what they differ.

    ``differences`` names aspects: ``structure``, ``type``, ``dtype``, ``shape``, ``stride``, ``device``, ``layout``,
    ``requires_grad``, ``aliasing``, ``values``, ``change``. ``differing`` counts elements whose bits differ;
    ``max_difference`` is the largest absolute difference among them, None where no values differ or none are compared.
    """

    path: str
    expected: str
    actual: str
    differences: tuple[str, ...] = ()
    differing: int = 0
    max_difference: float | None = None

    @property
    def equal(self) -> bool:
        return not self.differences


@dataclass(frozen=True, slots=True)
class EquivalenceReport:
    """The outcome of running a reference and a candidate from equal state, inputs and random generators.

    ``outputs`` has an entry for each leaf of the result, ``mutations`` one for each input, parameter or buffer that
    either side changed. ``raised`` holds what the reference and the candidate raised, as text, or None.
    """

    outputs: tuple[LeafOutcome, ...]
    mutations: tuple[LeafOutcome, ...] = ()
    raised: tuple[str | None, str | None] = (None, None)
    same_random_state: bool = True

    @property
    def equal(self) -> bool:
        """Whether the candidate did exactly what the reference did."""
        leaves_equal = all(leaf.equal for leaf in (*self.outputs, *self.mutations))
        return leaves_equal and self.raised[0] == self.raised[1] and self.same_random_state

    @property
    def differing(self) -> tuple[LeafOutcome, ...]:
        """The leaves that are not equal."""
        return tuple(leaf for leaf in (*self.outputs, *self.mutations) if not leaf.equal)
