"""Tensor storages that stand beside a pickle: members of a zip archive, or what follows the pickle in an older stream."""

from __future__ import annotations

import pickle
import struct
from dataclasses import dataclass
from typing import Protocol

import torch

from fx2py.read.pickled.stream import Built, Data, Global, Pairs, Persistent, PickleFault, read_pickle

STREAM_MAGIC = 0x1950A86A20F9469CFC6C
_STREAM_PROTOCOL = 1001
_MACHINE = {
    "protocol_version": _STREAM_PROTOCOL,
    "little_endian": True,
    "type_sizes": {"short": 2, "int": 4, "long": 4},
}
_HEAD = b"".join([pickle.dumps(part, protocol=2) for part in (STREAM_MAGIC, _STREAM_PROTOCOL, _MACHINE)])
"""How ``_legacy_save`` of torch/serialization.py begins files on all common machines."""
_ALIGNMENT = 16
"""What malloc guarantees on 64-bit systems, so kernels may assume it of any storage."""
_COUNT = struct.Struct("<q")
_DTYPES: dict[str, torch.dtype] = {
    f"torch.{name}": dtype for dtype, name in torch.storage._dtype_to_storage_type_map().items()
}
_UNTYPED = frozenset({"torch.storage.UntypedStorage", "torch.UntypedStorage"})


@dataclass(frozen=True, slots=True)
class Storage:
    """Bytes, and the dtype of the elements they were saved as (uint8 where the file names none)."""

    data: torch.UntypedStorage
    dtype: torch.dtype


class Storages(Protocol):
    """Where the storages of one pickle are found; a reference seen twice gives the same bytes."""

    def find(self, reference: object) -> Storage: ...


class HoldsStorages(Protocol):
    """An archive, of which a member is the bytes of a storage."""

    def storage(self, name: str) -> torch.UntypedStorage: ...


class ArchiveStorages:
    """Storages as members ``<folder><key><suffix>`` of a zip archive."""

    def __init__(self, archive: HoldsStorages, folder: str = "data/", suffix: str = "") -> None:
        self._archive, self._folder, self._suffix = archive, folder, suffix
        self._found: dict[str, torch.UntypedStorage] = {}

    def find(self, reference: object) -> Storage:
        dtype, key, count = _reference(reference)
        if key not in self._found:
            self._found[key] = self._archive.storage(f"{self._folder}{key}{self._suffix}")
        data = self._found[key]
        if count * dtype.itemsize > data.nbytes():
            raise PickleFault(
                f"storage {key} holds {data.nbytes()} bytes, not the {count} elements of {dtype} it should"
            )
        return Storage(data, dtype)


class StreamStorages:
    """Storages that follow the pickle in a stream as torch wrote before zip archives, or in a tensor's own bytes."""

    def __init__(self) -> None:
        self._data: dict[str, torch.UntypedStorage] = {}
        self._embedded: dict[int, tuple[Built, Storage]] = {}

    def find(self, reference: object) -> Storage:
        if type(reference) is Built and reference.path == "torch.storage._load_from_bytes":
            return self._load(reference)
        dtype, key, _ = _reference(reference)
        if key not in self._data:
            raise PickleFault(f"storage {key} is missing")
        return Storage(self._data[key], dtype)

    def add(self, key: str, data: torch.UntypedStorage) -> None:
        self._data[key] = data

    def _load(self, built: Built) -> Storage:
        """A storage that was pickled by itself, as the bytes of a stream of its own."""
        if id(built) not in self._embedded:
            data = byte_string(built.args[0]) if type(built.args) is tuple and built.args else None
            if data is None:
                raise PickleFault("a storage is described by something other than bytes")
            root, storages, _ = read_stream(data)
            if type(root) is not Persistent:
                raise PickleFault("the bytes of a storage hold something else")
            self._embedded[id(built)] = (built, storages.find(root))
        return self._embedded[id(built)][1]


def byte_string(obj: object) -> bytes | None:
    """Bytes as a pickle holds them: directly or, before protocol 3, as Latin-1 text; None for anything else."""
    if type(obj) is bytes:
        return obj
    if type(obj) is Built and obj.path == "_codecs.encode" and type(obj.args) is tuple:
        text = obj.args[0] if obj.args else None
        return text.encode("latin-1", "replace") if type(text) is str else None
    if type(obj) is Built and obj.path == "builtins.bytes" and obj.args == ():
        return b""
    return None


