"""``fx2py gen``: saved graphs to folders of Python."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fx2py.cli import launch, options, results, terminal
from fx2py.cli.messages import print_note, progress, working
from fx2py.cli.results import Failure, Generated
from fx2py.cli.targets import FoldersOfGraphs, beside_edits, default_folder, same_folder
from fx2py.digests import hashing
from fx2py.distributed.launcher import PLACEHOLDER
from fx2py.errors import EditedFolderError, Fx2pyError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import TypeAlias

    from fx2py.artifact import Artifact
    from fx2py.program.options import GenerateOptions
    from fx2py.program.translate import Stage
    from fx2py.trust import Policy

    _Made: TypeAlias = tuple[Path, str, Artifact | Fx2pyError]


class Compiler(Enum):
    """What can compile pieces."""

    INDUCTOR = "inductor"


class Weights(Enum):
    """Where a folder has its weights."""

    COPY = "copy"
    LINK = "link"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class _Settings:
    """What to generate, and how."""

    model: str | None
    every: bool
    options: GenerateOptions
    inputs: Path | None
    policy: Policy
    force: bool
    keep_edits: bool
    weights: Weights


def gen(
    graphs: Annotated[
        list[Path],
        typer.Argument(metavar="GRAPH", help="Saved graphs: .pt, .pt2 and others.", show_default=False),
    ],
    *,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="DIR",
            help="The folder to write (of several graphs, and with --all: the folder for their folders). "
            "Default: NAME_fx2py here.",
        ),
    ] = None,
    stdout: Annotated[
        bool, typer.Option("--stdout", help="Print the source of one graph; write nothing.")
    ] = False,
    stages: Annotated[
        bool,
        typer.Option(
            "--stages",
            help="Print the program of one graph after each step, with what the step changed; write nothing.",
        ),
    ] = False,
    every: Annotated[
        bool,
        typer.Option("--all", help="Every graph of each file, to a folder of its own: NAME.GRAPH_fx2py."),
    ] = False,
    code: options.CodeOptions,
    keep_submodules: Annotated[
        bool, typer.Option("--keep-submodules", help="Keep nested graphs as functions; do not flatten them.")
    ] = False,
    split_at: Annotated[
        list[str] | None,
        typer.Option(
            "--split-at",
            metavar="OP",
            help="Cut the graph at an operator or module, keep the pieces as functions; may be repeated.",
        ),
    ] = None,
    compile_: Annotated[
        Compiler | None,
        typer.Option(
            "--compile",
            metavar="inductor",
            help="Compile the pieces, or the whole graph, for this machine and keep both. "
            "This runs the code, on shapes without numbers.",
        ),
    ] = None,
    inputs: Annotated[
        Path | None,
        typer.Option(
            "--inputs",
            metavar="FILE",
            help="Compile for the shapes of these inputs, torch.save'd. Without it: for the recorded shapes.",
        ),
    ] = None,
    weights: Annotated[
        Weights,
        typer.Option(
            "--weights",
            help="Copy the weights to the folder; link: use those in the graph file, where it lies; "
            "none: leave them to the caller of load().",
        ),
    ] = Weights.COPY,
    no_hash: Annotated[
        bool,
        typer.Option(
            "--no-hash", help="With --weights link: know the graph file by size and time; read no weights."
        ),
    ] = False,
    no_comments: Annotated[bool, typer.Option("--no-comments", help="Leave the comments out.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Overwrite a folder whose files were edited or added by hand.")
    ] = False,
    keep_edits: Annotated[
        bool, typer.Option("--keep-edits", help="Leave such a folder as it is and write beside it: DIR_new.")
    ] = False,
    trust: options.TrustOptions,
    as_json: options.AsJson = False,
) -> None:
    """Generate readable Python from saved graphs. Executes, imports and resolves nothing of the files.

    Only --compile runs the code, without numbers, once every name in it is admitted.
    """
    if len(graphs) > 1 and PLACEHOLDER in str(output):
        raise typer.BadParameter("-o with {rank} is for the graphs of one name; name one.")
    graphs = launch.every_graph(graphs)
    prints = "--stages" if stages else "--stdout" if stdout else ""
    _refuse(
        (prints and compile_, f"{prints} prints only code; drop --compile."),
        (prints and len(graphs) > 1, f"{prints} prints one graph; name one."),
        (
            prints and (output or as_json or force or keep_edits),
            f"{prints} writes no folder and prints only code; drop -o, --json, --force and --keep-edits.",
        ),
        (force and keep_edits, "--force overwrites edits, --keep-edits keeps them; drop one of the two."),
        (
            every and code.model is not None,
            "--all takes every graph, --model one of them; drop one of the two.",
        ),
        (every and prints, f"{prints} prints one graph; choose it with --model, not --all."),
        (
            not compile_ and (inputs or trust.is_given),
            "--inputs and the trust options are for --compile, which alone runs the code.",
        ),
    )
    _refuse((no_hash and weights is not Weights.LINK, "--no-hash is for --weights link; drop it."))
    folders = dict(zip(graphs, _folders(graphs, output, every), strict=True))
    policy = trust.policy()
    wanted = replace(
        code.generating(),
        comments=not no_comments,
        keep_submodules=keep_submodules,
        split_at=tuple(split_at or ()),
        compile=None if compile_ is None else "inductor",
    )
    if stages:
        results.print_stages(*_stages(graphs[0], code.model, wanted))
    elif stdout:
        terminal.print_code(terminal.stdout(), _source(graphs[0], code.model, wanted))
    else:
        settings = _Settings(code.model, every, wanted, inputs, policy, force, keep_edits, weights)
        with hashing(is_wanted=not no_hash):
            done, failures = _generate_and_write(folders, settings)
        results.print_generated(done, failures, as_json)
        if failures:
            raise typer.Exit(max(failure.fault.exit_code for failure in failures))


def _refuse(*mistakes: tuple[object, str]) -> None:
    """Raise BadParameter for the first mistake that was made in combining options, if any."""
    for is_made, message in mistakes:
        if is_made:
            raise typer.BadParameter(message)


def _generate_and_write(
    folders: Mapping[Path, Path], settings: _Settings
) -> tuple[list[Generated], list[Failure]]:
    made = _generate_each(folders, settings)
    if not settings.every:
        with progress("generating", len(folders)) as advance:
            return _write_each(made, lambda graph, name: folders[graph], settings, advance)
    names = FoldersOfGraphs()
    with working(f"generating every graph of {next(iter(folders)).name}"):
        return _write_each(made, lambda graph, name: names.folder(graph, name, folders[graph]), settings)


def _generate_each(graphs: Iterable[Path], settings: _Settings) -> Iterator[_Made]:
    """The code of the graph of each file that is meant, with ``--all`` of each graph in it, or why there is none.

    A file without a graph has one fault.
    """
    import fx2py
    from fx2py.replay.inputs import load_inputs

    found = None if settings.inputs is None else load_inputs(settings.inputs)
    inputs = None if found is None else (found.args, found.kwargs)
    code, policy = settings.options, settings.policy
    for graph in graphs:
        try:
            if settings.every:
                for name, made in fx2py.generate_each(graph, options=code, inputs=inputs, policy=policy):
                    yield graph, name, made
            else:
                model = settings.model
                yield graph, "", fx2py.generate(
                    graph, model=model, options=code, inputs=inputs, policy=policy
                )
        except Fx2pyError as fault:
            yield graph, "", fault


def _write_each(
    made: Iterable[_Made],
    folder_of: Callable[[Path, str], Path],
    settings: _Settings,
    advance: Callable[[str], None] = lambda name: None,
) -> tuple[list[Generated], list[Failure]]:
    """Write each graph to its folder: those that were generated, and why others were not."""
    done: list[Generated] = []
    failures: list[Failure] = []
    for graph, name, artifact in made:
        try:
            if isinstance(artifact, Fx2pyError):
                raise artifact
            written = _write(artifact, folder_of(graph, name), settings)
            done.append(_generated(graph, name, written))
        except Fx2pyError as fault:
            failures.append(Failure(graph, name, fault))
        advance(graph.name)
    return done, failures


def _write(artifact: Artifact, folder: Path, settings: _Settings) -> Artifact:
    """Write the folder; where that would lose edits which are to be kept, write one beside it."""
    try:
        return artifact.write(folder, force=settings.force, weights=settings.weights.value)
    except EditedFolderError:
        if not settings.keep_edits:
            raise
    beside = beside_edits(folder)
    print_note(f"{folder} was edited and stays as it is; the new code is in {beside}.")
    return artifact.write(beside, weights=settings.weights.value)


def _generated(graph: Path, name: str, artifact: Artifact) -> Generated:
    from fx2py.artifact.execution import unadmitted_classes
    from fx2py.trust import Policy

    unadmitted = unadmitted_classes(artifact.manifest, Policy())
    folder = artifact.folder or Path()
    return Generated(graph, name, folder, artifact.source, artifact.manifest, unadmitted)


def _source(graph: Path, model: str | None, wanted: GenerateOptions) -> str:
    import fx2py

    with working(f"generating {graph.name}"):
        return fx2py.generate(graph, model=model, options=wanted).source


def _stages(graph: Path, model: str | None, wanted: GenerateOptions) -> tuple[str, list[Stage]]:
    """The listing of the graph, and the stages of its program."""
    from fx2py.artifact.artifact import generation_stages
    from fx2py.graph.listing import listing
    from fx2py.read import open_graph

    with working(f"generating {graph.name}"):
        data = open_graph(graph, model=model)
        return listing(data), list(generation_stages(data, wanted))


def _folders(graphs: list[Path], output: Path | None, every: bool) -> list[Path]:
    """The folder of each graph, no two the same; with ``--all``, the folder for the folders of each file."""
    if output is not None and PLACEHOLDER in str(output):
        return launch.folder_of_each(output, len(graphs))
    if every:
        return [output or Path()] * len(graphs)
    if output is not None and len(graphs) == 1:
        return [output]
    owners: dict[Path, Path] = {}
    for graph in graphs:
        folder = default_folder(graph, output or Path())
        if folder in owners:
            raise same_folder(owners[folder], graph, folder)
        owners[folder] = graph
    return list(owners)
