"""What a command works on: an artifact and the graph that it belongs to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fx2py.artifact import generate, open_artifact
from fx2py.cli.locate import is_generated, recorded_graph
from fx2py.program.options import GenerateOptions
from fx2py.read import open_graph

if TYPE_CHECKING:
    from fx2py.artifact import Artifact
    from fx2py.graph.data import GraphData


@dataclass(frozen=True, slots=True)
class Subject:
    """An artifact and its graph, which is read when it is asked for."""

    artifact: Artifact
    graph: Callable[[], GraphData]


def open_subject(target: Path, model: str | None, options: GenerateOptions) -> Subject:
    """The artifact in a generated folder, or of a graph, generated in memory.

    The graph of a folder is the one that its manifest names; asking for it raises ArtifactError when that moved or
    changed.
    """
    if is_generated(target):
        artifact = open_artifact(target)
        return Subject(artifact, lambda: recorded_graph(artifact, target))
    data = open_graph(target, model=model)
    return Subject(generate(data, options), lambda: data)


def open_pair(graph: Path, folder: Path, model: str | None) -> Subject:
    """The artifact in ``folder`` beside a graph that need not be the one it was generated from."""
    data = open_graph(graph, model=model)
    return Subject(open_artifact(folder), lambda: data)
