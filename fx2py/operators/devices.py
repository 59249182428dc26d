"""Which values of a graph are devices, and what they become when it moves to another device."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import torch

from fx2py.arguments import Kind, require
from fx2py.errors import ReplayError
from fx2py.graph.data import Node
from fx2py.graph.values import DefaultDevice, DeviceType, Name, OpName, Value
from fx2py.operators.facts import facts_named

_TRANSFERS = {"cpu": "cpu", "cuda": "cuda"}
_DEVICE_FIRST = frozenset({"torch.device", "torch.Generator", "torch.get_device_module"})
_TYPE_FIRST = frozenset(
    {
        *("torch.autocast", "torch.amp.autocast", "torch.amp.autocast_mode.autocast"),
        *("torch.amp.autocast_mode._enter_autocast", "torch.amp._enter_autocast"),
        *("torch.get_autocast_dtype", "torch.is_autocast_enabled"),
        "torch.ops.higher_order.wrap_with_autocast",
    }
)


_DEVICE = Kind(
    "a device or its name", lambda value: isinstance(value, str | torch.device) or type(value) is int
)


def present_device(name: str | torch.device) -> torch.device:
    """The device of that name; raises ReplayError, saying which are there, unless a tensor can be made on it."""
    require("device", name, _DEVICE)
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ReplayError(f"{str(name)!r} is no name of a device.", _what_torch_sees()) from None
    try:
        torch.empty(0, device=device)
        return device
    except (RuntimeError, AssertionError, ImportError) as error:  # what torch's backends raise
        reason = str(error).partition(". ")[0].partition("\n")[0].rstrip(".")
        raise ReplayError(
            f"the device {str(name)!r} is not there: {reason}.",
            _what_torch_sees(),
        ) from error


def _what_torch_sees() -> str:
    return f"torch {torch.__version__} sees: {', '.join(_present_names())}."


def _present_names() -> list[str]:
    accelerator = torch.accelerator.current_accelerator()
    if accelerator is None:
        return ["cpu"]
    return ["cpu", *(f"{accelerator.type}:{index}" for index in range(torch.accelerator.device_count()))]


def explicit_devices(node: Node) -> Node:
    """The node with every device that its call names by text or number as ``torch.device`` or ``DeviceType``.

    ``x.cuda()`` becomes ``x.to(device)``. Only calls of torch are changed, since another function may take text for
    anything. Idempotent.
    """
    if node.op == "call_method":
        return _method(node)
    target = node.target
    if node.op != "call_function" or not isinstance(target, (Name, OpName)):
        return node
    if not (_is_devices(target) if isinstance(target, OpName) or not node.kwargs else _is_torchs(target)):
        return node
    args = node.args
    if target.path in _TYPE_FIRST:
        args = tuple(_type(value) for value in args[:1]) + args[1:]
    elif target.path in _DEVICE_FIRST:
        index = args[1] if len(args) > 1 and type(args[1]) is int else None
        args = (_device(args[0], index), *args[1 if index is None else 2 :]) if args else args
    elif target.path == "torch.Tensor.to":
        args = args[:1] + tuple(_device(value) for value in args[1:2]) + args[2:]
    kwargs = (*_keywords(target, node.kwargs), *_default(target, node))
    is_same = args is node.args and not kwargs and not node.kwargs
    return node if is_same else replace(node, args=args, kwargs=kwargs)


def _is_torchs(target: Name | OpName) -> bool:
    return target.path.partition(".")[0] == "torch"


@cache
def _is_devices(target: Name | OpName) -> bool:
    """Whether a call of a function of torch may name a device otherwise than by its keywords, or leave one to torch."""
    named = target.path in (*_TYPE_FIRST, *_DEVICE_FIRST, "torch.Tensor.to")
    is_higher_order = isinstance(target, OpName) and target.is_higher_order
    return _is_torchs(target) and (named or is_higher_order or _is_factory(target))


def _is_factory(target: Name | OpName) -> bool:
    """Whether a call makes a tensor on the default device unless it names one."""
    if isinstance(target, OpName):
        name = target.name if target.namespace == "aten" and target.overload is not None else ""
    else:
        name = target.qualname if target.module == "torch" else ""
    return facts_named(name).device == "default"


def _default(target: Name | OpName, node: Node) -> tuple[tuple[str, Value], ...]:
    """``device=`` for a factory call that names no device, so that its result moves with the graph too."""
    named = {key for key, _ in node.kwargs}
    is_left_out = _is_factory(target) and not named & {"device", "out"}
    return (("device", DefaultDevice()),) if is_left_out else ()


def retarget(value: object, device: torch.device | None) -> object:
    """What a leaf becomes when the graph moves to ``device``; None keeps the recorded devices."""
    if type(value) is torch.device:
        return value if device is None else device
    if type(value) is DeviceType:
        return value.type if device is None else device.type
    return device if type(value) is DefaultDevice else value


def _method(node: Node) -> Node:
    args = node.args
    if node.target in _TRANSFERS:
        wanted = torch.device(_TRANSFERS[str(node.target)])
        given = args[1:2] or tuple(value for key, value in node.kwargs if key == "device")
        device = _device(given[0]) if node.target == "cuda" and given and given[0] is not None else wanted
        rest = args[2:] if node.target == "cuda" else args[1:]
        kwargs = tuple(pair for pair in node.kwargs if pair[0] != "device")
        if rest:
            kwargs = (("non_blocking" if node.target == "cuda" else "memory_format", rest[0]), *kwargs)
        return replace(node, target="to", args=(*args[:1], device), kwargs=kwargs)
    if node.target == "to":
        args = args[:1] + tuple(_device(value) for value in args[1:2]) + args[2:]
    return replace(node, args=args, kwargs=_keywords(None, node.kwargs))


def _keywords(
    target: Name | OpName | None, kwargs: tuple[tuple[str, Value], ...]
) -> tuple[tuple[str, Value], ...]:
    if isinstance(target, OpName) and not target.is_higher_order:
        return kwargs
    changes = {"device": _device, "device_type": _type}
    return tuple((key, changes[key](value) if key in changes else value) for key, value in kwargs)


def _device(value: Value, index: int | None = None) -> Value:
    """The device that text (``"cuda:1"``) or a number (an index of the accelerator) names; any other value as it is."""
    try:
        if type(value) is int:
            return torch.device("cuda", value)
        if type(value) is str:
            return torch.device(value) if index is None else torch.device(value, index)
    except RuntimeError:
        pass  # a text or number that names no device
    return value


def _type(value: Value) -> Value:
    return DeviceType(value) if isinstance(_device(value), torch.device) and type(value) is str else value
