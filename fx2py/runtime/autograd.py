"""Running generated code below autograd: without the dispatch keys Autograd and ADInplaceOrView."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterable
from typing import Any

import torch

from fx2py.runtime.once import PLAIN_CLASSES


def below_autograd(function: Callable[..., Any], weights: list[torch.Tensor]) -> Callable[..., Any]:
    """``function`` with the dispatch keys Autograd and ADInplaceOrView excluded, in calls in which they would do nothing.

    Both stand before the kernel of each operator: the first records gradients, the second tracks views and counts writes
    (Note [ADInplaceOrView key] in c10/core/DispatchKey.h). They are excluded where no gradients are recorded, no mode,
    transform or capture is active, and all tensors are plain ones on the CPU or on CUDA. Every other call is unchanged.
    """
    if not are_plain(weights) or is_autograd_replaced():
        return function

    @functools.wraps(function)
    def call(*args: object, **kwargs: object) -> object:
        if torch.is_grad_enabled() or is_observed() or not are_plain(args) or not are_plain(kwargs.values()):
            return function(*args, **kwargs)
        with torch._C._AutoDispatchBelowADInplaceOrView():
            return function(*args, **kwargs)

    return call


def key_bits(*names: str) -> int:
    """The dispatch keys of these names as the bits of one number."""
    keys = [torch._C.DispatchKeySet(getattr(torch._C.DispatchKey, name)) for name in names]
    return int(functools.reduce(operator.or_, keys).raw_repr())


OUTSIDE_OF_MODES = key_bits("BackendSelect", "ADInplaceOrView")
"""The keys that torch always includes in a thread (``default_included_set`` in c10/core/DispatchKeySet.h)."""
PLAIN_KEYS = {
    key_bits(device, "ADInplaceOrView", f"Autograd{device}", f"Autocast{device}")
    for device in ("CPU", "CUDA")
}
DEEPEST = 16
NO_TENSORS = {int, float, bool, str, type(None)}


def is_observed() -> bool:
    """Whether operators called now reach anything but autograd before their kernels, or autograd is in forward mode.

    Autocast is excluded as well: it caches the casts of weights, and calls that record gradients would get casts that do
    not.
    """
    return (
        torch.compiler.is_compiling()
        or torch._C._dispatch_tls_local_include_set().raw_repr() != OUTSIDE_OF_MODES
        or torch._C._is_any_autocast_enabled()
        or torch._C._len_torch_function_stack() > 0
        or torch.autograd.forward_ad._current_level >= 0
    )


def is_autograd_replaced() -> bool:
    """Whether an ATen operator was given a kernel for Autograd or ADInplaceOrView by ``torch.library``, which lists them
    in ``_impls`` as ``namespace/operator/key``."""
    return any(
        name.startswith("aten/") and ("Autograd" in name or "ADInplaceOrView" in name)
        for name in torch.library._impls
    )


def are_plain(values: Iterable[object], depth: int = 0) -> bool:
    """Whether all tensors among these values, and in their lists and dicts, have no other dispatch keys than plain ones.

    A tensor that is lazily conjugated has one more. Values that are nested deeper than ``DEEPEST`` are not plain.
    """
    value: Any
    for value in values:
        kind = type(value)
        if kind in PLAIN_CLASSES:
            if torch._C._dispatch_keys(value).raw_repr() not in PLAIN_KEYS:
                return False
        elif kind is list or kind is tuple or kind is dict:
            inner = value.values() if kind is dict else value
            if depth == DEEPEST or not are_plain(inner, depth + 1):
                return False
        elif kind not in NO_TENSORS:
            return False
    return True
