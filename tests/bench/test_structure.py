"""A sample of what ``make bench`` measures of structured code."""

from __future__ import annotations

from tests.bench.structure import MOST_LINES, bert, measured


def test_a_model_is_short_named_and_within_the_peak_at_any_depth() -> None:
    few, many = (measured(*bert(depth)) for depth in (2, 6))
    assert many.lines <= min(1.05 * few.lines, MOST_LINES[bert])
    assert max(few.deletions, many.deletions) <= 0.12
    assert few.names >= 0.8
    assert many.peak == many.flat_peak
