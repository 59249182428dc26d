"""The weights and constants of an exported archive as tensors that map the file, without a copy.

Pickled members are only given to torch's weights-only reader, for a tensor; a pickled constant object is kept as its
name, anything else is refused.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch.serialization import get_unsafe_globals_in_checkpoint

from fx2py.errors import UnknownFormatError, printable
from fx2py.graph.values import Name, Opaque, Value
from fx2py.read.archive import Archive
from fx2py.read.exported.subclasses import Subclass
from fx2py.read.pickled.stream import PickleFault
from fx2py.read.pt2.pickled_subclasses import subclass_in
from fx2py.read.pt2.schema import DTYPES, STRIDED, PayloadMeta, SavedTensor, coded, size_of
from fx2py.typed_json import Damaged, exact, field, parse

WEIGHTS, CONSTANTS = "data/weights/", "data/constants/"
MAX_RANK = 64
SCRIPT_OBJECT, OBJECT = Name("torch", "ScriptObject"), Name("builtins", "object")
_SCRIPT_PREFIX = "custom_obj_"
_TENSOR_PREFIXES = ("weight_", "tensor_")
_WEIGHTS_ONLY_FAULTS = (
    *(pickle.UnpicklingError, RuntimeError, ValueError, TypeError, KeyError, IndexError, AttributeError),
    *(EOFError, AssertionError, OSError, MemoryError, ImportError),
)


def read_state(archive: Archive, model: str) -> dict[str, torch.Tensor | Subclass]:
    """The parameters and buffers of a model by dotted path; tensors that were tied are one object."""
    payload = _Payload(archive, WEIGHTS)
    entries = _config(archive, WEIGHTS, model, "weights")
    return {path: payload.state(path, entry) for path, entry in entries.items()}


def read_constants(archive: Archive, model: str) -> dict[str, Value | torch.Tensor]:
    """The constant tensors and objects of a model by dotted path; an object is an ``Opaque``."""
    payload = _Payload(archive, CONSTANTS)
    entries = _config(archive, CONSTANTS, model, "constants")
    return {path: payload.constant(path, entry) for path, entry in entries.items()}


def weights_only(data: bytes) -> object:
    """What torch's weights-only reader makes of a pickle, on the CPU; ValueError when it refuses the pickle."""
    try:
        found: object = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        return found
    except _WEIGHTS_ONLY_FAULTS:
        raise ValueError("is a pickle that is damaged or holds more than plain data") from None


def _unread_classes(data: bytes) -> list[str]:
    """The names in a pickle that torch's weights-only reader does not admit; empty where it is damaged."""
    try:
        return [printable(name) for name in get_unsafe_globals_in_checkpoint(io.BytesIO(data))]
    except _WEIGHTS_ONLY_FAULTS:
        return []


def _config(archive: Archive, folder: str, model: str, kind: str) -> Mapping[str, PayloadMeta]:
    legacy = f"{folder}{model}.pt"
    if legacy in archive:
        raise UnknownFormatError(
            f"{archive.path}: member {legacy} is a pickle, as torch before 2.9 wrote {kind}.",
            "Load and save the program once with torch 2.10 or later.",
        )
    member = f"{folder}{model}_{kind}_config.json"
    try:
        return field(parse(archive.read(member, archive.limit)), "config", dict[str, PayloadMeta])
    except Damaged as fault:
        raise archive.fault(member, str(fault)) from None


@dataclass(frozen=True, slots=True)
class _View:
    """How a tensor lies in its storage; sizes and strides in elements."""

    dtype: torch.dtype
    sizes: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int
    requires_grad: bool

    @property
    def is_empty(self) -> bool:
        return 0 in self.sizes

    @property
    def extent(self) -> int:
        """The number of elements of the storage that the view reaches over."""
        spans = zip(self.sizes, self.strides, strict=True)
        return 0 if self.is_empty else self.offset + 1 + sum((size - 1) * step for size, step in spans)


