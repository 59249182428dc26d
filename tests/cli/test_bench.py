"""fx2py bench: a row for each way to run the graph; torch's own loaders only for a trusted file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from fx2py.bench.timing import Timing, interleave, too_noisy
from fx2py.cli.app import app


class Model(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(x) + 1


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bench") / "model.pt2"
    torch.export.save(torch.export.export(Model(), (torch.randn(4),)), path)
    return path


def rows_of(*arguments: str) -> list[str]:
    result = CliRunner().invoke(app, ["bench", *arguments, "--rounds", "3", "--json"])
    assert result.exit_code == 0, result.stderr
    return [row["name"] for row in json.loads(result.stdout)["rows"]]


def test_file_is_compared_with_the_reference_run_and_never_loaded_by_torch(
    archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.export, "load", None)
    assert rows_of(str(archive)) == ["fx2py", "fx2py --exact-ops", "reference run"]


def test_trusted_file_is_compared_with_what_torch_loads(archive: Path) -> None:
    assert "ep.module()" in rows_of(str(archive), "--trust")


def test_generated_folder_takes_part_as_it_stands(archive: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model_fx2py"
    assert CliRunner().invoke(app, ["gen", str(archive), "-o", str(folder)]).exit_code == 0
    assert "the folder" in rows_of(str(folder))


def test_noise_is_reported() -> None:
    assert too_noisy({"one": Timing(1.0, 0.05)}) == ""
    assert "one" in too_noisy({"one": Timing(1.0, 0.9), "other": Timing(1.0, 0.05)})


def test_every_round_runs_every_callable() -> None:
    calls: list[str] = []
    timings = interleave(
        {"one": lambda: calls.append("one"), "other": lambda: calls.append("other")}, rounds=3
    )
    assert set(timings) == {"one", "other"} == set(calls)
    assert all(timing.seconds > 0 for timing in timings.values())
