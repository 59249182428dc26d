"""Zip archives as torch writes them: bounded reads of members, and tensor bytes mapped without a copy."""

from __future__ import annotations

import hashlib
import mmap
import struct
import zipfile
import zlib
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import torch

from fx2py.digests import Digest, is_hashing, pieces, remember, remembered
from fx2py.errors import UnknownFormatError, printable
from fx2py.files import ZIP_FAULTS
from fx2py.mapped import map_file

_LOCAL_HEADER = struct.Struct("<4s22xHH")
_ALIGNMENT = 16
"""What malloc guarantees on 64-bit systems, so kernels may assume it of any storage."""
_SMALL = 2**24
_COMPRESSIONS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})


class Archive:
    """A zip file open for reading; member names leave out the folder that all members share.

    Raises UnknownFormatError naming the file and the member wherever the file is damaged, repeats a member or is
    larger than the caller's limit.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = str(path)
        try:
            if not Path(path).is_file():
                raise OSError("there is no such file")
            self._zip = zipfile.ZipFile(self.path)
        except ZIP_FAULTS as error:
            raise UnknownFormatError(f"{self.path} is not a zip archive, or is damaged: {error}") from None
        self._size, self._taken = Path(path).stat().st_size, 0
        self._members = self._index()
        self._file = Path(path).open("rb", buffering=0)  # noqa: SIM115 __exit__ closes it
        self._mapped: mmap.mmap | None = None
        self._taken_storages: list[str] = []
        self._digest: tuple[str | None, frozenset[str]] | None = None

    def __enter__(self) -> Archive:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._zip.close()
        self._file.close()

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._members)

    def __contains__(self, name: str) -> bool:
        return name in self._members

    @property
    def limit(self) -> int:
        """How many more bytes of text and pickles may be read: as many as the file has, or more where it is small.

        torch writes them uncompressed; a compressed archive can ask for a thousand times its size.
        """
        return max(self._size, _SMALL) - self._taken

    def size(self, name: str) -> int:
        """The size of a member in bytes, uncompressed."""
        return self._member(name).file_size

    def read(self, name: str, limit: int) -> bytes:
        """The bytes of a member of at most ``limit`` bytes; its checksum is verified."""
        member = self._member(name)
        if member.compress_type not in _COMPRESSIONS:
            raise self.fault(name, "is compressed in a way that torch does not use")
        if member.file_size > limit:
            raise self.fault(name, f"has {member.file_size} bytes, more than the {limit} that it may have")
        try:
            with self._zip.open(member) as stream:
                self._taken += member.file_size
                return stream.read(limit + 1)
        except (*ZIP_FAULTS, RuntimeError) as error:
            raise self.fault(name, f"is damaged: {error}") from None

    def storage(self, name: str) -> torch.UntypedStorage:
        """The bytes of a stored (not compressed) member as a storage that maps the file; writes stay in memory.

        Its checksum is verified by ``sha256``, which must be called before the storage is used.
        """
        member = self._member(name)
        if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1:
            raise self.fault(name, "holds tensor bytes in compressed or encrypted form")
        if member.file_size == 0:
            return torch.empty(0, dtype=torch.uint8).untyped_storage()
        data = self._map()
        start = self._data_offset(member)
        if member.file_size != member.compress_size or start + member.file_size > len(data):
            raise self.fault(name, "reaches beyond the end of the file")
        view = torch.frombuffer(data, dtype=torch.uint8, count=member.file_size, offset=start)
        self._taken_storages.append(name)
        return view.untyped_storage() if view.data_ptr() % _ALIGNMENT == 0 else view.clone().untyped_storage()

    def sha256(self) -> str | None:
        """The digest of the file, which is read once; None where large files are not to be hashed.

        Raises UnknownFormatError for a storage that was taken and whose checksum does not match.
        """
        if self._digest is None:
            self._digest = self._read_whole() if is_hashing(Path(self.path)) else (None, frozenset())
        sha256, damaged = self._digest
        for name in self._taken_storages:
            if name in damaged:
                raise self.fault(name, "is damaged: its checksum does not match")
        return sha256

    def _read_whole(self) -> tuple[str, frozenset[str]]:
        """The digest of the file, and the stored members whose checksums do not match.

        The file is read, not the map of it: pages of a map that were touched count as memory of this process.
        """
        path = Path(self.path)
        known = remembered(path)
        if known is not None and known.is_sound:
            return known.sha256, frozenset()
        before, digest, position, damaged, found = path.stat(), hashlib.sha256(), 0, set(), 0
        waiting = deque(sorted(self._stored_spans()))
        for piece in pieces(path):
            digest.update(piece)
            end = position + len(piece)
            while waiting and waiting[0][0] < end:
                start, stop, name = waiting[0]
                found = zlib.crc32(piece[max(start - position, 0) : stop - position], found)
                if stop > end:
                    break
                if found != self._members[name].CRC:
                    damaged.add(name)
                waiting.popleft()
                found = 0
            position = end
        damaged |= {name for _, _, name in waiting}
        remember(path, Digest(digest.hexdigest(), not damaged), before)
        return digest.hexdigest(), frozenset(damaged)

    def _stored_spans(self) -> Iterator[tuple[int, int, str]]:
        """Where the bytes of each stored member begin and end; of what cannot be found, nothing."""
        for name, member in self._members.items():
            if member.compress_type == zipfile.ZIP_STORED and member.file_size and not member.flag_bits & 1:
                with suppress(UnknownFormatError):  # of a member that is not used
                    start = self._data_offset(member)
                    yield start, start + member.file_size, name

    def fault(self, name: str, reason: str) -> UnknownFormatError:
        return UnknownFormatError(
            f"{self.path}: member {printable(name)} {printable(reason)}",
            "Save the graph again; the file is damaged.",
        )

    def _index(self) -> dict[str, zipfile.ZipInfo]:
        members = self._zip.infolist()
        folder = members[0].filename.partition("/")[0] + "/" if members else ""
        if not all(member.filename.startswith(folder) for member in members):
            folder = ""
        index: dict[str, zipfile.ZipInfo] = {}
        for member in members:
            name = member.filename[len(folder) :]
            if name in index:
                raise self.fault(name, "is there twice")
            index[name] = member
        self._check_places(members)
        return index

    def _check_places(self, members: list[zipfile.ZipInfo]) -> None:
        """Refuse overlapping members: bytes that they share are read once for each, so a small file could unpack to a huge one."""
        end, before = 0, ""
        if members and min(member.header_offset for member in members) > 0:
            raise UnknownFormatError(
                f"{self.path} begins with something other than its archive: one is behind the other in it.",
                "Save each in a file of its own.",
            )
        for member in sorted(members, key=lambda each: each.header_offset):
            if member.header_offset < end:
                raise self.fault(member.filename, f"lies over {before}")
            end, before = member.header_offset + _LOCAL_HEADER.size + member.compress_size, member.filename

    def _member(self, name: str) -> zipfile.ZipInfo:
        if name not in self._members:
            raise self.fault(name, "is missing")
        return self._members[name]

    def _map(self) -> mmap.mmap:
        if self._mapped is None:
            self._mapped = map_file(Path(self.path))
        return self._mapped

    def _data_offset(self, member: zipfile.ZipInfo) -> int:
        """Where a member's bytes begin: after its local header, whose name and extra field may differ in length from the index."""
        start = member.header_offset
        self._file.seek(max(start, 0))
        header = self._file.read(_LOCAL_HEADER.size)
        if start < 0 or len(header) < _LOCAL_HEADER.size:
            raise self.fault(member.filename, "begins beyond the end of the file")
        magic, name_length, extra_length = _LOCAL_HEADER.unpack(header)
        if magic != b"PK\x03\x04":
            raise self.fault(member.filename, "has no local header")
        return int(start + _LOCAL_HEADER.size + name_length + extra_length)
