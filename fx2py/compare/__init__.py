"""Bit for bit comparison of two runs of one graph."""

from fx2py.compare.diff import Side, diff_callables
from fx2py.compare.report import EquivalenceReport, LeafOutcome
from fx2py.compare.runs import Run, compare_runs, record_run

__all__ = ["EquivalenceReport", "LeafOutcome", "Run", "Side", "compare_runs", "diff_callables", "record_run"]
