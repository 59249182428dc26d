"""Tensor-parallel models, each rank's graph of them, and the result of a single process."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module
from torch.fx.experimental.proxy_tensor import make_fx

from tests.distributed.ranks import call_ranks

WIDTH, HEADS = 16, 4


class MLP(nn.Module):
    def __init__(self):
        super().__init__()
        self.up = nn.Linear(WIDTH, 4 * WIDTH)
        self.down = nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x):
        return self.down(F.gelu(self.up(x)))


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.q, self.k, self.v, self.o = (nn.Linear(WIDTH, WIDTH) for _ in range(4))

    def forward(self, x):
        heads = [
            project(x).unflatten(-1, (-1, WIDTH // HEADS)).transpose(1, 2)
            for project in (self.q, self.k, self.v)
        ]
        return self.o(F.scaled_dot_product_attention(*heads, is_causal=True).transpose(1, 2).flatten(2))


class Block(nn.Module):
    """Attention and MLP, each with its norm and residual."""

    def __init__(self):
        super().__init__()
        self.norm, self.attention = nn.LayerNorm(WIDTH), Attention()
        self.mlp_norm, self.mlp = nn.LayerNorm(WIDTH), MLP()

    def forward(self, x):
        x = x + self.attention(self.norm(x))
        return x + self.mlp(self.mlp_norm(x))


PLAN = {
    **{f"attention.{name}": ColwiseParallel() for name in "qkv"},
    "attention.o": RowwiseParallel(),
    "mlp.up": ColwiseParallel(),
    "mlp.down": RowwiseParallel(),
}


def save_block(folder: Path, mesh_shape: tuple[int, ...]) -> torch.Tensor:
    """block.rank0.pt2, ..., exported, and block.rank0.pt, ..., saved GraphModules; the single process's result.

    The block is parallel over the last dimension of the mesh; the ranks of the others compute the same.
    """
    size = torch.Size(mesh_shape).numel()
    results = call_ranks(size, _save_own, mesh_shape, folder=folder)
    assert [result.code for result in results] == [0] * size, results
    block, x = whole_block()
    torch.save((x,), folder / "x.pt")
    return block(x)


def whole_block() -> tuple[Block, torch.Tensor]:
    """The block in one process, and its input; the same on every call."""
    torch.manual_seed(0)
    return Block().eval().requires_grad_(False), torch.randn(2, 8, WIDTH)


def parallel_block(mesh_shape: tuple[int, ...]) -> nn.Module:
    """The block with its weights divided among the ranks of the last dimension of the mesh."""
    mesh = init_device_mesh("cpu", mesh_shape, mesh_dim_names=("dp", "tp")[-len(mesh_shape) :])
    return parallelize_module(whole_block()[0], mesh["tp"], PLAN)


def _save_own(mesh_shape: tuple[int, ...]) -> None:
    """Capture the block as this rank sees it."""
    dist.init_process_group("gloo")
    rank, block, (_, x) = dist.get_rank(), parallel_block(mesh_shape), whole_block()
    graph = make_fx(block)(x)
    torch.save(graph, f"block.rank{rank}.pt")
    torch.export.save(torch.export.export(graph, (x,)), f"block.rank{rank}.pt2")
    dist.destroy_process_group()
