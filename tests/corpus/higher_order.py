"""Higher-order operators and function transforms, as torch.compile and make_fx capture them."""

from functools import partial

import torch
from torch import nn, randn
from torch._higher_order_ops.associative_scan import associative_scan
from torch._higher_order_ops.map import map as map_rows
from torch._higher_order_ops.scan import scan
from torch._higher_order_ops.while_loop import while_loop
from torch.nn.attention.flex_attention import create_block_mask, flex_attention
from torch.utils.checkpoint import checkpoint

from tests.corpus.registry import graph

compiled = partial(graph, "compile")
real = partial(graph, "make_fx")


def rows():
    return (randn(4, 3),)


@compiled(args=lambda: (torch.tensor(True), randn(3)))
@real(args=lambda: (torch.tensor(False), randn(3)), extra_args=[lambda: (torch.tensor(True), randn(3))])
def branches(flag, x):
    return torch.cond(flag, lambda x: x.sin() + 1, lambda x: x.cos() - 1, (x,))


@compiled(args=lambda: (randn(3),))
def nested_branches(x):
    def positive(x):
        return torch.cond(x.max() > 1, lambda x: x * 2, lambda x: x + 2, (x,))

    return torch.cond(x.sum() > 0, positive, lambda x: x.neg(), (x,))


@compiled(args=lambda: (torch.tensor(4), randn(3)))
@real(args=lambda: (torch.tensor(4), randn(3)))
def loop(n, x):
    return while_loop(lambda n, x: n > 0, lambda n, x: (n - 1, x * 1.5 + n), (n, x))


@compiled(args=lambda: (randn(4, 3), randn(3)))
def mapped(xs, y):
    return map_rows(lambda x, y: x * y, xs, y)


@compiled(args=rows)
@real(args=rows)
def scanned(xs):
    return scan(lambda total, x: (total + x, total * x), torch.zeros(3), xs)


@compiled(args=rows)
def cumulative(xs):
    return associative_scan(lambda left, right: left * right + 1, xs, dim=0, combine_mode="generic")


@compiled(args=lambda: (randn(3, requires_grad=True),))
@graph("aot_forward", args=lambda: (randn(3, requires_grad=True),))
@graph("aot_backward", args=lambda: (randn(3, requires_grad=True),))
def checkpointed(x):
    return checkpoint(lambda x: x.sin().exp(), x, use_reentrant=False) * 2


@compiled(args=lambda: (randn(3, 4),))
@graph("export_non_strict", args=lambda: (randn(3, 4),))
class NestedCompileRegions(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x):
        region = torch.compiler.nested_compile_region(lambda x: self.linear(x).relu())
        return region(region(x))


def causal(batch, head, query, key):
    return query >= key


@compiled(args=lambda: (randn(1, 2, 16, 16),) * 3)
def attention_with_a_score(query, key, value):
    return flex_attention(query, key, value, score_mod=lambda score, b, h, q, k: score + (q - k) * 0.1)


@compiled(args=lambda: (randn(1, 2, 128, 16),) * 3)
def attention_with_a_block_mask(query, key, value):
    mask = create_block_mask(causal, None, None, 128, 128, device="cpu")
    return flex_attention(query, key, value, block_mask=mask)


@compiled(args=rows)
def vmapped(x):
    return torch.func.vmap(lambda row: row.softmax(0) * 2)(x)


@compiled(args=rows)
def gradient(x):
    return torch.func.grad(lambda x: (x * x.sin()).sum())(x)


@compiled(args=rows)
def gradient_of_each_row(x):
    return torch.func.vmap(torch.func.grad(lambda row: (row**3).sum()))(x)


@compiled(args=rows)
def forward_mode(x):
    return torch.func.jvp(torch.sin, (x,), (torch.ones_like(x),))
