"""How generated code refuses inputs that an exported program was not exported for."""

from __future__ import annotations

import collections
import types
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

import torch
from torch.utils import _pytree as pytree

from fx2py.runtime.records import field_names, fields_of, loaded_class
from fx2py.runtime.sizes import SizeExpression, guard_condition

Demand: TypeAlias = Any
"""What one input must be: a Shape, an Integer, a constant, ``...`` for any value, or a container of demands."""
Ranges: TypeAlias = Mapping[str, tuple[int | None, int | None]]
"""The least and the greatest value of a size, by its expression; None where there is no bound."""
LeafCheck: TypeAlias = Callable[[Any, dict[str, int]], None]
"""Checks a leaf; the dict has the named sizes so far, to which the check adds. Raises InputError."""


class InputError(ValueError):
    """An input is not one that the program was exported for."""


class Shape(tuple[Any, ...]):
    """Demands a tensor; a size is a number, an expression over named sizes, or ``...`` for any."""

    def __new__(cls, *sizes: Any) -> Shape:
        return super().__new__(cls, sizes)

    def __str__(self) -> str:
        sizes = ", ".join(["..." if size is ... else str(size) for size in self])
        return f"({sizes},)" if len(self) == 1 else f"({sizes})"


class Integer(str):
    """Demands an int that is itself a named size, or the value of an expression over named sizes."""


class Fields:
    """Demands a container of the class at ``path``, and something of each of its ``fields``.

    ``detail`` is the ``maxlen`` of a deque, the path of the factory of a defaultdict, "namedtuple" for one.
    """

    def __init__(self, path: str, fields: Mapping[Any, Demand], detail: int | str | None = None) -> None:
        self.path = path
        self.fields = fields
        self.detail = detail


def input_checks(
    inputs: Mapping[str, Demand],
    ranges: Ranges = types.MappingProxyType({}),
    guards: Iterable[str] = (),
    autocast: bool = True,
) -> Callable[..., None]:
    """A function that raises InputError unless its arguments are what ``inputs`` demands, parameter by parameter.

    ``ranges`` bounds sizes, both ends included; ``guards`` are further conditions over the inputs. Without ``autocast``
    the function raises InputError under autocast, whatever its arguments.
    """
    leaves: dict[str, Demand] = {}
    openers = [container_opener(name, demand, leaves) for name, demand in inputs.items()]
    nested = list(leaves) != list(inputs)
    tests = [leaf_check(path, demand, ranges) for path, demand in leaves.items()]
    shapes = [static_shape(demand) for demand in leaves.values()]
    tensor = torch.Tensor
    conditions = [(text, guard_condition(text, leaves)) for text in guards]

    def check(*arguments: object) -> None:
        if not autocast and torch._C._is_any_autocast_enabled():
            raise InputError("code that was generated with -O cannot run under autocast")
        values: Any = arguments
        if nested:
            values = []
            for opened, argument in zip(openers, arguments, strict=True):
                opened(values, argument)
        sizes: dict[str, int] = {}
        for value, shape, test in zip(values, shapes, tests, strict=True):
            if shape is None or type(value) is not tensor or value.shape != shape:
                test(value, sizes)
        for text, holds in conditions:
            if not holds(values):
                raise InputError(f"the inputs must satisfy {text}, which these do not")

    return check


# -- containers


def container_opener(
    path: str, demand: Demand, leaves: dict[str, Demand]
) -> Callable[[list[object], object], None]:
    """A function that appends the leaves of an argument to a list; adds the demand of each leaf to ``leaves``."""
    places = places_inside(path, demand)
    if places is None:
        leaves[path] = demand
        return list.append
    parts = [container_opener(place, part, leaves) for place, part in places]

    def opened(values: list[object], container: object) -> None:
        held = contents_of(demand, container)
        if held is None:
            raise InputError(f"{path} must be {kind_of(demand)}, not {kind_of(container)}")
        for part, value in zip(parts, held, strict=True):
            part(values, value)

    return opened


def places_inside(path: str, demand: Demand) -> list[tuple[str, Demand]] | None:
    """Each demand inside a container with the caller's expression for its place; None for a leaf."""
    if type(demand) is Fields and demand.path not in ("collections.defaultdict", "collections.deque"):
        return [
            (f"{path}.{name}" if name.isidentifier() else f"{path}[{name}]", part)
            for name, part in demand.fields.items()
        ]
    if type(demand) in (tuple, list):
        return [(f"{path}[{index}]", part) for index, part in enumerate(demand)]
    if type(demand) in (dict, collections.OrderedDict, Fields):
        items = demand.fields if type(demand) is Fields else demand
        return [(f"{path}[{key!r}]", part) for key, part in items.items()]
    return None


def contents_of(demand: Demand, value: Any) -> Iterable[object] | None:
    """The parts of a container in the order of ``demand``; None when it is a container of another kind."""
    kind = type(demand)
    if kind is Fields:
        return record_contents(demand, value)
    if kind is dict:
        fits = type(value) is dict and value.keys() == demand.keys()
        return [value[key] for key in demand] if fits else None
    if kind is collections.OrderedDict:
        return list(value.values()) if type(value) is kind and list(value) == list(demand) else None
    same_kind = type(value) is kind or (kind is tuple and type(value) is torch.Size)
    return list(value) if same_kind and len(value) == len(demand) else None


