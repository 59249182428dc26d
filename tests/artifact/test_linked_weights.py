"""Folders without weights of their own: in the graph file, where they lie, or with the caller."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import fx2py
from fx2py.digests import hashing
from fx2py.errors import ArtifactError
from fx2py.runtime.weight_files import WEIGHTS_LIST
from tests.folders import imported

X = torch.ones(1, 8)


class Net(nn.Module):
    """Tied weights, a constant, a buffer of a dtype of its own, one that is no part of the state."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(8, 8)
        self.second = nn.Linear(8, 8, bias=False)
        self.second.weight = self.first.weight
        self.register_buffer("scale", torch.tensor(2.0, dtype=torch.bfloat16))
        self.register_buffer("shift", torch.tensor(3.0), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        constant = torch.tensor([1.0, 2.0])
        return self.second(self.first(x)) * self.scale + self.shift + constant.sum()


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    torch.export.save(torch.export.export(Net(), (X,)), tmp_path / "net.pt2")
    return tmp_path / "net.pt2"


@pytest.fixture
def linked(graph: Path) -> Path:
    written = fx2py.generate(graph).write(graph.with_name("net_fx2py"), weights="link").folder
    assert written is not None
    return written


def expected(graph: Path) -> torch.Tensor:
    result: torch.Tensor = torch.export.load(graph).module()(X)
    return result


def test_weights_are_used_where_they_lie(graph: Path, linked: Path) -> None:
    assert not (linked / "weights.pt").exists()
    artifact = fx2py.open_artifact(linked)
    assert torch.equal(artifact.bind()(X), expected(graph))
    assert torch.equal(imported(linked).load()(X), expected(graph))
    original = fx2py.generate(graph).tensors
    assert list(artifact.tensors) == list(original)
    for name, tensor in artifact.tensors.items():
        assert torch.equal(tensor, original[name])
        assert (type(tensor), tensor.requires_grad) == (type(original[name]), original[name].requires_grad)
    origin = artifact.manifest.weights_origin
    assert (origin.mode, origin.path) == ("link", os.path.join("..", "net.pt2"))
    assert origin.sha256 == artifact.manifest.graph.sha256 == hashlib.sha256(graph.read_bytes()).hexdigest()


@pytest.mark.parametrize("kind", ["torch.save", "graph file"])
def test_other_archives_are_linked_to_as_well(kind: str, tmp_path: Path) -> None:
    module = torch.fx.symbolic_trace(nn.Linear(8, 8))
    path = tmp_path / "graph"
    torch.save(module, path) if kind == "torch.save" else fx2py.save_graph(module, path)
    folder = fx2py.generate(path).write(tmp_path / "out", weights="link").folder
    assert folder is not None
    assert torch.equal(imported(folder).load()(X), module(X))


def test_writes_to_weights_stay_in_memory(graph: Path, linked: Path) -> None:
    before = graph.read_bytes()
    tensors = fx2py.open_artifact(linked).tensors
    with torch.no_grad():
        tensors["first.weight"].zero_()
    assert graph.read_bytes() == before


def test_what_does_not_lie_in_the_file_is_in_the_folder(graph: Path, tmp_path: Path) -> None:
    artifact = fx2py.generate(graph)
    with torch.no_grad():
        artifact.tensors["first.bias"].zero_()
    folder = artifact.write(tmp_path / "out", weights="link").folder
    assert folder is not None
    assert list(torch.load(folder / "weights.pt", weights_only=True)) == ["first.bias"]
    found = fx2py.open_artifact(folder).tensors
    assert list(found) == list(artifact.tensors)
    assert not found["first.bias"].any()


def _gone(path: Path) -> None:
    path.unlink()


def _changed(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _longer(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"x")


@pytest.mark.parametrize("change", [_gone, _changed, _longer])
def test_a_file_that_is_gone_or_changed_is_refused_with_the_next_step(
    change: Callable[[Path], None], graph: Path, linked: Path
) -> None:
    change(graph)
    with pytest.raises(RuntimeError, match=r"net\.pt2, in which the weights lie, .*put it back, or generate"):
        imported(linked).load()
    with pytest.raises(ArtifactError, match=r"net\.pt2, in which the weights") as refused:
        fx2py.open_artifact(linked)
    assert "enerate the folder again" in f"{refused.value.message} {refused.value.hint}"


def test_a_file_that_was_only_copied_anew_is_the_same(graph: Path, linked: Path) -> None:
    os.utime(graph, ns=(1, 1))
    assert torch.equal(imported(linked).load()(X), expected(graph))
    fx2py.open_artifact(linked)


def test_folder_and_file_may_be_moved_together(graph: Path, linked: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    for path in (graph, linked):
        shutil.move(path, tmp_path / "elsewhere" / path.name)
    assert torch.equal(
        imported(tmp_path / "elsewhere" / "net_fx2py").load()(X), expected(tmp_path / "elsewhere" / "net.pt2")
    )


def test_without_hashing_size_and_time_say_which_file_it_is(
    graph: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fx2py.digests.LARGE", 100)
    with hashing(is_wanted=False):
        artifact = fx2py.generate(graph)
    folder = artifact.write(tmp_path / "out", weights="link").folder
    assert folder is not None
    opened = fx2py.open_artifact(folder)
    assert (opened.manifest.graph.sha256, opened.manifest.weights_origin.sha256) == (None, None)
    assert torch.equal(opened.bind()(X), expected(graph))
    os.utime(graph, ns=(1, 1))
    with pytest.raises(ArtifactError, match="has changed"):
        fx2py.open_artifact(folder)


def test_a_graph_of_no_file_cannot_be_linked_to(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="only code that was made of a graph file"):
        fx2py.generate(torch.fx.symbolic_trace(Net())).write(tmp_path / "out", weights="link")
    assert not (tmp_path / "out").exists()


# -- a list of weights that was made by hand


def _edit_list(folder: Path, change: Callable[[Any], object]) -> None:
    """Change the list of weights, and what the manifest says of it."""
    listed = json.loads((folder / WEIGHTS_LIST).read_text())
    change(listed)
    text = json.dumps(listed)
    (folder / WEIGHTS_LIST).write_text(text)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"][WEIGHTS_LIST] = hashlib.sha256(text.encode()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_a_list_that_the_manifest_does_not_name_is_refused(linked: Path) -> None:
    (linked / WEIGHTS_LIST).write_text((linked / WEIGHTS_LIST).read_text() + " ")
    with pytest.raises(ArtifactError, match=r"weights.json is not the file that the manifest names"):
        fx2py.open_artifact(linked)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        *(
            (1, "float64"),
            (1, "load"),
            (1, "nothing"),
            (2, [8, 9]),
            (2, [-8, 8]),
            (2, "text"),
            (2, [2**62, 2**62]),
        ),
        *(
            (3, [8, 2]),
            (4, 1),
            (4, -1),
            (5, 10**9),
            (5, -64),
            (5, None),
            (6, 10**9),
            (6, -1),
            (6, 4),
            (0, ["x"]),
        ),
    ],
)
def test_a_place_outside_the_file_is_refused(place: int, value: object, linked: Path) -> None:
    def change(listed: Any) -> None:
        listed["tensors"][0][place] = value

    _edit_list(linked, change)
    with pytest.raises(ArtifactError):
        fx2py.open_artifact(linked)


@pytest.mark.parametrize("key", ["path", "size", "tensors"])
@pytest.mark.parametrize("value", [1, [1], "no/such", {"a": 1}])
def test_another_kind_of_list_is_refused(key: str, value: object, linked: Path) -> None:
    _edit_list(linked, lambda listed: listed.update({key: value}))
    with pytest.raises(ArtifactError):
        fx2py.open_artifact(linked)


# -- weights of the caller


@pytest.fixture
def without(graph: Path) -> Path:
    written = fx2py.generate(graph).write(graph.with_name("none_fx2py"), weights="none").folder
    assert written is not None
    return written


def test_the_caller_gives_a_state_dict(graph: Path, without: Path) -> None:
    state = torch.export.load(graph).state_dict
    assert torch.equal(imported(without).load(weights=state)(X), expected(graph))
    assert torch.equal(fx2py.open_artifact(without, weights=state).bind()(X), expected(graph))
    assert {"first.weight", "scale"}.isdisjoint(torch.load(without / "weights.pt", weights_only=True))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"first.weight": None}, "first.weight is missing"),
        ({"first.bias": torch.ones(9)}, r"first.bias is float32\[9\], not float32\[8\]"),
        ({"scale": torch.tensor(2.0)}, r"scale is float32\[\], not bfloat16\[\]"),
    ],
)
def test_weights_that_do_not_fit_are_named(
    change: dict[str, Any], said: str, graph: Path, without: Path
) -> None:
    state = {**torch.export.load(graph).state_dict, **change}
    with pytest.raises(RuntimeError, match=f"leaves its weights to the caller: {said}"):
        imported(without).load(weights=state)
    with pytest.raises(ArtifactError, match=said):
        fx2py.open_artifact(without, weights=state)
