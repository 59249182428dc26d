"""One graph run in every way, timed side by side."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from fx2py.artifact import Artifact
from fx2py.bench.timing import interleave, too_noisy
from fx2py.bench.ways import DEFAULT_MODE, LiveSource, Way, by_fx2py, by_torch, way
from fx2py.graph.data import GraphData
from fx2py.replay.inputs import Inputs
from fx2py.replay.interpreter import Reference
from fx2py.replay.memory import measured_peak
from fx2py.trust import Policy


@dataclass(frozen=True, slots=True)
class BenchRow:
    """One way to run the graph: seconds a call, their spread (quartiles over median), times fx2py's own default.

    ``per_node`` is the seconds of a call divided by the nodes that do something, ``per_submodule`` by the calls of
    submodules (None where there are none); ``peak_bytes`` counts the call's own results; ``code_bytes`` is the size of
    the source, where there is one.
    """

    name: str
    seconds: float
    spread: float
    ratio: float
    per_node: float
    per_submodule: float | None
    peak_bytes: int
    code_bytes: int | None


@dataclass(frozen=True, slots=True)
class BenchReport:
    """All rows of one graph; ``noise`` says why the ratios cannot be trusted, or is ''."""

    nodes: int
    submodule_calls: int
    rounds: int
    inputs: str
    rows: tuple[BenchRow, ...]
    noise: str


def bench_graph(
    data: GraphData,
    inputs: Inputs,
    *,
    live: LiveSource | None = None,
    folder: Artifact | None = None,
    policy: Policy | None = None,
    device: str | torch.device | None = None,
    rounds: int = 15,
) -> BenchReport:
    """Time every way to run ``data`` on ``inputs``, under ``torch.no_grad``.

    ``live`` is the graph as torch's own object: only then torch's callables take part, since building them from a file
    would run code of the file. ``folder`` is a generated folder whose code, edited or not, takes part as it stands.
    """
    ways = _ways(data, inputs, live, folder, policy, device)
    with torch.no_grad():
        timings = interleave({name: each.call for name, each in ways.items()}, rounds)
        peaks = {name: measured_peak(each.call, (), {}) for name, each in ways.items()}
    nodes, submodule_calls = max(1, _count(data, "call_")), _count(data, "call_module")
    base = timings[DEFAULT_MODE].seconds
    rows = tuple(
        BenchRow(
            name,
            timing.seconds,
            timing.spread,
            timing.seconds / base,
            timing.seconds / nodes,
            timing.seconds / submodule_calls if submodule_calls else None,
            peaks[name],
            ways[name].code_bytes,
        )
        for name, timing in timings.items()
    )
    return BenchReport(nodes, submodule_calls, rounds, inputs.source, rows, too_noisy(timings))


def _ways(
    data: GraphData,
    inputs: Inputs,
    live: LiveSource | None,
    folder: Artifact | None,
    policy: Policy | None,
    device: str | torch.device | None,
) -> dict[str, Way]:
    ways = {} if live is None else by_torch(live, inputs)
    ways |= by_fx2py(data, inputs, policy, device)
    if folder is not None:
        ways["the folder"] = way(folder.bind(device, policy=policy), inputs, folder.source)
    if live is None:
        ways["reference run"] = way(Reference(data, policy, device=device), inputs)
    return ways


def _count(data: GraphData, opcode: str) -> int:
    """How many nodes of all graphs have an opcode that begins so."""
    graphs = (record.graph for _, record in data.root.walk() if record.graph is not None)
    return sum(node.op.startswith(opcode) for graph in graphs for node in graph.nodes)
