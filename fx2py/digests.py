"""The SHA-256 of files: each byte is read once, and what is known of a large file is remembered while it stays as it was.

A digest is remembered by device, inode, size and the times of the last changes, in one small file of the user's cache
folder. It says which file a graph or its weights are. It never decides what may run: code and compiled pieces are hashed
as they are read.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

LARGE = 2**24
"""Files of fewer bytes are hashed each time, which takes a hundredth of a second."""
_PIECE = 2**18
"""Small enough for the caches of a processor: the piece is digested where it was just written to."""
_MOST = 512
_RECENT = 100_000_000
"""Nanoseconds: clocks of file systems tick so seldom that a later change of the file might get the same time."""


@dataclass(frozen=True, slots=True)
class Digest:
    """What was found when a whole file was read; ``is_sound``: every checksum in it was right."""

    sha256: str
    is_sound: bool = False


@dataclass(frozen=True, slots=True)
class _Watch:
    """Whether files are to be hashed, and who hears of each piece: the path, and how many bytes of how many were read."""

    is_hashing: bool = True
    report: Callable[[Path, int, int], None] = lambda path, done, total: None


_watch: ContextVar[_Watch] = ContextVar("watch", default=_Watch())  # noqa: B039 frozen


@contextmanager
def hashing(
    *, is_wanted: bool | None = None, report: Callable[[Path, int, int], None] | None = None
) -> Iterator[None]:
    """In this block large files are hashed, or not; ``report`` is called while one is: path, bytes done, bytes in all.

    None leaves it as it is around the block.
    """
    around = _watch.get()
    is_hashing = around.is_hashing if is_wanted is None else is_wanted
    before = _watch.set(_Watch(is_hashing, report or around.report))
    try:
        yield
    finally:
        _watch.reset(before)


def is_hashing(path: Path) -> bool:
    """Whether a file is to be hashed here: any small one, and a large one unless that was declined."""
    return _watch.get().is_hashing or path.stat().st_size < LARGE


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal; remembered of a large one. Raises OSError."""
    known = remembered(path)
    if known is not None:
        return known.sha256
    before, digest = path.stat(), hashlib.sha256()
    for piece in pieces(path):
        digest.update(piece)
    remember(path, Digest(digest.hexdigest()), before)
    return digest.hexdigest()


def pieces(path: Path) -> Iterator[memoryview]:
    """The bytes of a file in order; each piece is valid until the next one is asked for. Raises OSError."""
    report, done, buffer = _watch.get().report, 0, memoryview(bytearray(_PIECE))
    with path.open("rb", buffering=0) as file:
        total = os.fstat(file.fileno()).st_size
        while count := file.readinto(buffer):
            done += count
            if total >= LARGE:
                report(path, done, total)
            yield buffer[:count]


# -- what is remembered --------------------------------------------------------------------------------------------


def remembered(path: Path) -> Digest | None:
    """What is known of a large file that has not changed since; None if nothing is."""
    status = path.stat()
    found = _read().get(_key(status)) if status.st_size >= LARGE else None
    return None if found is None else Digest(*found)


def remember(path: Path, digest: Digest, before: os.stat_result | None = None) -> None:
    """Keep what is known of a large file that is as it was ``before`` it was read; None: this process wrote it.

    What cannot be written is not kept. Of two processes that do this at once, one may lose what it knew.
    """
    with suppress(OSError):
        status = path.stat()
        last = max(status.st_mtime_ns, status.st_ctime_ns)
        is_unsure = before is not None and (_key(before) != _key(status) or time.time_ns() - last < _RECENT)
        if status.st_size < LARGE or is_unsure:
            return
        known = {**_read(), _key(status): [digest.sha256, digest.is_sound]}
        file = _cache_file()
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor, staging = tempfile.mkstemp(dir=file.parent, prefix=".digests.")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
                json.dump(dict(list(known.items())[-_MOST:]), stream)
            os.replace(staging, file)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(staging)


def _key(status: os.stat_result) -> str:
    times = (status.st_mtime_ns, status.st_ctime_ns)
    return "-".join(map(str, (status.st_dev, status.st_ino, status.st_size, *times)))


def _cache_file() -> Path:
    """``digests.json`` in ``$XDG_CACHE_HOME/fx2py``, or ``~/.cache/fx2py``; OSError where there is no such place."""
    chosen = os.environ.get("XDG_CACHE_HOME", "")
    try:
        home = Path(chosen) if os.path.isabs(chosen) else Path.home() / ".cache"
    except RuntimeError as error:
        raise OSError(str(error)) from None
    return home / "fx2py" / "digests.json"


def _read() -> dict[str, tuple[str, bool]]:
    """What is remembered; nothing where the file is damaged, or another user could have written it."""
    try:
        with _cache_file().open("rb") as file:
            status = os.fstat(file.fileno())
            if hasattr(os, "getuid") and (status.st_uid != os.getuid() or status.st_mode & 0o022):
                return {}
            found = json.loads(file.read(_MOST * 300))
        return {str(key): (str(sha256), is_sound is True) for key, (sha256, is_sound) in found.items()}
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return {}
