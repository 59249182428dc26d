"""What tensors share, and copies that keep it: two views of one storage stay two views of one storage."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch.utils import _pytree as pytree


class TensorCopies:
    """Copies tensors, each tensor and each storage once, with their strides, to ``device`` (None: where they are)."""

    def __init__(self, device: torch.device | None = None) -> None:
        self._device = device
        self._copies: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self._storages: dict[int, tuple[torch.UntypedStorage, torch.Tensor]] = {}

    def __call__(self, tensor: torch.Tensor) -> torch.Tensor:
        """The copy of ``tensor``: a leaf that requires grad where the tensor does.

        On a device that this build of torch cannot reach, where only fake tensors exist, none requires grad: torch
        would end the process.
        """
        if id(tensor) not in self._copies:
            copied = self._copy(tensor.detach())
            wants_grad = tensor.requires_grad and _has_autograd(copied.device)
            if isinstance(tensor, torch.nn.Parameter):
                copied = torch.nn.Parameter(copied, wants_grad)
            self._copies[id(tensor)] = (tensor, copied.requires_grad_(wants_grad))
        return self._copies[id(tensor)][1]

    def of(self, value: Any) -> Any:
        """``value`` with every tensor in its containers copied."""
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
        if not has_plain_storage(tensor):
            return tensor.to(self._device or tensor.device, copy=True)
        flat = self._flat(tensor.untyped_storage())
        whole = flat[: flat.numel() // tensor.element_size() * tensor.element_size()].view(tensor.dtype)
        return whole.as_strided(tensor.size(), tensor.stride(), tensor.storage_offset()).detach()

    def _flat(self, storage: torch.UntypedStorage) -> torch.Tensor:
        """The bytes of the copied storage; a tensor, since a fake tensor has no storage to share."""
        key = storage._cdata
        if key not in self._storages:
            flat = _bytes_of(storage)
            self._storages[key] = (storage, flat.to(self._device or storage.device, copy=True))
        return self._storages[key][1]


def storage_of(tensor: torch.Tensor) -> int:
    """What identifies the storage of a tensor as long as it lives: two tensors share it where this is equal."""
    return int(tensor.untyped_storage()._cdata)


def _has_autograd(device: torch.device) -> bool:
    return device.type in ("cpu", "meta") or torch.get_device_module(device).is_available()


def has_plain_storage(tensor: torch.Tensor) -> bool:
    """Whether the tensor is nothing but a strided view of its storage."""
    return (
        type(tensor) in (torch.Tensor, torch.nn.Parameter)
        and tensor.layout == torch.strided
        and not (tensor.is_quantized or tensor.is_conj() or tensor.is_neg() or tensor.is_nested)
        and tensor.device.type != "meta"
    )


def write_back(tensors: Mapping[str, torch.Tensor], values: Mapping[str, torch.Tensor]) -> None:
    """Give ``tensors`` the bits of ``values`` (copies made by ``TensorCopies``), in place.

    What has these bits already is not touched: it may lie in memory that cannot be written.
    """
    for name, tensor in tensors.items():
        value = values[name]
        if has_plain_storage(tensor) and has_plain_storage(value):
            bits, wanted = _bytes_of(tensor.untyped_storage()), _bytes_of(value.untyped_storage())
            if not torch.equal(bits, wanted):
                bits.copy_(wanted)
        else:
            tensor.detach().copy_(value.detach())


def _bytes_of(storage: torch.UntypedStorage) -> torch.Tensor:
    return torch.empty(0, dtype=torch.uint8, device=storage.device).set_(storage)
