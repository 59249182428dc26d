"""Damaged files of every format end in one fault that names the file, never in another exception."""

import shutil
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.fx._graph_pickler import GraphPickler

from fx2py.errors import Fx2pyError
from fx2py.read import open_graph
from fx2py.read.forward.statements import ForwardFault, read_forward
from tests.corpus.formats import FORMATS
from tests.read.graphs import traced_block

DAMAGED = ("pt", "stream", "pickle", "graph_pickler", "package")
QUICK = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


def write(name: str, folder: Path) -> Path:
    gm = traced_block()
    if name in FORMATS:
        return FORMATS[name](gm, folder)
    path = folder / "graph.pt"
    torch.save(gm, path, _use_new_zipfile_serialization=False)
    return path


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    """The bytes of one graph in each format."""
    return {name: write(name, tmp_path_factory.mktemp(name)).read_bytes() for name in DAMAGED}


def is_refused(data: bytes, path: Path) -> bool:
    """Whether the bytes are refused as a graph; the fault must name the file in one sentence."""
    path.write_bytes(data)
    fault = fault_of(path)
    assert fault is None or (str(path) in fault and "\n" not in fault)
    return fault is not None


def fault_of(path: Path) -> str | None:
    """The message with which a file or folder is refused; None where it is read. Any other exception is passed on."""
    try:
        open_graph(path)
    except Fx2pyError as error:
        return error.message
    return None


@pytest.mark.parametrize("name", DAMAGED)
def test_cut_files_are_refused(name, originals, tmp_path):
    data = originals[name]
    for end in range(0, len(data) - 1, max(1, len(data) // 60)):
        assert is_refused(data[:end], tmp_path / "cut"), f"{end} of {len(data)} bytes"


@pytest.mark.parametrize("name", DAMAGED)
@QUICK
@given(data=st.data())
def test_changed_bytes_are_read_or_refused(name, originals, tmp_path_factory, data):
    changed = bytearray(originals[name])
    positions = data.draw(st.lists(st.integers(0, len(changed) - 1), min_size=1, max_size=4))
    for position in positions:
        changed[position] = data.draw(st.integers(0, 255))
    is_refused(bytes(changed), tmp_path_factory.getbasetemp() / f"changed_{name}")


OPERATIONS = (
    b"\x80\x95(012NJKMG\x8a\x8bX\x8c\x8dBC\x8e\x96])}\x8f\x90\x91aesut\x85\x86\x87c\x93R\x81\x92bQqr\x94hj."
)


@QUICK
@given(st.lists(st.sampled_from([bytes([code]) for code in OPERATIONS] + [b"\x00", b"a\nb\n"]), max_size=60))
def test_random_pickles_are_refused(tmp_path_factory, parts):
    assert is_refused(b"\x80\x04" + b"".join(parts), tmp_path_factory.getbasetemp() / "random")


WORDS = [
    "self",
    "x",
    ".",
    "(",
    ")",
    "[",
    "]",
    "=",
    "None",
    "1",
    "'a'",
    ",",
    "torch",
    "relu",
    "**",
    "-",
    "return",
    ":",
]
WORDS += [
    "getattr",
    "lambda",
    "+=",
    ";",
    "{",
    "}",
    "inf",
    "slice",
    "\n    ",
    "fx_pytree.tree_flatten_spec",
    "1j",
    "@",
]


@QUICK
@given(st.lists(st.sampled_from(WORDS), max_size=40))
def test_random_text_is_read_or_refused(words):
    try:
        read_forward("def forward(self, x):\n    " + " ".join(words))
    except ForwardFault as fault:
        assert str(fault)  # noqa: PT017


@QUICK
@given(data=st.data())
def test_changed_folders_are_read_or_refused(folder, data):
    path = folder / "module.py"
    original = path.read_bytes()
    changed = bytearray(original)
    for position in data.draw(st.lists(st.integers(0, len(changed) - 1), min_size=1, max_size=4)):
        changed[position] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(changed))
    try:
        fault = fault_of(folder)
    finally:
        path.write_bytes(original)
    assert fault is None or str(folder) in fault


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("to") / "folder"
    with pytest.warns(UserWarning, match="as reprs"):
        traced_block().to_folder(path, "Graph")
    yield path
    shutil.rmtree(path)


def test_a_folder_without_its_tensors_is_refused(folder, tmp_path):
    copied = tmp_path / "copied"
    shutil.copytree(folder, copied)
    (copied / "state_dict.pt").unlink()
    with pytest.raises(Fx2pyError, match=r"state_dict\.pt"):
        open_graph(copied)


def test_graph_pickler_without_its_fields_is_refused(tmp_path):
    stream = GraphPickler.dumps(traced_block())
    for word in (b"nodes", b"target", b"args", b"gm_dict", b"_modules", b"_parameters"):
        assert is_refused(stream.replace(word, word[::-1]), tmp_path / "g"), word
