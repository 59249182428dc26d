"""The structure of nested inputs and outputs as a pickled ``TreeSpec`` describes it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fx2py.graph.data import Tree
from fx2py.graph.values import Name
from fx2py.read.pickled.records import Built, Global, Mapping, PickleFault
from fx2py.read.pickled.values import name_of
from fx2py.read.pytree import LEAF, container_tree

_SPECS = frozenset({"torch.utils._pytree.TreeSpec", "torch.utils._pytree.LeafSpec"})
_FIELDS = (("type",), ("context", "_context"), ("children", "_children", "children_specs"))
_MAX_PARTS = 200_000
"""A pickle may share its parts: a few that hold each other twice describe a structure without end."""
_NAMED_TUPLE = "collections.namedtuple"
_DEFAULT_DICT = "collections.defaultdict"


def tree_of_pickled(obj: Any) -> Tree | None:
    """The tree of a pickled spec; None for None. PickleFault or ValueError when the object is no spec."""
    return None if obj is None else _tree(obj, iter(range(_MAX_PARTS)))


def _tree(obj: Any, left: Iterator[int]) -> Tree:
    if next(left, None) is None:
        raise PickleFault("the structure of the inputs or outputs is too large")
    kind, context, children = _fields(obj)
    if kind is None:
        return LEAF
    if type(kind) is not Global or type(children) is not list:
        raise PickleFault("the structure of the inputs or outputs is damaged")
    return _container(kind, context, tuple([_tree(child, left) for child in children]))


def _fields(obj: Any) -> tuple[Any, Any, Any]:
    if type(obj) is Built and obj.path in _SPECS:
        if type(obj.state) is list and len(obj.state) >= len(_FIELDS):
            return obj.state[0], obj.state[1], obj.state[2]
        if type(obj.state) is Mapping:
            state = obj.state.by_name()
            kind, context, children = (next((state[k] for k in keys if k in state), None) for keys in _FIELDS)
            return kind, context, children
    raise PickleFault("the structure of the inputs or outputs is of an unknown kind")


def _container(kind: Global, context: Any, children: tuple[Tree, ...]) -> Tree:
    if kind.path == _NAMED_TUPLE:
        ordinals = tuple(str(index) for index in range(len(children)))
        return Tree("namedtuple", children, ordinals, _class(context))
    if kind.path == _DEFAULT_DICT:
        factory, keys = context if type(context) is list and len(context) == 2 else (None, None)
        return container_tree(kind.path, _class(factory), _plain(keys), children)
    return container_tree(kind.path, None, _plain(context), children)


def _class(obj: Any) -> Name | None:
    return name_of(obj) if type(obj) is Global else None


def _plain(context: Any) -> Any:
    """Recorded keys and field names; what is neither says nothing about the structure."""
    return list(context) if type(context) is tuple else context
