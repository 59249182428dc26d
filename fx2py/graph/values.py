"""The value language: what may appear as an argument in a graph, as inert data.

Leaves are plain Python and torch data (see ``PRIMITIVES``) and the reference types below. Containers are ``tuple`` and
the frozen types ``List``, ``Dict``, ``Set``, ``Slice``, ``Range``, ``Size`` and ``Record``; nothing else is a value.
All code reads values through ``walk`` and changes them through ``map_leaves``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import EllipsisType
from typing import Any, TypeAlias

import torch


@dataclass(frozen=True, slots=True)
class Ref:
    """The result of another node (in a Graph) or a local variable (in a Program)."""

    name: str


@dataclass(frozen=True, slots=True)
class Name:
    """An importable object by its dotted path: ``Name("torch.nn.functional", "relu")``; never resolved here."""

    module: str
    qualname: str

    @property
    def path(self) -> str:
        return f"{self.module}.{self.qualname}"

    def __str__(self) -> str:
        return self.path


GETATTR = Name("builtins", "getattr")
GETITEM = Name("operator", "getitem")
SETITEM = Name("operator", "setitem")


@dataclass(frozen=True, slots=True)
class OpName:
    """An operator of ``torch.ops``; ``overload`` is None for a packet and for a higher-order operator."""

    namespace: str
    name: str
    overload: str | None = None

    @property
    def path(self) -> str:
        overload = "" if self.overload is None else f".{self.overload}"
        return f"torch.ops.{self.namespace}.{self.name}{overload}"

    @property
    def is_higher_order(self) -> bool:
        return self.namespace == "higher_order"

    def __str__(self) -> str:
        return self.path


@dataclass(frozen=True, slots=True)
class Attribute:
    """A dotted path below the root module: a parameter, buffer, constant, submodule or nested graph."""

    path: str


@dataclass(frozen=True, slots=True)
class EnumMember:
    """A member of an enum class (Python or pybind)."""

    cls: Name
    member: str


@dataclass(frozen=True, slots=True, eq=False)
class Live:
    """An object of the caller's that no importable name leads to; no file holds one. Equal by identity."""

    value: Any
    description: str

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Live) and self.value is other.value

    def __hash__(self) -> int:
        return id(self.value)


@dataclass(frozen=True, slots=True)
class Opaque:
    """An object that a file describes but that is not data; ``cls`` names its class. It has no text."""

    cls: Name
    description: str = ""


@dataclass(frozen=True, slots=True)
class SymExpr:
    """A symbolic size used directly as an argument, as the text of its expression."""

    text: str


@dataclass(frozen=True, slots=True)
class DeviceType:
    """The type of a device in a call that takes it as text (``"cuda"``); it is retargeted together with the devices."""

    type: str


@dataclass(frozen=True, slots=True)
class DefaultDevice:
    """The device of a factory call that names none: None, unless the code is retargeted to another device."""


@dataclass(frozen=True, slots=True)
class List:
    items: tuple[Value, ...] = ()


@dataclass(frozen=True, slots=True)
class Dict:
    """A dict in its own order; ``cls`` is set for OrderedDict and defaultdict, ``factory`` for the latter only."""

    items: tuple[tuple[Value, Value], ...] = ()
    cls: Name | None = None
    factory: Name | None = None


DEFAULTDICT = Name("collections", "defaultdict")
ORDERED_DICT = Name("collections", "OrderedDict")


@dataclass(frozen=True, slots=True)
class Set:
    items: tuple[Value, ...] = ()
    frozen: bool = False


@dataclass(frozen=True, slots=True)
class Slice:
    start: Value = None
    stop: Value = None
    step: Value = None


@dataclass(frozen=True, slots=True)
class Range:
    start: Value
    stop: Value
    step: Value = 1


@dataclass(frozen=True, slots=True)
class Size:
    """A ``torch.Size``."""

    items: tuple[Value, ...] = ()


@dataclass(frozen=True, slots=True)
class Record:
    """An instance of a container class (namedtuple, dataclass, ModelOutput, ...): its class and its fields in order."""

    cls: Name
    fields: tuple[tuple[str, Value], ...]


@dataclass(frozen=True, slots=True, eq=False)
class TensorValue:
    """A tensor used directly as an argument or attribute; equal by identity of the tensor."""

    tensor: torch.Tensor = field(repr=False)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TensorValue) and self.tensor is other.tensor

    def __hash__(self) -> int:
        return id(self.tensor)


