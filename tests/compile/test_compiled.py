"""Compiled pieces: loaded by another process without graph or compiler, trusted by who made them, else not used."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import logging
import os
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.utils.flop_counter
from torch.autograd import forward_ad

import fx2py
from fx2py import Artifact, Policy
from fx2py.artifact import submodule_table
from fx2py.artifact.compiled_calls import is_compiled
from fx2py.cli.call import bindings
from tests.compile.models import OPTIONS, Waves, waves

X = torch.linspace(-3, 3, 40).view(5, 8)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("state")


@pytest.fixture(autouse=True)
def own_key(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(home))


@pytest.fixture(scope="module")
def folder(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(home))
        target = tmp_path_factory.mktemp("compiled") / "waves"
        fx2py.generate(waves(), options=OPTIONS).write(target)
    return target


@pytest.fixture
def artifact(folder: Path) -> Artifact:
    return fx2py.open_artifact(folder)


@pytest.fixture(autouse=True)
def without_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def compiled_names(artifact: Artifact, **how: object) -> list[str]:
    """The submodules that run as compiled code when the artifact is bound."""
    table = submodule_table(artifact.bind(**how))
    return [name for name, bound in zip(artifact.manifest.slots, table, strict=True) if is_compiled(bound)]


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What fx2py logged; torch logs beside it."""
    return [record.getMessage() for record in caplog.records if record.name.startswith("fx2py")]


ALL = ["submod_0", "submod_1", "submod_2", "submod_3"]


def test_pieces_that_repeat_each_other_share_one_file_and_weights_stay_in_one_place(
    artifact: Artifact,
) -> None:
    pieces = artifact.manifest.compiled.pieces
    assert [piece.name for piece in pieces] == ALL
    assert [piece.file == pieces[number % 2].file for number, piece in enumerate(pieces)] == [True] * 4
    assert sorted({*artifact.compiled_files}) == sorted({piece.file for piece in pieces})
    assert [[name for name, _ in piece.weights] for piece in pieces] == [
        ["submod_0.one"],
        [],
        ["submod_2.two"],
        [],
    ]


def test_compiled_pieces_compute_what_the_generated_ones_do(artifact: Artifact) -> None:
    assert compiled_names(artifact) == ALL
    assert bindings(artifact, artifact.bind()) == tuple((name, "compiled code") for name in ALL)
    torch.testing.assert_close(artifact.bind()(X), artifact.without_compiled().bind()(X))


ELSEWHERE = """
import sys
import torch
import fx2py
artifact = fx2py.open_artifact(sys.argv[1])
with torch.no_grad():
    result = artifact.bind()(torch.linspace(-3, 3, 40).view(5, 8))
assert artifact.compiled_fault() == ""
torch.save(result, sys.argv[2])
assert "fx2py.compile" not in sys.modules
"""


