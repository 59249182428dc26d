"""Programs from torch.export: strict, non-strict, decomposed, with dynamic shapes, mutation and pytrees."""

from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn, randn
from torch.export import Dim

from tests.corpus.registry import graph

strict = partial(graph, "export")
non_strict = partial(graph, "export_non_strict")
decomposed = partial(graph, "export_decomposed")


def matrix():
    return (randn(3, 4),)


def image():
    return (randn(1, 3, 8, 8),)


@strict(args=matrix)
@non_strict(args=matrix)
@decomposed(args=matrix)
class Perceptron(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(4, 8), nn.GELU(), nn.Dropout(0.5), nn.LayerNorm(8), nn.Linear(8, 2)
        )

    def forward(self, x):
        return self.layers(x)


@strict(args=image)
@decomposed(args=image)
class Convolutional(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)

    def forward(self, x):
        return F.adaptive_avg_pool2d(F.max_pool2d(self.norm(self.conv(x)).relu(), 2), 1).flatten(1)


@non_strict(args=image, train=True)
class BatchNormInTraining(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(3)

    def forward(self, x):
        return self.norm(x)


@non_strict(args=lambda: (randn(2, 5, 8),))
class SelfAttention(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv = nn.Linear(8, 24)

    def forward(self, x):
        query, key, value = self.qkv(x).view(2, 5, 3, 2, 4).permute(2, 0, 3, 1, 4).unbind(0)
        return F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)


@strict(
    args=matrix,
    extra_args=[lambda: (randn(9, 4),), lambda: (randn(2, 4),)],
    dynamic_shapes={"x": {0: Dim("rows")}},
)
@non_strict(
    args=matrix,
    extra_args=[lambda: (randn(9, 4),), lambda: (randn(2, 4),)],
    dynamic_shapes={"x": {0: Dim.DYNAMIC}},
)
class DynamicRows(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x):
        hidden = self.linear(x)
        return hidden.view(-1), hidden.new_ones(x.shape[0] * 2, x.shape[0] + 1), x.shape[0]


@non_strict(
    args=lambda: (randn(6, 4), randn(3, 4)),
    extra_args=[lambda: (randn(12, 4), randn(6, 4))],
    dynamic_shapes=({0: 2 * Dim("half", min=2, max=64)}, {0: Dim("half", min=2, max=64)}),
)
class RelatedSizes(nn.Module):
    def forward(self, x, y):
        return x[: y.shape[0]] + y, x.view(2, -1, 4).sum(0)


@non_strict(
    args=lambda: (randn(4), 3), dynamic_shapes=(None, Dim.DYNAMIC), extra_args=[lambda: (randn(4), 7)]
)
class SymbolicIntegerInput(nn.Module):
    def forward(self, x, n):
        return x * n, n + 1


@strict(args=lambda: (torch.tensor([1.0, 0.0, 2.0]),))
class SizeFromData(nn.Module):
    def forward(self, x):
        rows = x.nonzero()
        torch._check(rows.shape[0] >= 1)
        return rows, rows.new_zeros(rows.shape[0])


@non_strict(args=lambda: (torch.tensor(3), randn(5)), extra_args=[lambda: (torch.tensor(1), randn(5))])
class NumberFromData(nn.Module):
    def forward(self, n, x):
        size = n.item()
        torch._check(size >= 0)
        torch._check(size <= 5)
        return x.narrow(0, 0, size), torch.full((size,), 2.0)


@strict(args=matrix)
@non_strict(args=matrix)
class BufferMutation(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("total", torch.zeros(4))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))
        self.register_buffer("scratch", torch.ones(4), persistent=False)

    def forward(self, x):
        self.total.add_(x.sum(0))
        self.count += 1
        return x + self.total * self.scratch / self.count


@strict(args=lambda: (randn(3), randn(3)))
@decomposed(args=lambda: (randn(3), randn(3)))
class InputMutation(nn.Module):
    def forward(self, x, cache):
        cache.mul_(2)
        x.add_(cache)
        return x * 3


@non_strict(args=lambda: (randn(3), randn(3)))
class OutputsThatAreInputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(randn(3))

    def forward(self, x, y):
        return y, x.view(3, 1), x, self.weight, None, 5


