"""The arguments of an exported archive's nodes (the ``Argument`` union) as values.

Which class a sequence had is not in the format: like torch's own reader, every list is a list, and a list of integer
lists is a list of tuples (launch grids).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from fx2py.graph.names import dotted_name
from fx2py.graph.values import Dict, List, Opaque, Ref, Value
from fx2py.read.documents import exactly, field, number, union
from fx2py.read.pt2.types import DTYPES, LAYOUTS, MEMORY_FORMATS, coded, device_of
from fx2py.read.pytree import class_name
from fx2py.typed_json import Damaged


class Scope(Protocol):
    """What an argument may refer to: the nodes so far, and nested graphs, which become nodes of their own."""

    def ref(self, name: Any) -> Ref: ...

    def graph(self, record: Any) -> Ref: ...

    def knows(self, name: Any) -> bool: ...


def argument(record: Any, scope: Scope) -> Value:
    """The value of one ``Argument``; Damaged for a choice that schema version 8 does not have."""
    choice, value = union(record)
    handler = _HANDLERS.get(choice)
    if handler is None:
        raise Damaged(f"has the unknown kind of argument {choice!r:.40}")
    return handler(value, scope)


def _tensor(value: Any, scope: Scope) -> Value:
    return scope.ref(field(value, "name", str))


def _tensors(value: Any, scope: Scope) -> Value:
    return List(tuple([scope.ref(field(item, "name", str)) for item in exactly(value, list)]))


def _nested_tensors(value: Any, scope: Scope) -> Value:
    return List(tuple([_tensors(item, scope) for item in exactly(value, list)]))


def _optional_tensor(value: Any, scope: Scope) -> Value:
    choice, held = union(value)
    if choice == "as_none":
        return None
    if choice != "as_tensor":
        raise Damaged(f"has the unknown optional tensor {choice!r:.40}")
    return _tensor(held, scope)


def _symbolic(plain: str, literal: Callable[[Any, Scope], Value]) -> Callable[[Any, Scope], Value]:
    """A symbolic number: another node's result, or a literal under the choice ``plain``."""

    def read(value: Any, scope: Scope) -> Value:
        choice, held = union(value)
        if choice == "as_name":
            return scope.ref(held)
        if choice != plain:
            raise Damaged(f"has the unknown symbolic number {choice!r:.40}")
        return literal(held, scope)

    return read


def _literal(kind: type) -> Callable[[Any, Scope], Value]:
    def read(value: Any, scope: Scope) -> Value:
        return exactly(value, kind)

    return read


def _each(read: Callable[[Any, Scope], Value]) -> Callable[[Any, Scope], Value]:
    def read_all(value: Any, scope: Scope) -> Value:
        return List(tuple([read(item, scope) for item in exactly(value, list)]))

    return read_all


def _number(value: Any, scope: Scope) -> Value:
    return number(value)


def _complex(value: Any, scope: Scope) -> Value:
    if type(value) is not dict:
        raise Damaged("has a complex number without parts")
    return complex(number(value.get("real")), number(value.get("imag")))


def _int_tuple(value: Any, scope: Scope) -> Value:
    return tuple([exactly(item, int) for item in exactly(value, list)])


def _named(value: Any, scope: Scope) -> Value:
    return Dict(tuple([(key, argument(item, scope)) for key, item in exactly(value, dict).items()]))


def _custom_object(value: Any, scope: Scope) -> Value:
    name = field(value, "name", str)
    if scope.knows(name):
        return scope.ref(name)
    return Opaque(class_name(field(value, "class_fqn", str)), name)


_INT, _BOOL, _TEXT = _literal(int), _literal(bool), _literal(str)
_SYM_INT, _SYM_FLOAT, _SYM_BOOL = (
    _symbolic("as_int", _INT),
    _symbolic("as_float", _number),
    _symbolic("as_bool", _BOOL),
)
_HANDLERS: dict[str, Callable[[Any, Scope], Value]] = {
    "as_none": lambda value, scope: None,
    "as_tensor": _tensor,
    "as_tensors": _tensors,
    "as_nested_tensors": _nested_tensors,
    "as_optional_tensor": _optional_tensor,
    "as_optional_tensors": _each(_optional_tensor),
    "as_int": _INT,
    "as_ints": _each(_INT),
    "as_int_lists": _each(_int_tuple),
    "as_float": _number,
    "as_floats": _each(_number),
    "as_float_lists": _each(_each(_number)),
    "as_bool": _BOOL,
    "as_bools": _each(_BOOL),
    "as_string": _TEXT,
    "as_strings": _each(_TEXT),
    "as_complex": _complex,
    "as_sym_int": _SYM_INT,
    "as_sym_ints": _each(_SYM_INT),
    "as_sym_float": _SYM_FLOAT,
    "as_sym_floats": _each(_SYM_FLOAT),
    "as_sym_bool": _SYM_BOOL,
    "as_sym_bools": _each(_SYM_BOOL),
    "as_scalar_type": lambda value, scope: coded(DTYPES, value),
    "as_layout": lambda value, scope: coded(LAYOUTS, value),
    "as_memory_format": lambda value, scope: coded(MEMORY_FORMATS, value),
    "as_device": lambda value, scope: device_of(value),
    "as_graph": lambda value, scope: scope.graph(value),
    "as_operator": lambda value, scope: dotted_name(exactly(value, str)),
    "as_string_to_argument": _named,
    "as_custom_obj": _custom_object,
}
