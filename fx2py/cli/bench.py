"""``fx2py bench``: how fast each way to run a graph is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fx2py.cli import options, render
from fx2py.cli.device import check_device
from fx2py.cli.locate import is_generated, newest_folder

if TYPE_CHECKING:
    from fx2py.bench import BenchReport
    from fx2py.graph.data import GraphData
    from fx2py.trust import Policy


@dataclass(frozen=True, slots=True)
class Benched:
    """What was timed, and the report."""

    label: str
    report: BenchReport


def bench(
    source: Annotated[
        Path | None,
        typer.Argument(
            metavar="GRAPH_OR_FOLDER",
            help="A saved graph or a generated folder. Default: the newest *_fx2py here.",
        ),
    ] = None,
    inputs: options.InputsFile = None,
    device: options.Device = None,
    seed: options.Seed = 0,
    rounds: Annotated[int, typer.Option("--rounds", min=3, help="Time everything so often, in turn.")] = 15,
    model: options.ModelName = None,
    allow: options.Allow = None,
    allow_op: options.AllowOp = None,
    allow_class: options.AllowClass = None,
    trust: options.Trust = False,
    as_json: options.AsJson = False,
) -> None:
    """Time a graph in every way it can be run. With --trust torch loads the file too, and takes part."""
    check_device(device)
    admitted = options.policy(allow, allow_op, allow_class, trust)
    target = source or newest_folder(Path())
    with render.working(f"timing {target}"):
        done = _bench(target, _Request(inputs, device, seed, rounds, model), admitted)
    render.print_bench(done, as_json)


@dataclass(frozen=True, slots=True)
class _Request:
    """How to time: the options that are not about trust or printing."""

    inputs: Path | None
    device: str | None
    seed: int
    rounds: int
    model: str | None


def _bench(target: Path, request: _Request, policy: Policy) -> Benched:
    from fx2py.artifact import open_artifact
    from fx2py.bench import bench_graph
    from fx2py.cli.call import choose_inputs
    from fx2py.cli.locate import recorded_graph
    from fx2py.read import open_graph

    folder = open_artifact(target) if is_generated(target) else None
    data = open_graph(target, model=request.model) if folder is None else recorded_graph(folder, target)
    inputs = choose_inputs(lambda: data, request.inputs, request.seed, request.device, policy)
    live = _as_torch_loads_it(data) if policy.trust_all and request.device is None else None
    report = bench_graph(
        data, inputs, live=live, folder=folder, policy=policy, device=request.device, rounds=request.rounds
    )
    return Benched(str(target), report)


def _as_torch_loads_it(data: GraphData) -> Any:
    """The graph as torch's own object, which runs what the file says; only for a file that the user trusts."""
    import torch

    path = data.provenance.path
    if path is None:
        return None
    if data.provenance.format == "pt2":
        return torch.export.load(path)
    if data.provenance.format == "torch.save":
        loaded = torch.load(path, weights_only=False)
        return loaded if isinstance(loaded, torch.fx.GraphModule) else None
    return None
