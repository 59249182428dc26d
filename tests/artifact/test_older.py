"""Folders that an earlier release wrote: their manifests are read, their code passes the audit."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

import fx2py
from fx2py.artifact.manifest import SCHEMA, VERSION
from fx2py.emit.carried import RELEASED
from fx2py.errors import ArtifactError
from tests.artifact.released import with_this_release

OLDER = Path(__file__).parents[1] / "golden" / "schema_1"


def test_a_folder_of_schema_1_runs_and_says_what_wrote_it() -> None:
    artifact = fx2py.open_artifact(OLDER)
    assert (artifact.manifest.schema, artifact.manifest.fx2py, artifact.manifest.compiled) == (
        1,
        "0.1.0",
        None,
    )
    x = torch.ones(2, 3)
    weights = list(artifact.tensors.values())
    linear = torch.nn.functional.linear
    expected = linear(torch.relu(linear(x, *weights[:2])), *weights[2:])
    assert torch.equal(artifact.bind()(x), expected)


def test_writing_an_older_folder_anew_gives_todays_schema(tmp_path: Path) -> None:
    written = fx2py.open_artifact(OLDER).write(tmp_path / "out")
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["schema"] == SCHEMA
    assert torch.equal(
        fx2py.open_artifact(written.folder).bind()(torch.ones(2, 3)), written.bind()(torch.ones(2, 3))
    )


def test_a_newer_schema_is_refused_with_the_next_step(tmp_path: Path) -> None:
    shutil.copytree(OLDER, tmp_path / "newer")
    path = tmp_path / "newer" / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema": SCHEMA + 1}))
    with pytest.raises(ArtifactError, match=rf"is of schema {SCHEMA + 1}, newer than {SCHEMA}") as refused:
        fx2py.open_artifact(tmp_path / "newer")
    assert refused.value.hint == "Update fx2py."


def test_an_older_runtime_with_one_sign_changed_is_not_an_older_runtime(tmp_path: Path) -> None:
    shutil.copytree(OLDER, tmp_path / "changed")
    path = tmp_path / "changed" / "execution_fn.py"
    source = path.read_text()
    assert source.count("module.training = training") == 1
    path.write_text(source.replace("module.training = training", "module.training = Training"))
    with pytest.raises(ArtifactError, match="the loading part is not the one that fx2py writes"):
        fx2py.open_artifact(tmp_path / "changed").bind()


def test_what_files_carry_today_is_recorded_as_that_of_this_release() -> None:
    recorded = RELEASED.read_text().splitlines()
    assert recorded == with_this_release(recorded), "run `make released`"


def test_the_release_is_the_one_that_the_package_names() -> None:
    project = (Path(fx2py.__file__).parents[1] / "pyproject.toml").read_text()
    assert f'\nversion = "{VERSION}"\n' in project
