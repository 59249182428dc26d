"""``fx2py diff``: is the generated code bit for bit what the graph computes?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fx2py.cli import launch, options, render
from fx2py.cli.apart import LockIn, Sandbox, not_locked, require_simple, run_apart
from fx2py.cli.device import check_device
from fx2py.cli.every import FoldersOfGraphs
from fx2py.cli.locate import default_folder, is_generated

if TYPE_CHECKING:
    from fx2py.artifact import Artifact
    from fx2py.compare import EquivalenceReport
    from fx2py.compare.diff import Side
    from fx2py.distributed.launcher import Rank
    from fx2py.program.options import GenerateOptions
    from fx2py.replay.inputs import Inputs
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
    sandbox: options.Sandbox = False,
    sandbox_memory: options.SandboxMemory = 8.0,
    sandbox_seconds: options.SandboxSeconds = 600.0,
    as_json: options.AsJson = False,
) -> None:
    """Compare generated code with its graph, bit for bit. Exits 0 when equivalent, 1 when not."""
    rank = launch.asked_rank(graph, folder, inputs)

    def work(lock_in: LockIn) -> None:
        admitted = options.policy(allow, allow_op, allow_class, trust)

        from fx2py.program.options import GenerateOptions
        from fx2py.trust.checked_kernels import checked_kernels

        wanted = GenerateOptions(exact_ops=exact_ops, optimize=optimize)
        request = _Request(inputs, device, seed, model, wanted)
        lock_in()
        working = render.working(f"comparing {graph or 'the newest folder'}")
        with working, checked_kernels(trusted=trust), launch.world(rank) as ranks:
            ready = ranks.agree(lambda: _prepare(graph, folder, request, admitted, rank))
            ranks.form_groups(ready.artifact)
            done = ranks.gather(ranks.agree(lambda: _compare(ready, seed, is_alone=ranks.is_alone)))
        render.print_diff(done, as_json)
        raise typer.Exit(0 if all(each.report.equal for each in done) else 1)

    if not sandbox:
        work(not_locked)
        return
    require_simple(rank, device)
    limits = Sandbox(sandbox_memory, sandbox_seconds)
    run_apart(work, limits, [graph, folder, inputs], kept=None, as_json=as_json)


@dataclass(frozen=True, slots=True)
class _Request:
    """How to compare: the options that are not about trust or printing."""

    inputs: Path | None
    device: str | None
    seed: int
    model: str | None
    options: GenerateOptions


@dataclass(frozen=True, slots=True, eq=False)
class _Ready:
    """What is compared on what, before anything was called; the graph comes first."""

    graph: str
    code: str
    artifact: Artifact
    sides: tuple[Side, Side]
    inputs: Inputs


def _pair(
    graph: Path | None, folder: Path | None, model: str | None, rank: Rank | None
) -> tuple[Path | None, Path]:
    """What is meant: a graph and a generated folder, or None and a folder or graph that stands for both."""
    target = launch.own_graph(graph, rank)
    if graph is None:
        return None, target
    beside = _beside(target, model) if folder is None else launch.own_graph(folder, rank)
    if folder is None and (is_generated(target) or not is_generated(beside)):
        return None, target
    return target, beside


def _beside(graph: Path, model: str | None) -> Path:
    """The folder here of a graph: that of ``gen --all`` for one of several, else that of ``gen``."""
    own = FoldersOfGraphs().folder(graph, model or "", Path())
    return own if is_generated(own) else default_folder(graph, Path())


def _prepare(
    graph: Path | None, folder: Path | None, request: _Request, policy: Policy, rank: Rank | None
) -> _Ready:
    from fx2py.cli.call import choose_inputs
    from fx2py.cli.subject import open_pair, open_subject
    from fx2py.compare.diff import bind_sides

    device = launch.own_device(request.device, rank)
    check_device(device)
    named, target = _pair(graph, folder, request.model, rank)
    if named is None:
        subject = open_subject(target, request.model, request.options)
    else:
        subject = open_pair(named, target, request.model, request.options)
    data = subject.graph()
    inputs = choose_inputs(lambda: data, launch.own_input(request.inputs, rank), request.seed, device, policy)
    sides = bind_sides(data, subject.artifact, device=device, policy=policy)
    code = str(target) if is_generated(target) else "generated in memory"
    return _Ready(str(data.provenance.path), code, subject.artifact, sides, inputs)


def _compare(ready: _Ready, seed: int, *, is_alone: bool) -> Diffed:
    """Compare the sides. Where one of several ranks raises, the others cannot go on, and nothing is compared."""
    from fx2py.cli.call import refusing
    from fx2py.compare.diff import diff_callables

    graph, code = ready.sides
    if not is_alone:
        graph, code = (replace(side, call=refusing(side.call, ready.inputs)) for side in ready.sides)
    report = diff_callables(graph, code, ready.inputs.args, ready.inputs.kwargs, seed=seed)
    return Diffed(ready.graph, ready.code, ready.inputs.source, report, ready.artifact.manifest.notes)