def test_another_process_runs_them_without_graph_generator_or_compiler(folder: Path, tmp_path: Path) -> None:
    without_compiler = {**os.environ, "PATH": str(tmp_path), "CXX": "/nonexistent", "OMP_NUM_THREADS": "1"}
    arguments = [sys.executable, "-c", ELSEWHERE, str(folder), str(tmp_path / "result.pt")]
    done = subprocess.run(
        arguments, env=without_compiler, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "not used" not in done.stderr
    assert "generated code" not in done.stderr
    result = torch.load(tmp_path / "result.pt")
    assert torch.equal(result, fx2py.open_artifact(folder).bind()(X))


# -- where they do not fit, generated code runs ---------------------------------------------------------------------


def test_where_gradients_are_wanted_generated_code_runs_and_says_so_once(
    artifact: Artifact, caplog: pytest.LogCaptureFixture
) -> None:
    execute = artifact.bind()
    with torch.enable_grad(), caplog.at_level(logging.WARNING):
        results = [execute(X) for _ in range(3)]
        expected = Waves()(X)
    assert all(torch.equal(result, expected) and result.requires_grad for result in results)
    assert said(caplog) == [
        "submod_0 runs as generated code: compiled pieces give no gradients; call it under torch.no_grad()."
    ]


def double(x: torch.Tensor) -> torch.Tensor:
    return x.double()


def transposed(x: torch.Tensor) -> torch.Tensor:
    return x.t().contiguous().t()


def of_another_rank(x: torch.Tensor) -> torch.Tensor:
    return x.unsqueeze(0)


@pytest.mark.parametrize("change", [double, transposed, of_another_rank])
def test_a_piece_that_gets_what_it_was_not_compiled_for_is_exact(change: object, artifact: Artifact) -> None:
    pieces = submodule_table(artifact.bind())
    generated = submodule_table(artifact.without_compiled().bind())
    given = change(X)  # type: ignore[operator]
    result, expected = pieces[0](given), generated[0](given)
    assert (result.dtype, result.stride()) == (expected.dtype, expected.stride())
    assert torch.equal(result, expected)


def test_autocast_transforms_and_modes_get_generated_code(artifact: Artifact) -> None:
    piece, generated = (submodule_table(each.bind())[0] for each in (artifact, artifact.without_compiled()))
    assert torch.equal(torch.vmap(piece)(X.expand(3, 5, 8)), torch.vmap(generated)(X.expand(3, 5, 8)))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(piece(X), generated(X))
    with torch.utils.flop_counter.FlopCounterMode(display=False):
        assert torch.equal(piece(X), generated(X))


def without_numbers(x: torch.Tensor) -> torch.Tensor:
    return torch._efficientzerotensor(tuple(x.shape))


def negated(x: torch.Tensor) -> torch.Tensor:
    return torch._neg_view(x)


def functional(x: torch.Tensor) -> torch.Tensor:
    return torch._to_functional_tensor(x.clone())


@pytest.mark.parametrize("change", [without_numbers, negated, functional])
def test_tensors_whose_numbers_are_not_in_their_memory_get_generated_code(
    change: object, artifact: Artifact
) -> None:
    execute, generated = artifact.bind(), artifact.without_compiled().bind()
    torch.testing.assert_close(execute(change(X)), generated(change(X)))  # type: ignore[operator]


def test_tangents_of_forward_differentiation_are_kept(artifact: Artifact) -> None:
    execute, generated = artifact.bind(), artifact.without_compiled().bind()
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(X, torch.ones_like(X))
        tangent, expected = (forward_ad.unpack_dual(each(dual)).tangent for each in (execute, generated))
    torch.testing.assert_close(tangent, expected)


def to_half(weight: torch.Tensor) -> torch.Tensor:
    return weight.bfloat16()


@pytest.mark.parametrize("change", [to_half, double, negated])
def test_a_weight_that_became_another_kind_of_tensor_is_not_read_as_what_it_was(
    change: object, folder: Path
) -> None:
    artifact = fx2py.open_artifact(folder)
    execute, generated = artifact.bind(), artifact.without_compiled().bind()
    for weight in artifact.tensors.values():
        weight.data = change(weight.data)  # type: ignore[operator]
    torch.testing.assert_close(execute(X), generated(X))


def test_inference_mode_runs_compiled_code(artifact: Artifact, caplog: pytest.LogCaptureFixture) -> None:
    with torch.inference_mode(), caplog.at_level(logging.WARNING):
        assert torch.equal(artifact.bind()(X), fx2py.open_artifact(artifact.folder).bind()(X.clone()))
    assert said(caplog) == []


def test_a_piece_of_ones_own_stands_in_front_of_the_compiled_one(artifact: Artifact) -> None:
    assert compiled_names(artifact, submods={"submod_1": torch.neg}) == ["submod_0", "submod_2", "submod_3"]


def test_diff_judges_the_generated_code(artifact: Artifact) -> None:
    assert fx2py.diff(waves(), artifact, (X,)).equal


# -- whose code it is ------------------------------------------------------------------------------------------------


def refusal(artifact: Artifact, caplog: pytest.LogCaptureFixture, **how: object) -> str:
    """What is said when the compiled pieces of an artifact are not used."""
    caplog.clear()
    assert compiled_names(artifact, **how) == []
    (message,) = said(caplog)
    return message


def test_code_that_another_user_compiled_is_loaded_only_with_trust(
    artifact: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for state in (tmp_path / "nobody", tmp_path / "somebody"):
        monkeypatch.setenv("XDG_STATE_HOME", str(state))
        wanted = "not compiled by this user; policy=Policy(trust_all=True) loads them"
        assert refusal(artifact, caplog) == f"compiled pieces not used: {wanted}."
    assert compiled_names(artifact, policy=Policy(trust_all=True)) == ALL


def test_other_bytes_than_those_that_were_signed_are_never_loaded(
    artifact: Artifact, caplog: pytest.LogCaptureFixture
) -> None:
    files = {name: content[:-1] + b"?" for name, content in artifact.compiled_files.items()}
    changed = dataclasses.replace(artifact, compiled_files=files)
    for policy in (None, Policy(trust_all=True)):
        assert "not the file that the manifest names" in refusal(changed, caplog, policy=policy)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("submod_2", "submod_3"),
        ('"is_single": true', '"is_single": false'),
        ('"device": "cpu"', '"device": "CPU"'),
    ],
)
def test_what_the_manifest_says_of_compiled_code_is_signed_too(
    old: str, new: str, artifact: Artifact, tmp_path: Path
) -> None:
    artifact.write(tmp_path / "copy")
    manifest = tmp_path / "copy" / "manifest.json"
    head, compiled, rest = manifest.read_text().partition('"compiled": {')
    assert old in rest
    manifest.write_text(head + compiled + rest.replace(old, new, 1))
    assert compiled_names(fx2py.open_artifact(tmp_path / "copy")) == []


