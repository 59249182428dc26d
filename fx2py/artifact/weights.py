"""The weights of a folder: the file that holds them, or the list of where else they are.

The file is what ``torch.save`` writes; the bytes of storages go from file to file and are never in memory as a whole.
"""

from __future__ import annotations

import ctypes
import hashlib
import io
import json
import os
import pickle
import struct
import sys
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch.serialization import location_tag

from fx2py.artifact.manifest import WeightsOrigin
from fx2py.digests import Digest, remember
from fx2py.errors import ArtifactError
from fx2py.graph.tensors import is_strided_view, storage_of
from fx2py.mapped import FilePlace, place_of
from fx2py.runtime.weight_files import WEIGHTS_FILE, WEIGHTS_LIST

_FOLDER = "archive"
_PIECE = 2**20
_ALIGNMENT = 64
"""That of storages in files of ``torch.save``, and of memory that torch allocates."""
_BLOCK = 4096
"""What file systems share between files are whole blocks, so a storage begins at the same place in its block as before."""
_PADDING = struct.Struct("<2sH")
_LOCAL_HEADER, _ZIP64 = 30, 20
_FICLONERANGE = 0x4020940D
"""The request of Linux's ioctl_ficlonerange(2)."""
_AS_READ = 1
"""The version of a tensor that was made on a storage by ``set_``, which torch counts as a write, and not written to since."""


def link_weights(
    tensors: Mapping[str, torch.Tensor], staging: Path, target: Path, graph: Path, sha256: str | None
) -> tuple[WeightsOrigin, dict[str, str]]:
    """Write where in the graph file the tensors of the folder ``target`` are, and those that are not in it; digests of what was written.

    Raises OSError, and ArtifactError where the graph file has changed or holds none of the tensors uncompressed.
    """
    places = places_in_files(tensors)
    linked = {
        name: places[storage_of(tensor)]
        for name, tensor in tensors.items()
        if is_strided_view(tensor) and storage_of(tensor) in places
    }
    linked = {name: place for name, place in linked.items() if place.file.path == graph}
    if not linked:
        raise ArtifactError(
            f"{graph} holds no weights that could be mapped in place.", "Write them to the folder."
        )
    file = next(iter(linked.values())).file
    if not file.is_unchanged:
        raise _changed(graph)
    origin = WeightsOrigin("link", os.path.relpath(graph, target), file.size, file.mtime_ns, sha256)
    entries = [_linked_entry(name, each, linked.get(name)) for name, each in tensors.items()]
    return origin, _write_list(origin, entries, tensors, staging)


def leave_weights(
    tensors: Mapping[str, torch.Tensor], staging: Path, state: frozenset[str]
) -> tuple[WeightsOrigin, dict[str, str]]:
    """Write which tensors of ``state`` the caller is to give, and the other tensors; digests of what was written."""
    entries: list[list[object]] = [
        [name, _dtype(tensor), list(tensor.shape)] if name in state else [name]
        for name, tensor in tensors.items()
    ]
    return WeightsOrigin("none"), _write_list(WeightsOrigin("none"), entries, tensors, staging)


def _write_list(
    origin: WeightsOrigin, entries: list[list[object]], tensors: Mapping[str, torch.Tensor], staging: Path
) -> dict[str, str]:
    place = {"path": origin.path, "size": origin.size, "mtime_ns": origin.mtime_ns, "sha256": origin.sha256}
    text = json.dumps({**place, "tensors": entries}, indent=0).encode()
    (staging / WEIGHTS_LIST).write_bytes(text)
    files = {WEIGHTS_LIST: hashlib.sha256(text).hexdigest()}
    own = {str(entry[0]): tensors[str(entry[0])] for entry in entries if len(entry) == 1}
    if own:
        files[WEIGHTS_FILE] = write_weights(own, staging / WEIGHTS_FILE)
    return files


def _linked_entry(name: str, tensor: torch.Tensor, place: FilePlace | None) -> list[object]:
    """A tensor as ``MappedWeights`` of the runtime reads it; its name alone where it is in the folder's own file."""
    if place is None:
        return [name]
    view = [list(tensor.shape), list(tensor.stride()), tensor.storage_offset()]
    kind = [isinstance(tensor, torch.nn.Parameter), tensor.requires_grad]
    return [name, _dtype(tensor), *view, place.offset, place.size, *kind]


