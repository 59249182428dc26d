"""``fx2py diff``: is the generated code bit for bit what the graph computes?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fx2py.cli import options, render
from fx2py.cli.device import check_device
from fx2py.cli.locate import default_folder, is_generated, newest_folder

if TYPE_CHECKING:
    from fx2py.compare import EquivalenceReport
    from fx2py.program.options import GenerateOptions
    from fx2py.trust import Policy


@dataclass(frozen=True, slots=True)
class Diffed:
    """What was compared on which inputs, the report, and what the code does not hold of the graph."""

    graph: str
    code: str
    inputs: str
    report: EquivalenceReport
    notes: tuple[str, ...] = ()


def diff(
    graph: Annotated[
        Path | None,
        typer.Argument(
            metavar="GRAPH", help="The saved graph. Default: the one that FOLDER was generated from."
        ),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Argument(metavar="FOLDER", help="The generated folder. Default: the newest *_fx2py here."),
    ] = None,
    inputs: options.InputsFile = None,
    device: options.Device = None,
    seed: options.Seed = 0,
    model: options.ModelName = None,
    exact_ops: options.ExactOps = False,
    optimize: options.Optimize = False,
    allow: options.Allow = None,
    allow_op: options.AllowOp = None,
    allow_class: options.AllowClass = None,
    trust: options.Trust = False,
    as_json: options.AsJson = False,
) -> None:
    """Compare generated code with its graph, bit for bit. Exits 0 when equivalent, 1 when not."""
    check_device(device)
    admitted = options.policy(allow, allow_op, allow_class, trust)
    named, target = _pair(graph, folder)

    from fx2py.program.options import GenerateOptions

    wanted = GenerateOptions(exact_ops=exact_ops, optimize=optimize)
    with render.working(f"comparing {target}"):
        done = _diff(named, target, _Request(inputs, device, seed, model, wanted), admitted)
    render.print_diff(done, as_json)
    raise typer.Exit(0 if done.report.equal else 1)


@dataclass(frozen=True, slots=True)
class _Request:
    """How to compare: the options that are not about trust or printing."""

    inputs: Path | None
    device: str | None
    seed: int
    model: str | None
    options: GenerateOptions


def _pair(graph: Path | None, folder: Path | None) -> tuple[Path | None, Path]:
    """What is meant: a graph and a generated folder, or None and a folder or graph that stands for both."""
    if graph is None:
        return None, newest_folder(Path())
    beside = folder or default_folder(graph, Path())
    if folder is None and (is_generated(graph) or not is_generated(beside)):
        return None, graph
    return graph, beside


def _diff(graph: Path | None, target: Path, request: _Request, policy: Policy) -> Diffed:
    from fx2py.cli.call import choose_inputs
    from fx2py.cli.subject import open_pair, open_subject
    from fx2py.compare.graphs import diff_graph

    if graph is None:
        subject = open_subject(target, request.model, request.options)
    else:
        subject = open_pair(graph, target, request.model)
    data = subject.graph()
    inputs = choose_inputs(lambda: data, request.inputs, request.seed, request.device, policy)
    report = diff_graph(
        data,
        subject.artifact,
        inputs.args,
        inputs.kwargs,
        device=request.device,
        seed=request.seed,
        policy=policy,
    )
    code = str(target) if is_generated(target) else "generated in memory"
    return Diffed(str(data.provenance.path), code, inputs.source, report, subject.artifact.manifest.notes)