def edited(artifact: Artifact, place: Path, edit: Callable[[dict[str, Any]], None]) -> Artifact:
    """The artifact as it is opened once its manifest was edited."""
    artifact.write(place)
    manifest = json.loads((place / "manifest.json").read_text())
    edit(manifest)
    (place / "manifest.json").write_text(json.dumps(manifest))
    return fx2py.open_artifact(place)


def swap_names(manifest: dict[str, Any]) -> None:
    one, _, two, _ = manifest["submodules"]
    one["name"], two["name"] = two["name"], one["name"]


def leave_one_out(manifest: dict[str, Any]) -> None:
    manifest["submodules"][0]["index"] = None


@pytest.mark.parametrize("edit", [swap_names, leave_one_out])
def test_compiled_code_takes_no_other_place_than_its_own(
    edit: Callable[[dict[str, Any]], None], artifact: Artifact, tmp_path: Path
) -> None:
    hostile = edited(artifact, tmp_path / "copy", edit)
    assert hostile.compiled_fault() != ""
    assert torch.equal(hostile.bind()(X), artifact.without_compiled().bind()(X))


def test_a_manifest_that_lists_too_few_submodules_is_refused_even_when_trusted(
    artifact: Artifact, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hostile = edited(artifact, tmp_path / "copy", leave_one_out)
    hostile.bind(policy=Policy(trust_all=True))
    assert said(caplog) == [
        "compiled pieces not used: the manifest lists other submodules than the code has."
    ]


def test_code_that_was_compiled_for_other_source_is_not_used(artifact: Artifact) -> None:
    edited = dataclasses.replace(artifact, source=artifact.source.replace("torch.sin(", "torch.cos("))
    assert compiled_names(edited) == []
    assert torch.equal(
        edited.bind()(X), torch.relu(torch.cos(torch.relu(torch.cos(X) * Waves().one)) * Waves().two)
    )


def test_code_that_was_edited_runs_as_it_is_even_when_trusted(
    artifact: Artifact, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = artifact.write(tmp_path / "folder").folder
    assert folder is not None
    source = folder / "execution_fn.py"
    source.write_text(source.read_text().replace("torch.sin(", "torch.cos("))
    message = refusal(fx2py.open_artifact(folder), caplog, policy=Policy(trust_all=True))
    assert message == "compiled pieces not used: the code was edited since they were compiled."


@pytest.mark.parametrize("part", ["torch", "python", "system", "processor"])
def test_code_for_another_machine_is_not_loaded_even_when_trusted(
    part: str, artifact: Artifact, caplog: pytest.LogCaptureFixture
) -> None:
    compiled = artifact.manifest.compiled
    machine = dataclasses.replace(compiled.machine, **{part: "something else"})
    manifest = dataclasses.replace(artifact.manifest, compiled=dataclasses.replace(compiled, machine=machine))
    elsewhere = dataclasses.replace(artifact, manifest=manifest)
    text = refusal(elsewhere, caplog, policy=Policy(trust_all=True))
    assert text.startswith(f"compiled pieces not used: compiled for {part} something else, and this is ")


def test_another_device_gets_generated_code(artifact: Artifact) -> None:
    assert artifact.compiled_fault() == ""
    assert (
        dataclasses.replace(artifact, device=torch.device("meta")).compiled_fault()
        == "compiled for the device cpu"
    )


def test_a_default_dtype_that_code_was_not_compiled_for_is_named_before_binding(
    artifact: Artifact, caplog: pytest.LogCaptureFixture
) -> None:
    torch.set_default_dtype(torch.float64)
    try:
        assert artifact.compiled_fault().startswith("torch is set to another default dtype")
        assert artifact.compiled_fault() in refusal(artifact, caplog)
    finally:
        torch.set_default_dtype(torch.float32)


# -- one piece that cannot be used -----------------------------------------------------------------------------------


def without_one(files: dict[str, bytes], file: str) -> dict[str, bytes]:
    return {name: content for name, content in files.items() if name != file}


def with_one_cut_short(files: dict[str, bytes], file: str) -> dict[str, bytes]:
    return {**files, file: files[file][:-1]}


@pytest.mark.parametrize(
    ("damage", "fault"),
    [(without_one, "is missing"), (with_one_cut_short, "is not the file that the manifest names")],
)
def test_a_bad_file_is_named_before_it_is_bound_and_disables_its_pieces_alone(
    damage: Callable[..., dict[str, bytes]], fault: str, artifact: Artifact, caplog: pytest.LogCaptureFixture
) -> None:
    file = artifact.manifest.compiled.pieces[1].file
    damaged = dataclasses.replace(artifact, compiled_files=damage(dict(artifact.compiled_files), file))
    assert damaged.compiled_fault() == f"submod_1, submod_3: {file} {fault}"
    assert compiled_names(damaged) == ["submod_0", "submod_2"]
    assert said(caplog) == [f"compiled pieces not used: {damaged.compiled_fault()}."]
    torch.testing.assert_close(damaged.bind()(X), Waves()(X))


def test_a_weight_of_another_kind_disables_the_pieces_that_take_it(
    artifact: Artifact, caplog: pytest.LogCaptureFixture
) -> None:
    tensors = {**artifact.tensors, "submod_0.one": artifact.tensors["submod_0.one"].double()}
    other = dataclasses.replace(artifact, tensors=tensors)
    fault = "submod_0: it was compiled for another submod_0.one than the folder holds"
    assert other.compiled_fault() == fault
    assert compiled_names(other) == ["submod_1", "submod_2", "submod_3"]
    assert said(caplog) == [f"compiled pieces not used: {fault}."]
    assert torch.equal(other.bind()(X), other.without_compiled().bind()(X))


@pytest.mark.parametrize("content", [b"not a compiled function", b"", "other members", "other pickle"])
def test_a_piece_that_torch_cannot_load_is_left_out_alone(
    content: object, artifact: Artifact, caplog: pytest.LogCaptureFixture
) -> None:
    piece, compiled = artifact.manifest.compiled.pieces[1], artifact.manifest.compiled
    bad = content if isinstance(content, bytes) else archive_of(str(content))
    pieces = tuple(
        dataclasses.replace(each, sha256=hashlib.sha256(bad).hexdigest()) if each.file == piece.file else each
        for each in compiled.pieces
    )
    manifest = dataclasses.replace(
        artifact.manifest, compiled=dataclasses.replace(compiled, pieces=pieces).signed(artifact.code)
    )
    files = {**artifact.compiled_files, piece.file: bad}
    broken = dataclasses.replace(artifact, manifest=manifest, compiled_files=files)
    assert broken.compiled_fault() == ""
    assert compiled_names(broken) == ["submod_0", "submod_2"]
    (message,) = said(caplog)
    assert message.startswith("compiled pieces not used: submod_1, submod_3: it cannot be loaded: ")


def archive_of(kind: str) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(
            "function" if kind == "other pickle" else "something", pickle.dumps({"no": "function"})
        )
    return packed.getvalue()


def test_a_file_outside_the_folder_is_not_read(artifact: Artifact, tmp_path: Path) -> None:
    artifact.write(tmp_path / "copy")
    path = tmp_path / "copy" / "manifest.json"
    manifest = json.loads(path.read_text())
    for piece in manifest["compiled"]["pieces"]:
        piece["file"] = "compiled/../weights.pt"
    path.write_text(json.dumps(manifest))
    assert fx2py.open_artifact(tmp_path / "copy").compiled_files == {}
