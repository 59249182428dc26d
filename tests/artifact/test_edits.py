"""A generated folder that somebody edited: what counts as an edit, and that writing it anew does not lose one."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import os
import shutil
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
import torch

import fx2py
from fx2py.artifact.compiled import Compiled, CompiledPiece, Machine
from fx2py.artifact.edits import edited_files, edited_text, packed
from fx2py.errors import ArtifactError, EditedFolderError
from tests.artifact.test_write import scaled

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a compiled piece."""
    artifact = fx2py.generate(scaled(2.0))
    name, content = "compiled/piece.pt2", b"machine code"
    piece = CompiledPiece("piece", name, hashlib.sha256(content).hexdigest(), (), (), True, True)
    compiled = Compiled("inductor", "cpu", Machine("", "", "", ""), (piece,))
    manifest = dataclasses.replace(artifact.manifest, compiled=compiled)
    dataclasses.replace(artifact, manifest=manifest, compiled_files={name: content}).write(tmp_path / "out")
    return tmp_path / "out"


WRITTEN = (
    *(
        "__init__.py",
        "__main__.py",
        "_runtime.py",
        "_tables.py",
        "compiled/piece.pt2",
        "execution_fn.py",
        "manifest.json",
    ),
    "weights.pt",
)


def test_a_folder_as_it_was_written_has_no_edits(folder: Path) -> None:
    assert sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()) == [*WRITTEN]
    assert edited_files(folder) == ()


@pytest.mark.parametrize("name", WRITTEN)
def test_a_change_of_any_file_is_an_edit_and_is_not_overwritten(name: str, folder: Path) -> None:
    content = (folder / name).read_bytes()
    changed = content.replace(b"2.13", b"2.99").replace(b"\n", b"\n ", 1) + b" "
    (folder / name).write_bytes(changed)
    with pytest.raises(EditedFolderError, match=name) as refused:
        fx2py.generate(scaled(3.0)).write(folder)
    assert refused.value.files == (name,)
    assert "force=True" in refused.value.hint
    assert (folder / name).read_bytes() == changed
    fx2py.generate(scaled(3.0)).write(folder, force=True)
    assert edited_files(folder) == ()


@pytest.mark.parametrize("name", ["notes.txt", "sub/mine.py", "compiled/mine.so", ".hidden", "link", "gone"])
def test_a_file_that_somebody_added_is_not_deleted(name: str, folder: Path) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    if name in ("link", "gone"):
        (folder / name).symlink_to("/" if name == "link" else "nowhere")
    else:
        (folder / name).write_text("mine")
    with pytest.raises(EditedFolderError) as refused:
        fx2py.generate(scaled(3.0)).write(folder)
    assert refused.value.files == (name,)
    assert os.path.lexists(folder / name)


def test_a_manifest_with_a_key_of_its_own_is_edited(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "owner": "me"}, indent=2) + "\n")
    assert edited_files(folder) == ("manifest.json",)


def test_many_edits_are_counted(folder: Path) -> None:
    for number in range(10):
        (folder / f"mine_{number}").touch()
    with pytest.raises(EditedFolderError, match=r"\(mine_0, mine_1, mine_2 and 7 more\)"):
        fx2py.generate(scaled(3.0)).write(folder)


def test_what_python_leaves_and_what_is_missing_is_no_edit(folder: Path) -> None:
    shutil.rmtree(folder / "compiled")
    command = [sys.executable, "-c", "import out"]
    subprocess.run(command, cwd=folder.parent, check=True, env={**os.environ, "PYTHONDONTWRITEBYTECODE": ""})
    assert (folder / "__pycache__").is_dir()
    assert edited_files(folder) == ()


def test_a_folder_that_was_moved_has_no_edits(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "elsewhere" / "deep")
    assert edited_files(tmp_path / "elsewhere" / "deep") == ()


