"""Moving the bound tensors to a device, with what they share."""

from __future__ import annotations

from collections.abc import Mapping

import torch


def moved(tensors: Mapping[str, torch.Tensor], device: torch.device) -> dict[str, torch.Tensor]:
    """The tensors on ``device``; those that share storage still do, and parameters stay parameters."""
    groups: dict[int, list[str]] = {}
    for name, tensor in tensors.items():
        if (
            tensor.layout is torch.strided
            and tensor.numel()
            and type(tensor) in (torch.Tensor, torch.nn.Parameter)
        ):
            groups.setdefault(tensor.untyped_storage().data_ptr(), []).append(name)
    result: dict[str, torch.Tensor] = {}
    for names in groups.values():
        if len(names) > 1:
            result.update(_moved_together({name: tensors[name] for name in names}, device))
    for name, tensor in tensors.items():
        if name not in result:
            result[name] = _as_kind(tensor, tensor.detach().to(device))
    return {name: result[name] for name in tensors}


def _moved_together(tensors: Mapping[str, torch.Tensor], device: torch.device) -> dict[str, torch.Tensor]:
    """Views of one storage, as views of one moved storage."""
    first = next(iter(tensors.values()))
    storage = first.untyped_storage()
    raw = torch.empty(0, dtype=torch.uint8, device=first.device).set_(storage).to(device)
    result = {}
    for name, tensor in tensors.items():
        size = tensor.element_size()
        base = raw[: raw.numel() // size * size].view(tensor.dtype)
        view = base.as_strided(tensor.size(), tensor.stride(), tensor.storage_offset())
        result[name] = _as_kind(tensor, view)
    return result


def _as_kind(original: torch.Tensor, tensor: torch.Tensor) -> torch.Tensor:
    if isinstance(original, torch.nn.Parameter):
        return torch.nn.Parameter(tensor, requires_grad=original.requires_grad)
    return tensor.requires_grad_(original.requires_grad)
