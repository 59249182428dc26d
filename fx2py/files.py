"""Files: writing one whole or not at all, and what damaged zip archives raise."""

from __future__ import annotations

import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

ZIP_FAULTS = (
    *(zipfile.BadZipFile, NotImplementedError, EOFError, OSError, ValueError),
    *(struct.error, zlib.error),
)
"""What zipfile raises on a damaged archive; NotImplementedError stands for a feature that it does not support."""


def is_running(process: int) -> bool:
    """Whether there is a process of this number, whoever owns it; where that cannot be asked, there is."""
    if os.name != "posix":
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def left_by_the_dead(target: Path) -> Iterator[Path]:
    """What processes that ended before they were done left beside ``target``: ``.NAME.PROCESS`` and ``.NAME.PROCESS-...``."""
    prefix = f".{target.name}."
    with suppress(OSError):
        for entry in os.scandir(target.parent):
            number, _, _ = entry.name.removeprefix(prefix).partition("-")
            is_named_so = entry.name.startswith(prefix) and number.isascii() and number.isdigit()
            if is_named_so and not is_running(int(number)):
                yield Path(entry.path)


@contextmanager
def whole_file(target: Path) -> Iterator[Path]:
    """A path to write a file to, which becomes ``target`` in one step when nothing is raised. Raises OSError.

    What a process that was killed meanwhile left of the same file is deleted first.
    """
    for left in list(left_by_the_dead(target)):
        if left.is_file():
            left.unlink(missing_ok=True)
    staging = target.with_name(f".{target.name}.{os.getpid()}")
    staging.touch(exist_ok=False)
    try:
        yield staging
        staging.replace(target)
    finally:
        staging.unlink(missing_ok=True)
