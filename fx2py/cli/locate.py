"""Which folder and which graph a command means when its arguments leave that open."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from fx2py.errors import ArtifactError

if TYPE_CHECKING:
    from fx2py.artifact import Artifact
    from fx2py.graph.data import GraphData

SUFFIX = "_fx2py"


def default_folder(graph: Path, parent: Path) -> Path:
    """The folder below ``parent`` that a graph is generated to when none is named."""
    name = graph.resolve().name if graph.is_dir() else graph.stem
    return parent / f"{name}{SUFFIX}"


def is_generated(path: Path) -> bool:
    """Whether a path is a folder with a manifest, as ``gen`` writes it."""
    return (path / "manifest.json").is_file()


def newest_folder(where: Path) -> Path:
    """The generated folder in ``where`` that was written last; raises ArtifactError if there is none."""
    folders = [path for path in where.glob(f"*{SUFFIX}") if is_generated(path)]
    if not folders:
        raise ArtifactError(
            f"{where.resolve()} holds no generated folder (*{SUFFIX}/).",
            "Generate one with 'fx2py gen GRAPH', or name the graph or folder.",
        )
    return max(folders, key=lambda folder: ((folder / "manifest.json").stat().st_mtime_ns, folder.name))


_ELSE = "Generate the folder again, or say what to use: 'fx2py diff GRAPH FOLDER', 'fx2py run FOLDER --inputs FILE'."


def recorded_graph(artifact: Artifact, folder: Path) -> GraphData:
    """The graph that a folder was generated from; raises ArtifactError if it is not there as it was."""
    from fx2py.files import sha256_of
    from fx2py.read import open_graph

    origin = artifact.manifest.graph
    if origin.path is None:
        raise ArtifactError(
            f"{folder} was generated from a live object; there is no file to go back to.", _ELSE
        )
    path = Path(os.path.normpath(folder / origin.path))
    if not os.path.exists(path):  # which, unlike Path.exists, takes a name that no file can have
        raise ArtifactError(f"{folder} was generated from {path}, which is not there any more.", _ELSE)
    if path.is_file() and sha256_of(path) != origin.sha256:
        raise ArtifactError(f"{path} has changed since {folder} was generated from it.", _ELSE)
    data = open_graph(path, model=origin.model)
    if data.provenance.sha256 != origin.sha256:
        raise ArtifactError(f"{path} has changed since {folder} was generated from it.", _ELSE)
    return data
