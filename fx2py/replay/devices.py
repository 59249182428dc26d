"""A call of the reference on another device: every device that its arguments name is replaced as they are passed.

Generated code has its devices replaced where it is generated; nothing of that is used here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from fx2py.graph.data import Node
from fx2py.graph.values import Name, OpName

_OF_DEVICES = frozenset({"torch.device", "torch.Generator", "torch.get_device_module"})
"""Functions whose first argument is a device, and may have its index after it."""
_OF_TYPES = frozenset(
    {
        *("torch.autocast", "torch.amp.autocast", "torch.amp.autocast_mode.autocast"),
        *("torch.amp.autocast_mode._enter_autocast", "torch.amp._enter_autocast"),
        *("torch.get_autocast_dtype", "torch.is_autocast_enabled"),
        "torch.ops.higher_order.wrap_with_autocast",
    }
)
"""Functions whose first argument is the type of a device."""
_ENDS = frozenset({"linspace", "logspace"})
"""Overloads that take numbers as tensors, whose device is not that of the result."""
_Call = tuple[list[Any], dict[str, Any]]


class Moved:
    """The arguments of calls on ``device``; those of torch only, since another function may take text for anything."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def __call__(
        self, node: Node, args: list[Any], kwargs: dict[str, Any]
    ) -> tuple[str, list[Any], dict[str, Any]]:
        """The method's name, where the node calls one, and the arguments that it is called with."""
        if node.op == "call_method":
            return self._method(str(node.target), args, kwargs)
        target = node.target
        if isinstance(target, OpName) and not target.is_higher_order:
            return "", args, self._by_default(target, kwargs)
        if isinstance(target, Name | OpName) and target.path.split(".")[0] == "torch":
            return "", *self._function(target.path, args, kwargs)
        return "", args, kwargs

    def _function(self, path: str, args: list[Any], kwargs: dict[str, Any]) -> _Call:
        if path in _OF_TYPES:
            args = [self._type(each) for each in args[:1]] + args[1:]
        elif path in _OF_DEVICES and args:
            has_index = len(args) > 1 and type(args[1]) is int
            args = [self._place(args[0]), *args[2 if has_index else 1 :]]
        elif path == "torch.Tensor.to":
            args = args[:1] + [self._place(each) for each in args[1:2]] + args[2:]
        return args, self._named(kwargs)

    def _method(
        self, name: str, args: list[Any], kwargs: dict[str, Any]
    ) -> tuple[str, list[Any], dict[str, Any]]:
        """``x.cpu()`` and ``x.cuda()`` become ``x.to(device)``."""
        if name == "to":
            args = args[:1] + [self._place(each) for each in args[1:2]] + args[2:]
            return name, args, self._named(kwargs)
        if name not in ("cpu", "cuda"):
            return name, args, kwargs
        rest = args[2:] if name == "cuda" else args[1:]
        others = {key: value for key, value in kwargs.items() if key != "device"}
        if rest:
            others = {"non_blocking" if name == "cuda" else "memory_format": rest[0], **others}
        return "to", [*args[:1], self.device], others

    def _by_default(self, op: OpName, kwargs: dict[str, Any]) -> dict[str, Any]:
        """``device=`` for an overload that makes a tensor of no other one and is given none.

        Where it is called as ``torch.zeros``, the device that is in force does that.
        """
        function = getattr(getattr(torch.ops, op.namespace), op.name)
        schema = getattr(getattr(function, op.overload or "", None), "_schema", None)
        if op.namespace != "aten" or schema is None or "device" in kwargs or "out" in kwargs:
            return kwargs
        takes = {argument.name: str(argument.type) for argument in schema.arguments}
        of_numbers = op.name in _ENDS or not any("Tensor" in kind for kind in takes.values())
        is_factory = "device" in takes and of_numbers
        return {**kwargs, "device": self.device} if is_factory else kwargs

    def _named(self, kwargs: dict[str, Any]) -> dict[str, Any]:
        changes: dict[str, Callable[[Any], Any]] = {"device": self._place, "device_type": self._type}
        return {key: changes[key](value) if key in changes else value for key, value in kwargs.items()}

    def _place(self, value: Any) -> Any:
        return self.device if type(value) is int or _is_device(value) else value

    def _type(self, value: Any) -> Any:
        return self.device.type if type(value) is str and _is_device(value) else value


def _is_device(value: Any) -> bool:
    """Whether text names a device."""
    if type(value) is not str:
        return isinstance(value, torch.device)
    try:
        torch.device(value)
    except RuntimeError:
        return False
    return True
