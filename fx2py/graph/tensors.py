"""Storages of tensors, and copies that keep the sharing: two views of one storage stay two views of one storage."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from fx2py.errors import ReplayError
from fx2py.graph.pages import bytes_of_storage, hold_the_same

_COMPRESSED = {
    torch.sparse_csr: ("crow_indices", "col_indices"),
    torch.sparse_bsr: ("crow_indices", "col_indices"),
    torch.sparse_csc: ("ccol_indices", "row_indices"),
    torch.sparse_bsc: ("ccol_indices", "row_indices"),
}

PACKED = frozenset(
    {torch.float4_e2m1fn_x2}
    | {getattr(torch, f"{kind}{bits}") for kind in ("int", "uint") for bits in range(1, 8)}
)
"""The dtypes of which torch holds the bytes and converts nothing: a number takes less than a byte."""


class TensorCopies:
    """Copies tensors with their strides to ``device`` (None: where they are), each tensor and each storage once."""

    def __init__(self, device: torch.device | None = None) -> None:
        self._device = device
        self._copies: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self._storages: dict[int, tuple[torch.UntypedStorage, torch.Tensor]] = {}

    def __call__(self, tensor: torch.Tensor) -> torch.Tensor:
        """The copy of ``tensor``: a leaf that requires grad where the tensor does.

        On a device that this build of torch cannot reach, where only fake tensors exist, no copy requires grad:
        torch would abort the process.
        """
        if id(tensor) not in self._copies:
            copied = self._copied_wrapper(tensor) if is_wrapper(tensor) else self._copy(tensor.detach())
            wants_grad = tensor.requires_grad and _has_autograd(copied.device)
            if isinstance(tensor, torch.nn.Parameter):
                copied = torch.nn.Parameter(copied, wants_grad)
            self._copies[id(tensor)] = (tensor, copied.requires_grad_(wants_grad))
        return self._copies[id(tensor)][1]

    def of(self, value: Any) -> Any:
        """``value`` with every tensor in it, at any depth of a pytree, copied."""
        return pytree.tree_map_only(torch.Tensor, self, value)

    def of_module(self, module: torch.nn.Module) -> torch.nn.Module:
        """A deep copy of ``module`` over the copies of its tensors."""
        tensors = (*module.parameters(), *module.buffers())
        return copy.deepcopy(module, {id(tensor): self(tensor) for tensor in tensors})

    def _copy(self, tensor: torch.Tensor) -> torch.Tensor:
        if tensor.is_conj():
            return self._copy(tensor.conj()).conj()
        if tensor.is_neg():
            return torch._neg_view(self._copy(torch._neg_view(tensor)))
        if tensor.is_mkldnn and self._device in (None, tensor.device):
            return tensor.clone()
        if not is_strided_view(tensor):
            return tensor.to(self._device or tensor.device, copy=True)
        flat = self._flat(tensor.untyped_storage())
        whole = flat[: flat.numel() // tensor.element_size() * tensor.element_size()].view(tensor.dtype)
        return whole.as_strided(tensor.size(), tensor.stride(), tensor.storage_offset()).detach()

    def _copied_wrapper(self, tensor: torch.Tensor) -> torch.Tensor:
        """A wrapper over copies of its inner tensors if its class says how to rebuild it, else the copy that its class makes."""
        stays = self._device in (None, tensor.device)
        if stays and is_traceable_wrapper_subclass(tensor):
            names, context = tensor.__tensor_flatten__()
            # A DTensor lists its DeviceMesh among its inner attributes (torch/distributed/tensor/_api.py).
            parts = {name: self.of(getattr(tensor, name)) for name in names}
            rebuild: Any = type(tensor).__tensor_unflatten__
            return rebuild(parts, context, tensor.size(), tensor.stride())
        try:
            plain = tensor.detach()
            return plain.clone() if stays else plain.to(self._device, copy=True)
        except (NotImplementedError, TypeError) as error:
            raise ReplayError(
                f"a tensor of the class {type(tensor).__qualname__} cannot be copied: {error}.",
                "Its class must implement __tensor_flatten__ and __tensor_unflatten__, or clone.",
            ) from None

    def _flat(self, storage: torch.UntypedStorage) -> torch.Tensor:
        """The copied storage as a tensor of bytes; a tensor, because a fake tensor has no storage that can be shared."""
        key = storage._cdata
        if key not in self._storages:
            flat = bytes_of_storage(storage)
            self._storages[key] = (storage, flat.to(self._device or storage.device, copy=True))
        return self._storages[key][1]


def storage_of(tensor: torch.Tensor) -> int:
    """The identity of a tensor's storage (its StorageImpl's address): equal for two tensors that share it while both live."""
    return int(tensor.untyped_storage()._cdata)


def storages_of(tensor: torch.Tensor) -> frozenset[int] | None:
    """The identity of every storage that holds the tensor or its inner tensors; None if it cannot be told."""
    parts = (*sparse_parts(tensor), *inner_tensors(tensor).values())
    if parts:
        found = [storages_of(part) for part in parts]
        return None if None in found else frozenset().union(*filter(None, found))
    if is_wrapper(tensor) or torch._is_functional_tensor(tensor):
        return None
    try:
        return frozenset((storage_of(tensor),))
    except NotImplementedError:  # opaque tensors (mkldnn) and wrappers of torch.func have none
        return None


def is_wrapper(tensor: torch.Tensor) -> bool:
    """Whether the tensor's class implements operators itself (``__torch_dispatch__``), and may keep its data anywhere.

    Nested and fake tensors, which torch itself makes, count as the tensors that they represent.
    """
    handles_operators = type(tensor).__torch_dispatch__ is not torch.Tensor.__torch_dispatch__
    return handles_operators and not isinstance(tensor, FakeTensor) and not tensor.is_nested


def inner_tensors(tensor: torch.Tensor) -> dict[str, torch.Tensor]:
    """The tensors inside a wrapper subclass, by attribute; none for any other tensor."""
    if not is_wrapper(tensor):
        return {}
    if not is_traceable_wrapper_subclass(tensor):
        return {name: part for name, part in vars(tensor).items() if isinstance(part, torch.Tensor)}
    names, _ = tensor.__tensor_flatten__()
    parts = {name: getattr(tensor, name) for name in names}
    return {name: part for name, part in parts.items() if isinstance(part, torch.Tensor)}


def sparse_parts(tensor: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """The dense tensors that hold the indices and values of a sparse tensor; none for any other tensor."""
    if tensor.layout == torch.sparse_coo:
        return tensor._indices(), tensor._values()
    names = _COMPRESSED.get(tensor.layout)
    return () if names is None else (*[getattr(tensor, name)() for name in names], tensor.values())


def shape_of(tensor: torch.Tensor) -> tuple[int, ...]:
    """The shape of a tensor; a nested tensor has none, so that of the smallest dense tensor that its parts fit in."""
    if not tensor.is_nested:
        return tuple(tensor.shape)
    shapes = [shape_of(part) for part in tensor.detach().unbind()]
    return (len(shapes), *map(max, zip(*shapes, strict=True)))


def bytes_of(tensor: torch.Tensor) -> int:
    """The bytes of a tensor's elements, or of the tensors that it is made of."""
    parts = (*sparse_parts(tensor), *inner_tensors(tensor).values())
    return sum(map(bytes_of, parts)) if parts else tensor.numel() * tensor.element_size()