@pytest.mark.parametrize("schema", ["schema_1", "schema_2/traced"])
def test_a_folder_of_an_earlier_release_is_looked_at_too(schema: str, tmp_path: Path) -> None:
    older = tmp_path / "older"
    shutil.copytree(GOLDEN / schema, older)
    assert edited_files(older) == ()
    with (older / "execution_fn.py").open("a") as code:
        code.write("# mine\n")
    assert edited_files(older) == ("execution_fn.py",)


def test_a_folder_with_a_damaged_manifest_is_written_anew_by_force_alone(folder: Path) -> None:
    (folder / "manifest.json").write_text("{")
    with pytest.raises(ArtifactError, match="its manifest cannot be read"):
        fx2py.generate(scaled(3.0)).write(folder)
    assert (folder / "manifest.json").read_text() == "{"
    fx2py.generate(scaled(3.0)).write(folder, force=True)
    assert edited_files(folder) == ()


def test_a_folder_that_only_has_a_manifest_is_not_taken_for_a_generated_one(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(ArtifactError, match="was not generated by fx2py"):
        fx2py.generate(scaled(3.0)).write(tmp_path, force=True)
    assert (tmp_path / "manifest.json").read_text() == "{"


def test_an_artifact_is_written_over_its_own_folder(folder: Path) -> None:
    artifact = fx2py.open_artifact(folder)
    artifact.write(folder)
    assert edited_files(folder) == ()
    assert fx2py.open_artifact(folder).bind()(torch.ones(3)).tolist() == [2.0, 2.0, 2.0]


# -- lines ---------------------------------------------------------------------------------------------------------

ORIGINAL = "".join(f"line {number}\n" for number in range(100))


@pytest.mark.parametrize(
    ("now", "lines", "changes"),
    [
        (ORIGINAL.replace("line 5\n", "LINE 5\n"), 1, ["-6 line 5", "+6 LINE 5"]),
        (ORIGINAL.replace("line 5\n", ""), 1, ["-6 line 5"]),
        (ORIGINAL.replace("line 5\n", "line 5\nnew\n"), 1, ["+7 new"]),
        (ORIGINAL + "new", 1, ["+101 new"]),
        (ORIGINAL.replace("line 5\n", "a\nb\n").replace("line 90\n", ""), 3, None),
        ("", 100, None),
        ("x\n" * 50_000, 50_000, None),
        (ORIGINAL.replace("\n", "\r\n"), 100, None),
    ],
)
def test_the_edited_lines_are_counted_and_numbered(now: str, lines: int, changes: list[str] | None) -> None:
    digest = hashlib.sha256(ORIGINAL.encode()).hexdigest()
    found = edited_text("f.py", now, digest, {"f.py": packed(ORIGINAL)})
    assert found is not None
    assert found.lines == lines
    assert str(found) == f"{lines:,} line{'' if lines == 1 else 's'} of f.py"
    if changes is not None:
        assert [f"{each.sign}{each.number} {each.text}" for each in found.changes] == changes


@pytest.mark.parametrize("kept", ["", "no base64!", "AAAA", packed("another text"), packed("x" * 10)[:-8]])
def test_without_the_original_only_the_edit_is_known(kept: str) -> None:
    digest = hashlib.sha256(ORIGINAL.encode()).hexdigest()
    found = edited_text("f.py", "now", digest, {"f.py": kept})
    assert (found.lines, found.changes) == (None, ())
    assert str(found) == "f.py; the folder does not say which lines"


def test_a_packed_text_that_is_huge_is_not_unpacked() -> None:
    bomb = base64.b64encode(zlib.compress(b"x" * 2**27)).decode()
    assert edited_text("f.py", "now", "0" * 64, {"f.py": bomb}).lines is None


def test_the_lines_of_an_opened_folder(folder: Path) -> None:
    assert fx2py.open_artifact(folder).edits == ()
    code = folder / "execution_fn.py"
    code.write_text(code.read_text().replace("    return", "    print(mul.shape)\n    return"))
    (edit,) = fx2py.open_artifact(folder).edits
    assert (edit.file, edit.lines, [each.text.strip() for each in edit.changes]) == (
        *("execution_fn.py", 1),
        ["print(mul.shape)"],
    )
    assert fx2py.generate(scaled(2.0)).edits == ()
