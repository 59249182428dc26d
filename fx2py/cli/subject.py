"""What a command works on: an artifact and the graph that it belongs to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fx2py.artifact import generate, open_artifact
from fx2py.cli.locate import is_generated, recorded_graph
from fx2py.errors import ArtifactError, ReplayError
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
        _require_generated_so(artifact, target, options)
        return Subject(artifact, lambda: recorded_graph(artifact, target))
    data = open_graph(target, model=model)
    return Subject(generate(data, options), lambda: data)


def open_pair(graph: Path, folder: Path, model: str | None, options: GenerateOptions) -> Subject:
    """The artifact in ``folder`` and the graph that it was generated from; ArtifactError when it is another one."""
    artifact, data = open_artifact(folder), open_graph(graph, model=model)
    _require_generated_so(artifact, folder, options)
    origin, sha256 = artifact.manifest.graph, data.provenance.sha256
    if None not in (origin.sha256, sha256) and origin.sha256 != sha256:
        raise ArtifactError(
            f"{folder} was generated from {origin.path} (sha256 {origin.sha256:.12}), not from {graph} as it is now "
            f"(sha256 {sha256:.12}).",
            f"Generate the code of this graph: fx2py gen {graph}.",
        )
    if None not in (origin.model, data.provenance.model) and origin.model != data.provenance.model:
        raise ArtifactError(
            f"{folder} was generated from {origin.model!r} of {graph}, not from {data.provenance.model!r}.",
            f"Name the folder of that graph, or generate its code: fx2py gen {graph} with model={data.provenance.model!r}.",
        )
    return Subject(artifact, lambda: data)


_FLAGS = {"optimize": "-O", "exact_ops": "--exact-ops"}


def _require_generated_so(artifact: Artifact, folder: Path, options: GenerateOptions) -> None:
    """Raise ReplayError when code is asked for that the folder does not hold."""
    recorded = artifact.manifest.options
    missing = [flag for name, flag in _FLAGS.items() if getattr(options, name) and not recorded.get(name)]
    if missing:
        raise ReplayError(
            f"{folder} was generated without {' and '.join(missing)}, and its code stays as it is.",
            "Generate the folder again with that, or name the graph where there is no folder of it.",
        )
