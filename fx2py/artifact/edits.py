"""What was changed by hand in a generated folder since it was written."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from fx2py.artifact.manifest import MANIFEST, is_as_written, read_manifest
from fx2py.files import sha256_of

_MADE_BY_PYTHON = "__pycache__"


def edited_files(folder: Path) -> tuple[str, ...]:
    """The files of a generated folder that are not as ``gen`` wrote them, or that it did not write, by their names.

    What importing the folder leaves in it does not count, and neither does a file that is missing. Raises ArtifactError
    for a manifest that cannot be read, and OSError.
    """
    manifest = read_manifest(folder / MANIFEST)
    written = dict(manifest.files)
    if manifest.compiled is not None:
        written.update({piece.file: piece.sha256 for piece in manifest.compiled.pieces})

    def is_written(name: str) -> bool:
        path = folder / name
        if not stat.S_ISREG(path.lstat().st_mode):
            return False
        if name == MANIFEST:
            return is_as_written(manifest, path.read_bytes())
        return name in written and written[name] == sha256_of(path)

    return tuple([name for name in sorted(_files(folder, "")) if not is_written(name)])


def _files(folder: Path, prefix: str) -> Iterator[str]:
    for entry in os.scandir(folder):
        if not entry.is_dir(follow_symlinks=False):
            yield prefix + entry.name
        elif entry.name != _MADE_BY_PYTHON:
            yield from _files(folder / entry.name, f"{prefix}{entry.name}/")
