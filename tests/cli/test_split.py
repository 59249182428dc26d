"""``fx2py split``: the pieces of a graph, shown and saved."""

import json
import re
from pathlib import Path

import pytest
import torch

OPS = ("--at", "aten::relu", "--at", "torch.sum")


def test_shows_a_row_for_each_piece_and_writes_nothing(fx2py, here, saved):
    result = fx2py("split", saved / "net.pt2", *OPS)
    assert (result.code, result.err) == (0, "")
    assert [word for word in ("submod_0", "submod_1", "submod_2", "submod_3") if word in result.out] == [
        "submod_0",
        "submod_1",
        "submod_2",
    ]
    assert "3 of them different" in result.out
    assert list(here.iterdir()) == []


@pytest.mark.parametrize("command", ["run", "diff", "bench", "split"])
def test_output_saves_the_split_graph_for_every_command(command, fx2py, here, saved):
    assert fx2py("split", saved / "net.pt2", *OPS, "-o", "pieces.fx2py").code == 0
    more = {"bench": ["--rounds", "3"], "split": ["--at", "submod_0"]}.get(command, [])
    result = fx2py(command, "pieces.fx2py", *more)
    assert (result.code, result.err) == (0, "")


def test_code_of_the_saved_split_graph_calls_its_pieces(fx2py, here, saved):
    fx2py("split", saved / "net.pt2", *OPS, "-o", "pieces.fx2py")
    assert fx2py("gen", "pieces.fx2py", "--keep-submodules").code == 0
    manifest = json.loads(Path("pieces_fx2py/manifest.json").read_text())
    assert [entry["name"] for entry in manifest["submodules"]] == ["submod_0", "submod_1", "submod_2"]
    assert manifest["graph"]["format"] == "fx2py"
    assert fx2py("diff").code == 0


def test_output_replaces_graph_files_and_nothing_else(fx2py, here, saved):
    model = saved / "net.pt2"
    kept = model.read_bytes()
    assert fx2py("split", model, *OPS, "-o", model).code == 2
    assert model.read_bytes() == kept
    for _ in range(2):
        assert fx2py("split", model, *OPS, "-o", "pieces.fx2py").code == 0
    assert fx2py("split", model, *OPS, "-o", "nowhere/pieces.fx2py").code == 2


def test_a_piece_that_is_used_again_is_shown_once(fx2py, here, tmp_path):
    layers = torch.nn.Sequential(
        *[layer for _ in range(3) for layer in (torch.nn.Linear(4, 4), torch.nn.ReLU())]
    )
    torch.save(torch.fx.symbolic_trace(layers), tmp_path / "layers.pt")
    result = fx2py("split", tmp_path / "layers.pt", "--at", "aten::relu")
    assert re.search(r"submod_1 +3 times .* submod_3, submod_5", result.out)
    assert "6, 2 of them different" in result.out


def test_json_describes_the_pieces(fx2py, here, saved):
    data = json.loads(fx2py("split", saved / "net.pt", "--at", "linear", "--json").out)
    assert [piece["name"] for piece in data["pieces"]] == ["submod_0", "submod_1"]
    assert data["file"] is None


def test_an_operator_that_is_not_there_is_named(fx2py, here, saved):
    result = fx2py("split", saved / "net.pt2", "--at", "aten::conv2d", "-o", "pieces")
    assert result.code == 2
    assert "aten::conv2d" in result.err
    assert list(here.iterdir()) == []
