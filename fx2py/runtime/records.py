"""Records (containers of a class of their own, which may not be installed): made, and taken apart."""

from __future__ import annotations

import collections
import functools
import sys
import types
from collections.abc import Callable, Mapping
from typing import Any

from torch.utils import _pytree as pytree


def loaded_class(path: str) -> Any:
    """The class at a dotted path, or registered with pytree under that name; None when its module is not loaded."""
    registered = pytree.SERIALIZED_TYPE_TO_PYTHON_TYPE.get(path)
    if registered is not None:
        return registered
    module, _, name = path.rpartition(".")
    names = [name]
    while module and module not in sys.modules:
        module, _, name = module.rpartition(".")
        names.append(name)
    found: Any = sys.modules.get(module)
    for name in reversed(names):
        is_home = isinstance(found, (types.ModuleType, type))
        found = vars(found).get(name) if is_home else None
    return found


def container(path: str, fields: tuple[str, ...]) -> Callable[..., Any]:
    """Makes records: of the class at ``path`` when its module is loaded, else namedtuples with the same fields.

    ``n_sequence_fields`` marks a struct sequence, as ``torch.return_types`` has them, which takes one sequence.
    """
    cls = loaded_class(path)
    if cls is collections.deque or (
        isinstance(cls, type) and issubclass(cls, tuple) and hasattr(cls, "_fields")
    ):
        return cls
    if isinstance(cls, type) and issubclass(cls, tuple) and hasattr(cls, "n_sequence_fields"):
        return lambda *items, **named: cls((*items, *named.values()))
    if cls in pytree.SUPPORTED_NODES and hasattr(cls, "__dataclass_fields__"):
        absent = {name: None for name in cls.__dataclass_fields__ if name not in fields}
        return lambda **items: cls(**items, **absent)
    if cls in pytree.SUPPORTED_NODES:
        unflatten = pytree.SUPPORTED_NODES[cls].unflatten_fn
        return lambda *items, **named: unflatten([*items, *named.values()], list(fields))
    plain = plain_record(path.rpartition(".")[2], fields)
    return lambda *items, **named: plain(*items, *named.values())


@functools.lru_cache(maxsize=256)
def plain_record(name: str, fields: tuple[str, ...]) -> Callable[..., Any]:
    """A namedtuple class with these fields; the same each time, so that results of two bindings have one class."""
    named_tuple: Any = collections.namedtuple
    made: Callable[..., Any] = named_tuple(name, fields, rename=True)
    return made


BUILTIN_CONTAINERS = frozenset(
    {tuple, list, dict, collections.OrderedDict, collections.defaultdict, collections.deque}
)


def field_names(context: object, count: int) -> tuple[str, ...]:
    """The field names in a pytree context, where it is ``names`` or ``[names, more]``; else ordinals."""
    for names in (context, context[0] if isinstance(context, (list, tuple)) and context else None):
        if isinstance(names, (list, tuple)) and len(names) == count and all(type(n) is str for n in names):
            return tuple(names)
    return tuple([str(index) for index in range(count)])


def fields_of(value: object, fields: tuple[str, ...]) -> list[object]:
    """The fields of a record that a caller passes, in order; any other field that it has must be None.

    Raises AttributeError for an object that does not have these fields.
    """
    kind: Any = type(value)
    if kind in pytree.SUPPORTED_NODES and kind not in BUILTIN_CONTAINERS:
        held, context = pytree.SUPPORTED_NODES[kind].flatten_fn(value)
        if field_names(context, len(held)) == fields:
            return list(held)
    elif isinstance(value, Mapping):
        if value.keys() == set(fields):
            return [value[name] for name in fields]
    else:
        own = getattr(kind, "_fields", getattr(kind, "__dataclass_fields__", ()))
        others = [name for name in own if name not in fields]
        if set(fields) <= set(own) and all(getattr(value, name) is None for name in others):
            return [getattr(value, name) for name in fields]
    raise AttributeError(f"a {kind.__name__} does not have the fields {fields}, or has others")
