"""A tensor-parallel model, captured for each of two ranks, and run by torchrun.

    python examples/tensor_parallel.py FOLDER

writes mlp.rank0.pt2 and mlp.rank1.pt2 (torch.export), the inputs x.pt, and expected.pt, the result of the whole model
in one process. Nothing is communicated while capturing, so one process can be each rank in turn.
"""

import sys
from pathlib import Path

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module
from torch.fx.experimental.proxy_tensor import make_fx
from torch.testing._internal.distributed.fake_pg import FakeStore

RANKS = 2


class MLP(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(64, 256), nn.Linear(256, 64)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down(F.gelu(self.up(x)))


def make_mlp() -> MLP:
    torch.manual_seed(0)
    return MLP().eval().requires_grad_(False)


def save_rank(rank: int, x: torch.Tensor, path: Path) -> None:
    """Export what one rank computes: its half of the weights, and the all-reduce that adds the halves up."""
    dist.init_process_group("fake", rank=rank, world_size=RANKS, store=FakeStore())
    mesh = init_device_mesh("cpu", (RANKS,))
    plan = {"up": ColwiseParallel(), "down": RowwiseParallel()}
    model = parallelize_module(make_mlp(), mesh, plan, src_data_rank=None)
    torch.export.save(torch.export.export(make_fx(model)(x), (x,)), path)
    dist.destroy_process_group()


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    x = torch.randn(8, 64, generator=torch.Generator().manual_seed(1))
    for rank in range(RANKS):
        save_rank(rank, x, folder / f"mlp.rank{rank}.pt2")
    torch.save((x,), folder / "x.pt")
    torch.save(make_mlp()(x), folder / "expected.pt")
    print(f"cd {folder}")
    print(f"torchrun --nproc-per-node {RANKS} -m fx2py diff 'mlp.rank{{rank}}.pt2'")
    arguments = "'mlp.rank{rank}.pt2' --inputs x.pt --output 'out.rank{rank}.pt'"
    print(f"torchrun --nproc-per-node {RANKS} -m fx2py run {arguments}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