def is_stream(data: Data, start: int = 0) -> bool:
    """Whether the bytes at ``start`` begin with the magic number of ``_legacy_save`` (torch/serialization.py)."""
    return data[start : start + 16] == b"\x80\x02\x8a\x0a" + STREAM_MAGIC.to_bytes(10, "little") + b".\x80"


def read_stream(data: Data, start: int = 0) -> tuple[object, StreamStorages, int]:
    """The pickled object of such a file, its storages, and where it ends; PickleFault when it is damaged."""
    behind = start + len(_HEAD)
    position = behind if data[start:behind] == _HEAD else _end_of_head(data, start)
    root, position = read_pickle(data, position)
    keys, position = read_pickle(data, position)
    storages = StreamStorages()
    sizes = _item_sizes(root)
    for key in keys if type(keys) is list else ():
        if type(key) is not str or key not in sizes:
            raise PickleFault("the file lists a storage that its graph does not use")
        position = _read_storage(data, position, key, sizes[key], storages)
    return root, storages, position


def _end_of_head(data: Data, start: int) -> int:
    """Where the three leading pickles end: the magic number, the version of torch.save, and the machine it ran on."""
    magic, position = read_pickle(data, start)
    protocol, position = read_pickle(data, position)
    system, position = read_pickle(data, position)
    if magic != STREAM_MAGIC or protocol != _STREAM_PROTOCOL:
        raise PickleFault("the file is of an unknown version of torch.save")
    if type(system) is not Pairs or system.by_name().get("little_endian") is not True:
        raise PickleFault("the file was written on a big-endian machine")
    return position


def _read_storage(data: Data, position: int, key: str, item_size: int, storages: StreamStorages) -> int:
    """Reads one storage, an element count followed by the bytes; returns the position after it."""
    if position + _COUNT.size > len(data):
        raise PickleFault(f"storage {key} is missing from the end of the file")
    (count,) = _COUNT.unpack_from(data, position)
    start, size = position + _COUNT.size, int(count) * item_size
    if count < 0 or start + size > len(data):
        raise PickleFault(f"storage {key} reaches beyond the end of the file")
    storages.add(key, _bytes_at(data, start, size))
    return start + size


def _bytes_at(data: Data, start: int, size: int) -> torch.UntypedStorage:
    """The bytes as a storage with memory aligned for every dtype; shares a mapped file's memory where it can."""
    if size == 0:
        return torch.empty(0, dtype=torch.uint8).untyped_storage()
    if type(data) is bytes:
        return torch.frombuffer(
            bytearray(memoryview(data)[start : start + size]), dtype=torch.uint8
        ).untyped_storage()
    view = torch.frombuffer(data, dtype=torch.uint8, count=size, offset=start)
    return (view if view.data_ptr() % _ALIGNMENT == 0 else view.clone()).untyped_storage()


def _item_sizes(root: object) -> dict[str, int]:
    """The element size of every storage that the object refers to."""
    sizes: dict[str, int] = {}
    seen: set[int] = set()
    stack = [root]
    while stack:
        obj = stack.pop()
        if id(obj) in seen:
            continue
        seen.add(id(obj))
        if type(obj) is Persistent:
            dtype, key, _ = _reference(obj)
            sizes[key] = dtype.itemsize
        stack.extend(_parts(obj))
    return sizes


def _parts(obj: object) -> list[object]:
    if isinstance(obj, list | tuple):
        return list(obj)
    if type(obj) is Pairs:
        return [part for pair in obj.pairs for part in pair]
    if type(obj) is Built:
        pairs = [part for pair in obj.pairs for part in pair]
        return [obj.function, obj.args, obj.kwargs, obj.state, *obj.items, *pairs]
    return []


def _reference(reference: object) -> tuple[torch.dtype, str, int]:
    """The dtype, key and element count of ``("storage", class, key, location, count, ...)``.

    Source: ``persistent_id`` in ``_save`` and ``_legacy_save`` of torch/serialization.py.
    """
    key = reference.key if type(reference) is Persistent else None
    if type(key) is tuple and len(key) >= 5 and key[0] == "storage":
        _, cls, name, _, count, *_ = key
        dtype = _dtype(cls)
        if dtype is not None and type(name) in (str, int) and type(count) is int and count >= 0:
            return dtype, str(name), count
    raise PickleFault("a tensor refers to its storage in an unknown way")


def _dtype(cls: object) -> torch.dtype | None:
    if type(cls) is not Global:
        return None
    return torch.uint8 if cls.path in _UNTYPED else _DTYPES.get(cls.path)