def _has_autograd(device: torch.device) -> bool:
    return device.type in ("cpu", "meta") or torch.get_device_module(device).is_available()


def is_strided_view(tensor: torch.Tensor) -> bool:
    """Whether the tensor is a strided view of its storage and nothing more, so that its bytes are its value."""
    return (
        type(tensor) in (torch.Tensor, torch.nn.Parameter)
        and tensor.layout == torch.strided
        and not (tensor.is_quantized or tensor.is_conj() or tensor.is_neg() or tensor.is_nested)
        and tensor.device.type != "meta"
    )


class EqualStorages:
    """Compares tensors by the bytes of their storages; each pair of storages is compared once per instance.

    The tensors must not change in the meantime.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[int, int], tuple[torch.UntypedStorage, torch.UntypedStorage, bool]] = {}

    def __call__(self, one: torch.Tensor, other: torch.Tensor) -> bool:
        """True if the two tensors hold the same bits; False if only comparing elements can tell."""
        if one is other:
            return True
        if not (is_strided_view(one) and is_strided_view(other)) or _place(one) != _place(other):
            return False
        key = (storage_of(one), storage_of(other))
        if key not in self._known:
            pair = (one.untyped_storage(), other.untyped_storage())
            self._known[key] = (*pair, hold_the_same(*pair))
        return self._known[key][2]


def _place(tensor: torch.Tensor) -> tuple[object, ...]:
    """Device, dtype and layout of a tensor within its storage."""
    where = (tensor.device, tensor.storage_offset(), tensor.untyped_storage().nbytes())
    return (tensor.dtype, tensor.shape, tensor.stride(), *where)


def without_repetition(tensor: torch.Tensor) -> tuple[torch.Tensor, int]:
    """A view with each element of an expanded tensor once, and how many times the tensor repeats it (strides of 0)."""
    times = 1
    for dimension in range(tensor.dim()):
        size = tensor.size(dimension)
        if size > 1 and tensor.stride(dimension) == 0:
            tensor, times = tensor.narrow(dimension, 0, 1), times * size
    return tensor, times


def write_back(tensors: Mapping[str, torch.Tensor], values: Mapping[str, torch.Tensor]) -> None:
    """Give ``tensors`` the bits of ``values`` (themselves, or copies made by ``TensorCopies``), in place.

    A tensor that has these bits already is not written: its memory may be read-only. A
    storage that many tensors share is written once.
    """
    written: dict[int, int] = {}
    for name, tensor in tensors.items():
        value = values[name]
        if value is tensor:
            continue
        parts = inner_tensors(tensor)
        if parts:
            write_back(parts, inner_tensors(value))
        elif is_strided_view(tensor) and is_strided_view(value):
            place, source = storage_of(tensor), storage_of(value)
            if written.get(place) != source:
                written[place] = source
                own, wanted = tensor.untyped_storage(), value.untyped_storage()
                if not hold_the_same(own, wanted):
                    bytes_of_storage(own).copy_(bytes_of_storage(wanted))
        else:
            tensor.detach().copy_(value.detach())
