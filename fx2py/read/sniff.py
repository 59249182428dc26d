"""Which reader a file is for, by its content; the file's name says nothing."""

from __future__ import annotations

import mmap
import os
import zipfile
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Literal, TypeAlias

from fx2py.errors import UnknownFormatError
from fx2py.files import ZIP_FAULTS
from fx2py.graph_file.writing import is_graph_file
from fx2py.read.dumps.records import is_log
from fx2py.read.dumps.text import MARKS

Format: TypeAlias = Literal["graph file", "archive", "package", "checkpoint", "pickle", "folder", "dump"]

_ZIP_MAGIC = b"PK\x03\x04"
_PICKLE_MARK = b"\x80"
_HEAD = 1 << 12
_NEXT_STEP = "Give a file that torch.save, torch.export.save or GraphPickler wrote of a graph."


def _is_archive(names: Collection[str]) -> bool:
    return any(
        (name.startswith("models/") and name.endswith(".json")) or name == "archive_format" for name in names
    )


def _is_package(names: Collection[str]) -> bool:
    return ".data/extern_modules" in names


def _is_checkpoint(names: Collection[str]) -> bool:
    return "data.pkl" in names


_ZIP_FORMATS: tuple[tuple[Format, Callable[[Collection[str]], bool]], ...] = (
    ("graph file", is_graph_file),
    ("archive", _is_archive),
    ("package", _is_package),
    ("checkpoint", _is_checkpoint),
)


def sniff(path: Path) -> Format:
    """The format of a file or folder; UnknownFormatError, with the next step, when no reader knows it."""
    if not os.path.exists(path):
        raise UnknownFormatError(f"{path} does not exist.", "Check the path.")
    if path.is_dir():
        return _folder(path)
    if not path.is_file():
        raise UnknownFormatError(f"{path} is a pipe, a socket or a device, no file.", _NEXT_STEP)
    try:
        with path.open("rb") as file:
            head = file.read(len(_ZIP_MAGIC))
    except OSError as error:
        raise UnknownFormatError(
            f"{path} cannot be read: {error.strerror}.", "Check its permissions."
        ) from None
    if not head:
        raise UnknownFormatError(f"{path} is empty.", _NEXT_STEP)
    if head == _ZIP_MAGIC:
        return _zip(path)
    if head[:1] == _PICKLE_MARK:
        return "pickle"
    if _is_dump(path):
        return "dump"
    raise UnknownFormatError(f"{path} is no saved graph: its content is of no known format.", _NEXT_STEP)


def _is_dump(path: Path) -> bool:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return is_log(data[:_HEAD]) or any(data.find(mark) >= 0 for mark in MARKS)


def _folder(path: Path) -> Format:
    if (path / "module.py").is_file():
        return "folder"
    raise UnknownFormatError(f"{path} is a folder without a saved graph (it has no module.py).", _NEXT_STEP)


def _zip(path: Path) -> Format:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except ZIP_FAULTS as error:
        raise UnknownFormatError(
            f"{path} is a damaged zip archive: {error}.", "Save the graph again."
        ) from None
    inner = {name.partition("/")[2] for name in names} | set(names)
    for format_, matches in _ZIP_FORMATS:
        if matches(inner):
            return format_
    raise UnknownFormatError(f"{path} is a zip archive without a saved graph.", _NEXT_STEP)
