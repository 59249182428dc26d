"""Calling conventions: a caller's arguments flattened to placeholders, flat results unflattened for the caller."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from fx2py.errors import with_article
from fx2py.graph import values as language
from fx2py.graph.data import CallingConvention, Graph, Node, Tree
from fx2py.program import ir
from fx2py.program.exact_text import fault_of, needs_slot
from fx2py.program.identifiers import FreshNames

Refuse = Callable[[str, str], None]
_BOUND = (
    language.Ref,
    language.Attribute,
    language.OpName,
    language.Opaque,
    language.SymExpr,
    language.TensorValue,
    language.Record,
)
"""What only the body of a function can name; defaults are evaluated outside of it."""


def parameters_of(
    graph: Graph,
    convention: CallingConvention | None,
    names: FreshNames,
    env: dict[str, ir.Operand],
    refuse: Refuse,
) -> tuple[ir.Parameter, ...]:
    """The function's parameters; ``env`` gets the variable of each placeholder that is itself a parameter."""
    if convention is not None:
        return tuple(_parameters_by_convention(graph, convention, names))
    parameters: list[ir.Parameter] = []
    kind: ir.ParameterKind = "positional"
    for node in graph.placeholders:
        parameter = _parameter(node, kind, names, refuse)
        if parameter.kind == "var_positional":
            kind = "keyword_only"
        if (
            kind == "positional"
            and parameter.default is ir.REQUIRED
            and parameters
            and parameters[-1].default is not ir.REQUIRED
        ):
            refuse(node.name, "a parameter without a default follows one with a default")
        parameters.append(parameter)
        env[node.name] = language.Ref(parameter.name)
    return tuple(parameters)


def _parameters_by_convention(
    graph: Graph, convention: CallingConvention, names: FreshNames
) -> Iterator[ir.Parameter]:
    """A parameter for each container or value that a caller passes, with the placeholder's node where it is a value."""
    placeholders, first = graph.placeholders, 0
    for name, tree in (*convention.args, *convention.kwargs):
        is_value = tree.kind == "leaf" and first < len(placeholders)
        origin = placeholders[first] if is_value else None
        yield ir.Parameter(names.fresh(name), name, origin=origin)
        first += tree.leaf_count


def _parameter(node: Node, kind: ir.ParameterKind, names: FreshNames, refuse: Refuse) -> ir.Parameter:
    public = str(node.target)
    if public.startswith("**"):
        return ir.Parameter(names.fresh(public[2:]), public[2:], "var_keyword", ir.REQUIRED, node)
    if public.startswith("*"):
        return ir.Parameter(names.fresh(public[1:]), public[1:], "var_positional", ir.REQUIRED, node)
    default = node.args[0] if node.args else ir.REQUIRED
    if default is not ir.REQUIRED and not _has_text(default):
        refuse(node.name, "the default of the parameter has no exact text")
        default = None
    return ir.Parameter(names.fresh(public), public, kind, default, node)


def _has_text(value: language.Value) -> bool:
    return not fault_of(value) and not any(
        needs_slot(part) or isinstance(part, _BOUND) for part in language.walk(value)
    )


def unpack_inputs(
    graph: Graph,
    convention: CallingConvention,
    parameters: tuple[ir.Parameter, ...],
    names: FreshNames,
    env: dict[str, ir.Operand],
    refuse: Refuse,
) -> list[ir.Statement]:
    """Statements that take the placeholders' values out of the caller's containers."""
    statements: list[ir.Statement] = []
    leaves: list[ir.Operand] = []
    placeholders = graph.placeholders

    def descend(tree: Tree, value: language.Ref) -> None:
        if tree.kind == "leaf":
            leaves.append(value)
            return
        parent = value
        if tree.kind == "record":
            parent = language.Ref(names.fresh(f"{value.name}_fields"))
            statements.append(
                ir.Assign(parent.name, ir.Call(ir.Local(ir.FIELDS_OF), (value, tuple(map(str, tree.keys)))))
            )
        for index, child in enumerate(tree.children):
            by_key = tree.kind in ("dict", "ordereddict", "defaultdict")
            key: language.Value = tree.keys[index] if by_key else index
            wish = placeholders[len(leaves)].name if len(leaves) < len(placeholders) else "leaf"
            item = language.Ref(names.fresh(wish if child.kind == "leaf" else f"{value.name}_{key!s}"))
            statements.append(ir.Assign(item.name, ir.Call(language.GETITEM, (parent, key))))
            descend(child, item)

    for parameter, (_, tree) in zip(parameters, (*convention.args, *convention.kwargs), strict=True):
        descend(tree, language.Ref(parameter.name))
    if len(leaves) != len(placeholders):
        refuse(
            "inputs", f"the calling convention has {len(leaves)} leaves for {len(placeholders)} placeholders"
        )
    env.update((node.name, value) for node, value in zip(placeholders, leaves, strict=False))
    return statements


def pack_result(tree: Tree, result: ir.Operand, refuse: Refuse) -> ir.Operand:
    """The flat result in the containers that the caller gets."""
    flat = result.items if isinstance(result, language.List) else result
    if not isinstance(flat, tuple) or len(flat) != tree.leaf_count:
        refuse("output", f"the result does not have the {tree.leaf_count} leaves of its structure")
        return None
    return _pack(tree, iter(flat))


def _pack(tree: Tree, leaves: Iterator[ir.Operand]) -> ir.Operand:
    if tree.kind == "leaf":
        return next(leaves)
    parts = tuple([_pack(child, leaves) for child in tree.children])
    if tree.kind == "tuple":
        return parts
    if tree.kind == "list":
        return language.List(parts)
    if tree.kind in _DICT_CLASSES:
        factory = tree.cls if tree.kind == "defaultdict" else None
        return language.Dict(tuple(zip(tree.keys, parts, strict=True)), _DICT_CLASSES[tree.kind], factory)
    # ``deque(iterable, maxlen)``, the arguments of its constructor, make it a record like any other.
    if tree.kind == "deque":
        parts = (language.List(parts), *tree.keys)
    made = container_of(tree)
    if made is None:
        raise ValueError(f"{with_article(tree.kind)} without a class")
    return language.Record(made.cls, tuple(zip(made.fields, parts, strict=True)))


def container_of(tree: Tree) -> ir.ContainerClass | None:
    """The class whose instances hold a part of the result; None for what Python writes as a display (``[x]``)."""
    if tree.kind == "deque":
        return ir.ContainerClass(
            language.Name("collections", "deque"), ("iterable", "maxlen")[: 1 + len(tree.keys)]
        )
    if tree.cls is None or tree.kind == "defaultdict":
        return None
    return ir.ContainerClass(tree.cls, tuple(map(str, tree.keys)))


_DICT_CLASSES: dict[str, language.Name | None] = {
    "dict": None,
    "ordereddict": language.ORDERED_DICT,
    "defaultdict": language.DEFAULTDICT,
}


def as_parameters(function: ir.Function | None, kwargs: ir.Keywords) -> ir.Keywords:
    """Keyword arguments renamed from the callers' names to those of a generated function's parameters."""
    named = [each for each in function.parameters if not each.kind.startswith("var_")] if function else []
    names = {each.public_name: each.name for each in named}
    return tuple([(names.get(name, name), value) for name, value in kwargs])
