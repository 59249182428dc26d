"""A sample of ``make mutants``: damages of every kind that are read, and named, without running anything."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from fx2py.compare.statements import compare_statements
from tests.mutants.damages import KINDS, Mutant, mutants
from tests.mutants.graphs import SMALL, Subject, subject

EACH = 2
"""Damages of each kind and graph."""


def sample(of: Subject) -> Iterator[Mutant]:
    for kind in KINDS:
        found = [mutant for mutant in mutants(of.artifact.source) if mutant.kind == kind]
        yield from found[:: max(len(found) // EACH, 1)][:EACH]


@pytest.mark.parametrize("name", SMALL)
def test_damaged_statements_are_named_by_reading_alone(name: str) -> None:
    of = subject(name)
    assert compare_statements(of.data, of.artifact).differing == ()
    named = []
    for mutant in sample(of):
        found = compare_statements(of.data, replace(of.artifact, source=mutant.source)).differing
        if found:
            lines = [range(each.line, each.end_line + 1) for each in found]
            named.append(any(line in part for part in lines for line in mutant.lines))
            assert len(found) <= 5, mutant
    assert len(named) > 8
    assert sum(named) >= 0.98 * len(named)
