"""The structure of nested inputs and outputs, from a live ``TreeSpec`` or archived JSON, and the calling conventions it makes.

No class is imported or resolved: a container of any other class keeps the name under which that was registered.
"""

from __future__ import annotations

from collections import defaultdict, namedtuple
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from torch.utils import _pytree as pytree

from fx2py.errors import with_article
from fx2py.graph.data import CallingConvention, Tree, TreeKind
from fx2py.graph.names import dotted_name
from fx2py.graph.values import EnumMember, Name, Value
from fx2py.runtime import field_names
from fx2py.typed_json import Damaged, parse, typed

LEAF = Tree("leaf")
PROTOCOL = 1
"""``DEFAULT_TREESPEC_SERIALIZATION_PROTOCOL`` of torch/utils/_pytree.py."""

_KINDS: dict[str, TreeKind] = {
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
    match parse(text):
        case [protocol, schema] if protocol == PROTOCOL:
            return _tree_of_schema(typed(_Schema, schema), namedtuple_fields or {})
    raise ValueError("a tree of inputs or outputs is of an unknown protocol")


@dataclass(frozen=True, slots=True)
class _Schema:
    """One container as ``treespec_dumps`` writes it: ``_TreeSpecSchema`` of torch/utils/_pytree.py."""

    children_spec: tuple[_Schema, ...]
    type: str | None = None
    context: object = None


def _tree_of_schema(schema: _Schema, fields: Mapping[str, Sequence[str]]) -> Tree:
    kind, context = schema.type, schema.context
    if kind is None:
        return LEAF
    children = tuple(_tree_of_schema(child, fields) for child in schema.children_spec)
    if kind == "collections.namedtuple":
        names = tuple(fields.get(str(context), ())) or tuple(map(str, range(len(children))))
        return Tree("namedtuple", children, names, class_name(str(context)))
    if kind == "collections.defaultdict" and type(context) is dict:
        factory = f"{context.get('default_factory_module')}.{context.get('default_factory_name')}"
        return container_tree(kind, class_name(factory), context.get("dict_context"), children)
    return container_tree(kind, None, _context(context), children)


def _context(context: object) -> object:
    """What the container recorded as JSON; None for a registered class whose context is in a form of its own."""
    try:
        return parse(context) if type(context) is str else context
    except Damaged:
        return None


def container_tree(registered: str, cls: Name | None, context: object, children: tuple[Tree, ...]) -> Tree:
    """The tree of one container; ``context`` is what pytree keeps of it beside its children."""
    kind = _KINDS.get(registered)
    if kind == "tuple" or kind == "list":
        return Tree(kind, children)
    if kind == "deque":
        return Tree("deque", children, () if context is None else (_key(context),))
    if kind == "dict" or kind == "ordereddict" or kind == "defaultdict":
        keys = tuple(_key(key) for key in context) if isinstance(context, list) else ()
        if len(keys) != len(children):
            raise ValueError(
                f"{with_article(kind)} of the inputs or outputs does not have as many keys as values"
            )
        return Tree(kind, children, keys, cls)
    return Tree("record", children, field_names(context, len(children)), class_name(registered))


def _key(key: object) -> Value:
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


def _class_name(cls: type) -> Name:
    return class_name(f"{cls.__module__}.{cls.__qualname__}")


def pytree_convention(
    parameters: Sequence[str], inputs: Tree, output: Tree | None, placeholders: int
) -> CallingConvention:
    """How a graph with ``_PyTreeCodeGen`` (torch/fx/graph.py) is called.

    ``inputs`` is a tuple with an entry for each parameter, or a pair of a tuple of positional and a dict of keyword
    arguments. Raises ValueError when its leaves are not as many as the placeholders.
    """
    names, trees, keywords = list(parameters), inputs.children, 0
    if names[:1] == ["self"] and len(trees) == len(names):
        names, trees = names[1:], trees[1:]
    elif _has_keywords(inputs):
        keywords = len(trees[1].children)
        names, trees = names[names[:1] == ["self"] :], (*trees[0].children, *trees[1].children)
    if len(names) != len(trees) or sum(tree.leaf_count for tree in trees) != placeholders:
        raise ValueError(f"its parameters {', '.join(parameters)} do not fit its {placeholders} placeholders")
    pairs = tuple(zip(names, trees, strict=True))
    split = len(pairs) - keywords
    return CallingConvention(pairs[:split], pairs[split:], output)


Signature: TypeAlias = tuple[Sequence[str], Tree, Tree | None]
"""The caller's parameters, the structure of the inputs and that of the result."""


def convention_of(codegen: str, signature: Signature | None, placeholders: int) -> CallingConvention | None:
    """How a graph is called, from the class of its code generator and the signature that one for pytrees records.

    None where the caller passes the placeholders one by one. Raises ValueError for any other class.
    """
    if codegen == "torch.fx.graph._BoxedCodeGen":
        return boxed_convention("args_list", placeholders)
    if codegen == "torch.fx.graph._PyTreeCodeGen" and signature is not None:
        return pytree_convention(*signature, placeholders)
    if codegen not in ("torch.fx.graph.CodeGen", "torch.fx.graph._PyTreeCodeGen"):
        raise ValueError(f"its code generator {codegen} has a calling convention of its own")
    return None


def boxed_convention(parameter: str, placeholders: int) -> CallingConvention:
    """The convention of a graph that takes all its inputs in one list."""
    leaves = tuple(Tree("leaf") for _ in range(placeholders))
    return CallingConvention(((parameter, Tree("list", leaves)),), (), None)


def _has_keywords(inputs: Tree) -> bool:
    return [inputs.kind, *(child.kind for child in inputs.children)] == ["tuple", "tuple", "dict"]
