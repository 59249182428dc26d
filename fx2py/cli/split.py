"""``fx2py split``: the pieces of a saved graph between named operators, shown or saved."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fx2py.cli import options, render, render_code

if TYPE_CHECKING:
    from fx2py.artifact import Manifest


@dataclass(frozen=True, slots=True)
class Split:
    """A graph that was split: where it lies, what its pieces are, and the graph file that it was saved in."""

    graph: Path
    manifest: Manifest
    file: Path | None


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
        typer.Option(
            "-o", "--output", metavar="FILE", help="Save the split graph as a graph file, for any command."
        ),
    ] = None,
    model: options.ModelName = None,
    as_json: options.AsJson = False,
) -> None:
    """Cut a saved graph into pieces: each named operator alone, and what stands between them."""
    with render.working(f"splitting {graph.name}"):
        done = _split(graph, at, output, model)
    render_code.print_split(done, as_json)


def _split(graph: Path, ops: list[str], output: Path | None, model: str | None) -> Split:
    from fx2py.artifact import generate
    from fx2py.graph_file.writing import save_graph
    from fx2py.program.options import GenerateOptions
    from fx2py.read import open_graph
    from fx2py.splitting.data import split_data

    pieces = split_data(open_graph(graph, model=model), ops)
    manifest = generate(pieces, GenerateOptions(keep_submodules=True)).manifest
    if output is not None:
        save_graph(pieces, output)
    return Split(graph, manifest, output)