class _Payload:
    """The tensor members of one folder: each storage is mapped once, equal views of it are one tensor."""

    def __init__(self, archive: Archive, folder: str) -> None:
        self._archive = archive
        self._folder = folder
        self._storages: dict[str, torch.UntypedStorage] = {}
        self._tensors: dict[tuple[str, _View, bool], torch.Tensor] = {}
        self._subclasses: dict[str, Subclass | None] = {}

    def constant(self, path: str, entry: PayloadMeta) -> Value | torch.Tensor:
        name = entry.path_name
        if name.startswith(_TENSOR_PREFIXES):
            return self.tensor(path, entry)
        cls = SCRIPT_OBJECT if name.startswith(_SCRIPT_PREFIX) else OBJECT
        return Opaque(cls, f"the object in member {self._folder}{name}")

    def state(self, path: str, entry: PayloadMeta) -> torch.Tensor | Subclass:
        """A tensor, or one of another class than torch's own; the same one for every path that names its member."""
        member = self._folder + entry.path_name
        if not entry.use_pickle:
            return self.tensor(path, entry)
        if member not in self._subclasses:
            try:
                self._subclasses[member] = subclass_in(self._archive.read(member, self._archive.limit))
            except PickleFault as fault:
                raise self._archive.fault(member, f"({path}) {fault}") from None
        return self._subclasses[member] or self.tensor(path, entry)

    def tensor(self, path: str, entry: PayloadMeta) -> torch.Tensor:
        member = self._folder + entry.path_name
        try:
            if entry.use_pickle:
                return self._unpickled(member, path)
            view = _view(entry.tensor_meta)
            key = (member, view, entry.is_param)
            if key not in self._tensors:
                self._tensors[key] = self._new(member, view, is_parameter=key[2])
            return self._tensors[key]
        except Damaged as fault:
            raise self._archive.fault(member, f"({path}) {fault}") from None

    def _new(self, member: str, view: _View, *, is_parameter: bool) -> torch.Tensor:
        if member not in self._storages:
            self._storages[member] = self._archive.storage(member)
        tensor = _tensor(self._storages[member], view)
        if is_parameter:
            return torch.nn.Parameter(tensor, view.requires_grad)
        return tensor.requires_grad_() if view.requires_grad else tensor

    def _unpickled(self, member: str, path: str) -> torch.Tensor:
        data = self._archive.read(member, self._archive.limit)
        try:
            value = weights_only(data)
        except ValueError as error:
            if classes := _unread_classes(data):
                raise UnknownFormatError(
                    f"{self._archive.path}: member {member} ({printable(path)}) is a pickle of more than plain tensors: "
                    f"{', '.join(classes)}.",
                    "If it wraps plain tensors, as those of torchao do, save program.run_decompositions({}) instead: "
                    "that program holds what they wrap.",
                ) from None
            raise Damaged(str(error)) from None
        if isinstance(value, torch.Tensor) and type(value) in (torch.Tensor, torch.nn.Parameter):
            return value
        raise Damaged(f"is a pickled {type(value).__name__}, not a plain tensor")


def _view(meta: SavedTensor | None) -> _View:
    if meta is None or meta.layout != STRIDED:
        raise Damaged("is a tensor of a layout that is not strided")
    sizes = tuple(exact(size_of(size), int) for size in meta.sizes)
    strides = tuple(exact(size_of(step), int) for step in meta.strides)
    offset = exact(size_of(meta.storage_offset), int)
    if len(sizes) != len(strides) or len(sizes) > MAX_RANK:
        raise Damaged(f"is a tensor of {len(sizes)} sizes and {len(strides)} strides")
    if min((offset, *sizes, *strides)) < 0:
        raise Damaged("is a tensor with a negative size, stride or offset")
    return _View(coded(DTYPES, meta.dtype), sizes, strides, offset, meta.requires_grad)


def _tensor(storage: torch.UntypedStorage, view: _View) -> torch.Tensor:
    """The view of a storage that it must fit; without bytes, as in a program of fake tensors, it is a meta tensor."""
    available = storage.nbytes() // view.dtype.itemsize
    if view.extent > available and storage.nbytes():
        raise Damaged(f"has {available} elements, and its tensor reaches to {view.extent}")
    try:
        if view.extent and not storage.nbytes():
            return torch.empty_strided(view.sizes, view.strides, dtype=view.dtype, device="meta")
        offset = 0 if view.is_empty else view.offset
        return torch.empty(0, dtype=view.dtype).set_(storage, offset, view.sizes, view.strides)
    except (RuntimeError, OverflowError) as error:
        raise Damaged(f"is a tensor that torch refuses: {str(error).partition(chr(10))[0]}") from None
