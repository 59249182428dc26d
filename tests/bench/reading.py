"""How long it takes to read each saved graph of the corpus, beside torch's own loader: ``python -m tests.bench.reading``.

torch.load executes the file and traces it again, and torch.export.load rebuilds the program; ``open_graph`` does the
work that stands against both.
"""

from __future__ import annotations

import gc
import io
import statistics
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from fx2py.read import open_graph
from tests.corpus import CASES, Case
from tests.corpus.doors import DOORS

LOADERS: dict[str, Callable[[Path], Any]] = {
    "pt": lambda path: torch.load(path, weights_only=False),
    "pt2": torch.export.load,
}
ROUNDS = 5
WORST = 10


@dataclass(frozen=True)
class Timing:
    """Best seconds of some rounds for one file; ``torch`` is None where torch's loader fails."""

    file: str
    ours: float
    torch: float | None

    @property
    def ratio(self) -> float | None:
        """How many times faster ``open_graph`` is."""
        return None if self.torch is None else self.torch / self.ours


def reading_times(rounds: int = ROUNDS) -> Iterator[Timing]:
    """A timing for each graph of the corpus in each format that torch itself can load."""
    for case in CASES.values():
        for door in sorted(case.savable_as & LOADERS.keys()):
            with tempfile.TemporaryDirectory() as folder:
                yield _timing(case, door, Path(folder), rounds)


def summary(timings: list[Timing]) -> str:
    """The median ratio, how many files are read slower than by torch, and the worst ones."""
    compared = sorted(
        (timing for timing in timings if timing.ratio is not None), key=lambda one: one.ratio or 0
    )
    ratios = [timing.ratio or 0 for timing in compared]
    slower = sum(ratio < 1 for ratio in ratios)
    lines = [
        f"{len(compared)} files, {len(timings) - len(compared)} more that torch cannot load",
        f"median: {statistics.median(ratios):.1f} times as fast as torch; slower than torch: {slower}",
        "worst:",
    ]
    lines += [f"  {one.ratio or 0:5.2f}x  {one.ours * 1e3:7.2f} ms  {one.file}" for one in compared[:WORST]]
    return "\n".join(lines)


def _timing(case: Case, door: str, folder: Path, rounds: int) -> Timing:
    graph = case.build()
    if isinstance(graph, torch.fx.GraphModule):
        graph._tracer_cls = None  # a tracer of the corpus's own keeps torch from loading what it traced
    path = DOORS[door](graph, folder)
    ours = _best(lambda: open_graph(path), rounds)
    assert ours is not None, f"{case} cannot be read from {door}"
    return Timing(f"{case} ({door})", ours, _best(lambda: LOADERS[door](path), rounds))


def _best(read: Callable[[], Any], rounds: int) -> float | None:
    """The least seconds of some calls after a first one; None when a call fails."""
    seconds = []
    for _ in range(rounds + 1):
        gc.collect()
        started = perf_counter()
        try:
            with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
                read()
        except Exception:  # torch's loaders fail on some files in whatever way the text of the file does
            return None
        seconds.append(perf_counter() - started)
    return min(seconds[1:])


def main() -> None:
    warnings.simplefilter("ignore")
    timings = []
    for timing in reading_times():
        timings.append(timing)
        shown = "torch fails" if timing.ratio is None else f"{timing.ratio:6.1f}x"
        print(f"{shown:>12}  {timing.ours * 1e3:8.2f} ms  {timing.file}", file=sys.stderr, flush=True)
    print(summary(timings))


if __name__ == "__main__":
    main()
