"""What is inside a zip archive that holds no graph: its parts and their sizes, by the directory of the archive alone."""

from __future__ import annotations

import posixpath
import zipfile
from collections import Counter
from pathlib import Path

from fx2py.errors import UnknownFormatError
from fx2py.read.archive import Archive
from fx2py.read.formats import reader_of
from fx2py.read.several import shown

_SHOWN, _WIDTH = 12, 60


def without_graph(path: Path, fault: UnknownFormatError) -> UnknownFormatError:
    """The fault of a file that could not be read, with what is inside where it is an archive that holds no graph."""
    if not zipfile.is_zipfile(path) or _holds_graphs(path):
        return fault
    try:
        with Archive(path) as archive:
            sizes = {name: archive.size(name) for name in archive.names}
    except UnknownFormatError:
        return fault  # damaged: what it says of itself cannot be relied on
    return UnknownFormatError(f"{fault.message}{_listing(sizes)}", fault.hint)


def _holds_graphs(path: Path) -> bool:
    try:
        with reader_of(path)(path):
            return True
    except UnknownFormatError:
        return False


def _listing(sizes: dict[str, int]) -> str:
    """The folders of an archive, the largest first, with the number of their files and their bytes."""
    files: Counter[str] = Counter()
    size: Counter[str] = Counter()
    for name, count in sizes.items():
        folder = posixpath.dirname(name)
        part = f"{folder}/" if folder else name
        files[part] += 1
        size[part] += count
    parts = sorted(files, key=lambda part: (-size[part], part))
    rows = [
        (shown(part, _WIDTH), f"{files[part]:,} file{'s' * (files[part] != 1)}", size[part])
        for part in parts[:_SHOWN]
    ]
    if not rows:
        return "\n  Inside is nothing."
    widths = [max(len(str(row[column])) for row in rows) for column in range(2)]
    lines = [f"\n  {part:{widths[0]}}  {count:{widths[1]}}  {bytes_:,} bytes" for part, count, bytes_ in rows]
    rest = [f"\n  ... and {len(parts) - _SHOWN} more"] if len(parts) > _SHOWN else []
    return "".join(["\n  Inside are:", *lines, *rest])
