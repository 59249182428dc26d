"""The small graphs whose generated code is kept in ``tests/golden``."""

from __future__ import annotations

import collections
import math
import operator
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import fx, nn
from torch.fx.passes.split_module import split_module

import fx2py
from fx2py import GenerateOptions
from fx2py.artifact import Artifact

CASES: dict[str, Callable[[], Artifact]] = {}


def golden(make: Callable[[], Artifact]) -> Callable[[], Artifact]:
    CASES[make.__name__] = make
    return make


class Perceptron(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up = nn.Linear(4, 8)
        self.down = nn.Linear(8, 4)
        self.register_buffer("scale", torch.ones(4))

    def forward(self, x):
        return self.down(torch.relu(self.up(x))) * self.scale + x


def traced_in_blocks() -> fx.GraphModule:
    """Two nested graphs, one of them called twice."""
    root = nn.Module()
    root.norm = nn.LayerNorm(4)
    root.block = fx.symbolic_trace(Perceptron())
    graph = fx.Graph()
    x = graph.placeholder("x")
    hidden = graph.call_module("block", (graph.call_module("norm", (x,)),))
    graph.output(graph.call_module("block", (hidden,)))
    return fx.GraphModule(root, graph)


@golden
def flattened() -> Artifact:
    return fx2py.generate(traced_in_blocks())


@golden
def keep_submodules() -> Artifact:
    return fx2py.generate(traced_in_blocks(), options=GenerateOptions(keep_submodules=True))


@golden
def split() -> Artifact:
    def model(x, y):
        z = torch.relu(x) + y
        left, right = z.chunk(2)
        return left @ right.T, torch.sum(z, dim=-1)

    pieces = {"relu": 0, "add": 0, "chunk": 1, "getitem": 1, "getitem_1": 1}
    traced = fx.symbolic_trace(model)
    return fx2py.generate(
        split_module(traced, nn.Module(), lambda node: pieces.get(node.name, 2)),
        options=GenerateOptions(keep_submodules=True),
    )


def exported_perceptron(**options: Any) -> Artifact:
    program = torch.export.export(Perceptron(), (torch.ones(2, 4),))
    return fx2py.generate(program, options=GenerateOptions(**options))


@golden
def exported() -> Artifact:
    return exported_perceptron()


@golden
def exported_flat() -> Artifact:
    return exported_perceptron(flat=True)


@golden
def exported_exact() -> Artifact:
    return exported_perceptron(exact_ops=True)


@golden
def without_comments() -> Artifact:
    return exported_perceptron(comments=False)


@golden
def dynamic() -> Artifact:
    class Model(nn.Module):
        def forward(self, x, y):
            return torch.cat([x, y]).reshape(-1, 2), x.shape[0] * 2

    rows = torch.export.Dim("rows", min=2, max=1024)
    shapes = ({0: rows}, {0: 2 * rows})
    return fx2py.generate(
        torch.export.export(Model(), (torch.ones(3, 4), torch.ones(6, 4)), dynamic_shapes=shapes)
    )


@golden
def branches() -> Artifact:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(3))

        def forward(self, x):
            return torch.cond(x.sum() > 0, lambda x: x * self.weight, lambda x: x - self.weight, (x,))

    return fx2py.generate(torch.export.export(Model(), (torch.ones(3),)))


@golden
def mutation() -> Artifact:
    class Counter(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("seen", torch.zeros(3))

        def forward(self, x):
            self.seen.add_(x)
            x.mul_(2)
            return self.seen.clone()

    return fx2py.generate(torch.export.export(Counter(), (torch.ones(3),)))


class Pair(NamedTuple):
    first: torch.Tensor
    second: object


@golden
def containers() -> Artifact:
    class Model(nn.Module):
        def forward(self, batch, pair, *, scale):
            ids, (mask, *_) = batch["ids"], batch["rest"]
            table = collections.OrderedDict(sum=ids + mask, pair=Pair(pair.first * scale, [mask]))
            return table, (ids, None, 3)

    batch = {"ids": torch.ones(2), "rest": (torch.ones(2), torch.ones(2))}
    args = (batch, Pair(torch.ones(2), torch.ones(2)))
    return fx2py.generate(torch.export.export(Model(), args, {"scale": torch.ones(1)}))


def by_hand(build: Callable[[fx.Graph, fx.Node], Any]) -> Artifact:
    graph = fx.Graph()
    graph.output(build(graph, graph.placeholder("x")))
    return fx2py.generate(fx.GraphModule(nn.Module(), graph))


@golden
def literals() -> Artifact:
    def build(graph, x):
        clamped = graph.call_function(torch.clamp, (x, -math.inf, math.inf))
        filled = graph.call_function(torch.full_like, (clamped, math.nan), {"dtype": torch.float64})
        scaled = graph.call_function(operator.mul, (filled, complex(0.0, -0.0)))
        indexed = graph.call_function(operator.getitem, (scaled, (slice(None, -1), None, ..., 0)))
        graph.call_function(operator.setitem, (x, slice(1, None, 2), -0.0))
        return {"it's": indexed, "exact": (0.1, 1e22, 2**70, True, b"\x00", range(3)), "set": {3, 1, 2}}

    return by_hand(build)


@golden
def devices() -> Artifact:
    def build(graph, x):
        zeros = graph.call_function(
            torch.zeros, (2,), {"device": torch.device("cuda:1"), "dtype": torch.float16}
        )
        moved = graph.call_method("to", (x, "cuda"))
        ones = graph.call_function(torch.ones, (2,))
        return (zeros, moved, ones)

    return by_hand(build)


@golden
def renamed() -> Artifact:
    class Named(nn.Module):
        def forward(self, torch, weights=None, *rest, nan=1.0, **lambda_):
            return [torch, weights, rest, nan, lambda_]

    return fx2py.generate(fx.symbolic_trace(Named()))
