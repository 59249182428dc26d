"""The tensors of a folder: in its own file of weights, mapped from the graph file, or given by the caller."""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import torch

WEIGHTS_FILE = "weights.pt"
WEIGHTS_LIST = "weights.json"
"""Where the tensors are, in order, of a folder whose own file does not hold them all."""
ALIGNED = 16
"""What malloc guarantees on 64-bit systems, so kernels may assume it of any storage."""


def read_weights(
    file: str, device: str | torch.device | None, given: Mapping[str, torch.Tensor] | None = None
) -> dict[str, torch.Tensor]:
    """The tensors beside a generated file, by name and in order; opening them executes nothing.

    ``given`` has those that the folder leaves to the caller, as a state dict names them. Raises RuntimeError, with the next
    step, where some are missing or do not fit, or where the file that they lie in has changed.
    """
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise RuntimeError(f"the device {str(device)!r} is not there") from error
    folder = pathlib.Path(file).parent
    listed, own = folder / WEIGHTS_LIST, folder / WEIGHTS_FILE
    tensors: dict[str, torch.Tensor] = {}
    if own.exists() or not listed.exists():
        tensors = torch.load(own, map_location=device, weights_only=True, mmap=True)
    if not listed.exists():
        return tensors
    data = json.loads(listed.read_text(encoding="utf-8"))
    entries: list[Any] = data["tensors"]
    tensors |= given_tensors(entries, given or {}, device)
    if data["path"] is not None:
        path = pathlib.Path(os.path.normpath(folder.resolve() / data["path"]))
        require_unchanged(path, data)
        tensors |= MappedWeights(path, data["size"], device).tensors(entries)
    return {entry[0]: tensors[entry[0]] for entry in entries}


def given_tensors(
    entries: list[Any], given: Mapping[str, torch.Tensor], device: str | torch.device | None
) -> dict[str, torch.Tensor]:
    """The tensors that the caller is to give, which must be of the dtypes and shapes of the graph's."""
    found, faults = {}, []
    for name, dtype, shape in [entry for entry in entries if len(entry) == 3]:
        tensor = given.get(name)
        if tensor is None:
            faults.append(f"{name} is missing")
        elif (tensor.dtype, list(tensor.shape)) != (dtype_named(dtype), shape):
            faults.append(
                f"{name} is {str(tensor.dtype).removeprefix('torch.')}{list(tensor.shape)}, not {dtype}{shape}"
            )
        else:
            found[name] = tensor if device is None else tensor.to(device)
    if faults:
        more = f", and {len(faults) - 3} more do not fit" if len(faults) > 3 else ""
        raise RuntimeError(
            f"the folder leaves its weights to the caller: {', '.join(faults[:3])}{more}; call load(weights=model.state_dict())"
        )
    return found


def require_unchanged(path: pathlib.Path, recorded: Mapping[str, Any]) -> None:
    """Raise RuntimeError unless a file is the recorded one: of its size, and of its time of change or its digest."""
    next_step = "put it back, or generate the folder again"
    if not path.is_file():
        raise RuntimeError(f"{path}, in which the weights lie, is not there any more: {next_step}")
    status = path.stat()
    is_same = status.st_size == recorded["size"]
    if is_same and status.st_mtime_ns != recorded["mtime_ns"]:
        is_same = recorded["sha256"] is not None and file_digest(path) == recorded["sha256"]
    if not is_same:
        raise RuntimeError(f"{path}, in which the weights lie, has changed: {next_step}")


def file_digest(path: pathlib.Path) -> str:
    """The SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


class MappedWeights:
    """Tensors over a file that is mapped: a page is read when it is used, and writes stay in memory."""

    def __init__(self, path: pathlib.Path, size: int, device: str | torch.device | None) -> None:
        self._whole = torch.UntypedStorage.from_file(str(path), False, size)
        self._device = device
        self._storages: dict[tuple[int, int], torch.UntypedStorage] = {}

    def tensors(self, entries: list[Any]) -> dict[str, torch.Tensor]:
        """Those of the entries that say where in the file their storage is; RuntimeError where one reaches beyond it."""
        return {entry[0]: self._tensor(*entry[1:]) for entry in entries if len(entry) > 3}

    def _tensor(
        self,
        dtype: str,
        shape: list[int],
        stride: list[int],
        offset: int,
        start: int,
        length: int,
        is_parameter: bool,
        requires_grad: bool,
    ) -> torch.Tensor:
        kind, reach = dtype_named(dtype), 0
        if 0 not in shape:
            reach = offset + 1 + sum((size - 1) * step for size, step in zip(shape, stride, strict=True))
        if min(0, start, length, offset, *shape, *stride) < 0 or reach * kind.itemsize > length:
            raise RuntimeError("a tensor reaches beyond its storage")
        tensor = torch.empty(0, dtype=kind, device=self._device or "cpu")
        tensor = tensor.set_(self._storage(start, length), offset, shape, stride)
        return (
            torch.nn.Parameter(tensor, requires_grad)
            if is_parameter
            else tensor.requires_grad_(requires_grad)
        )

    def _storage(self, start: int, length: int) -> torch.UntypedStorage:
        if (start, length) not in self._storages:
            if start + length > self._whole.nbytes():
                raise RuntimeError("a storage reaches beyond the file")
            data = torch.empty(0, dtype=torch.uint8).set_(self._whole[start : start + length])
            data = data.clone() if data.data_ptr() % ALIGNED else data
            self._storages[start, length] = data.to(self._device or "cpu").untyped_storage()
        return self._storages[start, length]


def dtype_named(name: str) -> torch.dtype:
    """The dtype of a name such as ``bfloat16``."""
    found = getattr(torch, name, None)
    if not isinstance(found, torch.dtype):
        raise RuntimeError(f"{name!r} is no dtype")
    return found
