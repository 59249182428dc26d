"""Small saved graphs for the commands."""

from pathlib import Path

import pytest
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 3)

    def forward(self, x):
        hidden = torch.relu(self.linear(x))
        return {"hidden": hidden, "total": hidden.sum()}


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with net.pt2 (exported, with sample inputs) and net.pt (traced)."""
    folder = tmp_path_factory.mktemp("saved")
    torch.manual_seed(0)
    net = Net().eval()
    torch.export.save(torch.export.export(net, (torch.randn(2, 4),)), folder / "net.pt2")
    torch.save(torch.fx.symbolic_trace(net), folder / "net.pt")
    return folder
