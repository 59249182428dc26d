"""Saved and live graphs as data: ``open_graph`` reads every format."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

import torch.fx as fx
from torch.export import ExportedProgram

from fx2py.collector import collector_paused
from fx2py.errors import Fx2pyError, UnknownFormatError
from fx2py.graph.data import GraphData
from fx2py.read.formats import reader_of
from fx2py.read.live.exported import read_exported_program
from fx2py.read.live.modules import read_graph_module
from fx2py.read.several import chosen, every

__all__ = ["open_every_graph", "open_graph"]

Source: TypeAlias = "str | Path | fx.GraphModule | ExportedProgram"


@collector_paused()
def open_graph(source: Source, *, model: str | None = None) -> GraphData:
    """The graph of a file, folder or live object as inert data; nothing that a file holds is executed or imported.

    ``model`` chooses among several graphs in one file. Raises UnknownFormatError, naming the file, when it holds no
    graph, is damaged, or holds several and none was chosen; UnsupportedGraphError when it holds something that
    GraphData cannot represent.
    """
    if isinstance(source, fx.GraphModule | ExportedProgram):
        if model is not None:
            raise UnknownFormatError(
                f"a live {type(source).__name__} is one graph and holds no {model!r}.", "Leave model out."
            )
        return (
            read_graph_module(source) if isinstance(source, fx.GraphModule) else read_exported_program(source)
        )
    path = Path(source)
    with reader_of(path)(path) as graphs:
        return chosen(path, graphs, model).read()


def open_every_graph(path: Path) -> Iterator[tuple[str, GraphData | Fx2pyError]]:
    """Every graph of a file or folder by name, one after the other, or the error for one that cannot be read.

    Names are unique; the only graph of a file may have an empty one. Raises UnknownFormatError as ``open_graph`` does for a file
    without a graph.
    """
    with reader_of(path)(path) as graphs:
        yield from every(graphs)
