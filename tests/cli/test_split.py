"""``fx2py split``: the pieces of a graph, shown and generated."""

import json

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


def test_output_generates_the_pieces_to_a_folder_that_runs(fx2py, here, saved):
    assert fx2py("split", saved / "net.pt2", *OPS, "-o", "pieces").code == 0
    assert fx2py("diff", saved / "net.pt2", "pieces").code == 0


def test_json_describes_the_pieces(fx2py, here, saved):
    data = json.loads(fx2py("split", saved / "net.pt", "--at", "linear", "--json").out)
    assert [piece["name"] for piece in data["pieces"]] == ["submod_0", "submod_1"]
    assert data["folder"] is None


def test_an_operator_that_is_not_there_is_named(fx2py, here, saved):
    result = fx2py("split", saved / "net.pt2", "--at", "aten::conv2d", "-o", "pieces")
    assert result.code == 2
    assert "aten::conv2d" in result.err
    assert list(here.iterdir()) == []
