"""How far results may be apart: bit for bit not at all, or as ``torch.testing.assert_close`` and distances in ulps say."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch.testing._comparison import default_tolerances

from fx2py.arguments import Kind, require
from fx2py.errors import OptionError

_LIMIT = Kind(
    "a number from 0, or None",
    lambda value: value is None
    or (isinstance(value, int | float) and type(value) is not bool and 0 <= value < math.inf),
)
_INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


@dataclass(frozen=True, slots=True)
class Tolerance:
    """Numbers that count as equal: ``|actual - expected| <= atol + rtol * |expected|``, or at most ``ulps`` apart.

    Without any of them the two are those of ``torch.testing.assert_close`` for the dtype. ``ulps`` counts steps from one
    representable number to the next; integers are as far apart as they are. NaN equals NaN, and infinity itself. Raises
    OptionError for a negative number, and unless ``rtol`` and ``atol`` are given together.
    """

    rtol: float | None = None
    atol: float | None = None
    ulps: int | None = None

    def __post_init__(self) -> None:
        for name in ("rtol", "atol", "ulps"):
            require(name, getattr(self, name), _LIMIT)
        if (self.rtol is None) != (self.atol is None):
            raise OptionError(
                "rtol and atol must be given together.",
                "One of them alone leaves the other open: give 0 for it.",
            )
        if self.ulps is not None and self.rtol is not None:
            raise OptionError("ulps is another measure than rtol and atol.", "Give the one or the others.")

    def exceeded(self, expected: torch.Tensor, actual: torch.Tensor) -> torch.Tensor:
        """Where two dense tensors of one dtype and shape are further apart."""
        if self.ulps is not None and expected.is_complex():
            return self.exceeded(torch.view_as_real(expected), torch.view_as_real(actual)).any(dim=-1)
        if self.ulps is not None:
            both_nan = (expected != expected) & (actual != actual)
            return (_ulps_apart(expected, actual) > self.ulps) & ~both_nan
        rtol, atol = (
            default_tolerances(expected.dtype) if self.rtol is None else (self.rtol, self.atol or 0.0)
        )
        if not (rtol or atol):
            return (expected != actual) & ~((expected != expected) & (actual != actual))
        wide = torch.complex128 if expected.is_complex() else torch.float64
        return ~torch.isclose(actual.to(wide), expected.to(wide), rtol=rtol, atol=atol, equal_nan=True)

    def __str__(self) -> str:
        if self.ulps is not None:
            return f"within {self.ulps:,} ulps"
        return (
            "within torch.testing's tolerances"
            if self.rtol is None
            else f"within rtol {self.rtol:g}, atol {self.atol:g}"
        )


def _ulps_apart(expected: torch.Tensor, actual: torch.Tensor) -> torch.Tensor:
    """How many steps apart the numbers are: exactly while that is few, since a large difference of integers overflows."""
    one, other = (_position(each).to(torch.int64) for each in (expected, actual))
    roughly = (one.to(torch.float64) - other.to(torch.float64)).abs()
    return torch.where(roughly < 2**52, (one - other).abs().to(torch.float64), roughly)


def _position(numbers: torch.Tensor) -> torch.Tensor:
    """The place of each number in the order of all numbers of its dtype; 0.0 and -0.0 share one."""
    if not numbers.dtype.is_floating_point:
        return numbers  # of uint64 those from 2**63 follow on the least: far from their neighbours, but exact elsewhere
    bits = numbers.contiguous().view(_INTEGERS[numbers.element_size()])
    magnitude = bits & torch.iinfo(bits.dtype).max
    return torch.where(bits < 0, -magnitude, magnitude)


@dataclass(frozen=True, slots=True)
class Manner:
    """How two runs are compared: numbers within a tolerance (None: bit for bit), and aspects that do not count.

    ``ignored`` names aspects as ``LeafOutcome.differences`` does, and ``random state``. Results are brought to the device
    ``home`` first; None compares them where they are.
    """

    close: Tolerance | None = None
    ignored: frozenset[str] = frozenset()
    home: torch.device | None = None

    def across_devices(self) -> Manner:
        """This manner for sides on two devices, whose kernels choose other strides and whose generators are others."""
        return replace(self, ignored=self.ignored | {"stride", "random state"}, home=torch.device("cpu"))

    def of_another_program(self) -> Manner:
        """This manner for programs that were written independently: aliasing and whether results require gradients
        is no part of the result."""
        return replace(self, ignored=self.ignored | {"stride", "aliasing", "requires_grad", "type", "change"})


BIT_FOR_BIT = Manner()


def manner_of(close: Tolerance | None) -> Manner:
    """Bit for bit where ``close`` is None; within a tolerance strides do not count, as in ``torch.testing``."""
    return BIT_FOR_BIT if close is None else Manner(close, frozenset({"stride"}))
