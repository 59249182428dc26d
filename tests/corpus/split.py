"""Graphs cut by split_module: the stitching graph with its pieces, and single pieces."""

from torch import fx, nn, randn
from torch.fx.passes.split_module import split_module

from tests.corpus.registry import graph


def matrix():
    return (randn(3, 4),)


class Stack(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(4, 4) for _ in range(3)])
        self.scale = nn.Parameter(randn(4))

    def forward(self, x):
        start = x
        for layer in self.layers:
            x = layer(x).relu() * self.scale
        return x + start, start.sum()


def cut(traced, piece_of):
    return split_module(traced, nn.Module(), piece_of, keep_original_order=True)


def by_layer(node):
    """Each linear layer opens the next piece."""
    seen = [earlier for earlier in node.graph.nodes if earlier.op == "call_module" and earlier <= node]
    return len(seen)


def stitched():
    return cut(fx.symbolic_trace(Stack()), by_layer)


@graph("built", args=matrix)
def stitching_graph(x):
    return stitched()


@graph("built", args=lambda: (randn(3, 4), randn(4)))
def one_piece(x, scale):
    return stitched().submod_1


@graph("built", args=lambda: (randn(4, 4), randn(4, 4)))
def pieces_with_several_results(x, y):
    def model(x, y):
        a, b = x + y, x - y
        c, d = a @ b, a * b
        return c.relu() + d, b, c

    wanted = {"add": 0, "sub": 0, "matmul": 1, "mul": 1}
    return cut(fx.symbolic_trace(model), lambda node: wanted.get(node.name, 2))


@graph("built", args=lambda: (randn(2, 3), randn(2, 3)))
def piece_without_results(x, y):
    def model(x, y):
        x.add_(1)
        return y * 2

    return cut(fx.symbolic_trace(model), lambda node: 0 if node.name == "add_" else 1)


@graph("built", args=matrix)
def split_twice(x):
    outer = stitched()
    inner = cut(outer.submod_1, lambda node: 0 if node.op == "call_module" else 1)
    outer.submod_1 = inner
    return outer


@graph("built", args=matrix)
def split_with_leaf_modules(x):
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 2))
    return cut(fx.symbolic_trace(model), lambda node: int(node.name != "_0"))
