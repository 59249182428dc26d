"""Folders that an earlier release wrote: their manifests are read, their code passes the audit."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path

import pytest
import torch

import fx2py
from fx2py.artifact.manifest import IN_ONE_FILE, SCHEMA, VERSION
from fx2py.emit.embedded import RELEASED
from fx2py.errors import ArtifactError, UntrustedTargetError
from tests.artifact.released import with_this_release

GOLDEN = Path(__file__).parents[1] / "golden"
OLDER = GOLDEN / "schema_1"
EXPORTED, TRACED = (GOLDEN / "schema_2" / name for name in ("exported", "traced"))
"""Of 0.3.0: inputs that are checked, a record, what is computed once; and called modules, a moved device, a constant."""


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


def test_a_folder_of_schema_2_checks_its_inputs_and_keeps_what_is_computed_once() -> None:
    artifact = fx2py.open_artifact(EXPORTED)
    assert (artifact.manifest.schema, artifact.manifest.fx2py) == (2, "0.3.0")
    execute = artifact.bind()
    table, weight, bias = artifact.tensors.values()
    x, y = torch.rand(5, 4), torch.rand(6, 4)
    with torch.no_grad():
        out = torch.relu(torch.nn.functional.linear(x, weight, bias)).sum(0) + table[:4]
        for scale in (2.0, 3.0, 5.0, 7.0):
            out = torch.tanh(out * scale).cos()
        for _ in range(2):
            result = execute(x, {"y": y})
            assert torch.equal(result.x, out)
            assert torch.equal(result.rest, y[1:] * 2)
    with pytest.raises(ValueError, match=r"pair\['y'\].shape\[0\] must be s77 \+ 1 with s77 = 5, not 5"):
        execute(x, {"y": x})


def test_a_folder_of_schema_2_calls_its_modules_and_takes_others() -> None:
    artifact = fx2py.open_artifact(TRACED)
    x = torch.rand(2, 3)
    first, weight, bias = artifact.tensors["scale"], *(
        artifact.tensors[f"block.0.{n}"] for n in ("weight", "bias")
    )
    block = torch.nn.functional.linear(x, weight, bias)
    norm = block / torch.sqrt(torch.tensor(1 + 1e-5))
    assert torch.allclose(artifact.bind()(x), norm * first)
    assert torch.equal(artifact.bind("cpu", {"block": torch.neg, "norm": torch.neg})(x), x * first)


@pytest.mark.parametrize("folder", [OLDER, EXPORTED, TRACED])
def test_an_older_folder_runs_with_torch_alone(folder: Path) -> None:
    spec = importlib.util.spec_from_file_location("older", folder / "execution_fn.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert callable(module.load())


def test_writing_an_older_folder_anew_gives_the_last_schema_of_its_form(tmp_path: Path) -> None:
    written = fx2py.open_artifact(OLDER).write(tmp_path / "out")
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["schema"] == IN_ONE_FILE < SCHEMA
    assert {path.name for path in (tmp_path / "out").iterdir()} == {path.name for path in OLDER.iterdir()}
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


EDITS = {
    "a call": ("relu = torch.relu(", "relu = torch.os.system("),
    "a decorator of bind": ("def bind(tensors", "@torch.os.system\ndef bind(tensors"),
    "a default of bind": ("def bind(tensors", "def bind(tensors=torch.os.system('true')"),
    "a decorator of load": ("def load(device", "@torch.os.system\ndef load(device"),
    "a function of the runtime's": ("    modules = {", "    modules = read_weights('x', 0) or {"),
    "a function in the place of the runtime's": (
        "def execution_fn",
        "def assemble(x):\n    return x\n\n\ndef execution_fn",
    ),
    "a container in the place of the runtime's": (
        "Point = container(",
        'build = container("a.b", ())\nPoint = container(',
    ),
    "a class": ('= container("model.Point"', "= torch.os.system("),
    "the end": ("check_inputs = input_checks(", "check_inputs = print("),
}


@pytest.mark.parametrize("what", EDITS)
def test_an_edit_of_an_older_folder_is_refused_as_one_of_todays(what: str, tmp_path: Path) -> None:
    shutil.copytree(EXPORTED, tmp_path / "edited")
    path = tmp_path / "edited" / "execution_fn.py"
    old, new = EDITS[what]
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises((ArtifactError, UntrustedTargetError)):
        fx2py.open_artifact(tmp_path / "edited").bind()


def test_an_edit_of_an_older_folder_within_the_grammar_runs(tmp_path: Path) -> None:
    shutil.copytree(EXPORTED, tmp_path / "edited")
    path = tmp_path / "edited" / "execution_fn.py"
    path.write_text(path.read_text().replace("clone * 2", "clone * 3"))
    y = torch.rand(6, 4)
    assert torch.equal(fx2py.open_artifact(tmp_path / "edited").bind()(y[1:], {"y": y}).rest, y[1:] * 3)


def test_what_all_folders_have_alike_today_is_recorded_as_that_of_this_release() -> None:
    recorded = RELEASED.read_text().splitlines()
    assert recorded == with_this_release(recorded), "run `make released`"


def test_the_release_is_the_one_that_the_package_names() -> None:
    project = (Path(fx2py.__file__).parents[1] / "pyproject.toml").read_text()
    assert f'\nversion = "{VERSION}"\n' in project
