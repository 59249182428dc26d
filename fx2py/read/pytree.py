"""The structure of nested inputs and outputs, from a live ``TreeSpec`` or from the JSON text that an archive holds.

No class is imported or resolved: a container of a class of its own keeps the name under which it was registered.
"""

from __future__ import annotations

import json
from collections import defaultdict, namedtuple
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any

from torch.utils import _pytree as pytree

from fx2py.graph.data import Tree
from fx2py.graph.names import dotted_name
from fx2py.graph.values import EnumMember, Name, Value
from fx2py.runtime import field_names

LEAF = Tree("leaf")
PROTOCOL = 1

_KINDS = {
    "builtins.tuple": "tuple",
    "builtins.list": "list",
    "builtins.dict": "dict",
    "collections.OrderedDict": "ordereddict",
    "collections.defaultdict": "defaultdict",
    "collections.deque": "deque",
    "collections.namedtuple": "namedtuple",
}
_PLAIN_KEYS = (str, int, float, bool, type(None))


def class_name(path: str) -> Name:
    """The canonical name of the class at a dotted path."""
    name = dotted_name(path)
    return name if isinstance(name, Name) else Name(*path.rsplit(".", 1))


def tree_of_spec(spec: pytree.TreeSpec) -> Tree:
    """The structure that a live ``TreeSpec`` describes; equal to ``tree_of_json(treespec_dumps(spec))``."""
    if spec.type is None:
        return LEAF
    children = tuple(tree_of_spec(child) for child in spec.children())
    if pytree.is_namedtuple_class(spec.type) or spec.type is namedtuple:
        return Tree("namedtuple", children, tuple(spec.context._fields), _registered_name(spec.context))
    if spec.type is defaultdict:
        factory, keys = spec.context
        cls = None if factory is None else _class_name(factory)
        return container_tree("collections.defaultdict", cls, keys, children)
    return container_tree(_registered_name(spec.type).path, None, spec.context, children)


def tree_of_json(text: str, namedtuple_fields: Mapping[str, Sequence[str]] | None = None) -> Tree:
    """The structure that ``treespec_dumps`` text describes; ValueError when it is not such text.

    ``namedtuple_fields`` gives the field names of a namedtuple class by its registered name.
    """
    document = json.loads(text)
    if type(document) is not list or len(document) != 2 or document[0] != PROTOCOL:
        raise ValueError("a tree of inputs or outputs is of an unknown protocol")
    return _tree_of_schema(document[1], namedtuple_fields or {})


def _tree_of_schema(schema: Any, fields: Mapping[str, Sequence[str]]) -> Tree:
    if type(schema) is not dict or type(schema.get("children_spec")) is not list:
        raise ValueError("a tree of inputs or outputs is damaged")
    kind, context = schema.get("type"), schema.get("context")
    if kind is None:
        return LEAF
    if type(kind) is not str:
        raise ValueError("a tree of inputs or outputs names its class by something that is no text")
    children = tuple(_tree_of_schema(child, fields) for child in schema["children_spec"])
    if kind == "collections.namedtuple":
        names = tuple(fields.get(str(context), ())) or _ordinals(len(children))
        return Tree("namedtuple", children, names, class_name(str(context)))
    if kind == "collections.defaultdict" and type(context) is dict:
        factory = f"{context.get('default_factory_module')}.{context.get('default_factory_name')}"
        return container_tree(kind, class_name(factory), context.get("dict_context"), children)
    return container_tree(kind, None, _context(context), children)


def _context(context: Any) -> Any:
    """What a class recorded; a class may write it in a form of its own, which then says nothing here."""
    try:
        return json.loads(context) if type(context) is str else context
    except json.JSONDecodeError:
        return None


def container_tree(registered: str, cls: Name | None, context: Any, children: tuple[Tree, ...]) -> Tree:
    """The tree of one container; ``context`` is what its class recorded beside the children."""
    kind = _KINDS.get(registered)
    if kind in ("tuple", "list"):
        return Tree(kind, children)  # type: ignore[arg-type]
    if kind == "deque":
        return Tree("deque", children, () if context is None else (_key(context),))
    if kind in ("dict", "ordereddict", "defaultdict"):
        keys = tuple(_key(key) for key in context) if isinstance(context, list) else ()
        if len(keys) != len(children):
            raise ValueError(f"a {kind} of the inputs or outputs has not as many keys as values")
        return Tree(kind, children, keys, cls)  # type: ignore[arg-type]
    return Tree("record", children, field_names(context, len(children)), class_name(registered))


def _ordinals(count: int) -> tuple[Value, ...]:
    return tuple(str(index) for index in range(count))


def _key(key: Any) -> Value:
    if isinstance(key, Enum):
        return EnumMember(_class_name(type(key)), key.name)
    if type(key) is dict and "__enum__" in key:
        return EnumMember(class_name(str(key.get("fqn")).replace(":", ".")), str(key.get("name")))
    if not isinstance(key, _PLAIN_KEYS):
        raise ValueError(f"a dict of the inputs or outputs has a key of type {type(key).__name__}")
    return key


def _registered_name(cls: type) -> Name:
    """The name under which a class is registered as a container, else its own."""
    definition = pytree.SUPPORTED_SERIALIZED_TYPES.get(cls)
    name = definition.serialized_type_name if definition else pytree.NO_SERIALIZED_TYPE_NAME_FOUND
    return _class_name(cls) if name == pytree.NO_SERIALIZED_TYPE_NAME_FOUND else class_name(name)


def _class_name(cls: Any) -> Name:
    return class_name(f"{cls.__module__}.{cls.__qualname__}")
