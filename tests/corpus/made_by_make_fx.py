"""Graphs of ATen operators from make_fx, traced with real, fake and symbolic tensors."""

from functools import partial

import torch
import torch.nn.functional as F
from torch import nn, randn
from torch._decomp import core_aten_decompositions
from torch.fx.experimental.proxy_tensor import make_fx

from tests.corpus.registry import graph

real = partial(graph, "make_fx")
fake = partial(graph, "make_fx_fake")
symbolic = partial(graph, "make_fx_symbolic")


def matrix():
    return (randn(3, 4),)


def larger_matrix():
    return (randn(5, 7),)


@real(args=matrix)
@fake(args=matrix)
@symbolic(args=matrix, extra_args=[larger_matrix])
def pointwise(x):
    return (x.sin() + x.cos() * 2).softmax(-1), x.clamp(min=0.1)


@real(args=matrix)
@symbolic(args=matrix, extra_args=[larger_matrix])
def views_and_reductions(x):
    return x.t().reshape(-1)[1:], x.unsqueeze(0).expand(2, -1, -1).sum((1, 2)), x.amax(0, keepdim=True)


@symbolic(args=matrix, extra_args=[larger_matrix])
def sizes_as_values(x):
    rows, columns = x.shape
    return (
        x.new_zeros(rows * 2, columns + 1),
        torch.arange(rows),
        rows,
        x.view(columns, rows),
        x / (rows // 2),
    )


@real(args=matrix)
@fake(args=matrix)
def in_place(x):
    y = x.clone()
    y.mul_(2).add_(x)
    y[0] = 1
    return y


@real(args=matrix)
def mutated_input(x):
    x.add_(1)
    return x * 2


@real(args=lambda: (randn(2, 3, 8, 8), randn(4, 3, 3, 3), randn(4)))
@symbolic(args=lambda: (randn(2, 3, 8, 8), randn(4, 3, 3, 3), randn(4)))
def convolution(x, weight, bias):
    return F.max_pool2d(F.conv2d(x, weight, bias, stride=2), 2)


@real(args=lambda: (randn(2, 8), randn(8, 8), randn(8)), decomposition_table=core_aten_decompositions())
@fake(args=lambda: (randn(2, 8), randn(8, 8), randn(8)))
def normalized_linear(x, weight, bias):
    return F.layer_norm(F.linear(x, weight, bias), (8,))


@real(args=lambda: (randn(4, requires_grad=True),))
def gradient_inside(x):
    return torch.autograd.grad((x**3).sum(), x)[0]


@real(args=matrix)
def vmapped(x):
    return torch.func.vmap(lambda row: row.softmax(0) * row.sum())(x)


@real(args=matrix)
def functional_gradient(x):
    return torch.func.grad(lambda x: (x * x.sin()).sum())(x)


@real(args=matrix)
def jacobian(x):
    return torch.func.jacrev(lambda x: x.exp().sum(0))(x)


@real(args=matrix)
def random_numbers(x):
    return torch.rand_like(x) + torch.randn(3, 4) + torch.bernoulli(torch.full((3, 4), 0.5)), F.dropout(
        x, 0.3
    )


@real(args=lambda: (torch.randint(0, 9, (4,)), torch.randint(1, 9, (4,), dtype=torch.int32)))
def integers(x, y):
    return x // y, x % y, (x << 1) & 3, x.to(torch.float64), torch.bincount(x, minlength=10)


@real(args=lambda: (torch.randn(3, 3, dtype=torch.complex128),))
def complex_algebra(x):
    return x @ x.mH, torch.linalg.eigvals(x + 3), torch.fft.fft(x), x * (1 + 2j), x.angle()


@real(args=lambda: (randn(3, 4, dtype=torch.bfloat16),))
@fake(args=lambda: (randn(3, 4, dtype=torch.bfloat16),))
def brain_floats(x):
    return F.gelu(x), x.float().sum(), x @ x.t()


@real(args=lambda: (randn(4, 4), torch.tensor([2, 0])))
def indexed(x, rows):
    picked = x[rows]
    return picked, x.index_put((rows,), torch.zeros(2, 4)), x.gather(0, rows.view(1, 2)), x[:, rows, None]


@real(not_savable_as=["to_folder"], args=lambda: ({"x": randn(2), "y": [randn(2), randn(2)]},))
def containers(batch):
    return {"sum": batch["x"] + batch["y"][0], "rest": (batch["y"][1], None)}


@fake(args=lambda: (randn(1, 2, 4, 8), randn(1, 2, 4, 8), randn(1, 2, 4, 8)))
def attention(query, key, value):
    return F.scaled_dot_product_attention(query, key, value)


@real(args=lambda: (randn(2, 4),))
class SmallNetwork(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.LayerNorm(8), nn.Linear(8, 2))

    def forward(self, x):
        return self.layers(x)


@graph("built", args=lambda: (randn(4, 3),))
def training_step(x):
    model = nn.Linear(3, 1)

    def step(x):
        loss = model(x).square().mean()
        return (loss, *torch.autograd.grad(loss, tuple(model.parameters())))

    return make_fx(step)(x)


@graph("built", args=lambda: (randn(4, 3),))
def functionalized(x):
    def mutate(x):
        y = x.clone()
        y[0].add_(1)
        return y.view(-1)

    return make_fx(torch.func.functionalize(mutate))(x)


@graph("built", args=lambda: (randn(4, 3),))
def before_dispatch(x):
    return make_fx(lambda x: F.linear(x, x).softmax(-1).reshape(16), pre_dispatch=True)(x)
