"""Running generated code below autograd."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterable
from typing import Any

import torch

from fx2py.runtime.once import PLAIN_CLASSES


def below_autograd(function: Callable[..., Any], weights: list[torch.Tensor]) -> Callable[..., Any]:
    """``function`` without autograd's part of each operator, in calls in which that part would do nothing.

    Autograd and the layer that tracks views and writes stand between each operator and its kernel. They are left out
    where no gradients are recorded, no mode, transform or capture looks on, and all tensors are plain ones on the CPU or
    on CUDA. Every other call is as it would be without this.
    """
    if not are_plain(weights) or is_autograd_replaced():
        return function

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if torch.is_grad_enabled() or is_observed() or not are_plain(args) or not are_plain(kwargs.values()):
            return function(*args, **kwargs)
        with torch._C._AutoDispatchBelowADInplaceOrView():
            return function(*args, **kwargs)

    return call


def key_bits(*names: str) -> int:
    """The dispatch keys of these names as one number."""
    keys = [torch._C.DispatchKeySet(getattr(torch._C.DispatchKey, name)) for name in names]
    return int(functools.reduce(operator.or_, keys).raw_repr())


OUTSIDE_OF_MODES = key_bits("BackendSelect", "ADInplaceOrView")
PLAIN_KEYS = {
    key_bits(device, "ADInplaceOrView", f"Autograd{device}", f"Autocast{device}")
    for device in ("CPU", "CUDA")
}
DEEPEST = 16
NO_TENSORS = {int, float, bool, str, type(None)}


def is_observed() -> bool:
    """Whether operators called here first reach something that torch does not always put before them, or forward mode.

    Under autocast, which is among this, casts of weights are kept for calls that record gradients.
    """
    return (
        torch.compiler.is_compiling()
        or torch._C._dispatch_tls_local_include_set().raw_repr() != OUTSIDE_OF_MODES
        or torch._C._is_any_autocast_enabled()
        or torch._C._len_torch_function_stack() > 0
        or torch.autograd.forward_ad._current_level >= 0
    )


def is_autograd_replaced() -> bool:
    """Whether torch.library was given an implementation of an ATen operator that runs where autograd does."""
    return any(
        name.startswith("aten/") and ("Autograd" in name or "ADInplaceOrView" in name)
        for name in torch.library._impls
    )


def are_plain(values: Iterable[Any], depth: int = 0) -> bool:
    """Whether all tensors among these values, and in their lists and dicts, are dense ones without a wrapper or a note.

    Such a note is that a tensor is yet to be conjugated. Deeply nested values are not looked at and not plain.
    """
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
