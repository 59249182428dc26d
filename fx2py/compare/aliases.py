"""Which tensors of a result are one tensor with, or share the storage of, another one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from fx2py.compare.leaves import leaves_with_paths
from fx2py.graph.tensors import has_plain_storage, storage_of


def alias_labels(named: Mapping[str, torch.Tensor], result: Any) -> dict[str, str]:
    """For each leaf of ``result`` that is or shares another tensor: ``is NAME`` or ``shares NAME``, by its path.

    NAME is the first such tensor, of ``named`` or of the earlier leaves.
    """
    objects: dict[int, str] = {}
    storages: dict[int, str] = {}
    labels: dict[str, str] = {}
    leaves = [
        (path, leaf) for path, leaf in leaves_with_paths("output", result) if isinstance(leaf, torch.Tensor)
    ]
    for index, (name, tensor) in enumerate([*named.items(), *leaves]):
        storage = _storage(tensor)
        if index >= len(named) and id(tensor) in objects:
            labels[name] = f"is {objects[id(tensor)]}"
        elif index >= len(named) and storage in storages:
            labels[name] = f"shares {storages[storage]}"
        objects.setdefault(id(tensor), name)
        if storage is not None:
            storages.setdefault(storage, name)
    return labels


def _storage(tensor: torch.Tensor) -> int | None:
    if not has_plain_storage(tensor) or not tensor.untyped_storage().nbytes():
        return None
    return storage_of(tensor)
