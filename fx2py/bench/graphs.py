"""The ways to run one graph, timed side by side: torch's own callables, the reference run, fx2py in each mode."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch

from fx2py.artifact import Artifact, generate
from fx2py.bench.floor import floor_of
from fx2py.bench.timing import interleave, too_noisy
from fx2py.bench.torch_ways import LiveSource, by_torch
from fx2py.distributed.launcher import Alone
from fx2py.emit.module import Texts
from fx2py.graph.data import GraphData
from fx2py.program.options import GenerateOptions
from fx2py.replay.inputs import Inputs
from fx2py.replay.interpreter import Reference
from fx2py.replay.memory import measured_peak
from fx2py.trust import Policy

DEFAULT_MODE = "fx2py"
MODES = {
    DEFAULT_MODE: GenerateOptions(),
    "fx2py -O": GenerateOptions(optimize=True),
    "fx2py --exact-ops": GenerateOptions(exact_ops=True),
    "fx2py --keep-submodules": GenerateOptions(keep_submodules=True),
}


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


@dataclass(frozen=True, slots=True)
class _Contender:
    """A call with its inputs, and the size of its source."""

    call: Callable[[], Any]
    code_bytes: int | None = None


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
    contenders = _contenders(data, inputs, live, folder, policy, device)
    with torch.no_grad():
        timings = interleave({name: each.call for name, each in contenders.items()}, rounds)
        peaks = {name: measured_peak(each.call, (), {}) for name, each in contenders.items()}
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
            contenders[name].code_bytes,
        )
        for name, timing in timings.items()
    )
    return BenchReport(nodes, submodule_calls, rounds, inputs.source, rows, too_noisy(timings))


def _contenders(
    data: GraphData,
    inputs: Inputs,
    live: LiveSource | None,
    folder: Artifact | None,
    policy: Policy | None,
    device: str | torch.device | None,
) -> dict[str, _Contender]:
    """Every way to run ``data``, by its name."""

    def contender(execute: Callable[..., Any], source: str | None = None) -> _Contender:
        size = None if source is None else len(source)
        return _Contender(partial(execute, *inputs.args, **inputs.kwargs), size)

    contenders = (
        {} if live is None else {name: _Contender(call) for name, call in by_torch(live, inputs).items()}
    )
    for name, (execute, source) in _by_fx2py(data, policy, device).items():
        contenders[name] = contender(execute, source)
    if folder is not None:
        contenders["the folder"] = contender(folder.bind(device, policy=policy), folder.source)
    if live is None:
        contenders["reference run"] = contender(Reference(data, policy, device=device))
    return contenders


def _count(data: GraphData, opcode: str) -> int:
    """How many nodes of all graphs have an opcode that begins so."""
    graphs = (record.graph for _, record in data.root.walk() if record.graph is not None)
    return sum(node.op.startswith(opcode) for graph in graphs for node in graph.nodes)


def _by_fx2py(
    data: GraphData, policy: Policy | None, device: str | torch.device | None
) -> dict[str, tuple[Callable[..., Any], str | None]]:
    """fx2py in each mode with its source, once for those that give the same, and the floor where one is known.

    Raises ReplayError for a graph of several processes: one of them cannot run it alone.
    """
    default = generate(data)
    Alone().form_groups(default)
    found: dict[str, tuple[Callable[..., Any], str | None]] = {}
    seen: set[Texts] = set()
    for name, options in MODES.items():
        code = generate(data, replace(options, comments=False))
        if code.texts not in seen:
            seen.add(code.texts)
            found[name] = (code.bind(device, policy=policy), code.source)
    floor = floor_of(default, default.bind(device, policy=policy))
    return found if floor is None else {**found, "hand-written": (floor, None)}
