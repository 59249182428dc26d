"""A graph whose pieces repeat, and what is compiled of it."""

from __future__ import annotations

import torch
from torch import nn
from torch.export import ExportedProgram

import fx2py

OPTIONS = fx2py.GenerateOptions(split_at=("aten::relu",), compile="inductor")


class Waves(nn.Module):
    """Four pieces, of two kinds, of which one has weights."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Parameter(torch.linspace(1, 2, 8))
        self.two = nn.Parameter(torch.linspace(-1, 1, 8))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for weight in (self.one, self.two):
            x = torch.relu(torch.sin(x) * weight)
        return x


def waves() -> ExportedProgram:
    size = torch.export.Dim("size", min=2, max=64)
    return torch.export.export(Waves(), (torch.ones(4, 8),), dynamic_shapes={"x": {0: size}})
