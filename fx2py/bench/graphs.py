"""The ways to run one graph, timed side by side: torch's own callables, the reference run, fx2py in each mode."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeAlias

import torch
import torch.fx as fx
from torch.export import ExportedProgram

from fx2py.artifact import Artifact, generate
from fx2py.bench.floor import floor_of
from fx2py.bench.timing import interleave, too_noisy
from fx2py.graph.data import GraphData
from fx2py.program.options import GenerateOptions
from fx2py.replay.inputs import Inputs
from fx2py.replay.interpreter import Reference
from fx2py.replay.memory import measured_peak
from fx2py.trust import Policy

LiveSource: TypeAlias = "fx.GraphModule | ExportedProgram"
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

    ``per_node`` is the seconds of a call divided by the nodes that do something; ``peak_bytes`` counts the call's own
    results; ``code_bytes`` is the size of the source, where there is one.
    """

    name: str
    seconds: float
    spread: float
    ratio: float
    per_node: float
    peak_bytes: int
    code_bytes: int | None


@dataclass(frozen=True, slots=True)
class BenchReport:
    """All rows of one graph; ``noise`` says why the ratios cannot be trusted, or is ''."""

    nodes: int
    rounds: int
    inputs: str
    rows: tuple[BenchRow, ...]
    noise: str


@dataclass(frozen=True, slots=True)
class _Contender:
    call: Callable[..., Any]
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
    contenders = {**_by_torch(live), **_by_fx2py(data, policy, device)}
    if folder is not None:
        contenders["the folder"] = _Contender(folder.bind(device, policy=policy), len(folder.source))
    if live is None:
        contenders["reference run"] = _Contender(Reference(data, policy, device=device))
    nodes = max(
        1, sum(node.op.startswith("call_") for _, r in data.root.walk() if r.graph for node in r.graph.nodes)
    )
    with torch.no_grad():
        calls = {name: partial(c.call, *inputs.args, **inputs.kwargs) for name, c in contenders.items()}
        timings = interleave(calls, rounds)
        peaks = {name: measured_peak(c.call, inputs.args, inputs.kwargs) for name, c in contenders.items()}
    base = timings[DEFAULT_MODE].seconds
    rows = tuple(
        BenchRow(
            name,
            timing.seconds,
            timing.spread,
            timing.seconds / base,
            timing.seconds / nodes,
            peaks[name],
            contenders[name].code_bytes,
        )
        for name, timing in timings.items()
    )
    return BenchReport(nodes, rounds, inputs.source, rows, too_noisy(timings))


def _by_torch(live: LiveSource | None) -> Mapping[str, _Contender]:
    if isinstance(live, ExportedProgram):
        return {"ep.module()": _Contender(live.module())}
    if live is None:
        return {}
    interpreter = fx.Interpreter(live)
    return {
        "FX GraphModule": _Contender(live, len(live.code)),
        "fx.Interpreter": _Contender(interpreter.run),
    }


def _by_fx2py(
    data: GraphData, policy: Policy | None, device: str | torch.device | None
) -> dict[str, _Contender]:
    """fx2py in each mode, once for those that give the same text, and the floor where one is known."""
    found: dict[str, _Contender] = {}
    seen: set[str] = set()
    for name, options in MODES.items():
        code = generate(data, replace(options, comments=False))
        if code.source not in seen:
            seen.add(code.source)
            found[name] = _Contender(code.bind(device, policy=policy), len(code.source))
    default = generate(data)
    floor = floor_of(default, default.bind(device, policy=policy))
    return found if floor is None else {**found, "hand-written": _Contender(floor)}
