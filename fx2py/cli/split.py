"""``fx2py split``: the pieces of a saved graph between named operators, shown or saved."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fx2py.cli import options, results
from fx2py.cli.messages import working
from fx2py.cli.results import Split


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
    with working(f"splitting {graph.name}"):
        done = _split(graph, at, output, model)
    results.print_split(done, as_json)


def _split(graph: Path, ops: list[str], output: Path | None, model: str | None) -> Split:
    from fx2py.artifact import generate
    from fx2py.graph_file.writing import save_graph
    from fx2py.program.options import GenerateOptions
    from fx2py.read import open_graph
    from fx2py.splitting.data import split_data

    divided = split_data(open_graph(graph, model=model), ops)
    manifest = generate(divided, GenerateOptions(keep_submodules=True, flat=True)).manifest
    if output is not None:
        save_graph(divided, output)
    return Split(graph, tuple(entry for entry in manifest.submodules if entry.mode == "function"), output)
