"""Python objects as values, and values of data and tensors as the objects that they stand for."""

from __future__ import annotations

import enum
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
import torch.fx as fx

from fx2py.errors import with_article
from fx2py.graph import values as language
from fx2py.graph.names import callable_name
from fx2py.graph.symbols import expression_text

Symbolic = torch.SymInt | torch.SymFloat | torch.SymBool
_LONGEST_DESCRIPTION = 80


# -- objects as values -------------------------------------------------------------------------------------------


def value_of(obj: Any) -> language.Value:
    """A live argument or attribute as a value; something neither data nor importable becomes ``Live``."""
    kind = type(obj)
    if kind is fx.Node:
        return language.Ref(obj.name)
    if kind in language.PRIMITIVES:
        return obj  # type: ignore[no-any-return]
    handler = _HANDLERS.get(kind)
    if handler is not None:
        return handler(obj)
    for base, convert in _FAMILIES:
        if isinstance(obj, base):
            return convert(obj)
    return callable_name(obj) or live(obj)


def live(obj: object) -> language.Live:
    """The object itself, described by the name of its class or its own."""
    name = getattr(obj, "__qualname__", None)
    description = name if type(name) is str else f"{with_article(type(obj).__qualname__)} object"
    return language.Live(obj, description[:_LONGEST_DESCRIPTION])


def target_of(target: object) -> language.Name | language.OpName | language.Live:
    """The target of a call_function node."""
    return callable_name(target) or live(target)


def _values(items: Iterable[object]) -> tuple[language.Value, ...]:
    return tuple([value_of(item) for item in items])


def _mapping(obj: Mapping[object, object], cls: language.Name | None = None) -> language.Dict:
    return language.Dict(tuple([(value_of(key), value_of(item)) for key, item in obj.items()]), cls)


def _default_dict(obj: defaultdict[object, object]) -> language.Value:
    return live(obj) if obj.default_factory is not None else _mapping(obj, language.DEFAULTDICT)


def _enum_member(obj: object) -> language.Value:
    cls = callable_name(type(obj))
    name = getattr(obj, "name", None)
    if isinstance(cls, language.Name) and type(name) is str and getattr(type(obj), name, None) == obj:
        return language.EnumMember(cls, name)
    return live(obj)


def _tuple(obj: tuple[object, ...]) -> language.Value:
    """A namedtuple as a record; other tuple classes have no fields to build them from."""
    fields = getattr(obj, "_fields", None)
    cls = callable_name(type(obj))
    if not isinstance(fields, tuple) or not isinstance(cls, language.Name):
        return live(obj)
    return language.Record(cls, tuple(zip(fields, _values(obj), strict=True)))


def _symbolic(obj: Symbolic) -> language.Value:
    constant = constant_of(obj)
    return language.SymExpr(expression_of(obj)) if constant is None else constant


def _other(obj: object) -> language.Value:
    """Members of pybind enums, and everything that only a name leads to."""
    members = getattr(type(obj), "__members__", None)
    return _enum_member(obj) if isinstance(members, Mapping) else callable_name(obj) or live(obj)


_HANDLERS: dict[type, Callable[[Any], language.Value]] = {
    tuple: _values,
    list: lambda obj: language.List(_values(obj)),
    dict: _mapping,
    fx.immutable_collections.immutable_list: lambda obj: language.List(_values(obj)),
    fx.immutable_collections.immutable_dict: _mapping,
    OrderedDict: lambda obj: _mapping(obj, language.ORDERED_DICT),
    defaultdict: _default_dict,
    set: lambda obj: language.sorted_set(_values(obj), frozen=False),
    frozenset: lambda obj: language.sorted_set(_values(obj), frozen=True),
    slice: lambda obj: language.Slice(value_of(obj.start), value_of(obj.stop), value_of(obj.step)),
    range: lambda obj: language.Range(obj.start, obj.stop, obj.step),
    torch.Size: lambda obj: language.Size(_values(obj)),
}
_FAMILIES: tuple[tuple[Any, Callable[[Any], language.Value]], ...] = (
    (torch.Tensor, language.TensorValue),
    (Symbolic, _symbolic),
    (enum.Enum, _enum_member),
    (tuple, _tuple),
    (object, _other),
)


def constant_of(number: Symbolic) -> int | float | bool | None:
    """The number that a symbolic one is for all inputs; None when it depends on them."""
    node = number.node
    if isinstance(number, torch.SymInt):
        found: int | float | bool | None = node.maybe_as_int()
    elif isinstance(number, torch.SymFloat):
        found = node.maybe_as_float()
    else:
        found = node.maybe_as_bool()
    return found


def expression_of(number: Symbolic) -> str:
    """The expression of a symbolic number as Python text, spelled as in archives."""
    import sympy  # type: ignore[import-untyped]

    expression = getattr(number.node, "expr", None)
    if expression is None:
        return str(number)
    try:
        return expression_text(sympy.srepr(expression))
    except ValueError:
        return str(expression)


# -- values as objects -------------------------------------------------------------------------------------------


def object_of(value: language.Value) -> object:
    """The object that a value of data and tensors stands for; ValueError for any other value."""
    match value:
        case tuple():
            return tuple([object_of(item) for item in value])
        case language.List(items):
            return [object_of(item) for item in items]
        case language.Dict():
            return _dict(value)
        case language.Size(items):
            sizes = [item for item in items if isinstance(item, int)]
            if len(sizes) != len(items):
                raise ValueError("a size among the example inputs is not a number")
            return torch.Size(sizes)
        case language.Slice(start, stop, step):
            return slice(object_of(start), object_of(stop), object_of(step))
        case language.TensorValue(tensor):
            return tensor
    if type(value) in language.PRIMITIVES:
        return value
    raise ValueError(f"the example inputs hold {with_article(type(value).__name__)}, which is no plain data")


def _dict(value: language.Dict) -> dict[object, object]:
    pairs = [(object_of(key), object_of(item)) for key, item in value.items]
    if not all(type(key) in language.PRIMITIVES for key, _ in pairs):
        raise ValueError("a dict among the example inputs has keys that are no plain data")
    return OrderedDict(pairs) if value.cls is not None else dict(pairs)
