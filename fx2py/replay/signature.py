"""A call's arguments bound to placeholders as Python binds them to parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fx2py.errors import ReplayError
from fx2py.graph.data import Node


def bind_arguments(
    placeholders: tuple[Node, ...],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    constant: Callable[[Any], Any],
) -> dict[str, Any]:
    """The value of each placeholder by node name; ``*args`` and ``**kwargs`` take the rest, defaults fill in.

    Raises ReplayError that names the argument that is missing or has no parameter.
    """
    env: dict[str, Any] = {}
    positional, named = list(args), dict(kwargs)
    for node in placeholders:
        parameter = str(node.target)
        if parameter.startswith("**"):
            env[node.name], named = named, {}
        elif parameter.startswith("*"):
            env[node.name], positional = tuple(positional), []
        elif positional:
            env[node.name] = positional.pop(0)
        elif parameter in named:
            env[node.name] = named.pop(parameter)
        elif node.args:
            env[node.name] = constant(node.args[0])
        else:
            raise _misfit(placeholders, f"the argument {parameter!r} is missing")
    if positional:
        raise _misfit(placeholders, f"{len(args)} positional arguments are too many")
    if named:
        raise _misfit(
            placeholders, f"there is no parameter for {', '.join(map(repr, named))}, or it is given twice"
        )
    return env


def _misfit(placeholders: tuple[Node, ...], reason: str) -> ReplayError:
    parameters = ", ".join(str(node.target) for node in placeholders)
    return ReplayError(f"the arguments do not fit: {reason}.", f"The graph takes ({parameters}).")
