"""Atomic replacement of a folder, and consistent reads of one that other processes replace."""

from __future__ import annotations

import ctypes
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fx2py.files import left_by_the_dead

try:
    import fcntl
except ImportError:  # Windows has no locks on folders
    fcntl = None  # type: ignore[assignment]

_BY_DESCRIPTOR = Path("/proc/self/fd")
_PATIENCE = 10.0
"""Seconds for which a writer waits for readers of the folder that it replaced, and a reader for a folder to come."""
_PAUSE = 0.002
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


def mode_of_new_folders(parent: Path) -> int:
    """The mode of a folder that is made in ``parent``, by the umask or the parent's default ACL.

    It is read from one that is made: ``os.umask`` returns the umask only by changing it, for all threads.
    """
    probe = parent / ".mode"
    probe.mkdir()
    mode = stat.S_IMODE(probe.stat().st_mode)
    probe.rmdir()
    return mode


def put_in_place(staging: Path, target: Path) -> None:
    """Make the finished folder ``staging`` the folder ``target``; the one that was there is deleted.

    On Linux the two are exchanged atomically (renameat2), even if this process is killed, and the old one is deleted
    when its readers have closed it. Elsewhere the old one is moved away first, and moved back if the step fails. Raises
    OSError.
    """
    try:
        staging.rename(target)
        return
    except OSError:
        if not target.is_dir():
            raise
    if _exchanged(staging, target):
        _await_readers(staging)
    else:
        _replaced(staging, target)
    shutil.rmtree(staging, ignore_errors=True)


@contextmanager
def staging_folder(target: Path) -> Iterator[Path]:
    """A new folder beside ``target`` to write to, which is deleted at the end of the block if it is still there.

    A process that is killed leaves it; the next one that writes to ``target`` deletes it. Raises OSError.
    """
    for left in list(left_by_the_dead(target)):
        if left.is_dir() and not _is_held(left):
            shutil.rmtree(left, ignore_errors=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{target.name}.{os.getpid()}-", dir=target.parent))
    try:
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _is_held(folder: Path) -> bool:
    """Whether somebody reads a folder that has lost its name, or writes one from another container, as far as locks say."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return False
    try:
        if fcntl is not None:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        pass  # a file system without locks
    finally:
        os.close(descriptor)
    return False


@contextmanager
def unchanging(folder: Path) -> Iterator[Path]:
    """A path at which the files of ``folder`` can be read unchanged, even if another folder takes its name.

    Where the system has no such path, it is the folder itself. Raises OSError.
    """
    if fcntl is None or not _BY_DESCRIPTOR.is_dir():
        yield folder
        return
    descriptor = _held(folder)
    try:
        yield _BY_DESCRIPTOR / str(descriptor)
    finally:
        os.close(descriptor)


def _held(folder: Path) -> int:
    """A descriptor of the folder with a shared lock on it, for which ``put_in_place`` waits; closing it unlocks."""
    end = time.monotonic() + _PATIENCE
    while True:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(descriptor), os.stat(folder)):
                return descriptor
        except BlockingIOError:
            pass  # its writer is about to delete it, and another folder has the name
        except OSError:
            return descriptor  # a file system without locks
        os.close(descriptor)
        if time.monotonic() > end:
            raise TimeoutError(f"{folder} is replaced too often to be read")
        time.sleep(_PAUSE)


def _await_readers(folder: Path) -> None:
    """Wait until no reader holds a folder that has lost its name; new readers do not find it."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return  # nobody can read it
    end = time.monotonic() + _PATIENCE
    try:
        while fcntl is not None and time.monotonic() < end:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                time.sleep(_PAUSE)
            except OSError:
                return  # a file system without locks
    finally:
        os.close(descriptor)


def _exchanged(one: Path, other: Path) -> bool:
    """Exchange two names atomically; False where the system cannot."""
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
