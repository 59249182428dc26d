"""The formats: which reader a file is for, by its content, since the file's name says nothing.

A format is a function from a path to its graphs (see ``several.py``) and a row here: how its files are recognised.
"""

from __future__ import annotations

import mmap
import os
import zipfile
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TypeAlias

from fx2py.errors import UnknownFormatError
from fx2py.files import ZIP_FAULTS
from fx2py.graph_file.writing import is_graph_file
from fx2py.read.dumps.files import dump_graphs
from fx2py.read.dumps.records import is_log
from fx2py.read.dumps.text import MARKS
from fx2py.read.folder import folder_graphs
from fx2py.read.graph_file import graph_file_graphs
from fx2py.read.pickled.files import checkpoint_graphs, package_graphs, pickled_graphs
from fx2py.read.pt2.archives import archive_graphs
from fx2py.read.several import Opened

FormatReader: TypeAlias = Callable[[Path], Opened]

_ZIP_MAGIC = b"PK\x03\x04"
_PICKLE_MARK = b"\x80"
"""The opcode PROTO, with which every pickle of protocol 2 or later begins."""
_HEAD = 1 << 12
_START = 9
"""As many bytes as tell formats apart by how they begin."""
_NEXT_STEP = "Give a file that torch.save, torch.export.save or GraphPickler wrote of a graph."


_BEFORE_2_9 = "serialized_exported_program.json"
_LIBRARIES = (b"\x7fELF", b"MZ", b"\xcf\xfa\xed\xfe")
"""How compiled libraries begin on Linux, Windows and macOS."""
_WITHOUT_GRAPHS: tuple[tuple[Callable[[bytes], bool], str, str], ...] = (
    (
        lambda start: start[4:7] == b"ET1",  # the file identifier of its flatbuffer: ET12
        "is an ExecuTorch program, which holds instructions and no graph",
        "Save the program that it was made of: torch.export.save(manager.exported_program(), path), with the manager that "
        "to_edge returned.",
    ),
    (
        lambda start: start.startswith(_LIBRARIES),
        "is a compiled library, which holds no graph",
        "The graph is in the ExportedProgram that was compiled: save it with torch.export.save(program, path).",
    ),
    (
        lambda start: start[4:] == bytes(4) + b"{",  # a length of 8 bytes, then a header in JSON
        "is a safetensors file, which holds weights and no graph",
        _NEXT_STEP,
    ),
)
"""What people take for saved graphs: how it begins, what it is, and where its graph can be had."""


def _is_archive(names: Collection[str]) -> bool:
    return any(
        (name.startswith("models/") and name.endswith(".json")) or name == "archive_format" for name in names
    )


def _is_package(names: Collection[str]) -> bool:
    return ".data/extern_modules" in names


def _is_checkpoint(names: Collection[str]) -> bool:
    return "data.pkl" in names


_ARCHIVES: tuple[tuple[Callable[[Collection[str]], bool], FormatReader], ...] = (
    (is_graph_file, graph_file_graphs),
    (_is_archive, archive_graphs),
    (_is_package, package_graphs),
    (_is_checkpoint, checkpoint_graphs),
)
"""The formats that are zip archives, by their members; the first that fits reads the file."""


def reader_of(path: Path) -> FormatReader:
    """The reader for a file or folder, by its content; UnknownFormatError, with the next step, when there is none."""
    if not os.path.exists(path):
        raise UnknownFormatError(f"{path} does not exist.", "Check the path.")
    if path.is_dir():
        return _folder(path)
    if not path.is_file():
        raise UnknownFormatError(f"{path} is a pipe, a socket or a device, not a file.", _NEXT_STEP)
    try:
        with path.open("rb") as file:
            start = file.read(_START)
    except OSError as error:
        raise UnknownFormatError(
            f"{path} cannot be read: {error.strerror}.", "Check its permissions."
        ) from None
    if not start:
        raise UnknownFormatError(f"{path} is empty.", _NEXT_STEP)
    if start.startswith(_ZIP_MAGIC):
        return _zip(path)
    if start[:1] == _PICKLE_MARK:
        return pickled_graphs
    for begins, what, next_step in _WITHOUT_GRAPHS:
        if begins(start):
            raise UnknownFormatError(f"{path} {what}.", next_step)
    if _is_dump(path):
        return dump_graphs
    raise UnknownFormatError(f"{path} is not a saved graph: its content is of no known format.", _NEXT_STEP)


def _is_dump(path: Path) -> bool:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return is_log(data[:_HEAD]) or any(data.find(mark) >= 0 for mark in MARKS)


def _folder(path: Path) -> FormatReader:
    if (path / "module.py").is_file():
        return folder_graphs
    raise UnknownFormatError(f"{path} is a folder without a saved graph (it has no module.py).", _NEXT_STEP)


def _zip(path: Path) -> FormatReader:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except ZIP_FAULTS as error:
        raise UnknownFormatError(
            f"{path} is a damaged zip archive: {error}.", "Save the graph again."
        ) from None
    inner = {name.partition("/")[2] for name in names} | set(names)
    for matches, reader in _ARCHIVES:
        if matches(inner):
            return reader
    if _BEFORE_2_9 in names:
        raise UnknownFormatError(
            f"{path} is an ExportedProgram in the form that executorch writes, as did torch before 2.9.",
            "Load it with what wrote it, and save the program with torch.export.save of torch 2.10 or newer.",
        )
    raise UnknownFormatError(f"{path} is a zip archive without a saved graph.", _NEXT_STEP)
