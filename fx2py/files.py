"""Files: their digests, writing one whole or not at all, and what damaged zip archives raise."""

from __future__ import annotations

import hashlib
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ZIP_FAULTS = (
    *(zipfile.BadZipFile, NotImplementedError, EOFError, OSError, ValueError),
    *(struct.error, zlib.error),
)
"""What zipfile raises on a damaged archive; NotImplementedError stands for a feature that it does not support."""


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


@contextmanager
def whole_file(target: Path) -> Iterator[Path]:
    """A path to write a file to, which becomes ``target`` in one step when nothing is raised. Raises OSError."""
    staging = target.with_name(f".{target.name}.{os.getpid()}")
    staging.touch(exist_ok=False)
    try:
        yield staging
        staging.replace(target)
    finally:
        staging.unlink(missing_ok=True)
