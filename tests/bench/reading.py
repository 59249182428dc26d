"""How long it takes to read each saved graph of the corpus, beside torch's own loader: ``python -m tests.bench.reading``.

Words after the command choose among cases and formats by their names. Both sides read the same file from the page cache in
interleaved rounds; compared are the medians of the seconds that the thread itself took. Most of torch's loaders
execute the file and trace it again; ``open_graph`` does the work that stands against that.
"""

from __future__ import annotations

import gc
import importlib.util
import io
import logging
import pickle
import statistics
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from time import thread_time
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx._graph_pickler import GraphPickler
from torch.fx.experimental.symbolic_shapes import ShapeEnv
from torch.package import PackageImporter

from fx2py.bench.timing import interleave
from fx2py.read import open_graph
from tests.bench.rows import Row
from tests.corpus import CASES, Case
from tests.corpus.formats import FORMATS
from tests.corpus.selection import representative

ROUNDS = 9
WORST = 15


def _traced_folder(path: Path) -> Any:
    """The graph of what ``to_folder`` wrote: the module is compiled and imported, its class instantiated and traced."""
    sys.dont_write_bytecode = True
    spec = importlib.util.spec_from_file_location("saved_graph", path / "__init__.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    for name in [name for name in sys.modules if name.partition(".")[0] == "saved_graph"]:
        del sys.modules[name]
    sys.modules["saved_graph"] = module
    spec.loader.exec_module(module)
    return torch.fx.symbolic_trace(module.SavedGraph())


LOADERS: dict[str, Callable[[Path], Any]] = {
    "pt": lambda path: torch.load(path, weights_only=False),
    "pt2": torch.export.load,
    "pickle": lambda path: pickle.loads(path.read_bytes()),
    "graph_pickler": lambda path: GraphPickler.loads(path.read_bytes(), FakeTensorMode(shape_env=ShapeEnv())),
    "package": lambda path: PackageImporter(path).load_pickle("model", "model.pkl"),
    "to_folder": _traced_folder,
}


@dataclass(frozen=True)
class Comparison:
    """Median seconds to read one file; ``torch`` is None where torch's loader fails."""

    case: str
    format_: str
    ours: float
    torch: float | None

    @property
    def ratio(self) -> float:
        """How many times faster ``open_graph`` is; infinite where only it reads the file."""
        return float("inf") if self.torch is None else self.torch / self.ours


def comparisons(chosen: list[str]) -> Iterator[Comparison]:
    """Each graph of the corpus in each format that it can be saved in."""
    for name, case in CASES.items():
        for format_ in sorted(case.savable_as):
            if not chosen or any(word in f"{name} ({format_})" for word in chosen):
                with tempfile.TemporaryDirectory() as folder:
                    yield _compare(case, format_, Path(folder))


def _compare(case: Case, format_: str, folder: Path) -> Comparison:
    graph = case.build()
    if isinstance(graph, torch.fx.GraphModule):
        graph._tracer_cls = None  # a tracer of the corpus's own keeps torch from loading what it traced
    path = FORMATS[format_](graph, folder)
    del graph
    gc.collect()
    contenders = {"ours": lambda: open_graph(path), "torch": lambda: LOADERS[format_](path)}
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        if not _works(contenders["torch"]):
            del contenders["torch"]
        timings = interleave(contenders, ROUNDS, thread_time)
    theirs = timings["torch"].seconds if "torch" in timings else None
    return Comparison(str(case), format_, timings["ours"].seconds, theirs)


def _works(load: Callable[[], Any]) -> bool:
    try:
        load()
    except Exception:  # torch's loaders fail on some files in whatever way the text of the file does
        return False
    finally:
        while torch._C._functorch.peek_interpreter_stack() is not None:  # a vmap that the file's text began
            torch._C._functorch.pop_dynamic_layer_stack()
    return True


def summary(found: list[Comparison]) -> str:
    """For each format the median ratio and how many files torch reads faster; then the worst files of all."""
    lines = []
    for format_ in (*LOADERS, "all"):
        chosen = [one for one in found if format_ in (one.format_, "all")]
        ratios = [one.ratio for one in chosen if one.torch is not None]
        if ratios:
            lines.append(
                f"{format_:>14}: {len(ratios):4} files, median {statistics.median(ratios):6.2f} times as fast as torch, "
                f"least {min(ratios):5.2f}, {sum(ratio < 1 for ratio in ratios)} slower; "
                f"torch fails on {len(chosen) - len(ratios)} more"
            )
    worst = sorted(found, key=lambda one: one.ratio)[:WORST]
    return "\n".join([*lines, "worst:", *(f"  {_line(one)}" for one in worst)])


def rows() -> Iterator[Row]:
    """The benchmark's rows: the formats of torch.save and torch.export.save, a graph of each kind in each family."""
    names = sorted(representative())
    for format_, loader in (("pt", "torch.load"), ("pt2", "torch.export.load")):
        found = [
            one for one in comparisons([f"{name} ({format_})" for name in names]) if one.torch is not None
        ]
        detail = f"{len(found)} files, least {min(one.ratio for one in found):.1f}"
        median = statistics.median(one.ratio for one in found)
        yield Row(f"reading, median: {loader} / open_graph", median, detail, at_least=1)


def _line(one: Comparison) -> str:
    shown = "torch fails" if one.torch is None else f"{one.ratio:6.2f}x"
    return f"{shown:>12}  {one.ours * 1e3:8.2f} ms  {one.case} ({one.format_})"


def main() -> None:
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    found = []
    for one in comparisons(sys.argv[1:]):
        found.append(one)
        print(_line(one), file=sys.stderr, flush=True)
    print(summary(found))


if __name__ == "__main__":
    main()
