"""What is no graph ends in one sentence that names the file and the next step."""

import zipfile
from pathlib import Path

import pytest
import torch

from fx2py.errors import UnknownFormatError
from fx2py.read import open_graph
from tests.read.graphs import added


def make_folder(path: Path) -> None:
    path.mkdir()


def make_other_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "does not exist"),
        (make_folder, "is a folder without a saved graph"),
        (lambda path: path.write_bytes(b""), "is empty"),
        (lambda path: path.write_text("hello"), "no known format"),
        (lambda path: path.write_bytes(b"\x80"), "pickle ends"),
        (lambda path: path.write_bytes(b"PK\x03\x04" + b"\0" * 50), "damaged zip archive"),
        (make_other_zip, "zip archive without a saved graph"),
    ],
    ids=["missing", "folder", "empty", "text", "one_byte", "half_zip", "other_zip"],
)
def test_what_is_no_graph_is_named_with_the_next_step(make, message, tmp_path):
    make(tmp_path / "thing")
    with pytest.raises(UnknownFormatError, match=message) as caught:
        open_graph(tmp_path / "thing")
    assert str(tmp_path / "thing") in caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.hint


def make_zip_of_executorch(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("serialized_exported_program.json", "{}")


@pytest.mark.parametrize(
    ("make", "message", "hint"),
    [
        (
            lambda path: path.write_bytes(b"\x3c\0\0\0ET12eh00" + bytes(9)),
            "is an ExecuTorch program",
            "torch.export.save(manager.exported_program(), path)",
        ),
        (
            lambda path: path.write_bytes(b"\x7fELF" + bytes(60)),
            "is a compiled library",
            "torch.export.save(program",
        ),
        (
            lambda path: path.write_bytes((2).to_bytes(8, "little") + b"{}"),
            "is a safetensors file, which holds weights",
            "GraphPickler",
        ),
        (make_zip_of_executorch, "in the form that executorch writes", "torch.export.save of torch 2.10"),
    ],
    ids=["pte", "library", "safetensors", "executorch"],
)
def test_what_a_graph_was_made_into_says_where_the_graph_is(make, message, hint, tmp_path):
    make(tmp_path / "thing")
    with pytest.raises(UnknownFormatError, match=message) as caught:
        open_graph(tmp_path / "thing")
    assert hint in caught.value.hint


def test_the_name_of_a_file_says_nothing(tmp_path):
    torch.save(added(), tmp_path / "graph.pt2")
    assert open_graph(tmp_path / "graph.pt2").provenance.format == "torch.save"
