"""Reading, generating, validating and formatting a graph of 99,000 nodes, and the start of the command line."""

from __future__ import annotations

import operator
import os
import random
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from time import process_time
from typing import Any

import black
import torch
from torch import fx

import fx2py
from fx2py.bench.timing import in_rounds
from fx2py.read import open_graph
from tests.bench.rows import Row

NODES = 99_000
SMALL = 500
ATEN = torch.ops.aten


def large_graph(nodes: int) -> fx.GraphModule:
    """Calls of one to four arguments, some with long lists and constants, on values that stay alive for a while."""
    choose = random.Random(0)
    graph = fx.Graph()
    live = [graph.placeholder("x"), graph.placeholder("y")]
    while len(graph.nodes) < nodes - 1:
        last, other, third = live[-1], choose.choice(live), choose.choice(live)
        many = [last, *choose.choices(live, k=choose.choice([2, 3, 12, 30]))]
        calls: list[tuple[Any, Any]] = [
            (ATEN.add.Tensor, (last, other)),
            (ATEN.mul.Tensor, (last, 2.5)),
            (ATEN.cat.default, (many, 0)),
            (ATEN.slice.Tensor, (last, 0, 1, 4)),
            (torch.where, (last, other, third)),
            (ATEN.clamp.default, (last, -1.5, 1.5)),
            (operator.add, (last, other)),
        ]
        weights = [4, 2, 1, 1, 1, 1, 1]
        live.append(graph.call_function(*choose.choices(calls, weights)[0]))
        live = live[-30:]
    graph.output((live[-1], live[-2]))
    return fx.GraphModule({}, graph)


def rows() -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        yield from _large(Path(folder))
        yield from _start_up(Path(folder))


def _large(folder: Path) -> Iterator[Row]:
    graph_module = large_graph(NODES)
    timings = in_rounds({"python_code": partial(_python_code_seconds, graph_module)}, 3)
    floor = timings["python_code"].seconds
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = process_time()
    source = fx2py.generate(graph_module).source
    live = process_time() - start
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**20
    yield Row(
        f"generation, {NODES:,} nodes / python_code", live / floor, f"{live:.1f} s, {floor:.1f} s", at_most=10
    )
    yield Row("generation: GiB beyond the graph", grown, at_most=2)
    path = folder / "large.pt"
    torch.save(graph_module, path)
    start = process_time()
    data = open_graph(path)
    read = process_time() - start
    fx2py.generate(data)
    whole = process_time() - start
    detail = f"reading {read:.1f} s of {whole:.1f} s"
    yield Row(f"generation from torch.save, {NODES:,} nodes / python_code", whole / floor, detail, at_most=10)
    same = black.format_str(source, mode=black.Mode()) == source
    yield Row("generation: the text is what black writes (1: yes)", float(same), at_least=1)


def _python_code_seconds(graph_module: fx.GraphModule) -> float:
    start = process_time()
    graph_module.graph.python_code("self")
    return process_time() - start


def _start_up(folder: Path) -> Iterator[Row]:
    path = folder / "small.pt"
    torch.save(large_graph(SMALL), path)
    read = f"import torch; from fx2py.read import open_graph; open_graph({str(path)!r})"
    command = "from fx2py.cli.app import main; main()"
    ways = {
        "torch": ["-c", "import torch"],
        "help": ["-c", command, "--help"],
        "read": ["-c", read],
        "gen": ["-c", command, "gen", str(path), "-o", str(folder / "small_fx2py")],
    }
    timings = in_rounds({name: partial(_seconds, arguments) for name, arguments in ways.items()}, 5)
    seconds = {name: timing.seconds for name, timing in timings.items()}
    detail = ", ".join(f"{name} {each:.2f} s" for name, each in seconds.items())
    yield Row(
        f"start: gen of {SMALL} nodes / import torch and read",
        seconds["gen"] / seconds["read"],
        detail,
        at_most=1.3,
    )
    yield Row("start: fx2py --help / import torch", seconds["help"] / seconds["torch"], at_most=0.25)


def _seconds(arguments: list[str]) -> float:
    """The processor's seconds of a Python process that finds its modules compiled, as users have them."""
    environment = {name: text for name, text in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
