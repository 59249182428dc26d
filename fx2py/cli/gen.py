"""``fx2py gen``: saved graphs to folders of Python."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fx2py.cli import launch, options, render, render_code
from fx2py.cli.locate import default_folder
from fx2py.errors import ArtifactError, Fx2pyError
from fx2py.replay.launcher import PLACEHOLDER

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fx2py.artifact import Artifact, Manifest
    from fx2py.program.lower import Stage
    from fx2py.program.options import GenerateOptions
    from fx2py.trust import Policy


class Compiler(Enum):
    """What can compile pieces."""

    INDUCTOR = "inductor"


@dataclass(frozen=True, slots=True)
class Generated:
    """A graph that was generated: where it lies, where its code went, what is in it, and the classes to admit."""

    graph: Path
    folder: Path
    source: str
    manifest: Manifest
    unadmitted: tuple[str, ...]


def gen(
    graphs: Annotated[
        list[Path],
        typer.Argument(metavar="GRAPH", help="Saved graphs: .pt, .pt2 and others.", show_default=False),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="DIR",
            help="The folder to write (of several graphs: the folder for their folders). Default: NAME_fx2py here.",
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
    model: options.ModelName = None,
    exact_ops: options.ExactOps = False,
    optimize: options.Optimize = False,
    keep_submodules: Annotated[
        bool, typer.Option("--keep-submodules", help="Keep nested graphs as functions; do not flatten them.")
    ] = False,
    split_at: options.SplitAt = None,
    compile_: Annotated[
        Compiler | None,
        typer.Option(
            "--compile",
            metavar="inductor",
            help="Compile the pieces for this machine and keep both. This runs the code, on shapes without numbers.",
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
    no_comments: Annotated[bool, typer.Option("--no-comments", help="Leave the comments out.")] = False,
    allow: options.Allow = None,
    allow_op: options.AllowOp = None,
    allow_class: options.AllowClass = None,
    trust: options.Trust = False,
    as_json: options.AsJson = False,
) -> None:
    """Generate readable Python from saved graphs. Executes, imports and resolves nothing of the files.

    Only --compile runs the code, without numbers, once every name in it is admitted.
    """
    if len(graphs) > 1 and _is_for_ranks(output):
        raise typer.BadParameter("-o with {rank} is for the graphs of one name; name one.")
    graphs = launch.every_graph(graphs)
    _check_use(graphs, output, "--stages" if stages else "--stdout" if stdout else "", as_json, compile_)
    if compile_ is None and (inputs or allow or allow_op or allow_class or trust):
        raise typer.BadParameter(
            "--inputs and the trust options are for --compile, which alone runs the code."
        )
    folders = _folders(graphs, output)
    admitted = options.policy(allow, allow_op, allow_class, trust)

    from fx2py.program.options import GenerateOptions

    wanted = GenerateOptions(
        comments=not no_comments,
        exact_ops=exact_ops,
        optimize=optimize,
        keep_submodules=keep_submodules,
        split_at=tuple(split_at or ()),
        compile="inductor" if compile_ is Compiler.INDUCTOR else None,
    )
    if stages:
        render_code.print_stages(*_stages(graphs[0], model, wanted))
        return
    if stdout:
        render.print_source(_source(graphs[0], model, wanted))
        return
    done, faults = _write_each(
        dict(zip(graphs, folders, strict=True)),
        lambda graph: _artifact(graph, model, wanted, inputs, admitted),
    )
    render_code.print_generated(done, faults, as_json)
    if faults:
        raise typer.Exit(max(found.exit_code for found in faults.values()))


def _write_each(
    folders: Mapping[Path, Path], generate: Callable[[Path], Artifact]
) -> tuple[list[Generated], dict[Path, Fx2pyError]]:
    """Write each graph to its folder: those that were generated, and why others were not."""
    done: list[Generated] = []
    faults: dict[Path, Fx2pyError] = {}
    with render.progress("generating", len(folders)) as advance:
        for graph, folder in folders.items():
            try:
                done.append(_generated(graph, folder, generate(graph).write(folder)))
            except Fx2pyError as fault:
                faults[graph] = fault
            advance(graph.name)
    return done, faults


def _generated(graph: Path, folder: Path, artifact: Artifact) -> Generated:
    from fx2py.artifact.binding_hint import unadmitted_classes
    from fx2py.trust import Policy

    unadmitted = unadmitted_classes(artifact.manifest, Policy())
    return Generated(graph, folder, artifact.source, artifact.manifest, unadmitted)


def _source(graph: Path, model: str | None, wanted: GenerateOptions) -> str:
    import fx2py

    with render.working(f"generating {graph.name}"):
        return fx2py.generate(graph, model=model, options=wanted).source


def _stages(graph: Path, model: str | None, wanted: GenerateOptions) -> tuple[str, list[Stage]]:
    """The listing of the graph, and the stages of its program."""
    from fx2py.artifact.artifact import generation_stages
    from fx2py.graph.listing import listing
    from fx2py.read import open_graph

    with render.working(f"generating {graph.name}"):
        data = open_graph(graph, model=model)
        return listing(data), list(generation_stages(data, wanted))


def _artifact(
    graph: Path, model: str | None, wanted: GenerateOptions, inputs: Path | None, admitted: Policy
) -> Artifact:
    import fx2py
    from fx2py.replay.inputs import load_inputs

    found = None if inputs is None else load_inputs(inputs)
    arguments = None if found is None else (found.args, found.kwargs)
    return fx2py.generate(graph, model=model, options=wanted, inputs=arguments, policy=admitted)


def _check_use(
    graphs: list[Path], output: Path | None, prints: str, as_json: bool, compiler: Compiler | None
) -> None:
    """What goes with ``prints``, the option that prints one graph and writes nothing; '' without it."""
    if prints and compiler is not None:
        raise typer.BadParameter(f"{prints} prints only code; drop --compile.")
    if prints and len(graphs) > 1:
        raise typer.BadParameter(f"{prints} prints one graph; name one.")
    if prints and (output is not None or as_json):
        raise typer.BadParameter(f"{prints} writes no folder and prints only code; drop -o and --json.")


def _is_for_ranks(output: Path | None) -> bool:
    return PLACEHOLDER in str(output)


def _folders(graphs: list[Path], output: Path | None) -> list[Path]:
    """The folder of each graph; no two the same."""
    if output is not None and _is_for_ranks(output):
        return launch.folder_of_each(output, len(graphs))
    if output is not None and len(graphs) == 1:
        return [output]
    owners: dict[Path, Path] = {}
    for graph in graphs:
        folder = default_folder(graph, output or Path())
        if folder in owners:
            raise ArtifactError(
                f"{owners[folder]} and {graph} would both be written to {folder}",
                "Generate them one at a time, each with -o DIR of its own.",
            )
        owners[folder] = graph
    return list(owners)
