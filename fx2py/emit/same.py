"""Exact sameness of values: the same type, the same bits, the same names."""

from __future__ import annotations

import struct
from typing import Any

import torch

from fx2py.emit.grammar import path_name
from fx2py.graph.values import Dict, EnumMember, List, Name, OpName, Record, Ref, Set, Size, children

_CONTAINERS = (tuple, List, Dict, Record, Size)
_DOTTED = (torch.dtype, torch.layout, torch.memory_format, torch.qscheme)


def path_normal(value: Any) -> Any:
    """Names as text gives them: a dotted path without a border between module and name."""
    kind = type(value)
    if kind is Name:
        return path_name(value.path)
    if kind is EnumMember:
        return Name(value.cls.path, value.member)
    return path_name(str(value)) if isinstance(value, _DOTTED) else value


def same(one: Any, other: Any) -> bool:
    """Whether two values are of the same type and bits (0.0 is not -0.0, True is not 1, nan is nan)."""
    kind = type(one)
    if kind is Ref or kind is OpName:
        return bool(one == other)
    one, other = path_normal(one), path_normal(other)
    kind = type(one)
    if kind is not type(other):
        return False
    if kind is float:
        return struct.pack("<d", one) == struct.pack("<d", other)
    if kind is complex:
        return same((one.real, one.imag), (other.real, other.imag))
    if kind is Set:
        return bool(one.frozen == other.frozen) and _same_members(one.items, other.items)
    if kind is Dict and (one.cls, path_normal(one.factory)) != (other.cls, path_normal(other.factory)):
        return False
    if kind is Record and _shape(one) != _shape(other):
        return False
    inner, theirs = children(one), children(other)
    if not inner and not theirs:
        return kind in _CONTAINERS or bool(one == other)
    return len(inner) == len(theirs) and all(map(same, inner, theirs))


def _shape(record: Record) -> tuple[Any, list[str]]:
    return path_normal(record.cls), [name for name, _ in record.fields]


def _same_members(ours: tuple[Any, ...], theirs: tuple[Any, ...]) -> bool:
    """Whether two sets have the same members, each once, in any order."""
    return len(ours) == len(theirs) and all(any(same(item, other) for other in theirs) for item in ours)
