"""Containers of a caller: taken apart into the graph's flat inputs, put together from its flat results."""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from fx2py.errors import ReplayError
from fx2py.graph.data import CallingConvention, Tree
from fx2py.graph.values import Name
from fx2py.runtime import container, fields_of

Constant = Callable[[Any], Any]
"""Gives the Python object of a value that holds no node: a dict key, a default factory."""


def make_record(cls: Name, fields: Mapping[str, Any]) -> Any:
    """A container of class ``cls`` where it is loaded and a registered container, else a plain record."""
    make = container(cls.path, tuple(fields))
    return make(**fields) if all(name.isidentifier() for name in fields) else make(*fields.values())


def bind_parameters(
    convention: CallingConvention, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    """A call's arguments by parameter, by place or by name as generated code takes them; ReplayError for a misfit."""
    known = dict.fromkeys([name for name, _ in (*convention.args, *convention.kwargs)])
    given = dict(zip(known, args, strict=False))
    surplus = [name for name in kwargs if name not in known or name in given]
    missing = [name for name in known if name not in given and name not in kwargs]
    if len(args) > len(known) or surplus or missing:
        raise ReplayError(
            f"the arguments do not fit the graph's parameters {', '.join(known) or '(none)'}: "
            f"{len(args)} positional, keywords {', '.join(kwargs) or 'none'}.",
            "Pass the arguments that the model was exported with.",
        )
    given.update(kwargs)
    return {name: given[name] for name in known}


def flatten_inputs(convention: CallingConvention, given: Mapping[str, Any], constant: Constant) -> list[Any]:
    """The leaves of bound arguments, in the order of the placeholders; ReplayError when they do not fit."""
    leaves: list[Any] = []
    for name, tree in (*convention.args, *convention.kwargs):
        _flatten(tree, given[name], leaves, name, constant)
    return leaves


def unflatten(tree: Tree, leaves: Iterator[Any], constant: Constant) -> Any:
    """The container of structure ``tree`` that holds the next leaves."""
    if tree.kind == "leaf":
        return next(leaves)
    parts = [unflatten(child, leaves, constant) for child in tree.children]
    return _MAKERS[tree.kind](tree, parts, constant)


def _flatten(tree: Tree, value: Any, leaves: list[Any], path: str, constant: Constant) -> None:
    if tree.kind == "leaf":
        leaves.append(value)
        return
    parts = _parts(tree, value, path, constant)
    if len(parts) != len(tree.children):
        raise _misfit(tree, path)
    for index, (child, part) in enumerate(zip(tree.children, parts, strict=True)):
        _flatten(child, part, leaves, f"{path}[{tree.keys[index] if _is_keyed(tree) else index!r}]", constant)


def _parts(tree: Tree, value: Any, path: str, constant: Constant) -> list[Any]:
    """What a container that a caller passes holds, in the order of ``tree``."""
    expected = _CLASSES.get(tree.kind)
    if expected is not None and not isinstance(value, expected):
        raise _misfit(tree, path)
    try:
        if tree.kind in _DICTS:
            keys = [constant(key) for key in tree.keys]
            if set(keys) != set(value):
                raise _misfit(tree, path)
            return [value[key] for key in keys]
        if tree.kind == "record":
            return fields_of(value, tuple(str(key) for key in tree.keys))
    except (AttributeError, KeyError) as error:
        raise _misfit(tree, path) from error
    return list(value)


def _misfit(tree: Tree, path: str) -> ReplayError:
    kind = tree.kind if tree.cls is None or tree.kind == "defaultdict" else tree.cls.path
    return ReplayError(
        f"the argument {path} does not have the structure that the graph takes: {kind} of {len(tree.children)}.",
        "Pass the same containers that the model was exported with.",
    )


def _is_keyed(tree: Tree) -> bool:
    return len(tree.keys) == len(tree.children)


def _defaultdict(tree: Tree, parts: list[Any], constant: Constant) -> Any:
    factory = None if tree.cls is None else constant(tree.cls)
    return collections.defaultdict(factory, _pairs(tree, parts, constant))


def _pairs(tree: Tree, parts: list[Any], constant: Constant) -> list[tuple[Any, Any]]:
    return [(constant(key), part) for key, part in zip(tree.keys, parts, strict=True)]


def _record(tree: Tree, parts: list[Any], constant: Constant) -> Any:
    if tree.cls is None:
        raise ReplayError(f"a {tree.kind} of the output has no class.")
    return make_record(tree.cls, dict(zip([str(key) for key in tree.keys], parts, strict=True)))


_MAKERS: dict[str, Callable[[Tree, list[Any], Constant], Any]] = {
    "tuple": lambda tree, parts, constant: tuple(parts),
    "list": lambda tree, parts, constant: parts,
    "dict": lambda tree, parts, constant: dict(_pairs(tree, parts, constant)),
    "ordereddict": lambda tree, parts, constant: collections.OrderedDict(_pairs(tree, parts, constant)),
    "defaultdict": _defaultdict,
    "deque": lambda tree, parts, constant: collections.deque(parts, *[constant(key) for key in tree.keys]),
    "namedtuple": _record,
    "record": _record,
}
_CLASSES: dict[str, type | tuple[type, ...]] = {
    "tuple": (tuple, list),
    "list": (tuple, list),
    "dict": dict,
    "ordereddict": dict,
    "defaultdict": dict,
    "deque": collections.deque,
    "namedtuple": tuple,
}
_DICTS = frozenset({"dict", "ordereddict", "defaultdict"})
