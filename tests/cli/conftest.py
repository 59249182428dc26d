"""Small saved graphs, and the command line as a function."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import nn

from fx2py.cli.app import main


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 3)

    def forward(self, x):
        hidden = torch.relu(self.linear(x))
        return {"hidden": hidden, "total": hidden.sum()}


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str


@pytest.fixture(scope="session")
def saved(tmp_path_factory) -> Path:
    """A folder with net.pt2 (exported, with sample inputs) and net.pt (traced)."""
    folder = tmp_path_factory.mktemp("saved")
    torch.manual_seed(0)
    net = Net().eval()
    torch.export.save(torch.export.export(net, (torch.randn(2, 4),)), folder / "net.pt2")
    torch.save(torch.fx.symbolic_trace(net), folder / "net.pt")
    return folder


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """An empty current directory."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def fx2py(monkeypatch, capsys) -> Callable[..., Result]:
    """Runs the command line in this process."""
    monkeypatch.delenv("FORCE_COLOR", raising=False)

    def call(*arguments: object) -> Result:
        monkeypatch.setattr(sys, "argv", ["fx2py", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as exit_:
            main()
        captured = capsys.readouterr()
        return Result(int(exit_.value.code or 0), captured.out, captured.err)

    return call
