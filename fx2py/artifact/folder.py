"""Replacing a whole folder, or a whole file, in one step."""

from __future__ import annotations

import ctypes
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


@contextmanager
def whole_file(target: Path) -> Iterator[Path]:
    """A path to write a file to, which becomes ``target`` in one step when nothing is raised. Raises OSError."""
    staging = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        yield staging
        staging.replace(target)
    finally:
        staging.unlink(missing_ok=True)


def put_in_place(staging: Path, target: Path) -> None:
    """Make the finished folder ``staging`` the folder ``target``; the one that was there is deleted.

    On Linux, another process sees the old folder or the new one and nothing between, also when this one is killed.
    Elsewhere the old one leaves first, and comes back when the step fails. Raises OSError.
    """
    try:
        staging.rename(target)
        return
    except OSError:
        if not target.is_dir():
            raise
    if not _exchanged(staging, target):
        _replaced(staging, target)
    shutil.rmtree(staging, ignore_errors=True)


def _exchanged(one: Path, other: Path) -> bool:
    """Whether the system could swap two names in one step."""
    renameat2 = getattr(ctypes.CDLL(None), "renameat2", None) if os.name == "posix" else None
    return renameat2 is not None and not renameat2(
        _AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE
    )


def _replaced(staging: Path, target: Path) -> None:
    aside = Path(tempfile.mkdtemp(prefix=f".{target.name}.old.", dir=target.parent))
    target.rename(aside / "folder")
    try:
        staging.rename(target)
    except OSError:
        (aside / "folder").rename(target)
        raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)
