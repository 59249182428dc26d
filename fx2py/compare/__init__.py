"""Graph and generated code compared: statically, and bit for bit by running both."""

from fx2py.compare.report import Deviation, Divergence, EquivalenceReport, LeafOutcome, NotRun, RunOutcome
from fx2py.compare.runs import Run, compare_runs, record_run
from fx2py.compare.sides import Side, diff_callables
from fx2py.compare.tolerance import Tolerance

__all__ = [
    "Deviation",
    "Divergence",
    "EquivalenceReport",
    "LeafOutcome",
    "NotRun",
    "Run",
    "RunOutcome",
    "Side",
    "Tolerance",
    "compare_runs",
    "diff_callables",
    "record_run",
]
