"""Tensor subclasses that an archive holds as pickles of ``torch.save``, read as their class's name and the tensors inside."""

from __future__ import annotations

import io
import zipfile

import torch

from fx2py.files import ZIP_FAULTS
from fx2py.read.exported.subclasses import Subclass
from fx2py.read.pickled.storages import ArchiveStorages
from fx2py.read.pickled.stream import Built, Global, Pairs, PickleFault, read_pickle
from fx2py.read.pickled.tensors import Tensors, is_tensor

_OF_CLASS, _WRAPPER = "torch._tensor._rebuild_from_type_v2", "torch._utils._rebuild_wrapper_subclass"
_PARAMETER = "torch._utils._rebuild_parameter"
_ROOT, _BYTE_ORDER = "data.pkl", "byteorder"


def subclass_in(data: bytes) -> Subclass | None:
    """The wrapper subclass that the bytes of a file of ``torch.save`` hold, None for anything else; ValueError if damaged.

    Source: ``Tensor.__reduce_ex__`` and ``_rebuild_wrapper_subclass`` of torch/_tensor.py and torch/_utils.py.
    """
    saved = _Saved(data)
    root, _ = read_pickle(saved.read(_ROOT))
    return _subclass(root, Tensors(ArchiveStorages(saved)))


def _subclass(obj: object, tensors: Tensors) -> Subclass | None:
    if type(obj) is Built and obj.path == _PARAMETER:
        return _subclass(obj.first, tensors)
    if type(obj) is not Built or obj.path != _OF_CLASS or type(obj.args) is not tuple or len(obj.args) != 4:
        return None
    rebuild, cls, _, state = obj.args
    if not (
        type(rebuild) is Global and rebuild.path == _WRAPPER and type(cls) is Global and type(state) is Pairs
    ):
        return None
    parts: dict[str, torch.Tensor | Subclass] = {}
    for name, value in state.by_name().items():
        inner = _subclass(value, tensors)
        if inner is not None:
            parts[name] = inner
        elif is_tensor(value):
            parts[name] = tensors.tensor(value)
    return Subclass(cls.path, parts)


class _Saved:
    """An archive of ``torch.save`` in memory; its members are stored, and together not larger than it."""

    def __init__(self, data: bytes) -> None:
        self._left = len(data)
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(data))
            self._folder = self._zip.namelist()[0].partition("/")[0] + "/"
        except (*ZIP_FAULTS, IndexError) as error:
            raise PickleFault(f"it is no file of torch.save: {error}") from None
        if self.read(_BYTE_ORDER).strip() != b"little":
            raise PickleFault("it was written on a big-endian machine")

    def read(self, name: str) -> bytes:
        try:
            member = self._zip.getinfo(self._folder + name)
            self._left -= member.file_size
            if member.compress_type != zipfile.ZIP_STORED or self._left < 0:
                raise PickleFault(f"its member {name:.60} is compressed, or lies over another")
            return self._zip.read(member)
        except (*ZIP_FAULTS, KeyError, RuntimeError) as error:
            raise PickleFault(f"its member {name:.60} is missing or damaged: {error}") from None

    def storage(self, name: str) -> torch.UntypedStorage:
        data = bytearray(self.read(name))
        return (torch.frombuffer(data, dtype=torch.uint8) if data else torch.empty(0)).untyped_storage()
