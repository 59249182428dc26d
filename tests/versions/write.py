"""Writes one small file in each format under the torch that runs this: ``python write.py tests/versions/files``.

Needs torch alone. A folder named after the release gets the files and ``expected.json``: what the model gives for
``x = [[0, 1, 2], [3, 4, 5]]``, by which ``test_versions.py`` judges what any release reads there.
"""

import json
import os
import shutil
import sys
from pathlib import Path

import torch
from torch import fx
from torch.export import Dim, export, save
from torch.fx._graph_pickler import GraphPickler, Options
from torch.package import PackageExporter


class Scaled(torch.nn.Module):
    """A weight, a complex constant, a module whose name is a number, a tuple of results; numbers that are exact."""

    def __init__(self) -> None:
        super().__init__()
        linear = torch.nn.Linear(3, 2)
        with torch.no_grad():
            linear.weight.copy_(torch.tensor([[1.0, 2.0, 3.0], [-1.0, 0.5, 0.25]]))
            linear.bias.copy_(torch.tensor([0.5, -8.0]))
        self.layers = torch.nn.Sequential(linear, torch.nn.ReLU())

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        hidden = self.layers(x)
        first, _ = torch.split(hidden, 1, dim=1)
        return first, torch.real(torch.mul(hidden, 2j) * complex(-0.0, -1.0))


class Counted(torch.nn.Module):
    """A branch, a buffer that each call changes, a size that varies, a result in a dict."""

    calls: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        self.calls.add_(1.0)
        halved = torch.cond(x.sum() > 100.0, lambda x: x - 1.0, lambda x: x / 2.0, (x,))
        return {"halved": halved, "calls": self.calls + x.shape[0]}


def main(files: str) -> None:
    target = Path(files) / torch.__version__.partition("+")[0]
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    os.chdir(target)  # to_folder writes the path that it is given into its text
    folder = Path()
    x = torch.arange(6.0).reshape(2, 3)
    traced = fx.symbolic_trace(Scaled())
    torch.save(traced, folder / "module.pt")
    with PackageExporter(folder / "package.pt") as package:
        package.extern("**")
        package.save_pickle("model", "model.pkl", traced)
    (folder / "module.graphpickle").write_bytes(GraphPickler.dumps(traced, Options(ops_filter=None)))
    traced.to_folder(folder / "folder", "Scaled")
    save(export(Scaled(), (x,)), folder / "scaled.pt2")
    save(export(Counted(), (x,), dynamic_shapes=({0: Dim("rows", min=1, max=64)},)), folder / "counted.pt2")
    first, second = Scaled()(x)
    counted = Counted()(x)
    expected = {
        "scaled": [first.tolist(), second.tolist()],
        "counted": [counted["halved"].tolist(), counted["calls"].tolist()],
    }
    (folder / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")
    for leftover in folder.rglob("__pycache__"):
        shutil.rmtree(leftover)


if __name__ == "__main__":
    main(sys.argv[1])
