"""``diff --watch``: the comparison again whenever one of its files changes, until Ctrl-C."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from fx2py.cli import messages, terminal

_PAUSE = 0.3
"""Seconds between two looks at the files; the next run waits as long, until an editor has written them all."""


def until_interrupted(run: Callable[[], None], watched: Iterable[Path]) -> int:
    """Run again and again, each time that a file changes; the exit code of the last run that ended, once Ctrl-C ends this.

    ``watched`` are files, and folders of which every file counts. A fault is told, and the next change
    waited for, which may mend it: the file may be half-written.
    """
    paths, code = list(watched), 0
    try:
        while True:
            before = _stamps(paths)
            code = messages.exit_code_of(run)
            terminal.out().flush()
            messages.print_note(f"Watching {', '.join(map(str, paths))}; Ctrl-C ends.")
            while _stamps(paths) == before:
                time.sleep(_PAUSE)
            time.sleep(_PAUSE)
    except KeyboardInterrupt:
        return code


def _stamps(paths: Iterable[Path]) -> list[tuple[str, int, int, int]]:
    """What changes when a file is written, replaced, added or deleted."""
    found = []
    for path in paths:
        for file in sorted(path.iterdir()) if path.is_dir() else [path]:
            try:
                stat = os.stat(file)
            except OSError:
                continue
            if file.name != "__pycache__":
                found.append((str(file), stat.st_ino, stat.st_size, stat.st_mtime_ns))
    return found
