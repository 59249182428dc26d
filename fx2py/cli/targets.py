"""What a command works on: which folders and files are meant, and the artifact and graph in them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fx2py.errors import ArtifactError, Choose, Fx2pyError, Hint, ReplayError

if TYPE_CHECKING:
    from fx2py.artifact import Artifact
    from fx2py.graph.data import GraphData
    from fx2py.program.options import GenerateOptions

# -- folders -------------------------------------------------------------------------------------------------------

SUFFIX = "_fx2py"
_MANIFEST = "manifest.json"
_UNFIT_FOR_A_NAME = re.compile(r"[^A-Za-z0-9_.+-]+")
_LONGEST_NAME = 100


def default_folder(graph: Path, parent: Path) -> Path:
    """The folder below ``parent`` that a graph is generated to when none is named."""
    return parent / f"{_stem(graph)}{SUFFIX}"


def beside_edits(folder: Path) -> Path:
    """The folder beside an edited one to which its graph is generated anew; without a dot, so that it is a package too."""
    named = folder if folder.name.strip(".") else folder.resolve()
    return named.with_name(f"{named.name}_new")


def is_generated(path: Path) -> bool:
    """Whether a path is a folder with a manifest, as ``gen`` writes it."""
    return (path / _MANIFEST).is_file()


def is_another_version(one: Path | None, other: Path | None) -> bool:
    """Whether two paths are two graphs, two folders, or a folder and a graph: anything but a graph and its folder."""
    return one is not None and other is not None and (is_generated(one) or not is_generated(other))


def newest_folder(where: Path) -> Path:
    """The generated folder in ``where`` that was written last; raises ArtifactError if there is none."""
    folders = [path for path in where.glob(f"*{SUFFIX}") if is_generated(path)]
    if not folders:
        raise ArtifactError(
            f"{where.resolve()} holds no generated folder (*{SUFFIX}/).",
            "Generate one with 'fx2py gen GRAPH', or name the graph or folder.",
        )
    return max(folders, key=lambda folder: ((folder / _MANIFEST).stat().st_mtime_ns, folder.name))


class FoldersOfGraphs:
    """Chooses a folder for each graph of each file; no two differ in case alone, which some file systems ignore."""

    def __init__(self) -> None:
        self._owners: dict[str, Path] = {}

    def folder(self, graph: Path, name: str, parent: Path) -> Path:
        """A folder below ``parent`` for the graph ``name`` of a file; the only graph of a file may be nameless.

        ArtifactError when it is that of a graph of another file.
        """
        base = f"{_stem(graph)}.{_in_a_path(name)}" if name else _stem(graph)
        folder, number = parent / f"{base}{SUFFIX}", 1
        while (owner := self._owners.get(str(folder).casefold())) is not None:
            if owner != graph:
                raise same_folder(owner, graph, folder)
            number += 1
            folder = parent / f"{base}_{number}{SUFFIX}"
        self._owners[str(folder).casefold()] = graph
        return folder


def same_folder(graph: Path, other: Path, folder: Path) -> ArtifactError:
    return ArtifactError(
        f"{graph} and {other} would both be written to {folder}",
        "Generate them one at a time, each with -o DIR of its own.",
    )


def _stem(graph: Path) -> str:
    return graph.resolve().name if graph.is_dir() else graph.stem


def _in_a_path(name: str) -> str:
    """A graph's name as part of the name of a folder, whatever characters it has."""
    return _UNFIT_FOR_A_NAME.sub("_", name).strip("._")[:_LONGEST_NAME] or "graph"


# -- artifacts and their graphs ------------------------------------------------------------------------------------


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
    from fx2py.artifact import generate, open_artifact
    from fx2py.read import open_graph

    if is_generated(target):
        artifact = open_artifact(target)
        _require_generated_so(artifact, target, options)
        return Subject(artifact, lambda: recorded_graph(artifact, target))
    data = open_graph(target, model=model)
    return Subject(generate(data, options), lambda: data)


def open_pair(graph: Path, folder: Path, model: str | None, options: GenerateOptions) -> Subject:
    """The artifact in ``folder`` and the graph that it was generated from; ArtifactError when it is another one."""
    from fx2py.artifact import open_artifact
    from fx2py.read import open_graph

    artifact, data = open_artifact(folder), open_graph(graph, model=model)
    _require_generated_so(artifact, folder, options)
    origin, sha256 = artifact.manifest.graph, data.provenance.sha256
    if None not in (origin.sha256, sha256) and origin.sha256 != sha256:
        raise ArtifactError(
            f"{folder} was generated from {origin.path} (sha256 {origin.sha256:.12}), not from {graph} as it is now "
            f"(sha256 {sha256:.12}).",
            f"Generate the code of this graph: fx2py gen {graph}. To see what changed from that code to this graph: "
            f"fx2py diff {folder} {graph}.",
        )
    chosen = data.provenance.model
    if origin.model is not None and chosen is not None and origin.model != chosen:
        raise ArtifactError(
            f"{folder} was generated from {origin.model!r} of {graph}, not from {chosen!r}.",
            Hint(
                f"Name the folder of that graph, or generate its code: fx2py gen {graph} ",
                Choose(chosen),
                ".",
            ),
        )
    return Subject(artifact, lambda: data)


_NOT_THERE = "Generate the folder again, or say what to use: 'fx2py diff GRAPH FOLDER', 'fx2py run FOLDER --inputs FILE'."


def recorded_graph(artifact: Artifact, folder: Path) -> GraphData:
    """The graph that a folder was generated from; raises ArtifactError if it is not there as it was."""
    from fx2py.digests import hashing, sha256_of
    from fx2py.read import open_graph

    origin = artifact.manifest.graph
    if origin.path is None:
        raise ArtifactError(
            f"{folder} was generated from a live object; there is no file to go back to.", _NOT_THERE
        )
    path = Path(os.path.normpath(folder / origin.path))
    if not os.path.exists(path):  # which, unlike Path.exists, takes a name that no file can have
        raise ArtifactError(f"{folder} was generated from {path}, which is not there any more.", _NOT_THERE)
    linked = artifact.manifest.weights_origin
    changed = ArtifactError(f"{path} has changed since {folder} was generated from it.", _NOT_THERE)
    try:
        with hashing(is_wanted=None if origin.sha256 else False):
            data = open_graph(path, model=origin.model)
        status = path.stat()
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read: {error.strerror}.", _NOT_THERE) from None
    except Fx2pyError as fault:
        raise (changed if path.is_file() and sha256_of(path) != origin.sha256 else fault) from None
    found = (status.st_size, status.st_mtime_ns)
    is_same_unhashed = origin.sha256 is None and found == (linked.size, linked.mtime_ns)
    if data.provenance.sha256 != origin.sha256 and not is_same_unhashed:
        raise changed
    return data


_FLAGS = {"optimize": "-O", "exact_ops": "--exact-ops", "flat": "--flat"}


def _require_generated_so(artifact: Artifact, folder: Path, options: GenerateOptions) -> None:
    """Raise ReplayError when code is asked for that the folder does not hold."""
    recorded = {"flat": True, **artifact.manifest.options}  # as all code was until the manifest told
    missing = [flag for name, flag in _FLAGS.items() if getattr(options, name) and not recorded.get(name)]
    if missing:
        raise ReplayError(
            f"{folder} was generated without {' and '.join(missing)}, and its code stays as it is.",
            "Generate the folder again with that, or name the graph where there is no folder of it.",
        )