class ProgramLeaf:
    """What a Program may hold beside a graph's values, as a leaf: a slot of a table, another of its functions."""

    __slots__ = ()


Primitive: TypeAlias = (
    "bool | int | float | complex | str | bytes | EllipsisType"
    " | torch.dtype | torch.device | torch.layout | torch.memory_format | torch.qscheme | None"
)
Value: TypeAlias = (
    "Primitive | Ref | Name | OpName | Attribute | EnumMember | Live | Opaque | SymExpr | DeviceType | DefaultDevice"
    " | TensorValue | ProgramLeaf | tuple[Value, ...] | List | Dict | Set | Slice | Range | Size | Record"
)

TORCH_NAMED = (torch.dtype, torch.layout, torch.memory_format, torch.qscheme)
"""The types of torch whose values are written by name, as ``str`` gives it: ``torch.float32``."""
TORCH_DATA: Mapping[str, Primitive] = {
    f"torch.{name}": value for name, value in vars(torch).items() if type(value) in TORCH_NAMED
}
"""These values by each of their names in torch."""
PRIMITIVES = frozenset[type](
    {type(None), bool, int, float, complex, str, bytes, EllipsisType, torch.device, *TORCH_NAMED}
)
"""The exact types of the leaves that are plain Python or torch data."""


def children(value: Value) -> tuple[Value, ...]:
    """The values directly inside a container value, in evaluation order; empty for a leaf."""
    inside = _CHILDREN.get(type(value))
    return () if inside is None else inside(value)


_CHILDREN: Mapping[type, Callable[[Any], tuple[Value, ...]]] = {
    tuple: lambda value: value,
    **dict.fromkeys((List, Set, Size), lambda value: value.items),
    Dict: lambda value: tuple([part for item in value.items for part in item]),
    Record: lambda value: tuple([part for _, part in value.fields]),
    **dict.fromkeys((Slice, Range), lambda value: (value.start, value.stop, value.step)),
}
CONTAINERS = frozenset[type](_CHILDREN)
"""The exact types of the values that hold other values."""


def walk(*values: Value) -> Iterator[Value]:
    """Each value and every value inside it, outermost first, in evaluation order."""
    stack = list(values[::-1])
    while stack:
        current = stack.pop()
        yield current
        inside = _CHILDREN.get(type(current))
        if inside is not None:
            stack += inside(current)[::-1]


def references(*values: Value) -> Iterator[str]:
    """The names of the nodes or variables that values refer to, in evaluation order, as often as they do."""
    return (part.name for part in walk(*values) if type(part) is Ref)


def item_taken(
    target: object, args: tuple[Value, ...], kwargs: tuple[tuple[str, Value], ...] = ()
) -> tuple[str, int] | None:
    """The node or variable, and the index, of a call ``operator.getitem(x, 3)``; None for any other call."""
    if len(args) != 2 or kwargs:
        return None
    source, index = args
    if type(source) is not Ref or type(index) is not int or target != GETITEM:
        return None
    return source.name, index


def map_leaves(value: Value, change: Callable[[Value], Value]) -> Value:
    """``value`` with ``change`` applied to each leaf (anything that is not a container)."""
    inside = _CHILDREN.get(type(value))
    if inside is None:
        return change(value)
    return _REBUILT[type(value)](value, tuple([map_leaves(part, change) for part in inside(value)]))


_REBUILT: Mapping[type, Callable[[Any, tuple[Value, ...]], Value]] = {
    tuple: lambda value, parts: parts,
    List: lambda value, parts: List(parts),
    Size: lambda value, parts: Size(parts),
    Set: lambda value, parts: Set(parts, value.frozen),
    Dict: lambda value, parts: Dict(
        tuple(zip(parts[::2], parts[1::2], strict=True)), value.cls, value.factory
    ),
    Record: lambda value, parts: Record(
        value.cls, tuple(zip([name for name, _ in value.fields], parts, strict=True))
    ),
    Slice: lambda value, parts: Slice(*parts),
    Range: lambda value, parts: Range(*parts),
}
"""A container of each type with other values inside."""


def sorted_set(items: tuple[Value, ...], frozen: bool) -> Set:
    """A set with its members in an order that does not depend on the process (hashes of text do)."""
    return Set(tuple(sorted(items, key=lambda item: (type(item).__name__, repr(item)))), frozen)
