"""Arguments, attributes and recorded results of live graphs as values."""

from __future__ import annotations

import enum
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
import torch.fx as fx

from fx2py.graph.data import NodeMeta, SymMeta, TensorMeta, ValueMeta
from fx2py.graph.names import callable_name
from fx2py.graph.values import (
    PLAIN,
    Dict,
    EnumMember,
    List,
    Live,
    Name,
    OpName,
    Range,
    Record,
    Ref,
    Size,
    Slice,
    SymExpr,
    TensorValue,
    Value,
    sorted_set,
)
from fx2py.read.origin import module_path, source_line
from fx2py.read.symbols import expression_text

_SYMBOLIC = (torch.SymInt, torch.SymFloat, torch.SymBool)
_SHOWN = 80


def value_of(obj: Any) -> Value:
    """A live argument or attribute as a value; what is neither data nor importable becomes ``Live``."""
    kind = type(obj)
    if kind is fx.Node:
        return Ref(obj.name)
    if kind in PLAIN:
        return obj  # type: ignore[no-any-return]
    handler = _HANDLERS.get(kind)
    if handler is not None:
        return handler(obj)
    for base, convert in _FAMILIES:
        if isinstance(obj, base):
            return convert(obj)
    return callable_name(obj) or live(obj)


def live(obj: Any) -> Live:
    """The object itself, described by the name of its class or its own."""
    name = getattr(obj, "__qualname__", None)
    return Live(obj, (name if type(name) is str else f"a {type(obj).__qualname__} object")[:_SHOWN])


def _values(items: Iterable[Any]) -> tuple[Value, ...]:
    return tuple([value_of(item) for item in items])


def _mapping(obj: Mapping[Any, Any], cls: Name | None = None) -> Dict:
    return Dict(tuple([(value_of(key), value_of(item)) for key, item in obj.items()]), cls)


def _default_dict(obj: defaultdict[Any, Any]) -> Value:
    return live(obj) if obj.default_factory is not None else _mapping(obj, Name("collections", "defaultdict"))


def _enum_member(obj: Any) -> Value:
    cls = callable_name(type(obj))
    name = getattr(obj, "name", None)
    if isinstance(cls, Name) and type(name) is str and getattr(type(obj), name, None) == obj:
        return EnumMember(cls, name)
    return live(obj)


def _tuple(obj: tuple[Any, ...]) -> Value:
    """A namedtuple as a record; other tuple classes have no fields to build them from."""
    fields = getattr(obj, "_fields", None)
    cls = callable_name(type(obj))
    if not isinstance(fields, tuple) or not isinstance(cls, Name):
        return live(obj)
    return Record(cls, tuple(zip(fields, _values(obj), strict=True)))


def _symbolic(obj: Any) -> Value:
    constant = _constant(obj)
    return SymExpr(_expression(obj)) if constant is None else constant


def _other(obj: Any) -> Value:
    """Members of pybind enums, and everything that only a name leads to."""
    members = getattr(type(obj), "__members__", None)
    return _enum_member(obj) if isinstance(members, Mapping) else callable_name(obj) or live(obj)


_HANDLERS: dict[type, Callable[[Any], Value]] = {
    tuple: _values,
    list: lambda obj: List(_values(obj)),
    dict: _mapping,
    fx.immutable_collections.immutable_list: lambda obj: List(_values(obj)),
    fx.immutable_collections.immutable_dict: _mapping,
    OrderedDict: lambda obj: _mapping(obj, Name("collections", "OrderedDict")),
    defaultdict: _default_dict,
    set: lambda obj: sorted_set(_values(obj), frozen=False),
    frozenset: lambda obj: sorted_set(_values(obj), frozen=True),
    slice: lambda obj: Slice(value_of(obj.start), value_of(obj.stop), value_of(obj.step)),
    range: lambda obj: Range(obj.start, obj.stop, obj.step),
    torch.Size: lambda obj: Size(_values(obj)),
}
_FAMILIES: tuple[tuple[Any, Callable[[Any], Value]], ...] = (
    (torch.Tensor, TensorValue),
    (_SYMBOLIC, _symbolic),
    (enum.Enum, _enum_member),
    (tuple, _tuple),
    (object, _other),
)


def target_of(target: Any) -> Name | OpName | Live:
    """The target of a call_function node."""
    return callable_name(target) or live(target)


def _constant(number: Any) -> int | float | bool | None:
    """The plain number that a symbolic number is known to be, whatever the inputs; None when it depends on them."""
    if not isinstance(number, torch.SymInt | torch.SymFloat | torch.SymBool):
        return number  # type: ignore[no-any-return]
    node = number.node
    if isinstance(number, torch.SymInt):
        return node.maybe_as_int()  # type: ignore[no-any-return]
    if isinstance(number, torch.SymFloat):
        return node.maybe_as_float()  # type: ignore[no-any-return]
    return node.maybe_as_bool()  # type: ignore[no-any-return]


def _expression(number: Any) -> str:
    """The expression of a symbolic number as Python text, spelled as for archives."""
    import sympy  # type: ignore[import-untyped]

    expression = getattr(number.node, "expr", None)
    if expression is None:
        return str(number)
    try:
        return expression_text(sympy.srepr(expression))
    except ValueError:
        return str(expression)


def meta_of(node: fx.Node) -> NodeMeta:
    """What a live node records of its result and of where it comes from."""
    meta = node.meta
    trace, stack = meta.get("stack_trace"), meta.get("nn_module_stack")
    return NodeMeta(
        value=recorded(
            next((meta[key] for key in ("val", "example_value", "tensor_meta") if key in meta), None)
        ),
        source=source_line(trace) if type(trace) is str else None,
        module=_module(stack) if isinstance(stack, Mapping) and stack else "",
        annotation="" if node.type is None else _annotation(node.type),
    )


def recorded(result: Any) -> ValueMeta:
    """The shape, dtype and expressions that a recorded result shows; None where it is neither tensor nor number."""
    if isinstance(result, torch.Tensor):
        return _tensor_meta(result) if result.layout is not torch.strided or not result.is_nested else None
    if isinstance(result, fx.passes.shape_prop.TensorMetadata):
        return TensorMeta(
            result.dtype, _sizes(result.shape), None, _sizes(result.stride), result.requires_grad
        )
    if isinstance(result, _SYMBOLIC):
        kind = {torch.SymInt: "int", torch.SymFloat: "float", torch.SymBool: "bool"}[type(result)]
        return SymMeta(kind, _expression(result))  # type: ignore[arg-type]
    if isinstance(result, tuple | list):
        return tuple([recorded(part) for part in result])
    return None


def _tensor_meta(tensor: torch.Tensor) -> TensorMeta:
    stride = _sizes(tensor.stride()) if tensor.layout is torch.strided else None
    return TensorMeta(tensor.dtype, _sizes(tensor.shape), tensor.device, stride, tensor.requires_grad)


def _sizes(sizes: Iterable[Any]) -> tuple[int | str, ...]:
    return tuple([size if type(size) is int else _size(size) for size in sizes])


def _size(size: Any) -> int | str:
    constant = _constant(size)
    return _expression(size) if constant is None else int(constant)


def _module(stack: Mapping[str, Any]) -> str:
    entry = list(stack.values())[-1]
    return module_path(entry[0]) if isinstance(entry, tuple) and entry and type(entry[0]) is str else ""


def _annotation(annotation: Any) -> str:
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)
