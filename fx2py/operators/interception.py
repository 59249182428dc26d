"""Calls of operators intercepted while a function runs: torch's dispatch mode, typed, as a handler of calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import TypeAlias

from torch.utils._python_dispatch import TorchDispatchMode

Operator: TypeAlias = Callable[..., object]
Handler: TypeAlias = Callable[[Operator, tuple[object, ...], Mapping[str, object]], object]
"""Takes an operator and its arguments in place of its kernel, and gives the result."""


def intercepted(call: Handler, *, higher_order: bool = False) -> AbstractContextManager[object]:
    """A context in which ``call`` takes every call of an operator, except those that it makes itself.

    torch refuses to call higher-order operators under a mode that does not ask for them with ``higher_order``.
    """
    return _Interception(call, higher_order)


class _Interception(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self, call: Handler, higher_order: bool) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._call = call
        self.supports_higher_order_operators = higher_order

    def __torch_dispatch__(
        self,
        func: Operator,
        types: object,
        args: tuple[object, ...] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        return self._call(func, args, kwargs or {})
