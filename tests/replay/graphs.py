"""Small graphs written by hand, as the tests of the reference run need them."""

from __future__ import annotations

from typing import Any

from fx2py.graph.data import Graph, GraphData, ModuleRecord, Node, Provenance
from fx2py.graph.values import Name, Ref

ROOT = Name("torch.fx.graph_module", "GraphModule")


def call(name: str, target: Any, *args: Any, **kwargs: Any) -> Node:
    return Node(name, "call_function", target, args, tuple(kwargs.items()))


def placeholder(name: str, *default: Any) -> Node:
    return Node(name.lstrip("*"), "placeholder", name, default)


def output(value: Any) -> Node:
    return Node("output", "output", "output", (value,))


def record(*nodes: Node, **parts: Any) -> ModuleRecord:
    return ModuleRecord(ROOT, graph=Graph(nodes), **parts)


def data(*nodes: Node, **parts: Any) -> GraphData:
    return GraphData(record(*nodes, **parts), Provenance("test"))


def one_call(target: Any, *args: Any, **kwargs: Any) -> GraphData:
    """A graph that takes ``x`` and returns one call; ``Ref("x")`` stands for the input."""
    return data(placeholder("x"), call("result", target, *args, **kwargs), output(Ref("result")))
