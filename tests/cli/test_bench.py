"""fx2py bench: a row for each way to run the graph; torch's own loaders only for a trusted file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch.utils._pytree import tree_leaves
from typer.testing import CliRunner

from fx2py.bench.timing import Timing, interleave, too_noisy
from fx2py.bench.ways import by_torch
from fx2py.cli.app import app
from fx2py.replay.inputs import Inputs


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
    rows = rows_of(str(archive), "--trust")
    assert rows[:3] == ["FX GraphModule", "fx.Interpreter", "ep.module()"]


def test_a_file_that_torch_cannot_load_is_timed_without_torchs_ways(
    archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(path: str) -> None:
        raise RuntimeError("Deserializing a.B in pytree is not registered\nand more")

    monkeypatch.setattr(torch.export, "load", load)
    result = CliRunner().invoke(app, ["bench", str(archive), "--rounds", "3", "--trust"])
    assert result.exit_code == 0
    assert "reference run" in result.stdout
    assert "its own ways take no part: Deserializing a.B in pytree is not registered\n" in result.stderr


def test_time_is_told_for_each_call_of_a_submodule(tmp_path: Path) -> None:
    net = torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Tanh())
    torch.save(torch.fx.symbolic_trace(net), tmp_path / "net.pt")
    torch.save((torch.ones(4),), tmp_path / "inputs.pt")
    arguments = ["bench", str(tmp_path / "net.pt"), "--inputs", str(tmp_path / "inputs.pt"), "--rounds", "3"]
    report = json.loads(CliRunner().invoke(app, [*arguments, "--json"]).stdout)
    assert report["submodule_calls"] == 2
    assert all(row["per_submodule"] == row["seconds"] / 2 for row in report["rows"])
    assert "hand-written" in [row["name"] for row in report["rows"]]
    assert "2 calls" in CliRunner().invoke(app, arguments).stdout


def test_inputs_by_keyword_reach_the_placeholders_in_their_order() -> None:
    class Keywords(torch.nn.Module):
        def forward(self, x: torch.Tensor, *, bias: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
            return x * scale + bias

    x, bias, scale = torch.ones(2), torch.zeros(2), torch.full((2,), 3.0)
    program = torch.export.export(Keywords(), (x,), {"bias": bias, "scale": scale})
    inputs = Inputs((x,), {"scale": scale, "bias": bias}, "")
    ways = by_torch(program, inputs)
    assert all(tree_leaves(way.call())[0].eq(3).all() for way in ways.values())


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