def record_contents(demand: Fields, value: Any) -> Iterable[object] | None:
    """The fields of a record; for a class that is not loaded, those of any object that has them by name."""
    cls, names = loaded_class(demand.path), list(demand.fields)
    if cls is collections.deque:
        fits = type(value) is cls and (len(value), value.maxlen) == (len(names), demand.detail)
        return list(value) if fits else None
    if cls is collections.defaultdict:
        fits = type(value) is cls and (list(value), path_of(value.default_factory)) == (names, demand.detail)
        return list(value.values()) if fits else None
    is_tuple = isinstance(cls, type) and issubclass(cls, tuple) and hasattr(cls, "_fields")
    if type(value) is not cls and (is_tuple or cls in pytree.SUPPORTED_NODES):
        return None
    if is_tuple:
        return list(value)
    if demand.detail == "namedtuple":
        fits = isinstance(value, tuple) and getattr(value, "_fields", None) == tuple(names)
        return list(value) if fits else None
    if cls in pytree.SUPPORTED_NODES:
        held, context = pytree.SUPPORTED_NODES[cls].flatten_fn(value)
        return held if len(held) == len(names) and list(field_names(context, len(held))) == names else None
    try:
        return fields_of(value, tuple(names))
    except (AttributeError, KeyError):
        return None


def path_of(cls: Any) -> str | None:
    return None if cls is None else f"{cls.__module__}.{cls.__qualname__}"


def kind_of(value: object) -> str:
    """The name of a container, or of a demand for one, in a message."""
    if isinstance(value, Fields):
        return f"a {value.path} of {', '.join(map(str, value.fields))}"
    article = "an" if type(value).__name__[0] in "aeiouAEIOU" else "a"
    if isinstance(value, dict):
        return f"{article} {type(value).__name__} of {', '.join(map(repr, value)) or 'nothing'}"
    length = f" of {len(value)}" if isinstance(value, (tuple, list, collections.deque)) else ""
    return f"{article} {type(value).__name__}{length}"


# -- leaves


def leaf_check(path: str, demand: Demand, ranges: Ranges) -> LeafCheck:
    if type(demand) is Shape:
        return shape_check(path, demand, ranges)
    if type(demand) is Integer:
        return integer_check(path, str(demand), ranges)

    def check(value: Any, sizes: dict[str, int]) -> None:
        if demand is ...:
            fits = pytree.tree_is_leaf(value)
        else:
            fits = type(value) is type(demand) and (value == demand or (value != value and demand != demand))
        if not fits:
            expected = "no container" if demand is ... else repr(demand)
            found = repr(value) if isinstance(value, (bool, int, float, str, type(None))) else kind_of(value)
            raise InputError(f"{path} must be {expected}, not {found}")

    return check


def static_shape(demand: Demand) -> tuple[int, ...] | None:
    """The only shape that fits, where no size is an expression or free."""
    fixed = type(demand) is Shape and all(type(size) is int for size in demand)
    return tuple(demand) if fixed else None


def shape_check(path: str, demand: Demand, ranges: Ranges) -> LeafCheck:
    tests = [size_check(f"{path}.shape[{index}]", size, ranges) for index, size in enumerate(demand)]

    def check(value: object, sizes: dict[str, int]) -> None:
        if not isinstance(value, torch.Tensor):
            raise InputError(f"{path} must be a tensor of shape {demand}, not {kind_of(value)}")
        if len(value.shape) != len(tests):
            raise InputError(f"{path} must have the shape {demand}, not {Shape(*value.shape)}")
        for test, size in zip(tests, value.shape, strict=True):
            test(size, sizes)

    return check


def integer_check(path: str, demand: str, ranges: Ranges) -> LeafCheck:
    test = size_check(path, demand, ranges)

    def check(value: object, sizes: dict[str, int]) -> None:
        if not isinstance(value, (int, torch.SymInt)):
            raise InputError(f"{path} must be an int, not {kind_of(value)}")
        test(value, sizes)

    return check


def size_check(path: str, demand: Demand, ranges: Ranges) -> LeafCheck:
    """Checks one size; not a symbolic one, as of a fake tensor: comparing it would add a guard."""
    expression = SizeExpression(demand) if type(demand) is str else None
    is_name = type(demand) is str and demand.isidentifier()
    low, high = ranges.get(demand, (None, None))

    def check(size: Any, sizes: dict[str, int]) -> None:
        if demand is ... or isinstance(size, torch.SymInt):
            return
        if expression is None:
            if size != demand:
                raise InputError(f"{path} must be {demand}, not {size}")
            return
        if not (sizes.setdefault(demand, size) == size if is_name else expression.fits(size, sizes)):
            named = ", ".join([f"{name} = {sizes[name]}" for name in expression.names if name in sizes])
            raise InputError(f"{path} must be {demand}{named and f' with {named}'}, not {size}")
        if low is not None and size < low:
            raise InputError(f"{path} must be at least {low}, not {size}")
        if high is not None and size > high:
            raise InputError(f"{path} must be at most {high}, not {size}")

    return check
