"""``fx2py diff``: is the generated code bit for bit what the graph computes?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fx2py.cli import launch, options, results, sandbox
from fx2py.cli.results import Diffed
from fx2py.cli.targets import FoldersOfGraphs, default_folder, is_generated, open_pair, open_subject

if TYPE_CHECKING:
    from fx2py.artifact import Artifact
    from fx2py.compare.diff import Side
    from fx2py.compare.report import Verdict
    from fx2py.distributed.launcher import Rank
    from fx2py.replay.inputs import Inputs
    from fx2py.trust import Policy


EXIT_CODES: dict[Verdict, int] = {"equivalent": 0, "different": 1, "not compared": 3}


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
    *,
    inputs: options.InputOptions,
    code: options.CodeOptions,
    trust: options.TrustOptions,
    sandboxed: options.SandboxOptions,
    as_json: options.AsJson = False,
) -> None:
    """Compare generated code with its graph, bit for bit. Exits 0 when equivalent, 1 when not, 3 when no result could be compared."""
    rank = launch.asked_rank(graph, folder, inputs.file)

    def work(lock_in: sandbox.LockIn, descriptor: int | None) -> None:
        doing = f"comparing {graph or 'the newest folder'}"
        with sandbox.at_work(lock_in, doing, trust, rank) as (ranks, policy):
            ready = ranks.agree(lambda: _prepare(graph, folder, inputs, code, policy, rank))
            ranks.form_groups(ready.artifact)
            done = ranks.gather(ranks.agree(lambda: _compare(ready, inputs.seed, is_alone=ranks.is_alone)))
        results.print_diff(done, as_json)
        raise typer.Exit(EXIT_CODES[results.verdict_of(done)])

    reads = [graph, folder, inputs.file]
    sandbox.perform(work, sandboxed, rank=rank, device=inputs.device, reads=reads, as_json=as_json)


@dataclass(frozen=True, slots=True, eq=False)
class _BoundSides:
    """Both sides and their inputs before the first call; the graph comes first."""

    graph: str
    code: str
    artifact: Artifact
    sides: tuple[Side, Side]
    inputs: Inputs


def _pair(
    graph: Path | None, folder: Path | None, model: str | None, rank: Rank | None
) -> tuple[Path | None, Path]:
    """The graph and the generated folder to compare, or None and a folder or graph that determines both."""
    target = launch.own_graph(graph, rank)
    if graph is None:
        return None, target
    beside = _beside(target, model) if folder is None else launch.own_graph(folder, rank)
    if folder is None and (is_generated(target) or not is_generated(beside)):
        return None, target
    return target, beside


def _beside(graph: Path, model: str | None) -> Path:
    """The folder of a graph in the current directory: that of ``gen --all`` for one of several, else that of ``gen``."""
    own = FoldersOfGraphs().folder(graph, model or "", Path())
    return own if is_generated(own) else default_folder(graph, Path())


def _prepare(
    graph: Path | None,
    folder: Path | None,
    asked: options.InputOptions,
    code: options.CodeOptions,
    policy: Policy,
    rank: Rank | None,
) -> _BoundSides:
    from fx2py.cli.call import choose_inputs
    from fx2py.compare.diff import bind_sides

    model, generating = code.model, code.generating()
    device = launch.own_device(asked.device, rank)
    named, target = _pair(graph, folder, model, rank)
    if named is None:
        subject = open_subject(target, model, generating)
    else:
        subject = open_pair(named, target, model, generating)
    data = subject.graph()
    inputs = choose_inputs(lambda: data, launch.own_input(asked.file, rank), asked.seed, device, policy)
    sides = bind_sides(data, subject.artifact, device=device, policy=policy)
    where = str(target) if is_generated(target) else "generated in memory"
    return _BoundSides(str(data.provenance.path), where, subject.artifact, sides, inputs)


def _compare(ready: _BoundSides, seed: int, *, is_alone: bool) -> Diffed:
    """Compare the sides. When one of several ranks raises, the others wait in a collective: then the run fails instead."""
    from fx2py.cli.call import refusing
    from fx2py.compare.diff import diff_callables

    graph, code = ready.sides
    if not is_alone:
        graph, code = (replace(side, call=refusing(side.call, ready.inputs)) for side in ready.sides)
    report = diff_callables(graph, code, ready.inputs.args, ready.inputs.kwargs, seed=seed)
    return Diffed(ready.graph, ready.code, ready.inputs.source, report, ready.artifact.manifest.notes)
