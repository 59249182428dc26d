"""One damage measured: does it differ on any of many inputs, does ``diff`` say so, and does it name the line?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby

import torch

import fx2py
from fx2py.artifact import Artifact
from fx2py.compare import Divergence, Side, diff_callables
from fx2py.errors import Fx2pyError
from fx2py.trust import Policy
from tests.mutants.damages import Mutant, mutants
from tests.mutants.graphs import Subject

SEEDS = range(12)
TRUSTING = Policy(trust_all=True)


@dataclass(frozen=True, slots=True)
class Outcome:
    """``differs``: on any of many inputs, or in a branch that none of them takes; ``statically``: its line is named
    without running anything."""

    graph: str
    kind: str
    lines: tuple[int, ...]
    differs: bool
    is_caught: bool
    is_named: bool
    statically: bool
    found: Divergence | None
    text: str

    @property
    def is_wrong(self) -> bool:
        return self.differs != self.is_caught or (self.differs and not self.is_named)


def measured(subject: Subject, each: int) -> Iterator[Outcome]:
    """``each`` damages of each kind, spread over the file."""
    for _, group in groupby(mutants(subject.artifact.source), key=lambda mutant: mutant.kind):
        found = list(group)
        step = max(len(found) // each, 1)
        for mutant in found[::step][:each]:
            yield outcome(subject, mutant)


def outcome(subject: Subject, mutant: Mutant) -> Outcome:
    damaged = replace(subject.artifact, source=mutant.source, program=None)
    torch.manual_seed(0)
    report = fx2py.diff(subject.data, damaged, subject.inputs(0), policy=TRUSTING)
    found = report.divergence
    statements = [each for each in report.statements or () if _names(each, mutant)]
    line = min(mutant.lines)
    return Outcome(
        subject.name,
        mutant.kind,
        tuple(sorted(mutant.lines)),
        differs(subject, damaged),
        report.verdict == "different",
        found is not None and _names(found, mutant),
        bool(statements),
        found,
        mutant.source.splitlines()[line - 1].strip(),
    )


def _names(found: Divergence, mutant: Mutant) -> bool:
    return any(line in mutant.lines for line in range(found.line, found.end_line + 1))


def differs(subject: Subject, damaged: Artifact) -> bool:
    """Whether any of many inputs, each in two calls in a row, tells the damaged code from the code as it was."""
    try:
        code = damaged.bind(policy=TRUSTING)
    except (Fx2pyError, SyntaxError, NameError):
        return True
    sides = Side(subject.artifact.bind(policy=TRUSTING), subject.artifact.tensors), Side(
        code, damaged.tensors
    )
    return any(
        diff_callables(*sides, subject.inputs(seed), seed=seed, calls=2).verdict == "different"
        for seed in SEEDS
    )
