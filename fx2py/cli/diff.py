"""``fx2py diff``: is the generated code bit for bit what the graph computes?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fx2py.cli import diff_results, launch, messages, options, sandbox, terminal
from fx2py.cli.diff_results import Diffed
from fx2py.cli.targets import (
    FoldersOfGraphs,
    default_folder,
    is_another_version,
    is_generated,
    newest_folder,
    open_pair,
    open_subject,
)
from fx2py.distributed.launcher import own_path
from fx2py.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fx2py.compare.diff import Pair
    from fx2py.compare.module_errors import ModuleError
    from fx2py.compare.report import Verdict
    from fx2py.compare.tolerance import Tolerance
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
    cases: options.CaseOptions,
    code: options.CodeOptions,
    sides: options.SideOptions,
    tolerance: options.ToleranceOptions,
    trust: options.TrustOptions,
    sandboxed: options.SandboxOptions,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict",
            help="Exit 1 too where no case ran a function or branch, a statement is written otherwise, or the code cannot be read.",
        ),
    ] = False,
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="Write one page: the verdict, where to look, the code."),
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Compare again whenever a file changes, until Ctrl-C.")
    ] = False,
    verbose: options.Verbose = False,
    as_json: options.AsJson = False,
) -> None:
    """Compare generated code with its graph, bit for bit. Exits 0 when equivalent, 1 when not, 3 when no result could be compared."""
    files = cases.files or []
    rank = launch.asked_rank(graph, folder, *files)

    def work(lock_in: sandbox.LockIn, descriptor: int | None) -> None:
        doing = f"comparing {graph or 'the newest folder'}"
        with sandbox.at_work(lock_in, doing, trust, rank) as (ranks, policy):
            close = tolerance.tolerance()
            asked = sides.checked(trust.trust, cases.count)
            page = ""
            own = launch.own_input(graph, rank), launch.own_input(folder, rank)
            if asked.is_of_another or is_another_version(*own):
                _require_one_process(rank)
                done, shown = _compare_others(graph, folder, cases, code, asked, policy, close)
                if html is not None:
                    page = _page(done[0], shown)
            else:
                ready = ranks.agree(lambda: _prepare(graph, folder, cases, code, asked, policy, rank))
                ranks.form_groups(ready.pair.artifact)
                done = ranks.gather(
                    ranks.agree(lambda: _compare(ready, cases, close, is_alone=ranks.is_alone))
                )
                if html is not None:
                    errors = _errors(ready, done[0], cases, is_alone=ranks.is_alone)
                    page = _page(done[0], ready, errors)
        if html is not None and not terminal.is_silent():
            with messages.written(html, descriptor) as file:
                file.write(page.encode())
        diff_results.print_diff(done, verbose, as_json)
        if html is not None and not as_json:
            terminal.print_facts(terminal.stdout(), {"page": str(html)})
        missed = strict and any(not each.report.is_complete for each in done)
        raise typer.Exit(EXIT_CODES[diff_results.verdict_of(done)] or (1 if missed else 0))

    reads = [graph, folder, sides.results, *files]

    def compare() -> None:
        sandbox.perform(
            work, sandboxed, rank=rank, device=cases.device, reads=reads, writes=html, as_json=as_json
        )

    if not watch:
        compare()
        return
    if as_json or rank is not None:
        raise typer.BadParameter("--watch prints one result after the other, for one process; drop --json.")
    from fx2py.cli.watch import until_interrupted

    raise typer.Exit(until_interrupted(compare, _watched(graph, reads, code.model)))


def _watched(graph: Path | None, named: Sequence[Path | None], model: str | None) -> list[Path]:
    """What is named, and the folder that stands for what is not."""
    found = [path for path in named if path is not None]
    if graph is None:
        return [*found, newest_folder(Path())]
    beside = _beside(graph, model)
    return [*found, beside] if len(found) == 1 and not is_generated(graph) and is_generated(beside) else found


@dataclass(frozen=True, slots=True, eq=False)
class Ready:
    """Both sides before the first call, what to call them, and the inputs of files."""

    graph: str
    code: str
    pair: Pair
    given: tuple[Inputs, ...]
    sides: options.SideOptions

    @property
    def texts(self) -> dict[str, str]:
        """The files of the code by their names."""
        artifact = self.pair.artifact
        return {"execution_fn.py": artifact.source, "_tables.py": artifact.tables or ""}


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
    asked: options.CaseOptions,
    code: options.CodeOptions,
    sides: options.SideOptions,
    policy: Policy,
    rank: Rank | None,
) -> Ready:
    from fx2py.compare.diff import bind_pair
    from fx2py.replay.inputs import load_inputs

    model, generating = code.model, code.generating()
    device = launch.own_device(asked.device, rank)
    named, target = _pair(graph, folder, model, rank)
    if named is None:
        subject = open_subject(target, model, generating)
    else:
        subject = open_pair(named, target, model, generating)
    data = subject.graph()
    given = tuple(load_inputs(own_path(file, rank)) for file in asked.files or ())
    device_b = launch.own_device(sides.device_b, rank)
    pair = bind_pair(data, subject.artifact, device=device, device_b=device_b, policy=policy)
    where = str(target) if is_generated(target) else "generated in memory"
    return Ready(str(data.provenance.path), where, pair, given, sides)


def _compare(ready: Ready, cases: options.CaseOptions, close: Tolerance | None, *, is_alone: bool) -> Diffed:
    """Compare the sides. When one of several ranks raises, the others wait in a collective: then the run fails instead."""
    from fx2py.cli.call import refusing
    from fx2py.compare.diff import diff_pair
    from fx2py.compare.tolerance import manner_of
    from fx2py.replay.inputs import Inputs

    pair = ready.pair
    if not is_alone:
        source = Inputs(
            (), source=ready.given[0].source if ready.given else "The inputs are the graph's own."
        )
        graph, code = (
            replace(side, call=refusing(side.call, source)) for side in (pair.reference, pair.candidate)
        )
        pair = replace(pair, reference=graph, candidate=code)
    manner = manner_of(close) if ready.sides.device_b is None else manner_of(close).across_devices()
    report = diff_pair(pair, ready.given, cases=cases.count, seed=cases.seed, manner=manner)
    if ready.sides.reference is not None:
        from fx2py.compare.precision import precision

        case = next(pair.cases(ready.given, 1, cases.seed))
        report = replace(report, precision=precision(pair, case))
    said = diff_results.named(close)
    return Diffed(
        *(ready.graph, ready.code, said, report, ready.texts, pair.artifact.manifest.notes),
        edits=pair.artifact.edits,
    )


_MOST_CASES = 16
"""Among so many cases the one that decided is looked for."""


def _errors(
    ready: Ready, done: Diffed, asked: options.CaseOptions, *, is_alone: bool
) -> tuple[ModuleError, ...]:
    """The error of each module in the case that decided; none where nothing differs, and of one of several ranks."""
    from fx2py.compare.module_errors import module_errors

    if not is_alone or done.report.verdict != "different":
        return ()
    cases = ready.pair.cases(ready.given, asked.count or _MOST_CASES, asked.seed)
    case = next((each for each in cases if each.inputs.name == done.report.shown.case), None)
    return () if case is None else module_errors(ready.pair, case)


def _page(done: Diffed, ready: Ready | None, errors: tuple[ModuleError, ...] = ()) -> str:
    """The page of a comparison, with the code of ``ready``; of two models there is no one code to show."""
    from fx2py.show.diff_page import Compared, diff_page
    from fx2py.show.outline import outline

    found = None
    if ready is not None:
        artifact = ready.pair.artifact
        found = outline(artifact.source, artifact.manifest, ready.code)
    return diff_page(
        Compared(
            done.graph,
            done.code,
            done.manner,
            done.verdict,
            done.report,
            found,
            errors,
            done.notes,
            done.kinds,
            done.versions,
        )
    )


def _require_one_process(rank: Rank | None) -> None:
    if rank is not None:
        raise OptionError(
            "several ranks compare a graph with its code, and nothing else.", "Run one of them."
        )


def _compare_others(
    graph: Path | None,
    other: Path | None,
    cases: options.CaseOptions,
    code: options.CodeOptions,
    asked: options.SideOptions,
    policy: Policy,
    close: Tolerance | None,
) -> tuple[tuple[Diffed, ...], Ready | None]:
    """The comparison of two models, or of code with something else than its graph; the code, where there is one."""
    from fx2py.cli.diff_sides import code_compared, models_compared

    if asked.is_of_another:
        ready = _prepare(graph, other, cases, code, asked, policy, None)
        return (code_compared(ready, cases, asked, policy, close),), ready
    assert graph is not None
    assert other is not None
    asked.require_two_models()
    code.require_none_generated()
    return (models_compared((graph, other), cases, code.model, policy, close),), None
