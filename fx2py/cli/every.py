"""Where ``gen --all`` writes the graphs of files that hold several: a folder for each, called after its graph."""

from __future__ import annotations

import re
from pathlib import Path

from fx2py.cli.locate import default_folder
from fx2py.errors import ArtifactError

_OTHER = re.compile(r"[^A-Za-z0-9_.+-]+")
_LONGEST = 100


class FoldersOfGraphs:
    """Hands out a folder for each graph of each file, no two the same, on no file system."""

    def __init__(self) -> None:
        self._owners: dict[str, Path] = {}

    def folder(self, graph: Path, name: str, parent: Path) -> Path:
        """A folder below ``parent`` for the graph ``name`` of a file; the only graph of a file may be nameless.

        ArtifactError when it is that of a graph of another file.
        """
        whole = default_folder(graph, parent)
        stem, mark, suffix = whole.name.rpartition("_")
        base = f"{stem}.{_in_a_path(name)}" if name else stem
        folder, number = parent / f"{base}{mark}{suffix}", 1
        while (owner := self._owners.get(str(folder).casefold())) is not None:
            if owner != graph:
                raise ArtifactError(
                    f"{owner} and {graph} would both be written to {folder}",
                    "Generate them one at a time, each with -o DIR of its own.",
                )
            number += 1
            folder = parent / f"{base}_{number}{mark}{suffix}"
        self._owners[str(folder).casefold()] = graph
        return folder


def _in_a_path(name: str) -> str:
    """A graph's name as part of the name of a folder, whatever stands in it."""
    return _OTHER.sub("_", name).strip("._")[:_LONGEST] or "graph"