def _dtype(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _changed(path: Path) -> ArtifactError:
    return ArtifactError(f"{path} has changed since it was read.", "Generate from it again.")


def write_weights(tensors: Mapping[str, torch.Tensor], path: Path) -> str:
    """Write tensors by name to a new file that ``torch.load(weights_only=True, mmap=True)`` reads; the file's SHA-256.

    Raises OSError, RuntimeError where storages are of several dtypes, and ArtifactError where a file has changed that they were read from.
    """
    pickled, places = _Pickled(dict(tensors)), places_in_files(tensors)
    with path.open("xb", buffering=0) as file:
        sink = _Sink(file)
        with zipfile.ZipFile(sink, "w") as archive:
            _write_member(archive, sink, "data.pkl", [memoryview(pickled.content)])
            _write_member(archive, sink, "byteorder", [memoryview(sys.byteorder.encode())])
            for key, storage in enumerate(pickled.storages):
                _write_storage(archive, sink, f"data/{key}", storage, places.get(storage._cdata))
            _write_member(archive, sink, "version", [memoryview(b"3\n")])
    remember(path, Digest(sink.digest.hexdigest()))
    return sink.digest.hexdigest()


def places_in_files(tensors: Mapping[str, torch.Tensor]) -> dict[int, FilePlace]:
    """Where storages lie in files that are mapped, by their identity; not those that were written to in memory."""
    found: dict[int, FilePlace] = {}
    for tensor in tensors.values():
        if is_strided_view(tensor):
            place = place_of(tensor.untyped_storage())
            if place is not None:
                found[storage_of(tensor)] = place
    written = {storage_of(each) for each in tensors.values() if is_strided_view(each) and _is_written(each)}
    return {key: place for key, place in found.items() if key not in written}


def _is_written(tensor: torch.Tensor) -> bool:
    return tensor.is_inference() or tensor._version > _AS_READ


class _Pickled(pickle.Pickler):
    """An object as ``torch.save`` pickles it (``_save`` of torch/serialization.py), and the storages that it refers to."""

    def __init__(self, value: object) -> None:
        self._file = io.BytesIO()
        super().__init__(self._file, protocol=2)
        self.storages: list[torch.UntypedStorage] = []
        self._keys: dict[int, str] = {}
        self._dtypes: dict[int, torch.dtype] = {}
        self.dump(value)
        self.content = self._file.getvalue()

    def persistent_id(self, value: Any) -> object:
        if isinstance(value, torch.storage.TypedStorage):
            storage, dtype = value._untyped_storage, value.dtype
            cls: object = getattr(torch, torch.storage._dtype_to_storage_type_map()[dtype])
        elif isinstance(value, torch.UntypedStorage):
            storage, dtype, cls = value, torch.uint8, torch.UntypedStorage
        else:
            return None
        if self._dtypes.setdefault(storage._cdata, dtype) != dtype:
            raise RuntimeError("tensors of several dtypes share a storage, which torch.save cannot write")
        if storage._cdata not in self._keys:
            self._keys[storage._cdata] = str(len(self.storages))
            self.storages.append(storage)
        count = storage.nbytes() // dtype.itemsize
        return "storage", cls, self._keys[storage._cdata], location_tag(storage), count


class _Sink(io.RawIOBase):
    """A file that is written from its beginning to its end and digested on the way; ``zipfile`` takes it for a pipe.

    ``source`` may say of which file, and where, the next bytes to write are: the file systems that can do so then share the
    blocks of both files (a reflink), and nothing is copied.
    """

    def __init__(self, file: io.FileIO) -> None:
        self.digest, self.count = hashlib.sha256(), 0
        self.source: tuple[int, int] | None = None
        self._file = file
        self._can_share = True

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        rest = memoryview(data)
        self.digest.update(rest)
        source, self.source = self.source, None
        if source is None or not self._is_shared(*source, len(rest)):
            while rest:
                rest = rest[self._file.write(rest) or 0 :]
        self.count += len(memoryview(data))
        return len(memoryview(data))

    def _is_shared(self, source: int, offset: int, length: int) -> bool:
        """Let the file share whole blocks of another one with it; False where that cannot be."""
        if not self._can_share or offset % _BLOCK or length % _BLOCK or self.count % _BLOCK:
            return False
        wanted = struct.pack("qQQQ", source, offset, length, self.count)
        try:
            import fcntl  # which Windows lacks

            fcntl.ioctl(self._file.fileno(), _FICLONERANGE, wanted)
        except (OSError, ImportError):
            self._can_share = False
            return False
        self._file.seek(self.count + length)
        return True


def _write_storage(
    archive: zipfile.ZipFile, sink: _Sink, name: str, storage: torch.UntypedStorage, place: FilePlace | None
) -> None:
    if place is None:
        _write_member(archive, sink, name, _pieces_in_memory(storage))
        return
    if place.file.is_unchanged:
        with place.file.path.open("rb", buffering=0) as source:
            shares = place.size >= _PIECE and place.offset % _ALIGNMENT == 0
            pieces = _pieces_in_file(source, place, sink)
            _write_member(archive, sink, name, pieces, place.offset % _BLOCK if shares else None)
    if not place.file.is_unchanged:
        raise _changed(place.file.path)


def _pieces_in_file(source: io.FileIO, place: FilePlace, sink: _Sink) -> Iterator[memoryview]:
    """The bytes of a storage, a piece that ends with a block of the file at a time; the sink knows where each is."""
    buffer = memoryview(bytearray(_PIECE))
    offset, end = place.offset, place.offset + place.size
    source.seek(offset)
    while offset < end:
        wanted = min(_PIECE - offset % _BLOCK, end - offset)
        count = source.readinto(buffer[:wanted])
        if not count:
            return  # the file is shorter than it was, which the caller notices
        sink.source = (source.fileno(), offset)
        yield buffer[:count]
        offset += count


def _pieces_in_memory(storage: torch.UntypedStorage) -> Iterator[memoryview]:
    held = torch.empty(0, dtype=torch.uint8, device=storage.device).set_(storage).cpu()
    if held.numel():
        data = memoryview((ctypes.c_char * held.numel()).from_address(held.data_ptr())).cast("B")
        for start in range(0, len(data), _PIECE):
            yield data[start : start + _PIECE]


def _write_member(
    archive: zipfile.ZipFile,
    sink: _Sink,
    name: str,
    pieces: Iterator[memoryview] | list[memoryview],
    place_in_block: int | None = None,
) -> None:
    """Write a member whose bytes begin at a multiple of what torch aligns to, or at this place in a block of the file."""
    info = zipfile.ZipInfo(f"{_FOLDER}/{name}")
    before = sink.count + _LOCAL_HEADER + len(info.filename) + _ZIP64 + _PADDING.size
    length = -before % _ALIGNMENT if place_in_block is None else (place_in_block - before) % _BLOCK
    info.extra = _PADDING.pack(b"FB", length) + bytes(length)
    with archive.open(info, "w", force_zip64=True) as member:
        for piece in pieces:
            member.write(piece)
