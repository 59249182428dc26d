"""Graphs of several ranks without a launcher: they are generated, and what needs the others is refused."""

import pytest
import torch

from tests.distributed.graphs import all_reduce, saved_graph


@pytest.fixture
def graphs(here):
    for rank in (0, 1):
        saved_graph(here / f"graph.rank{rank}.pt", all_reduce("0"))
    return here


def test_gen_writes_a_folder_for_each_rank(fx2py, graphs):
    result = fx2py("gen", "graph.rank{rank}.pt")
    assert (result.code, result.err) == (0, "")
    assert {path.name for path in graphs.glob("*_fx2py")} == {"graph.rank0_fx2py", "graph.rank1_fx2py"}


def test_gen_writes_folders_whose_names_have_a_place_for_the_rank(fx2py, graphs):
    result = fx2py("gen", "graph.rank{rank}.pt", "-o", "code{rank}")
    assert (result.code, result.err) == (0, "")
    assert {path.name for path in graphs.glob("code*")} == {"code0", "code1"}
    several = fx2py("gen", "graph.rank0.pt", "graph.rank1.pt", "-o", "code{rank}")
    assert (several.code, "name one" in several.err) == (2, True)


def test_gen_says_which_file_of_a_pattern_is_not_there(fx2py, graphs):
    result = fx2py("gen", "other.rank{rank}.pt")
    assert result.code == 2
    assert "other.rank0.pt" in result.err


@pytest.mark.parametrize("command", ["run", "diff", "bench"])
def test_a_graph_with_collectives_says_how_to_start_it(fx2py, graphs, command):
    result = fx2py(command, "graph.rank0.pt", "--inputs", inputs(graphs))
    assert result.code == 2
    assert "all_reduce, in which several processes take part" in result.err
    assert "torchrun" in result.err


@pytest.mark.parametrize("command", ["run", "diff"])
def test_a_pattern_says_how_to_start_it(fx2py, graphs, command):
    result = fx2py(command, "graph.rank{rank}.pt")
    assert result.code == 2
    assert "no launcher says which rank this is" in result.err


def inputs(folder):
    torch.save((torch.ones(2),), folder / "x.pt")
    return folder / "x.pt"
