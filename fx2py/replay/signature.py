"""How a graph is called: a caller's arguments become the values of placeholders, flat results become containers."""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterator, Mapping, Sequence

from fx2py.errors import ReplayError
from fx2py.graph.data import CallingConvention, GraphData, Node, Tree
from fx2py.graph.parameters import Unbound, bind_arguments
from fx2py.graph.values import Value
from fx2py.program.input_table import demand_object, input_table
from fx2py.replay.objects import make_record
from fx2py.runtime import fields_of
from fx2py.runtime.checks import InputError, input_checks

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


def input_checker(data: GraphData, constant: Constant) -> Callable[..., None]:
    """A function of bound arguments, parameter by parameter, that raises ReplayError where the program refuses one.

    The checks are those of generated code. A graph that records none admits everything.
    """
    table = None
    if data.contract is not None and data.convention is not None:
        table, _ = input_table(data.contract, data.convention)
    if table is None:
        return _admit
    demands = {name: demand_object(demand, constant) for name, demand in table.demands}
    check = input_checks(demands, {name: (low, high) for name, low, high in table.ranges}, table.guards)

    def refuse_misfits(*arguments: object) -> None:
        try:
            check(*arguments)
        except InputError as error:
            hint = "Pass inputs of the shapes and structure that the model was exported for."
            raise ReplayError(f"{error}.", hint) from None

    return refuse_misfits


def _admit(*arguments: object) -> None:
    """The check of a graph that records none."""


# -- containers to leaves and back, as torch.utils._pytree flattens them


def flatten_inputs(
    convention: CallingConvention, given: Mapping[str, object], constant: Constant
) -> list[object]:
    """The leaves of bound arguments, in the order of the placeholders; ReplayError when they do not fit."""
    leaves: list[object] = []
    for name, tree in (*convention.args, *convention.kwargs):
        _flatten(tree, given[name], leaves, name, constant)
    return leaves


def _flatten(tree: Tree, value: object, leaves: list[object], path: str, constant: Constant) -> None:
    if tree.kind == "leaf":
        leaves.append(value)
        return
    parts = _parts(tree, value, path, constant)
    if len(parts) != len(tree.children):
        raise _misfit(tree, path)
    is_keyed = len(tree.keys) == len(tree.children)
    for index, (child, part) in enumerate(zip(tree.children, parts, strict=True)):
        _flatten(child, part, leaves, f"{path}[{tree.keys[index] if is_keyed else index!r}]", constant)


def _parts(tree: Tree, value: object, path: str, constant: Constant) -> list[object]:
    """What a container that a caller passes holds, in the order of ``tree``."""
    expected = _CLASSES.get(tree.kind)
    if expected is not None and not isinstance(value, expected):
        raise _misfit(tree, path)
    try:
        if isinstance(value, dict) and tree.kind in _DICTS:
            keys = [constant(key) for key in tree.keys]
            if set(keys) != set(value):
                raise _misfit(tree, path)
            return [value[key] for key in keys]
        if tree.kind == "record":
            return fields_of(value, tuple(str(key) for key in tree.keys))
    except (AttributeError, KeyError) as error:
        raise _misfit(tree, path) from error
    assert isinstance(value, tuple | list | collections.deque)
    return list(value)


def _misfit(tree: Tree, path: str) -> ReplayError:
    kind = tree.kind if tree.cls is None or tree.kind == "defaultdict" else tree.cls.path
    return ReplayError(
        f"the argument {path} does not have the structure that the graph takes: {kind} of {len(tree.children)}.",
        "Pass the same containers that the model was exported with.",
    )


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
        raise ReplayError(f"a {tree.kind} of the output has no class.")
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
