"""How far apart the modules of two runs are: where an error enters a model, and how it grows from there."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ModuleError:
    """What one call of a module gave on both sides: ``differing`` of ``elements`` differ in their bits.

    ``largest`` is the greatest absolute difference, and ``relative`` that divided by the greatest magnitude on the graph's
    side; both over what is finite there, None where nothing is. ``is_comparable``: False where the two are of another
    shape or dtype, or one of them is missing.
    """

    path: str
    cls: str = ""
    elements: int = 0
    differing: int = 0
    largest: float | None = None
    relative: float | None = None
    is_comparable: bool = True

    @property
    def is_equal(self) -> bool:
        return self.is_comparable and not self.differing
