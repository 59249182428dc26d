"""Small graphs built by hand, for readers to read back."""

import operator
from collections import namedtuple
from collections.abc import Callable
from typing import Any

import torch
from torch import fx

from fx2py.graph.data import Graph, ModuleRecord, Node

Pair = namedtuple("Pair", "first second")


class Block(torch.nn.Module):
    """A parameter, a buffer, and submodules whose names are no identifiers."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.ReLU())
        self.scale = torch.nn.Parameter(torch.ones(4))
        self.register_buffer("offset", torch.arange(4.0), persistent=False)

    def forward(self, x):
        return self.layers[0](self.layers(x)) * self.scale + self.offset


def traced_block() -> fx.GraphModule:
    """A block with a submodule that two paths lead to."""
    gm = fx.symbolic_trace(Block())
    gm.again = gm.get_submodule("layers.0")
    return gm


def nested() -> fx.GraphModule:
    """A GraphModule that calls another twice."""
    graph = fx.Graph()
    x = graph.placeholder("x")
    inner = graph.call_module("inner", (x,))
    graph.output(graph.call_module("inner", (inner,)))
    return fx.GraphModule({"inner": traced_block()}, graph)


def calling(target: Callable[..., Any], *args: Any, **kwargs: Any) -> fx.GraphModule:
    """A graph of one call; ``"x"`` among the arguments stands for its placeholder."""
    graph = fx.Graph()
    x = graph.placeholder("x")
    given = [x if type(arg) is str and arg == "x" else arg for arg in args]
    graph.output(graph.call_function(target, tuple(given), kwargs))
    return fx.GraphModule({}, graph)


def added() -> fx.GraphModule:
    return calling(operator.add, "x", 1)


def nodes_of(graph: Graph) -> list[tuple[Any, ...]]:
    """What must be equal of two readings: nan equals nan, True is not 1, -0.0 is not 0.0."""
    ordered = sorted(graph.nodes, key=lambda node: node.op != "placeholder")
    return [_key(node) for node in ordered]


def _key(node: Node) -> tuple[Any, ...]:
    name = "output" if node.op == "output" else node.name
    return name, node.op, str(node.target), repr(node.args), repr(node.kwargs)


def assert_same_modules(left: ModuleRecord, right: ModuleRecord) -> None:
    """Two records tell of the same graph, tensors and submodules, at every depth."""
    assert (left.graph is None) == (right.graph is None)
    if left.graph is not None and right.graph is not None:
        assert nodes_of(left.graph) == nodes_of(right.graph)
    assert (left.cls, left.convention) == (right.cls, right.convention)
    for ours, theirs in ((left.parameters, right.parameters), (left.buffers, right.buffers)):
        assert list(ours) == list(theirs)
        for name, tensor in ours.items():
            _assert_same_tensor(tensor, theirs[name])
    assert list(left.children) == list(right.children)
    for name, child in left.children.items():
        other = right.children[name]
        if child is not None and other is not None:
            assert_same_modules(child, other)


def _assert_same_tensor(left: torch.Tensor | None, right: torch.Tensor | None) -> None:
    if left is None or right is None:
        assert left is right
        return
    assert (left.dtype, left.stride(), left.requires_grad) == (
        right.dtype,
        right.stride(),
        right.requires_grad,
    )
    assert type(left) is type(right)
    if left.is_quantized:
        left, right = left.int_repr(), right.int_repr()
    torch.testing.assert_close(left, right, rtol=0, atol=0, equal_nan=True)
