"""The classes and values that a graph from a file may name: module classes, classes as arguments, enum members."""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from functools import lru_cache
from types import ModuleType

import torch
import torch.nn.attention
import torch.nn.modules

from fx2py.graph.values import TORCH_DATA

_ENUM_MODULES: tuple[ModuleType, ...] = (torch._C, torch.nn.attention, torch.nn.functional)
_TYPES: tuple[type, ...] = (
    *(bool, bytes, complex, dict, float, frozenset, int, list, range, set, slice, str, tuple, type(None)),
    *(torch.Tensor, torch.nn.Parameter, torch.Size, torch.device, torch.dtype),
    *(torch.SymInt, torch.SymFloat, torch.SymBool),
)


@lru_cache(maxsize=1)
def module_classes() -> Mapping[str, type[torch.nn.Module]]:
    """Every module class that ``torch.nn`` itself defines, by each dotted path that torch gives it."""
    table: dict[str, type[torch.nn.Module]] = {}
    for package in (torch.nn, torch.nn.modules):
        for name, value in vars(package).items():
            if isinstance(value, type) and issubclass(value, torch.nn.Module):
                table[f"{package.__name__}.{name}"] = value
                table[f"{value.__module__}.{value.__qualname__}"] = value
    inner = torch.nn.modules.linear.NonDynamicallyQuantizableLinear
    table[f"{inner.__module__}.{inner.__qualname__}"] = inner
    return table


@lru_cache(maxsize=1)
def arguments() -> Mapping[str, object]:
    """The classes and constants (dtypes, layouts, ``math.inf``) that may stand as arguments, by dotted path."""
    table: dict[str, object] = {f"{each.__module__}.{each.__qualname__}": each for each in _TYPES}
    table["torch.nn.Parameter"] = torch.nn.Parameter
    table.update(TORCH_DATA)
    table.update({f"math.{name}": value for name, value in vars(math).items() if type(value) is float})
    return table


@lru_cache(maxsize=1)
def enums() -> Mapping[str, Mapping[str, object]]:
    """The members of torch's enums, by the dotted path of the enum."""
    table: dict[str, Mapping[str, object]] = {}
    for module in _ENUM_MODULES:
        for name, value in vars(module).items():
            if isinstance(value, type) and (issubclass(value, enum.Enum) or hasattr(value, "__members__")):
                members = dict(value.__members__)
                table[f"{module.__name__}.{name}"] = table[f"{value.__module__}.{value.__qualname__}"] = (
                    members
                )
    return table
