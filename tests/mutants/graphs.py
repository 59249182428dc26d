"""Ten graphs whose code is damaged: branches, buffers, dropout, loops, writes in place, sizes that vary, 500 nodes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import fx, nn

import fx2py
from fx2py import GenerateOptions
from fx2py.artifact import Artifact
from fx2py.graph.data import GraphData
from fx2py.program.options import DEFAULT
from fx2py.read import open_graph

FLAT = GenerateOptions(flat=True)


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """A graph, the code of it, and inputs for one seed."""

    name: str
    data: GraphData
    artifact: Artifact
    inputs: Callable[[int], tuple[torch.Tensor, ...]]


def _exported(
    name: str,
    model: nn.Module,
    inputs: Callable[[int], tuple[torch.Tensor, ...]],
    options: GenerateOptions = DEFAULT,
    **export: object,
) -> Subject:
    torch.manual_seed(0)
    program = torch.export.export(model, inputs(0), **export)  # type: ignore[arg-type]
    data = open_graph(program)
    return Subject(name, data, fx2py.generate(data, options=options), inputs)


def floats(*shapes: tuple[int, ...]) -> Callable[[int], tuple[torch.Tensor, ...]]:
    """Random numbers, wider for every other seed."""

    def inputs(seed: int) -> tuple[torch.Tensor, ...]:
        generator = torch.Generator().manual_seed(seed)
        scale = (1.0, 4.0, 0.1, 20.0)[seed % 4]
        return tuple(scale * torch.randn(shape, generator=generator) for shape in shapes)

    return inputs


class Branches(nn.Module):
    """Two calls of ``cond``, one of which takes the same branch for nearly all inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.cond(
            x.sum() > 0, lambda x: (x * self.weight).sin() + 0.5, lambda x: (x - 1.5).cos() * 2, (x,)
        )
        z = torch.cond(x.sum() > 1e9, lambda x: x.exp() * 0.25, lambda x: x.tanh() + 3.0, (y,))
        return z.softmax(-1) + y


class Buffers(nn.Module):
    """Batch normalisation in training, a counter, and a buffer that is written to in place."""

    seen: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(6, momentum=0.2)
        self.linear = nn.Linear(6, 6)
        self.register_buffer("seen", torch.zeros(6))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm(self.linear(x))
        self.seen.mul_(0.75).add_(x.detach().mean(0))
        return F.gelu(x) - self.seen * 0.5


class Dropout(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(8, 16), nn.Linear(16, 4)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        hidden = F.dropout(F.silu(self.first(x)), 0.4)
        noise = torch.rand_like(hidden)
        return self.second(F.dropout(hidden * noise, 0.2)), noise.mean(-1, keepdim=True)


class Block(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.norm, self.norm_2 = nn.LayerNorm(size, eps=1e-3), nn.LayerNorm(size, eps=1e-3)
        self.qkv, self.out = nn.Linear(size, 3 * size), nn.Linear(size, size)
        self.up, self.down = nn.Linear(size, 2 * size), nn.Linear(2 * size, size)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.qkv(self.norm(x)).chunk(3, dim=-1)
        scores = torch.matmul(q, k.transpose(-2, -1)) * 0.35
        x = x + self.out(torch.matmul(scores.softmax(dim=-1), v))
        return x + self.down(F.gelu(self.up(self.norm_2(x))))


class Encoder(nn.Module):
    def __init__(self, layers: int, size: int = 8) -> None:
        super().__init__()
        self.layers = nn.ModuleList([Block(size) for _ in range(layers)])
        self.head = nn.Linear(size, 3)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        for layer in self.layers:
            x = layer(x)
        return self.head(x), x.mean(1)


class Convolutions(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 6, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.norm(self.first(x)))
        x = F.max_pool2d(x + self.second(F.interpolate(x, scale_factor=2.0)), 2)
        return F.log_softmax(x.flatten(1)[:, 2:26], dim=1)


class InPlace(nn.Module):
    """Views of memory that is written to, between reads of it."""

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> dict[str, torch.Tensor]:
        z = x.clone()
        row = z[1]
        before = row.sum()
        row.add_(y[0])
        z[2].mul_(0.5)
        after = z.cumsum(0)
        z.clamp_(-1.5, 2.5)
        return {"before": before, "after": after, "z": z, "which": torch.where(y > 0, z, x - 0.25)}


class Positions(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(12, 6)
        self.scale = nn.Parameter(torch.randn(6))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        places = torch.arange(x.shape[1], device=x.device)
        angles = torch.outer(torch.arange(5, device=x.device) * 0.5, torch.ones(6) * 0.25).cos()
        return (x * self.scale + self.table(places)) @ angles.t().clamp(min=-0.5)


class Functions(nn.Module):
    """For symbolic tracing, which gives functions, methods and modules in place of overloads."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.norm = nn.Linear(5, 5), nn.LayerNorm(5)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        h = torch.relu(self.linear(x) - y) * 1.5
        return self.norm(h).view(2, -1)[:, 1:9].softmax(dim=1) + torch.cat((y, x), 0).sigmoid().amax(0)[0]


def _traced() -> Subject:
    torch.manual_seed(0)
    data = open_graph(fx.symbolic_trace(Functions().eval()))
    return Subject("traced", data, fx2py.generate(data, options=FLAT), floats((2, 5), (2, 5)))


def _sizes() -> Subject:
    rows = torch.export.Dim("rows", min=2, max=12)
    optimized = GenerateOptions(optimize=True, flat=True)
    return _exported("sizes", Positions(), floats((3, 4, 6)), optimized, dynamic_shapes=({1: rows},))


_SUBJECTS: dict[str, Callable[[], Subject]] = {
    "branches": lambda: _exported("branches", Branches(), floats((3, 4))),
    "buffers": lambda: _exported("buffers", Buffers().train(), floats((5, 6)), FLAT),
    "dropout": lambda: _exported("dropout", Dropout().train(), floats((4, 8))),
    "loops": lambda: _exported("loops", Encoder(3).eval(), floats((2, 4, 8))),
    "long": lambda: _exported("long", Encoder(24).eval(), floats((2, 4, 8)), FLAT),
    "convolutions": lambda: _exported("convolutions", Convolutions().eval(), floats((2, 3, 8, 8))),
    "in_place": lambda: _exported("in_place", InPlace(), floats((4, 3), (4, 3)), FLAT),
    "sizes": _sizes,
    "exact": lambda: _exported(
        "exact", Encoder(1).eval(), floats((2, 4, 8)), GenerateOptions(exact_ops=True, flat=True)
    ),
    "traced": _traced,
}
SUBJECTS = tuple(_SUBJECTS)
SMALL = ("branches", "buffers", "dropout", "loops", "in_place", "traced")


def subject(name: str) -> Subject:
    """One of the ten graphs, with its code."""
    torch.manual_seed(0)
    return _SUBJECTS[name]()
