"""What is data among objects: no value, and nothing in a container, can be called."""

from __future__ import annotations

import collections
import types
from typing import NamedTuple

import torch
from torch.fx.immutable_collections import immutable_dict, immutable_list
from torch.nn.utils.rnn import PackedSequence
from torch.utils._pytree import SUPPORTED_NODES

from fx2py.trust.admitted import ATTRIBUTES, METHODS

MAKES_DATA = (None, bool, complex, dict, float, frozenset, int, list, set, str, tuple)
"""The default factories that a defaultdict may have."""


def is_code(value: object) -> bool:
    """Whether no operand may be this value: a callable, module, class, frame, generator or coroutine.

    ``torch.device`` has ``__call__``, as a decorator, but nothing that is admitted calls one.
    """
    if isinstance(value, (torch.Tensor, torch.device, torch.dtype)):
        return False
    return callable(value) or isinstance(value, _FRAMES)


_FRAMES = (
    *(types.ModuleType, types.FrameType, types.CodeType, types.TracebackType),
    *(types.GeneratorType, types.CoroutineType, types.AsyncGeneratorType),
)


def code_in(value: object) -> object:
    """The first value that is code in ``value`` and the containers inside it; None where all is data."""
    stack, seen = [value], set()
    while stack:
        current = stack.pop()
        if is_code(current):
            return current
        if isinstance(current, (tuple, list, set, frozenset, dict)) and id(current) not in seen:
            seen.add(id(current))
            stack += [*current, *current.values()] if isinstance(current, dict) else current
            factory = getattr(current, "default_factory", None)
            stack += [] if factory in MAKES_DATA else [factory]
    return None


_PLAIN = (
    *(object, tuple, list, dict, collections.OrderedDict, collections.defaultdict, collections.deque),
    *(immutable_list, immutable_dict, PackedSequence),
)


class _Example(NamedTuple):
    field: int


_FIELD_TYPES = (type(vars(_Example)["field"]), types.MemberDescriptorType, type(None))
_ASKED = (
    frozenset(METHODS)
    | frozenset(ATTRIBUTES)
    | {"__call__", "__getattr__", "__getattribute__", "__hash__", "__iter__"}
)


def is_plain(cls: type) -> bool:
    """Whether instances of a container class have nothing but data under the names that a graph may read or call."""
    if cls.__module__ == "torch.return_types" or not (issubclass(cls, tuple) or cls in SUPPORTED_NODES):
        return not is_called(cls)
    compared = getattr(getattr(cls, "__dataclass_params__", None), "eq", False)  # __eq__ is dataclasses' own
    asked = _ASKED - {"__eq__", "__hash__"} if compared else _ASKED
    own = [vars(each) for each in cls.__mro__ if each not in _PLAIN]
    return all(isinstance(each[name], _FIELD_TYPES) for each in own for name in asked & each.keys())


def is_called(cls: type) -> bool:
    """Whether the instances of a class can be called."""
    return any("__call__" in vars(each) for each in cls.__mro__)
