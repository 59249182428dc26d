"""The library's front: one function a task, each over the rooms below."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeAlias

import torch.fx as fx
from torch.export import ExportedProgram

from fx2py import artifact as _artifact
from fx2py.artifact import Artifact, open_artifact
from fx2py.program.options import DEFAULT, GenerateOptions
from fx2py.read import open_graph

__all__ = ["Artifact", "generate", "open_artifact"]

Source: TypeAlias = "str | os.PathLike[str] | fx.GraphModule | ExportedProgram"


def generate(source: Source, *, model: str | None = None, options: GenerateOptions = DEFAULT) -> Artifact:
    """Generate code from a saved graph (a path) or a live GraphModule or ExportedProgram.

    ``model`` chooses among several graphs in one file. A file is read as data; nothing in it is executed. Raises
    UnknownFormatError when the file holds no graph, UnsupportedGraphError when it cannot be generated exactly.
    """
    graph = source if isinstance(source, fx.GraphModule | ExportedProgram) else Path(source)
    return _artifact.generate(open_graph(graph, model=model), options)
