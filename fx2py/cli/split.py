"""``fx2py split``: the pieces of a saved graph between named operators, shown or generated."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fx2py.cli import options, render

if TYPE_CHECKING:
    from fx2py.artifact import Manifest


@dataclass(frozen=True, slots=True)
class Split:
    """A graph that was split: where it lies, what its pieces are, and the folder that they were generated to."""

    graph: Path
    manifest: Manifest
    folder: Path | None


def split(
    graph: Annotated[Path, typer.Argument(metavar="GRAPH", help="A saved graph.", show_default=False)],
    at: Annotated[
        list[str],
        typer.Option(
            "--at",
            metavar="OP",
            help="An operator in any spelling (aten::linear, torch.nn.functional.linear) or a module path; "
            "may be given several times.",
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="DIR", help="Generate the pieces to this folder."),
    ] = None,
    model: options.ModelName = None,
    as_json: options.AsJson = False,
) -> None:
    """Cut a saved graph into pieces: each named operator alone, and what stands between them."""
    import fx2py

    with render.working(f"splitting {graph.name}"):
        wanted = fx2py.GenerateOptions(split_at=tuple(at))
        artifact = fx2py.generate(graph, model=model, options=wanted)
        if output is not None:
            artifact = artifact.write(output)
    render.print_split(Split(graph, artifact.manifest, output), as_json)