@strict(args=lambda: ({"a": randn(2), "b": (randn(2), [randn(2)])},), kwargs=lambda: {"scale": randn(2)})
@non_strict(args=lambda: ({"a": randn(2), "b": (randn(2), [randn(2)])},), kwargs=lambda: {"scale": randn(2)})
class NestedContainers(nn.Module):
    def forward(self, batch, *, scale):
        total = batch["a"] + batch["b"][0] * scale
        return {"total": total, "parts": [batch["b"][1][0], (total,)]}


@dataclass
class Result:
    hidden: torch.Tensor
    scores: torch.Tensor


torch.export.register_dataclass(Result, serialized_type_name="tests.corpus.exported.Result")


@non_strict(args=matrix, needs={"classes": ("tests.corpus.exported.Result",)})
class DataclassOutput(nn.Module):
    def forward(self, x):
        return Result(hidden=x + 1, scores=x.softmax(-1))


@strict(args=lambda: (randn(2), 3, "mean", True, None, 0.5))
class LiteralInputs(nn.Module):
    def forward(self, x, n, mode, flag, nothing, scale):
        return x * n * scale if flag and mode == "mean" and nothing is None else x


@strict(args=lambda: (torch.randint(0, 6, (2, 3)),))
class TiedEmbedding(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(6, 4)
        self.head = nn.Linear(4, 6, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, tokens):
        return self.head(self.embedding(tokens))


@non_strict(args=matrix)
class LiftedConstants(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = torch.arange(4.0)

    def forward(self, x):
        return x + self.table + torch.tensor([1.0, 2.0, 3.0, 4.0])


@non_strict(args=matrix)
class StridedWeights(nn.Module):
    def __init__(self):
        super().__init__()
        base = randn(8, 8)
        self.register_buffer("transposed", base.t()[:4, :4])
        self.register_buffer("window", base[2:6, 1:5])

    def forward(self, x):
        return x @ self.transposed, x @ self.window.t(), self.window.expand(2, 4, 4).sum(0)


@non_strict(args=lambda: (randn(5, 2, 4),))
class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(4, 3)

    def forward(self, x):
        return self.lstm(x)[0]


@non_strict(args=lambda: (randn(3, dtype=torch.complex64), randn(3, dtype=torch.bfloat16)))
class ComplexAndHalf(nn.Module):
    def forward(self, x, y):
        return x * (1 + 2j), x.abs(), y.float() * 0.1, y + float("inf")


@non_strict(args=matrix)
class RandomNumbers(nn.Module):
    def forward(self, x):
        return x + torch.rand_like(x) * torch.randn(4), F.dropout(x, 0.5, training=True)


@non_strict(args=matrix)
class GradModeRegion(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x):
        with torch.no_grad():
            frozen = self.linear(x)
        return self.linear(x) + frozen


@strict(args=matrix)
class AutocastRegion(nn.Module):
    def forward(self, x):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            low = x @ x.t()
        return low, x @ x.t()


@strict(args=lambda: (torch.tensor(True), randn(3)), extra_args=[lambda: (torch.tensor(False), randn(3))])
@non_strict(args=lambda: (torch.tensor(True), randn(3)), extra_args=[lambda: (torch.tensor(False), randn(3))])
class Branches(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(randn(3))

    def forward(self, flag, x):
        return torch.cond(flag, lambda x: x * self.weight, lambda x: (x - 1).sin(), (x,))


@non_strict(args=lambda: (torch.tensor(3), randn(3)), extra_args=[lambda: (torch.tensor(0), randn(3))])
class Loop(nn.Module):
    def forward(self, n, x):
        from torch._higher_order_ops.while_loop import while_loop

        return while_loop(lambda n, x: n > 0, lambda n, x: (n - 1, x * 2 + n), (n, x))


@non_strict(args=lambda: (randn(4, 3), randn(3)))
class MapOverRows(nn.Module):
    def forward(self, xs, y):
        from torch._higher_order_ops.map import map as map_rows

        return map_rows(lambda x, y: (x + y).sin(), xs, y)


@non_strict(args=lambda: (randn(3), randn(4, 3)))
class ScanOverRows(nn.Module):
    def forward(self, start, xs):
        from torch._higher_order_ops.scan import scan

        return scan(lambda carry, x: (carry + x, carry * x), start, xs)
