"""Files that are mapped into memory, and where in them the storage of a tensor lies.

What is read from an archive is a private map of it: a page is read when it is used, and writes stay in memory.
"""

from __future__ import annotations

import mmap
import os
import weakref
from dataclasses import dataclass
from pathlib import Path

import torch


@dataclass(frozen=True, slots=True)
class MappedFile:
    """A mapped file: its absolute path, its size and time of last change when it was mapped, and where it is in memory."""

    path: Path
    size: int
    mtime_ns: int
    address: int

    @property
    def is_unchanged(self) -> bool:
        """Whether the path still leads to a file of this size and time."""
        try:
            status = self.path.stat()
        except OSError:
            return False
        return (status.st_size, status.st_mtime_ns) == (self.size, self.mtime_ns)


@dataclass(frozen=True, slots=True)
class FilePlace:
    """The bytes of a storage in a mapped file."""

    file: MappedFile
    offset: int
    size: int


_mapped: weakref.WeakKeyDictionary[mmap.mmap, MappedFile] = weakref.WeakKeyDictionary()


def map_file(path: Path) -> mmap.mmap:
    """A file as memory, which is writable, while writes stay in this process. Raises OSError, and ValueError for an empty file."""
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    address = torch.frombuffer(data, dtype=torch.uint8).data_ptr()
    _mapped[data] = MappedFile(path.resolve(), len(data), status.st_mtime_ns, address)
    return data


def place_of(storage: torch.UntypedStorage) -> FilePlace | None:
    """Where a storage lies in a file that is mapped now; None for memory of any other kind."""
    if storage.device.type != "cpu" or not storage.nbytes():
        return None
    address = storage.data_ptr()
    for file in _mapped.values():
        offset = address - file.address
        if offset >= 0 and offset + storage.nbytes() <= file.size:
            return FilePlace(file, offset, storage.nbytes())
    return None
