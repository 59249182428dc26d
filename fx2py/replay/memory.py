"""The measured peak: the bytes of results that were alive at once while a callable ran."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import torch
from torch.utils._pytree import tree_leaves

from fx2py.graph.tensors import storage_of
from fx2py.operators.interception import Operator, intercepted
from fx2py.runtime.once import weak_reference


def measured_peak(
    execute: Callable[..., object], args: tuple[object, ...], kwargs: Mapping[str, object]
) -> int:
    """The largest number of bytes that the tensors made by one call took at once, counted after each operator.

    Inputs, weights and what a kernel allocates inside are not counted; what a composite operator makes of other
    operators is, and inside a higher-order operator only its results are.
    """
    live = _LiveBytes()
    with intercepted(live.called, higher_order=True):
        execute(*args, **kwargs)
    return live.peak


class _WeakStorage(Protocol):
    """``torch.multiprocessing.reductions.StorageWeakRef``, which torch does not type."""

    def expired(self) -> bool: ...


class _LiveBytes:
    """Counts the storages that operators return, each until it is freed.

    A weak reference keeps the address of its storage from being reused, so that the address identifies it.
    """

    def __init__(self) -> None:
        self.peak: int = 0
        self._own: dict[int, tuple[_WeakStorage, int]] = {}
        self._others: set[int] = set()

    def called(self, operator: Operator, args: tuple[object, ...], kwargs: Mapping[str, object]) -> object:
        self._own = {key: entry for key, entry in self._own.items() if not entry[0].expired()}
        given = {storage_of(tensor) for tensor in _dense((args, kwargs))}
        self._others |= given - self._own.keys()
        result = operator(*args, **kwargs)
        for tensor in _dense(result):
            key = storage_of(tensor)
            if key not in self._others and key not in self._own:
                storage = tensor.untyped_storage()
                self._own[key] = (weak_reference(storage), storage.nbytes())
        self.peak = max(self.peak, sum(size for _, size in self._own.values()))
        return result


def _dense(tree: object) -> list[torch.Tensor]:
    leaves = tree_leaves(tree)
    return [leaf for leaf in leaves if isinstance(leaf, torch.Tensor) and leaf.layout is torch.strided]
