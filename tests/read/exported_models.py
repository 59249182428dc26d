"""Small exported programs, one of each kind that an archive can hold."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch._higher_order_ops.effects import _EffectType, _register_effectful_op
from torch.export import Dim, ExportedProgram, export
from torch.utils import _pytree as pytree

Point = collections.namedtuple("Point", "x y")
pytree._register_namedtuple(Point, serialized_type_name=f"{__name__}.Point")


@dataclasses.dataclass
class Pair:
    first: torch.Tensor
    second: torch.Tensor | None = None


torch.export.register_dataclass(Pair, serialized_type_name=f"{__name__}.Pair")


@torch.library.custom_op("fx2py_read::twice", mutates_args=())
def twice(x: torch.Tensor, times: float = 2.0) -> torch.Tensor:
    return x * times


@twice.register_fake
def _(x: torch.Tensor, times: float = 2.0) -> torch.Tensor:
    return torch.empty_like(x)


@torch.library.custom_op("fx2py_read::fill_", mutates_args={"x"})
def fill_(x: torch.Tensor) -> None:
    x.fill_(3.0)


@fill_.register_fake
def _(x: torch.Tensor) -> None:
    return None


@torch.library.custom_op("fx2py_read::log", mutates_args=())
def log(x: torch.Tensor) -> torch.Tensor:
    return x.clone()


@torch.library.custom_op("fx2py_read::log_pair", mutates_args=())
def log_pair(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return x.clone(), x.clone()


@torch.library.custom_op("fx2py_read::log_only", mutates_args=())
def log_only(x: torch.Tensor) -> None:
    return None


log.register_fake(lambda x: torch.empty_like(x))
log_pair.register_fake(lambda x: (torch.empty_like(x), torch.empty_like(x)))
log_only.register_fake(lambda x: None)
for name in ("log", "log_pair", "log_only"):
    _register_effectful_op(getattr(torch.ops.fx2py_read, name).default, _EffectType.ORDERED)


class Effects(nn.Module):
    def forward(self, x):
        first, second = torch.ops.fx2py_read.log_pair(torch.ops.fx2py_read.log(x) + 1)
        torch.ops.fx2py_read.log_only(second)
        return first * second


class Nested(nn.Module):
    def forward(self, items, point, pair, *, extra):
        total = items["a"] + items["b"][0] + point.x * pair.first
        ordered = collections.OrderedDict(sum=total, last=extra[1])
        return {"out": ordered, "list": [total, None, 3]}, Point(total, point.y), Pair(total, point.y)


class Constants(nn.Module):
    def forward(self, x, scale, name="relu", flag=True, none=None):
        return (F.relu(x) if name == "relu" and flag else x) * scale


class Counter(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros(()))
        self.register_buffer("scratch", torch.ones(3), persistent=False)
        self.register_buffer("lut", torch.arange(4))

    def forward(self, x):
        self.count.add_(1)
        self.scratch.mul_(2)
        return x * self.count + self.scratch.sum() + self.lut[0], self.count


class MutatesInput(nn.Module):
    def forward(self, x, y):
        x.add_(y)
        y[0] = 1
        return x, y * 2


class Aliases(nn.Module):
    def forward(self, x):
        view = x.view(-1)
        return x, view, view[:2], x


class Control(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(2.0))

    def forward(self, x):
        y = torch.cond(x.sum() > 0, lambda t: t.sin() * self.scale, lambda t: t.cos() + self.scale, (x,))
        return torch.cond(x.sum() > 0, lambda t, u: (t.exp(), u + 1), lambda t, u: (u * 2, t.cos()), (y, x))


class Loop(nn.Module):
    def forward(self, n, x):
        def more(n, x):
            return n > 0

        def step(n, x):
            return n - 1, x * 2

        return torch._higher_order_ops.while_loop(more, step, (n, x))


class Mapped(nn.Module):
    def forward(self, xs, y):
        from torch._higher_order_ops.map import map as hop_map

        return hop_map(lambda x, y: x.sin() + y, xs, y)


class Scanned(nn.Module):
    def forward(self, init, xs):
        from torch._higher_order_ops.scan import scan

        return scan(lambda carry, x: (carry + x, (carry * x).clone()), init, xs)


class Regions(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x):
        with torch.no_grad():
            x = x + 1
        with torch.autocast("cpu", dtype=torch.bfloat16):
            y = self.linear(x)
        return y, x


class CustomOps(nn.Module):
    def forward(self, x):
        y = torch.ops.fx2py_read.twice(x, times=1.5)
        z = x.clone()
        torch.ops.fx2py_read.fill_(z)
        return torch.ops.fx2py_read.twice(y) + z


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(7, 4)
        self.head = nn.Linear(4, 7, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, ids):
        return self.head(self.embed(ids))


class Layouts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        base = torch.randn(4, 6)
        self.weight = nn.Parameter(base.t())
        self.register_buffer("expanded", torch.randn(1, 4).expand(6, 4))
        shared = torch.randn(10)
        self.register_buffer("head", shared[:6])
        self.register_buffer("tail", shared[4:])
        self.register_buffer("strided", shared[::3])

    def forward(self, x):
        y = (x @ self.weight) if x.shape[-1] == 6 else x @ self.weight.t()
        return y.sum() + self.expanded.sum(), self.head + self.tail, self.strided * 2


class Dtypes(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        for name in ("bfloat16", "float16", "float64", "complex64", "complex128"):
            self.register_buffer(f"as_{name}", torch.randn(3).to(getattr(torch, name)))
        for name in ("int8", "uint8", "int16", "int32", "int64", "bool"):
            self.register_buffer(f"as_{name}", torch.tensor([0, 1, 1]).to(getattr(torch, name)))
        self.register_buffer("empty", torch.empty(0, 3))
        self.register_buffer("scalar", torch.tensor(1.5))
        self.const = torch.tensor([1.0, float("nan"), -0.0])

    def forward(self, x):
        y = x + self.as_bfloat16 + self.as_float16 + self.as_float64 + self.scalar + self.const
        z = y * self.as_complex64 * self.as_complex128
        i = self.as_int8 + self.as_uint8 + self.as_int16 + self.as_int32 + self.as_int64
        return z, i, y[self.as_bool], self.empty.sum(), y * 1e400, x.to(torch.float64).clamp(min=-0.0)


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 8)
        self.norm = nn.LayerNorm(8)
        self.qkv = nn.Linear(8, 24)

    def forward(self, ids, mask=None):
        q, k, v = self.qkv(self.norm(self.embed(ids))).split(8, dim=-1)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)


class Multiple(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.pool = nn.MaxPool2d(2)
        self.lstm = nn.LSTM(4, 4, batch_first=True)

    def forward(self, x):
        values, _ = torch.max(x, dim=-1)
        a, _, c = torch.split(x, [1, 2, 1], dim=-1)
        top = torch.topk(x, 2)
        hidden, (state, _) = self.lstm(x)
        return values, a + c, top.indices, self.pool(x), hidden, state, torch.unbind(x, 0)[0]


class Conv(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5))
        out: Any = nn.Linear(4, 2)  # torch's type of ``to`` has no memory_format
        self.out = out.to(memory_format=torch.preserve_format)

    def forward(self, x):
        x = self.layers(x.to(memory_format=torch.channels_last))
        return self.out(x.mean((2, 3)))


class Dynamic(nn.Module):
    def forward(self, x, y):
        size = x.shape[0]
        half = (size + 3) // 2
        return torch.cat([x, y]).view(-1), x.new_zeros(size * 2, half), size % 3, x[: size - 1]


class DataDependent(nn.Module):
    def forward(self, x):
        size = x.max().item()
        torch._check(size >= 0)
        torch._check(size < 100)
        return torch.zeros(size), x.nonzero(), x.to(torch.float32).mean().item() * 2


class Creation(nn.Module):
    def forward(self, x):
        index = [None, torch.tensor([0, 1])]
        made = torch.full((2, 3), 1.5, dtype=torch.float64, device="cpu")
        picked = x[:, index[1]]
        noise = torch.empty(2, 3).uniform_(0.0, 2.0) * 0
        return (
            made,
            picked,
            torch.arange(3, dtype=torch.int32),
            noise,
            torch.einsum("ij,kj->ik", x, x),
            x * (1 + 2j),
        )


def _small(module: nn.Module, *args: Any, **options: Any) -> Callable[[], ExportedProgram]:
    return lambda: export(module, args, **options)


def _nested() -> ExportedProgram:
    x = torch.randn(2, 3)
    args = ({"a": x, "b": [x, x]}, Point(x, x), Pair(x, None))
    return export(Nested(), args, {"extra": (x, x)})


def _dynamic() -> ExportedProgram:
    batch = Dim("batch", min=4, max=64)
    return export(
        Dynamic(), (torch.randn(4, 3), torch.randn(8, 3)), dynamic_shapes=({0: batch}, {0: 2 * batch})
    )


def _decomposed() -> ExportedProgram:
    return export(Conv().eval(), (torch.randn(1, 3, 6, 6),)).run_decompositions()


def _x(*shape: int) -> torch.Tensor:
    return torch.randn(*shape)


PROGRAMS: dict[str, Callable[[], ExportedProgram]] = {
    "nested inputs and outputs": _nested,
    "constant inputs": _small(Constants(), _x(3), 2.5, "relu", True, None),
    "buffer mutation": _small(Counter(), _x(3)),
    "buffer mutation, decomposed": lambda: export(Counter(), (_x(3),)).run_decompositions(),
    "input mutation": _small(MutatesInput(), _x(3), _x(3)),
    "input mutation, decomposed": lambda: export(MutatesInput(), (_x(3), _x(3))).run_decompositions(),
    "outputs that alias": _small(Aliases(), _x(2, 3)),
    "cond": _small(Control(), _x(3)),
    "cond, strict": _small(Control(), _x(3), strict=True),
    "while_loop": _small(Loop(), torch.tensor(3), _x(2)),
    "map": _small(Mapped(), _x(4, 2), _x(2)),
    "scan": _small(Scanned(), _x(2), _x(4, 2)),
    "no_grad and autocast": _small(Regions(), _x(2, 4)),
    "custom operators": _small(CustomOps(), _x(3)),
    "custom operators, decomposed": lambda: export(CustomOps(), (_x(3),)).run_decompositions(),
    "ordered effects": _small(Effects(), _x(3)),
    "ordered effects, decomposed": lambda: export(Effects(), (_x(3),)).run_decompositions(),
    "tied weights": _small(Tied(), torch.tensor([[1, 2]])),
    "tied weights, strict": _small(Tied(), torch.tensor([[1, 2]]), strict=True),
    "strides and shared storage": _small(Layouts(), _x(2, 6)),
    "every dtype": _small(Dtypes(), _x(3)),
    "attention": _small(Attention().eval(), torch.tensor([[1, 2, 3]])),
    "attention, decomposed": lambda: export(
        Attention().eval(), (torch.tensor([[1, 2, 3]]),)
    ).run_decompositions(),
    "several results": _small(Multiple(), _x(2, 4, 4)),
    "several results, decomposed": lambda: export(Multiple(), (_x(2, 4, 4),)).run_decompositions(),
    "convolution in training": _small(Conv(), _x(2, 3, 6, 6)),
    "convolution, decomposed": _decomposed,
    "dynamic shapes": _dynamic,
    "sizes from data": _small(DataDependent(), torch.tensor([1, 0, 3])),
    "creation and complex numbers": _small(Creation(), _x(3, 3)),
}
