"""How a graph is called: a caller's arguments become the values of placeholders, flat results become containers."""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch.utils import _pytree as pytree

from fx2py.errors import ReplayError, with_article
from fx2py.graph.data import CallingConvention, Node, Tree
from fx2py.graph.parameters import Unbound, bind_arguments
from fx2py.graph.values import Value
from fx2py.replay.objects import make_record
from fx2py.runtime import fields_of
from fx2py.runtime.checks import kind_of
from fx2py.runtime.records import loaded_class

Constant = Callable[[Value], object]
"""Gives the Python object of a value that holds no node: a dict key, a default factory."""

# -- arguments to parameters


def bind_placeholders(
    placeholders: tuple[Node, ...], args: Sequence[object], kwargs: Mapping[str, object], constant: Constant
) -> dict[str, object]:
    """The value of each placeholder by node name; ReplayError, which names the argument, where they do not fit."""
    try:
        return bind_arguments(placeholders, args, kwargs, default=constant, keywords=dict)
    except Unbound as fault:
        parameters = ", ".join(str(node.target) for node in placeholders)
        raise ReplayError(f"the arguments do not fit: {fault}.", f"The graph takes ({parameters}).") from None


def bind_parameters(
    convention: CallingConvention, args: Sequence[object], kwargs: Mapping[str, object]
) -> dict[str, object]:
    """A call's arguments by parameter of an exported program, each by position or by name; ReplayError for a misfit."""
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


# -- containers to leaves and back, as torch.utils._pytree flattens them


Leaf = tuple[str, object]
"""A leaf of the arguments, after the expression that reaches it from the parameters."""


def flatten_inputs(
    convention: CallingConvention, given: Mapping[str, object], constant: Constant, exact: bool = False
) -> list[Leaf]:
    """The leaves of bound arguments, in the order of the placeholders; ReplayError when they do not fit.

    With ``exact`` a container must be of the very kind that the program was exported with.
    """
    flattening = _Flattening(constant, exact)
    for name, tree in (*convention.args, *convention.kwargs):
        flattening.descend(tree, given[name], name)
    return flattening.leaves


class _Flattening:
    def __init__(self, constant: Constant, exact: bool) -> None:
        self.constant = constant
        self.exact = exact
        self.leaves: list[Leaf] = []

    def descend(self, tree: Tree, value: object, path: str) -> None:
        if tree.kind == "leaf":
            self.leaves.append((path, value))
            return
        if self.exact and not _is_of_kind(tree, value, self.constant):
            raise _misfit(tree, path, value)
        parts = _parts(tree, value, path, self.constant)
        if len(parts) != len(tree.children):
            raise _misfit(tree, path, value)
        for place, child, part in zip(_places(tree), tree.children, parts, strict=True):
            self.descend(child, part, f"{path}{place}")


def _places(tree: Tree) -> list[str]:
    """How Python reaches each part of a container."""
    if tree.kind in ("record", "namedtuple"):
        return [f".{key!s}" for key in tree.keys]
    is_keyed = len(tree.keys) == len(tree.children)
    return [f"[{tree.keys[index] if is_keyed else index!r}]" for index in range(len(tree.children))]


def _is_of_kind(tree: Tree, value: object, constant: Constant) -> bool:
    """Whether a container is what torch.export flattens in the same way: by its very class, and an ordered one by order."""
    keys = [constant(key) for key in tree.keys]
    if tree.kind in ("ordereddict", "defaultdict", "deque"):
        cls = {"ordereddict": collections.OrderedDict, "defaultdict": collections.defaultdict}
        if type(value) is not cls.get(tree.kind, collections.deque):
            return False
        if isinstance(value, collections.deque):
            return [value.maxlen] == (keys or [None])
        factory = getattr(value, "default_factory", None)
        made_by = None if tree.cls is None else constant(tree.cls)
        return isinstance(value, dict) and list(value) == keys and factory is made_by
    if tree.kind in ("tuple", "list", "dict"):
        return type(value).__name__ == tree.kind or (tree.kind == "tuple" and type(value) is torch.Size)
    cls_here = None if tree.cls is None else loaded_class(tree.cls.path)
    if tree.kind == "namedtuple" and cls_here is None:
        return getattr(value, "_fields", None) == tuple(map(str, tree.keys))
    is_registered = tree.kind == "namedtuple" or cls_here in pytree.SUPPORTED_NODES
    return cls_here is None or not is_registered or type(value) is cls_here


