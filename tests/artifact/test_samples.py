"""A folder holds the inputs that were saved with its graph, and runs on them with torch alone."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

import fx2py
from fx2py.artifact import generate, samples
from fx2py.errors import ArtifactError
from fx2py.graph.data import SampleInputs
from fx2py.graph.values import Ref
from fx2py.runtime.sample_run import table_of_outputs
from tests.folders import NO_FX2PY
from tests.replay.graphs import data, output, placeholder

X = torch.arange(4.0).view(1, 4)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(2.0))

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"scaled": x * self.scale, "count": (x > 1).sum()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    artifact = fx2py.generate(torch.export.export(Net(), (X,)))
    written = artifact.write(tmp_path / "net_fx2py").folder
    assert written is not None
    return written


WITHOUT_FX2PY = f"""
{NO_FX2PY}
import runpy
folder = sys.argv.pop(1)
sys.path.insert(0, folder.rpartition("/")[0])
runpy.run_module("net_fx2py", run_name="__main__", alter_sys=True)
runpy.run_path(folder, run_name="__main__")
"""
TABLE = """\
output      dtype    shape   min  mean  max
['scaled']  float32  [1, 4]  0    3     6
['count']   int64    []      2    2     2
"""


def test_a_folder_runs_by_its_name_and_by_its_path_with_torch_alone(folder: Path) -> None:
    command = [sys.executable, "-c", WITHOUT_FX2PY, str(folder)]
    assert subprocess.check_output(command, text=True) == TABLE + TABLE


def test_what_no_row_of_numbers_can_show_is_described() -> None:
    shown = table_of_outputs((torch.zeros(0), torch.ones(2, dtype=torch.complex64), None, ["a\nb" * 30]))
    assert [line.split() for line in shown.splitlines()[1:]] == [
        ["[0]", "float32", "[0]"],
        ["[1]", "complex64", "[2]"],
        ["[2]", "NoneType", "None"],
        ["[3][0]", "str", repr("a\nb" * 30)[:40]],
    ]


def test_a_folder_without_sample_inputs_says_what_to_do(tmp_path: Path) -> None:
    fx2py.generate(torch.fx.symbolic_trace(nn.ReLU())).write(tmp_path / "net")
    run = subprocess.run([sys.executable, str(tmp_path / "net")], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout) == (1, "")
    assert (
        run.stderr == f"{tmp_path / 'net'} holds no sample inputs: import it and call what load() returns.\n"
    )


def test_the_samples_of_a_folder_are_those_of_its_graph(folder: Path) -> None:
    stored = fx2py.open_artifact(folder).sample_inputs
    assert stored is not None
    assert torch.equal(stored.args[0], X)
    copy = fx2py.open_artifact(folder).write(folder.with_name("copy")).folder
    assert copy is not None
    assert (copy / "sample_inputs.pt").read_bytes() == (folder / "sample_inputs.pt").read_bytes()


@pytest.mark.parametrize("stored", [(torch.zeros(2**23 + 1),), (Net(),)], ids=["huge", "no data"])
def test_what_is_not_kept_leaves_a_note(stored: tuple[object, ...], tmp_path: Path) -> None:
    graph = data(placeholder("x"), output(Ref("x")))
    artifact = generate(replace(graph, sample_inputs=SampleInputs(stored)))
    assert artifact.sample_inputs is None
    (note,) = artifact.manifest.notes
    assert note.startswith("the sample inputs are not in the folder: ")
    written = artifact.write(tmp_path / "net").folder
    assert written is not None
    assert not (written / "sample_inputs.pt").exists()


# -- files that were changed


def _replace_samples(folder: Path, content: bytes) -> None:
    """Samples that the manifest vouches for."""
    (folder / "sample_inputs.pt").write_bytes(content)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["sample_inputs.pt"] = hashlib.sha256(content).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_samples_that_the_manifest_does_not_name_are_refused(folder: Path) -> None:
    torch.save(((X + 1,), {}), folder / "sample_inputs.pt")
    with pytest.raises(ArtifactError, match=r"sample_inputs.pt is not the file that the manifest names"):
        fx2py.open_artifact(folder)


@pytest.mark.parametrize("content", [b"garbage", b"\x80\x04K\x01.", pickle.dumps(((X,), {}))])
def test_damaged_samples_are_refused(content: bytes, folder: Path) -> None:
    _replace_samples(folder, content)
    with pytest.raises(ArtifactError, match="incomplete or damaged"):
        fx2py.open_artifact(folder)


class Trap:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.path),)


def test_samples_that_hold_code_run_nothing(folder: Path, tmp_path: Path) -> None:
    trapped = tmp_path / "trapped"
    torch.save(((Trap(trapped),), {}), folder / "sample_inputs.pt")
    _replace_samples(folder, (folder / "sample_inputs.pt").read_bytes())
    with pytest.raises(ArtifactError, match="incomplete or damaged"):
        fx2py.open_artifact(folder)
    assert not trapped.exists()


def test_a_folder_written_before_there_were_samples_is_opened(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    for name in ("__main__.py", "sample_inputs.pt"):
        (folder / name).unlink()
        del manifest["files"][name]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    artifact = fx2py.open_artifact(folder)
    assert artifact.sample_inputs is None
    assert torch.equal(artifact.bind()(X)["scaled"], X * 2)


def test_the_limit_is_that_of_the_readme() -> None:
    readme = (Path(samples.__file__).with_name("README.md")).read_text()
    assert f"more than {samples.LIMIT >> 20} MiB" in readme
