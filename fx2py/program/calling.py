"""Calling conventions: from a caller's arguments to placeholders, and from flat results to the caller's containers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from fx2py.graph.data import CallingConvention, Graph, Node, Tree
from fx2py.graph.values import Dict, List, Name, Record, Ref, walk
from fx2py.program.ir import REQUIRED, Assign, Call, Local, Parameter, Statement
from fx2py.program.literals import needs_slot
from fx2py.program.scope import Scope

Refuse = Callable[[str, str], None]
_GETITEM = Name("operator", "getitem")
_GETATTR = Name("builtins", "getattr")


def parameters_of(
    graph: Graph, convention: CallingConvention | None, scope: Scope, env: dict[str, Any], refuse: Refuse
) -> tuple[Parameter, ...]:
    """The function's parameters; a placeholder that is a parameter itself gets its variable in ``env``."""
    if convention is not None:
        names = [name for name, _ in (*convention.args, *convention.kwargs)]
        return tuple(Parameter(scope.fresh(name), name) for name in names)
    parameters: list[Parameter] = []
    kind: Any = "positional"
    for node in graph.placeholders:
        parameter = _parameter(node, kind, scope, refuse)
        if parameter.kind == "var_positional":
            kind = "keyword_only"
        if (
            kind == "positional"
            and parameter.default is REQUIRED
            and parameters
            and parameters[-1].default is not REQUIRED
        ):
            refuse(node.name, "a parameter without a default follows one with a default")
        parameters.append(parameter)
        env[node.name] = Ref(parameter.name)
    return tuple(parameters)


def _parameter(node: Node, kind: Any, scope: Scope, refuse: Refuse) -> Parameter:
    public = str(node.target)
    if public.startswith("**"):
        return Parameter(scope.fresh(public[2:]), public[2:], "var_keyword", REQUIRED, node)
    if public.startswith("*"):
        return Parameter(scope.fresh(public[1:]), public[1:], "var_positional", REQUIRED, node)
    default = node.args[0] if node.args else REQUIRED
    if default is not REQUIRED and any(needs_slot(part) or isinstance(part, Ref) for part in walk(default)):
        refuse(node.name, "the default of the parameter has no exact text")
        default = None
    return Parameter(scope.fresh(public), public, kind, default, node)


def unpack_inputs(
    graph: Graph,
    convention: CallingConvention,
    parameters: tuple[Parameter, ...],
    scope: Scope,
    env: dict[str, Any],
    refuse: Refuse,
) -> list[Statement]:
    """Statements that take the placeholders' values out of the containers a caller passes."""
    statements: list[Statement] = []
    leaves: list[Any] = []
    placeholders = graph.placeholders

    def descend(tree: Tree, value: Ref) -> None:
        if tree.kind == "leaf":
            leaves.append(value)
            return
        parent = value
        if tree.kind == "record":
            parent = Ref(scope.fresh(f"{value.name}_fields"))
            statements.append(
                Assign(parent.name, Call(Local("fields_of"), (value, tuple(map(str, tree.keys)))))
            )
        for index, child in enumerate(tree.children):
            by_key = tree.kind in ("dict", "ordereddict", "defaultdict")
            key: Any = tree.keys[index] if by_key else index
            wish = placeholders[len(leaves)].name if len(leaves) < len(placeholders) else "leaf"
            item = Ref(scope.fresh(wish if child.kind == "leaf" else f"{value.name}_{key!s}"))
            statements.append(Assign(item.name, Call(_GETITEM, (parent, key))))
            descend(child, item)

    for parameter, (_, tree) in zip(parameters, (*convention.args, *convention.kwargs), strict=True):
        descend(tree, Ref(parameter.name))
    if len(leaves) != len(placeholders):
        refuse(
            "inputs", f"the calling convention has {len(leaves)} leaves for {len(placeholders)} placeholders"
        )
    env.update((node.name, value) for node, value in zip(placeholders, leaves, strict=False))
    return statements


def pack_result(tree: Tree, result: Any, refuse: Refuse) -> Any:
    """The flat result put into the containers that the caller gets."""
    flat = result.items if isinstance(result, List) else result
    if not isinstance(flat, tuple) or len(flat) != tree.leaf_count:
        refuse("output", f"the result does not have the {tree.leaf_count} leaves of its structure")
        return None
    unbuilt = sorted(_kinds(tree) & _UNBUILT)
    if unbuilt:
        refuse("output", f"the result holds a {' and a '.join(unbuilt)}, which no literal builds")
        return None
    return _pack(tree, iter(flat))


def _pack(tree: Tree, leaves: Iterator[Any]) -> Any:
    if tree.kind == "leaf":
        return next(leaves)
    parts = tuple([_pack(child, leaves) for child in tree.children])
    if tree.kind == "tuple":
        return parts
    if tree.kind == "list":
        return List(parts)
    if tree.kind in _DICT_CLASSES:
        return Dict(tuple(zip(tree.keys, parts, strict=True)), _DICT_CLASSES[tree.kind])
    if tree.cls is None:
        raise ValueError(f"a {tree.kind} without a class")
    return Record(tree.cls, tuple(zip(map(str, tree.keys), parts, strict=True)))


_DICT_CLASSES: dict[str, Name | None] = {
    "dict": None,
    "ordereddict": Name("collections", "OrderedDict"),
}
_UNBUILT = frozenset({"defaultdict", "deque"})
"""Containers that hold more than their items: a default factory, a limit."""


def _kinds(tree: Tree) -> set[str]:
    return {tree.kind}.union(*map(_kinds, tree.children))


def bind_arguments(
    graph: Graph,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    env: dict[str, Any],
    convert_default: Callable[[Any], Any],
) -> str:
    """Bind a call's arguments to a nested graph's placeholders as Python would; returns what does not fit, or ''."""
    positional = list(args)
    left = dict(kwargs)
    for node in graph.placeholders:
        name = str(node.target)
        if name.startswith("**"):
            env[node.name] = Dict(tuple(left.items()))
            left = {}
        elif name.startswith("*"):
            env[node.name] = tuple(positional)
            positional = []
        elif positional:
            if name in left:
                return f"{name!r} is given twice"
            env[node.name] = positional.pop(0)
        elif name in left:
            env[node.name] = left.pop(name)
        elif node.args:
            env[node.name] = convert_default(node.args[0])
        else:
            return f"{name!r} is missing"
    if positional or left:
        return "there are more arguments than placeholders"
    return ""
