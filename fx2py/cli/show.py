"""``fx2py show``: the outline of generated code, the function of a module, or a page to read it in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fx2py.cli import launch, options, results
from fx2py.cli.messages import working, written
from fx2py.cli.targets import open_subject
from fx2py.errors import UnknownFormatError

if TYPE_CHECKING:
    from fx2py.program.options import GenerateOptions
    from fx2py.show.outline import Outline


def show(
    source: options.SourcePath = None,
    module: Annotated[
        str | None,
        typer.Argument(
            metavar="MODULE",
            help="The path of a module (model.layers.7.self_attn), a class (LlamaAttention) or a function: show its code.",
        ),
    ] = None,
    *,
    html: Annotated[
        Path | None,
        typer.Option(
            "--html",
            metavar="FILE",
            help="Write one page with the modules, the code, the weights and the operators.",
        ),
    ] = None,
    code: options.CodeOptions,
    as_json: options.AsJson = False,
) -> None:
    """Show the outline of generated code, or the function of one module. Executes nothing of the file."""
    if html is not None and module is not None:
        raise typer.BadParameter("--html writes a page of the whole; drop MODULE.")
    target = launch.own_graph(source, None)
    with working(f"reading {target.name or target}"):
        found = _outline(target, code.model, code.generating(), html)
    label = str(target)
    if module is None:
        results.print_shown(label, found, html, as_json)
    else:
        from fx2py.show.outline import select

        results.print_shown_module(label, found, select(found, module, label), as_json)


def _outline(target: Path, model: str | None, generating: GenerateOptions, html: Path | None) -> Outline:
    """The outline of a graph or folder; its page is written to ``html``.

    UnknownFormatError where there is no graph; of an archive, it says what is inside instead.
    """
    from fx2py.emit.module import SOURCE
    from fx2py.read.inside import without_graph
    from fx2py.show.outline import outline
    from fx2py.show.page import model_page

    try:
        artifact = open_subject(target, model, generating).artifact
    except UnknownFormatError as fault:
        raise without_graph(target, fault) from None
    place = artifact.folder / SOURCE if artifact.folder else f"the code of {target}"
    found = outline(artifact.source, artifact.manifest, str(place))
    if html is not None:
        with written(html, None) as file:
            file.write(model_page(artifact.manifest, found).encode())
    return found
