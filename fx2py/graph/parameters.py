"""A caller's arguments bound to placeholders, as Python binds them to the parameters of a function."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from fx2py.graph.data import Node
from fx2py.graph.values import Value

T = TypeVar("T")


class Unbound(ValueError):
    """Why arguments do not fit the placeholders, phrased to follow "the arguments do not fit:"."""


def bind_arguments(
    placeholders: Iterable[Node],
    args: Sequence[T],
    kwargs: Mapping[str, T],
    default: Callable[[Value], T],
    keywords: Callable[[Mapping[str, T]], T],
) -> dict[str, T | tuple[T, ...]]:
    """The value of each placeholder by node name: ``*args`` and ``**kwargs`` take the rest, defaults fill in.

    ``default`` gives the value of a default, ``keywords`` that of the rest of the keyword arguments. Raises Unbound,
    which names the argument that is missing, given twice or without a parameter.
    """
    bound: dict[str, T | tuple[T, ...]] = {}
    positional, named = list(args), dict(kwargs)
    for node in placeholders:
        parameter = str(node.target)
        if parameter.startswith("**"):
            bound[node.name], named = keywords(named), {}
        elif parameter.startswith("*"):
            bound[node.name], positional = tuple(positional), []
        elif positional:
            if parameter in named:
                raise Unbound(f"the argument {parameter!r} is given twice")
            bound[node.name] = positional.pop(0)
        elif parameter in named:
            bound[node.name] = named.pop(parameter)
        elif node.args:
            bound[node.name] = default(node.args[0])
        else:
            raise Unbound(f"the argument {parameter!r} is missing")
    if positional:
        raise Unbound(f"{len(args)} positional arguments are too many")
    if named:
        raise Unbound(f"there is no parameter for {', '.join(map(repr, named))}")
    return bound
