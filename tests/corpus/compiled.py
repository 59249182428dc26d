"""Graphs that torch.compile hands to a backend: torch-level calls with lifted weights and sizes."""

from functools import partial

import torch
import torch.nn.functional as F
from torch import nn, randn

from tests.corpus.registry import graph

compiled = partial(graph, "compile")
dynamic = partial(graph, "compile", dynamic=True)


def matrix():
    return (randn(3, 4),)


@compiled(args=matrix)
class Perceptron(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Dropout(0.1), nn.Linear(8, 2))

    def forward(self, x):
        return self.layers(x)


@dynamic(args=matrix)
class DynamicSizes(nn.Module):
    def forward(self, x):
        return x.view(-1), x.new_ones(x.shape[0] * 2), x[: x.shape[1] // 2], x.shape[0]


@dynamic(args=lambda: (randn(3), 5, 2.5))
def dynamic_numbers(x, n, scale):
    return x * n * scale, n + 1


@compiled(args=lambda: (randn(4, 3),), train=True)
class BatchNormInTraining(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(3)

    def forward(self, x):
        return F.dropout(self.norm(x), 0.5, self.training)


@compiled(args=matrix)
class MutatedBuffer(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("total", torch.zeros(4))

    def forward(self, x):
        self.total += x.sum(0)
        x.mul_(2)
        return x + self.total


@compiled(args=matrix, which=1)
def second_graph_after_a_break(x):
    y = x.sin()
    torch._dynamo.graph_break()
    return y.cos() * x


@compiled(args=matrix)
def written_slices(x):
    y = torch.zeros(3, 4)
    y[0] = x[0]
    y[1:, ::2] = 5.0
    return y


@compiled(args=matrix)
def structures(x):
    values, indices = x.max(dim=1)
    return {"values": values, "indices": [indices, x.topk(2).values]}, x.shape


@compiled(args=matrix)
def random_numbers(x):
    return torch.randn(3, 4) + torch.rand_like(x) + F.dropout(x, 0.5)


@compiled(args=lambda: (torch.randint(0, 6, (2, 5)),))
class LanguageModel(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(6, 8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.norm = nn.LayerNorm(8)
        self.head = nn.Linear(8, 6, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, tokens):
        hidden = self.embedding(tokens)
        mask = torch.ones(5, 5, dtype=torch.bool).triu(1)
        attended, _ = self.attention(hidden, hidden, hidden, attn_mask=mask, need_weights=False)
        return self.head(self.norm(hidden + attended))


@compiled(args=lambda: (randn(3, 4, dtype=torch.complex64),))
def complex_numbers(x):
    return x * 2j, x.abs(), torch.fft.ifft(x)


@compiled(args=lambda: (randn(2, 3, 8, 8),))
class Convolutional(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.SiLU(), nn.AvgPool2d(2))

    def forward(self, x):
        return F.interpolate(self.body(x), scale_factor=2.0, mode="nearest")
