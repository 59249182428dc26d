"""Which values Python text gives back exactly, which need the constants table, and which cannot be written at all."""

from __future__ import annotations

import builtins
import math
import struct
from collections.abc import Callable, Hashable
from functools import lru_cache
from typing import Any

import torch

from fx2py.errors import with_article
from fx2py.graph import values as language
from fx2py.program.identifiers import MODULES, RESERVED, is_identifier
from fx2py.program.ir import ENTRY, Operand

_NO_PACKAGES = (RESERVED | {ENTRY}) - MODULES
_DEEPEST = 50
_DICT_CLASSES = (None, language.ORDERED_DICT, language.DEFAULTDICT)
_NAN_BITS = struct.pack("<d", math.nan)


def _float_has_text(value: float) -> bool:
    """Of the nans only the one with the bits of ``math.nan`` has text; a payload or sign cannot be written."""
    return not math.isnan(value) or struct.pack("<d", value) == _NAN_BITS


def needs_slot(value: Operand) -> bool:
    """Whether a leaf must be bound through the constants table.

    Devices always are, so that moving the code to another device rebinds a table and leaves the text alone. The others
    have no text that evaluates to the same type and bits.
    """
    if isinstance(value, complex):
        return not (_float_has_text(value.real) and _float_has_text(value.imag))
    if isinstance(value, float):
        return not _float_has_text(value)
    return type(value) in (torch.device, language.DeviceType, language.DefaultDevice, language.Live)


def constant_name(value: language.Value) -> str:
    """A readable name for a constant's variable."""
    if isinstance(value, torch.device):
        return f"{value.type}_{value.index}" if value.index is not None else f"{value.type}_device"
    if isinstance(value, language.DeviceType):
        return f"{value.type}_type"
    if isinstance(value, language.DefaultDevice):
        return "default_device"
    return "constant"


def exact_key(value: language.Value) -> Hashable:
    """A key that is equal only for values of the same type and bits (0.0 is not -0.0, True is not 1)."""
    return (type(value), bits_of(value) if isinstance(value, (float, complex)) else value)


def bits_of(value: float | complex) -> tuple[str, str]:
    """The bits of a number: the layout that ``struct`` knows, and hexadecimal digits."""
    parts = (value.real, value.imag) if isinstance(value, complex) else (value,)
    layout = "<" + "d" * len(parts)
    return layout, struct.pack(layout, *parts).hex()


def key_of(value: Operand, leaf: Callable[[Operand], Hashable]) -> Hashable:
    """A key that is equal only for values of one structure, classes and field names included, with equal keys of leaves."""
    if type(value) not in language.CONTAINERS:
        return leaf(value)
    parts = tuple([key_of(part, leaf) for part in language.children(value)])
    if isinstance(value, language.Set):  # its members have no order, but a text may repeat one
        return (type(value), value.frozen, len(parts), frozenset(parts))
    classes = tuple([cls and cls.path for name in ("cls", "factory") for cls in [getattr(value, name, None)]])
    fields = tuple([name for name, _ in value.fields]) if isinstance(value, language.Record) else ()
    return (type(value), classes, fields, parts)


@lru_cache(4096)
def path_name(path: str) -> language.Name:
    """A dotted path as a Name; text does not say where the module ends, so all but the last part count as the module."""
    module, _, name = path.rpartition(".")
    return language.Name(module, name)


def path_normal(value: Operand) -> Operand:
    """Names as text gives them, which does not show where in a dotted path the module ends."""
    if type(value) is language.Name:
        return path_name(value.path)
    if type(value) is language.EnumMember:
        return language.Name(value.cls.path, value.member)
    return path_name(str(value)) if isinstance(value, language.TORCH_NAMED) else value


def text_key(value: Operand) -> Hashable:
    """A key that is equal only for values of the same type and bits, names by their paths, as text has them."""
    return key_of(value, lambda leaf: exact_key(path_normal(leaf)))


def fault_of(value: Operand) -> str:
    """Why a value of a graph cannot be written, or ''; leaves that need the constants table can."""
    level: tuple[Operand, ...] = (value,)
    for _ in range(_DEEPEST):
        for part in level:
            check = _CHECKS.get(type(part))
            if check is not None and (fault := check(part)):
                return fault
        level = tuple(
            [
                inner
                for part in level
                if type(part) in language.CONTAINERS
                for inner in language.children(part)
            ]
        )
        if not level:
            return ""
    return f"values are nested more than {_DEEPEST} deep"


def _name(value: language.Name) -> str:
    parts = value.path.split(".")
    if not all(map(is_identifier, parts)):
        return f"{value.path!r} is no importable name"
    if value.module == "builtins":
        return "" if hasattr(builtins, parts[1]) else f"{parts[1]!r} is no builtin"
    hidden = parts[0] in _NO_PACKAGES
    return f"the package {parts[0]!r} has a name that every generated file uses itself" if hidden else ""


def _op_name(value: language.OpName) -> str:
    parts = (value.namespace, value.name, *(() if value.overload is None else (value.overload,)))
    return "" if all(map(str.isidentifier, parts)) else f"{value.path!r} is no name of an operator"


def _enum_member(value: language.EnumMember) -> str:
    known = is_identifier(value.member)
    return _name(value.cls) or ("" if known else f"{value.member!r} is no member of an enum")


def _device_type(value: language.DeviceType) -> str:
    try:
        known = torch.device(value.type).type == value.type
    except RuntimeError:
        known = False
    return "" if known else f"{value.type!r} is no type of a device"


def _device(value: torch.device) -> str:
    """torch stores a device's index as a signed byte, and wraps a greater one (DeviceIndex in c10/core/Device.h)."""
    return "" if "-" not in str(value) else f"{value} is a device whose number torch cannot count to"


def _dict(value: language.Dict) -> str:
    if value.cls not in _DICT_CLASSES:
        return f"a dict is of the class {value.cls}"
    if value.factory is not None and (fault := _name(value.factory)):
        return fault
    return _differ(tuple(key for key, _ in value.items), "keys of a dict")


def _set(value: language.Set) -> str:
    return _differ(value.items, "members of a set")


def _record(value: language.Record) -> str:
    names = [name for name, _ in value.fields]
    return (
        "" if len(set(names)) == len(names) else f"two fields of {with_article(value.cls.path)} have one name"
    )


def _differ(values: tuple[language.Value, ...], what: str) -> str:
    if any(_is_mutable(value) for value in values):
        return f"the {what} cannot be hashed"
    same = len({_equal_key(value) for value in values}) < len(values)
    return f"two {what} are equal" if same else ""


def _is_mutable(value: language.Value) -> bool:
    if type(value) in (language.List, language.Dict, language.Slice) or (
        type(value) is language.Set and not value.frozen
    ):
        return True
    return type(value) is tuple and any(map(_is_mutable, value))


def _equal_key(value: language.Value) -> Hashable:
    """Equal if Python takes two keys for one. nan differs from itself, but all nans in a text are one object, ``math.nan``."""
    if type(value) is tuple:
        return tuple(map(_equal_key, value))
    return math.nan if type(value) is float and math.isnan(value) else value


_CHECKS: dict[type, Callable[[Any], str]] = {
    language.Name: _name,
    language.OpName: _op_name,
    language.EnumMember: _enum_member,
    language.Dict: _dict,
    language.DeviceType: _device_type,
    torch.device: _device,
    language.Set: _set,
    language.Record: _record,
}
NEVER_AT_FAULT = (language.PRIMITIVES | {language.Ref}) - _CHECKS.keys()
"""The exact types of values that can always be written."""
