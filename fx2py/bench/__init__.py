"""How fast ways to run one graph are, measured side by side."""

from fx2py.bench.graphs import BenchReport, BenchRow, bench_graph
from fx2py.bench.timing import Timing, interleave, too_noisy
from fx2py.bench.ways import LiveSource

__all__ = ["BenchReport", "BenchRow", "LiveSource", "Timing", "bench_graph", "interleave", "too_noisy"]
