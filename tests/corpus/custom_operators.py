"""Graphs with operators of a library of this file's own."""

from functools import partial

import torch
from torch import nn, randn

from tests.corpus.registry import graph

LIBRARY = "fx2py_corpus"


@torch.library.custom_op(f"{LIBRARY}::scaled_sum", mutates_args=())
def scaled_sum(x: torch.Tensor, y: torch.Tensor, scale: float = 1.0) -> torch.Tensor:
    return (x + y) * scale


@scaled_sum.register_fake
def _(x, y, scale=1.0):
    return torch.empty_like(x)


@torch.library.custom_op(f"{LIBRARY}::accumulate", mutates_args={"total"})
def accumulate(total: torch.Tensor, x: torch.Tensor) -> None:
    total.add_(x)


@torch.library.custom_op(f"{LIBRARY}::halves", mutates_args=())
def halves(x: torch.Tensor) -> list[torch.Tensor]:
    return [part.clone() for part in x.chunk(2)]


@halves.register_fake
def _(x):
    return [torch.empty_like(part) for part in x.chunk(2)]


NEEDS = {"ops": (LIBRARY,)}
custom = partial(graph, needs=NEEDS)


def two_vectors():
    return (randn(4), randn(4))


@custom("symbolic_trace", args=two_vectors)
@custom("make_fx", args=two_vectors)
@custom("export", args=two_vectors)
@custom("compile", args=two_vectors)
class CustomOperator(nn.Module):
    def forward(self, x, y):
        total = torch.ops.fx2py_corpus.scaled_sum(x, y, scale=2.0)
        return torch.ops.fx2py_corpus.scaled_sum.default(total, y)


@custom("export_non_strict", args=two_vectors)
@custom("export_decomposed", args=two_vectors)
@custom("compile", args=two_vectors)
@custom("make_fx", args=two_vectors)
class CustomMutation(nn.Module):
    def forward(self, x, y):
        total = x.clone()
        torch.ops.fx2py_corpus.accumulate(total, y)
        return total * 2


@custom("export_non_strict", args=lambda: (randn(6),))
class CustomListOfTensors(nn.Module):
    def forward(self, x):
        left, right = torch.ops.fx2py_corpus.halves(x)
        return left + right