def _parts(tree: Tree, value: object, path: str, constant: Constant) -> list[object]:
    """What a container that a caller passes holds, in the order of ``tree``."""
    expected = _CLASSES.get(tree.kind)
    if expected is not None and not isinstance(value, expected):
        raise _misfit(tree, path, value)
    try:
        if isinstance(value, dict) and tree.kind in _DICTS:
            keys = [constant(key) for key in tree.keys]
            if set(keys) != set(value):
                raise _misfit(tree, path, value)
            return [value[key] for key in keys]
        if tree.kind == "record":
            return fields_of(value, tuple(str(key) for key in tree.keys))
    except (AttributeError, KeyError) as error:
        raise _misfit(tree, path, value) from error
    assert isinstance(value, tuple | list | collections.deque)
    return list(value)


def _misfit(tree: Tree, path: str, value: object) -> ReplayError:
    kind = _NAMES.get(tree.kind, tree.kind if tree.cls is None else tree.cls.path)
    article = "an" if kind[0] in "aeiouAEIOU" else "a"
    keys = [str(key) if tree.kind in ("record", "namedtuple") else repr(key) for key in tree.keys]
    held = ", ".join(keys) if len(keys) == len(tree.children) > 0 else str(len(tree.children))
    return ReplayError(
        f"{path} must be {article} {kind} of {held}, not {kind_of(value)}.",
        "Pass the same containers that the model was exported with.",
    )


_NAMES = {
    "ordereddict": "OrderedDict",
    "defaultdict": "collections.defaultdict",
    "deque": "collections.deque",
}


_DICTS = frozenset({"dict", "ordereddict", "defaultdict"})
_CLASSES: dict[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("tuple", "list"), (tuple, list)),
    **dict.fromkeys(_DICTS, dict),
    "deque": collections.deque,
    "namedtuple": tuple,
}
"""What a caller may pass for a container of each kind."""


def unflatten(tree: Tree, leaves: Iterator[object], constant: Constant) -> object:
    """The container of structure ``tree`` that holds the next leaves."""
    if tree.kind == "leaf":
        return next(leaves)
    parts = [unflatten(child, leaves, constant) for child in tree.children]
    return _MAKERS[tree.kind](tree, parts, constant)


def _defaultdict(tree: Tree, parts: list[object], constant: Constant) -> object:
    factory = None if tree.cls is None else constant(tree.cls)
    assert factory is None or callable(factory)
    return collections.defaultdict(factory, _pairs(tree, parts, constant))


def _pairs(tree: Tree, parts: list[object], constant: Constant) -> list[tuple[object, object]]:
    return [(constant(key), part) for key, part in zip(tree.keys, parts, strict=True)]


def _deque(tree: Tree, parts: list[object], constant: Constant) -> object:
    (length,) = map(constant, tree.keys or (None,))
    assert length is None or isinstance(length, int)
    return collections.deque(parts, length)


def _record(tree: Tree, parts: list[object], constant: Constant) -> object:
    if tree.cls is None:
        raise ReplayError(f"{with_article(tree.kind)} of the output has no class.")
    return make_record(tree.cls, dict(zip([str(key) for key in tree.keys], parts, strict=True)))


_MAKERS: dict[str, Callable[[Tree, list[object], Constant], object]] = {
    "tuple": lambda tree, parts, constant: tuple(parts),
    "list": lambda tree, parts, constant: parts,
    "dict": lambda tree, parts, constant: dict(_pairs(tree, parts, constant)),
    "ordereddict": lambda tree, parts, constant: collections.OrderedDict(_pairs(tree, parts, constant)),
    "defaultdict": _defaultdict,
    "deque": _deque,
    "namedtuple": _record,
    "record": _record,
}
