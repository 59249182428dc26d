"""Saved and live graphs as data: ``open_graph`` is the one door."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, TypeAlias

import torch.fx as fx
from torch.export import ExportedProgram

from fx2py.collector import collector_paused
from fx2py.graph.data import GraphData
from fx2py.read.dumps.files import read_dump
from fx2py.read.folder import read_folder
from fx2py.read.graph_file import read_graph_file
from fx2py.read.live.exported import read_exported_program
from fx2py.read.live.modules import read_graph_module
from fx2py.read.package import read_package
from fx2py.read.pickled.files import read_checkpoint, read_pickled
from fx2py.read.pt2.archives import read_pt2
from fx2py.read.sniff import Format, sniff

__all__ = ["open_graph"]


class _Reader(Protocol):
    def __call__(self, path: Path, *, model: str | None) -> GraphData: ...


Source: TypeAlias = "str | Path | fx.GraphModule | ExportedProgram"


@collector_paused()
def open_graph(source: Source, *, model: str | None = None) -> GraphData:
    """The graph of a file, folder or live object as inert data; nothing that a file holds is executed or imported.

    ``model`` chooses among several graphs in one file. Raises UnknownFormatError, naming the file, when it holds no
    graph or is damaged; UnsupportedGraphError when it holds what GraphData cannot say.
    """
    if isinstance(source, fx.GraphModule):
        return read_graph_module(source)
    if isinstance(source, ExportedProgram):
        return read_exported_program(source)
    path = Path(source)
    return _READERS[sniff(path)](path, model=model)


_READERS: dict[Format, _Reader] = {
    "graph file": read_graph_file,
    "archive": read_pt2,
    "checkpoint": read_checkpoint,
    "pickle": read_pickled,
    "package": read_package,
    "folder": read_folder,
    "dump": read_dump,
}
