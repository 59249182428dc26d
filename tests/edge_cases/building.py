"""Short ways to put a graph together node by node."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import fx, nn
from torch.fx._lazy_graph_module import _LazyGraphModule


def module_of(graph: fx.Graph, root: Any = None) -> fx.GraphModule:
    """A GraphModule whose own code is never generated, so that names torch.fx cannot print are allowed."""
    return _LazyGraphModule(nn.Module() if root is None else root, graph)


def call_graph(function: Callable[..., Any] | str, *args: Any, **kwargs: Any) -> fx.GraphModule:
    """A graph of one call on its one input ``x``, which stands for every ``X`` among the arguments."""
    graph = fx.Graph()
    x = graph.placeholder("x")
    filled = _filled((args, kwargs), x)
    made = (
        graph.call_method(function, *filled)
        if isinstance(function, str)
        else graph.call_function(function, *filled)
    )
    graph.output(made)
    return fx.GraphModule(nn.Module(), graph)


def lazily(function: Callable[..., Any], *args: Any) -> fx.GraphModule:
    """A graph of one call as ``call_graph`` makes it, of arguments that torch.fx need not be able to print."""
    graph = fx.Graph()
    x = graph.placeholder("x")
    filled = _filled(args, x)
    graph.output(graph.call_function(function, filled))
    return module_of(graph)


def output_graph(result: Any) -> fx.GraphModule:
    """A graph that returns ``result``, in which every ``X`` stands for its one input ``x``."""
    graph = fx.Graph()
    x = graph.placeholder("x")
    graph.output(_filled(result, x))
    return module_of(graph)


def _filled(values: Any, x: fx.Node) -> Any:
    same: Any = X
    return fx.node.map_aggregate(values, lambda leaf: x if leaf is same else leaf)


class _Input:
    """The type of ``X``."""

    def __repr__(self) -> str:
        return "X"


X = _Input()
