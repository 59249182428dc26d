"""``fx2py diff``: its verdict, its exit code and what it compares when arguments are left out."""

import json
import shutil

import pytest
import torch

import fx2py as library


@pytest.fixture
def graph(here, saved):
    """net.pt2 in the current directory and net_fx2py generated from it."""
    shutil.copy(saved / "net.pt2", here / "net.pt2")
    library.generate("net.pt2").write("net_fx2py")
    return here / "net.pt2"


@pytest.fixture
def wrong(graph, here):
    """net_fx2py edited so that it computes something else."""
    code = here / "net_fx2py" / "execution_fn.py"
    code.write_text(code.read_text().replace("torch.relu(", "torch.sigmoid("))
    return graph


def test_equal_code_is_equivalent(fx2py, graph):
    result = fx2py("diff", "net.pt2", "net_fx2py")
    assert (result.code, result.err) == (0, "")
    assert "equivalent" in result.out
    for output in ("hidden", "total"):
        assert output in result.out


def test_code_that_computes_something_else_is_not(fx2py, wrong):
    result = fx2py("diff", "net.pt2", "net_fx2py")
    assert result.code == 1
    assert "not equivalent" in result.out
    assert "hidden" in result.out


def test_without_arguments_compares_the_newest_folder_with_its_graph(fx2py, graph):
    result = fx2py("diff")
    assert result.code == 0
    assert "net_fx2py" in result.out
    assert "net.pt2" in result.out


def test_a_graph_alone_is_compared_with_its_folder_here(fx2py, wrong):
    assert fx2py("diff", "net.pt2").code == 1


def test_a_graph_without_a_folder_is_generated_in_memory(fx2py, here, saved):
    assert fx2py("diff", saved / "net.pt2").code == 0
    assert list(here.iterdir()) == []


def test_a_folder_alone_is_compared_with_its_graph(fx2py, wrong):
    assert fx2py("diff", "net_fx2py").code == 1


def test_a_graph_that_moved_is_a_clear_error(fx2py, graph, here):
    graph.rename(here / "elsewhere.pt2")
    result = fx2py("diff")
    assert result.code == 2
    assert "net.pt2" in result.err
    assert fx2py("diff", "elsewhere.pt2", "net_fx2py").code == 0


def test_a_graph_that_changed_is_a_clear_error(fx2py, graph, saved):
    shutil.copy(saved / "net.pt", graph)
    result = fx2py("diff")
    assert result.code == 2
    assert "net.pt2" in result.err
    assert "changed" in result.err


def test_json_holds_the_verdict(fx2py, wrong):
    result = fx2py("diff", "--json")
    assert result.code == 1
    assert json.loads(result.out)["equal"] is False


def test_given_inputs_are_used(fx2py, wrong, tmp_path):
    """relu and sigmoid are told apart by any input, but nan comes out of both."""
    torch.save((torch.full((2, 4), float("nan")),), tmp_path / "nan.pt")
    assert fx2py("diff").code == 1
    result = fx2py("diff", "--inputs", tmp_path / "nan.pt")
    assert result.code == 3
    assert "not compared: every result is NaN" in result.out


def test_a_folder_of_another_graph_is_an_error_that_names_both(fx2py, here, saved):
    fx2py("gen", saved / "net.pt2")
    refused = fx2py("diff", saved / "net.pt", "net_fx2py")
    assert refused.code == 2
    assert "net.pt2 (sha256 " in refused.err
    assert "net.pt as it is now (sha256 " in refused.err
