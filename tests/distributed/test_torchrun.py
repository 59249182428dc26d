"""Graphs of several ranks under torchrun: what comes out, who speaks, and how a run ends in which a rank fails."""

import json
import time

import pytest
import torch

import fx2py
from tests.distributed.graphs import (
    all_reduce,
    every_operator,
    expected_of_every_operator,
    matmul_then_all_reduce,
    saved_graph,
)
from tests.distributed.models import save_block
from tests.distributed.ranks import fx2py_ranks, torchrun

HOSTILE = "x'); import os\n\x1b[31m{rank}"


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A folder with the block of two ranks, and its result in a single process."""
    folder = tmp_path_factory.mktemp("pair")
    return folder, save_block(folder, (2,))


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    """A folder with the block of four ranks, parallel in pairs, and its result in a single process."""
    folder = tmp_path_factory.mktemp("grid")
    return folder, save_block(folder, (2, 2))


def save_ranks(folder, *builders):
    for rank, build in enumerate(builders):
        saved_graph(folder / f"graph.rank{rank}.pt", build)


def save_inputs(folder, *tensors):
    for rank, tensor in enumerate(tensors):
        torch.save((tensor,), folder / f"x.rank{rank}.pt")


def assert_all_end(results, code, speaker, *mentions):
    """Every rank ended with ``code``, and ``speaker`` alone said why."""
    assert [result.code for result in results] == [code] * len(results), results
    for rank, result in enumerate(results):
        assert "Traceback" not in result.err
        assert result.out == ""
        if rank != speaker:
            assert result.err == ""
    assert results[speaker].err.startswith(f"rank {speaker}: error: ")
    for mention in mentions:
        assert mention in results[speaker].err


# -- what comes out ----------------------------------------------------------------------------------------------


def test_every_rank_computes_what_a_single_process_does(pair):
    folder, expected = pair
    results = fx2py_ranks(2, "run", "block.rank{rank}.pt2", "--output", "out.rank{rank}.pt", folder=folder)
    assert [result.code for result in results] == [0, 0], results
    for rank in (0, 1):
        torch.testing.assert_close(torch.load(folder / f"out.rank{rank}.pt"), expected)
    assert "block.rank0.pt2, block.rank1.pt2" in results[0].out
    assert (results[0].err, results[1].out, results[1].err) == ("", "", "")


def test_groups_of_a_mesh_are_those_of_the_ranks_that_name_them(grid):
    folder, expected = grid
    arguments = ("--inputs", "x.pt", "--output", "out.rank{rank}.pt")
    results = fx2py_ranks(4, "run", "block.rank{rank}.pt", *arguments, folder=folder)
    assert [result.code for result in results] == [0] * 4, results
    for rank in range(4):
        torch.testing.assert_close(torch.load(folder / f"out.rank{rank}.pt"), expected)


@pytest.mark.parametrize("size", [2, 4])
def test_every_operator_gives_each_rank_its_part(tmp_path, size):
    inputs = [torch.arange(8.0).reshape(4, 2) * (rank + 1) for rank in range(size)]
    save_inputs(tmp_path, *inputs)
    saved_graph(tmp_path / "graph.pt", every_operator(size))
    arguments = ("graph.pt", "--inputs", "x.rank{rank}.pt")
    results = fx2py_ranks(size, "run", *arguments, "-o", "out.rank{rank}.pt", folder=tmp_path)
    assert [result.code for result in results] == [0] * size, results
    for rank in range(size):
        found = torch.load(tmp_path / f"out.rank{rank}.pt")
        torch.testing.assert_close(found, expected_of_every_operator(inputs, rank), rtol=0, atol=0)
    results = fx2py_ranks(size, "diff", *arguments, folder=tmp_path)
    assert [result.code for result in results] == [0] * size, results
    assert "equivalent: the same, bit for bit" in results[0].out


def test_diff_is_equal_on_every_rank_and_says_so_once(pair):
    folder, _ = pair
    results = fx2py_ranks(2, "diff", "block.rank{rank}.pt2", "--json", folder=folder)
    assert [result.code for result in results] == [0, 0], results
    report = json.loads(results[0].out)
    assert report["equal"]
    assert [each["graph"] for each in report["ranks"]] == ["block.rank0.pt2", "block.rank1.pt2"]
    assert results[1].out == ""


def test_diff_shows_which_rank_and_leaf_differ(tmp_path):
    save_ranks(tmp_path, all_reduce("0"), all_reduce("0"))
    for rank in range(2):
        fx2py.generate(tmp_path / f"graph.rank{rank}.pt").write(tmp_path / f"code.rank{rank}")
    edited = tmp_path / "code.rank1" / "execution_fn.py"
    code = edited.read_text()
    edited.write_text(
        code.replace("return wait_tensor_default", "neg = -wait_tensor_default\n    return neg")
    )
    save_inputs(tmp_path, torch.ones(2), torch.ones(2))
    arguments = ("graph.rank{rank}.pt", "code.rank{rank}", "--inputs", "x.rank{rank}.pt")
    results = fx2py_ranks(2, "diff", *arguments, folder=tmp_path)
    assert [result.code for result in results] == [1, 1], results
    rows = [line.split()[:2] for line in results[0].out.splitlines() if "differs in values" in line]
    assert rows == [["1", "output"]]
    assert "different in call 1" in results[0].out
    results = fx2py_ranks(2, "diff", *arguments, "--json", folder=tmp_path)
    report = json.loads(results[0].out)
    assert [report["equal"], *(each["equal"] for each in report["ranks"])] == [False, True, False]


def test_run_prints_one_json_document_with_a_part_a_rank(pair):
    folder, _ = pair
    results = fx2py_ranks(2, "run", "block.rank{rank}.pt2", "--json", folder=folder)
    report = json.loads(results[0].out)
    assert [each["ran"] for each in report["ranks"]] == ["block.rank0.pt2", "block.rank1.pt2"]
    assert report["outputs"] == report["ranks"][0]["outputs"]
    assert results[1].out == ""


def test_a_generated_folder_a_rank(pair, tmp_path):
    folder, expected = pair
    for rank in (0, 1):
        fx2py.generate(folder / f"block.rank{rank}.pt2").write(tmp_path / f"block.rank{rank}_fx2py")
    arguments = ("block.rank{rank}_fx2py", "--inputs", folder / "x.pt", "-o", "out.rank{rank}.pt")
    results = fx2py_ranks(2, "run", *arguments, folder=tmp_path)
    assert [result.code for result in results] == [0, 0], results
    torch.testing.assert_close(torch.load(tmp_path / "out.rank1.pt"), expected)


def test_a_group_name_is_only_text(tmp_path):
    save_ranks(tmp_path, all_reduce(HOSTILE), all_reduce(HOSTILE))
    save_inputs(tmp_path, torch.ones(2), torch.ones(2))
    arguments = ("graph.rank{rank}.pt", "--inputs", "x.rank{rank}.pt")
    results = fx2py_ranks(2, "run", *arguments, "-o", "out.rank{rank}.pt", folder=tmp_path)
    assert [result.code for result in results] == [0, 0], results
    assert torch.equal(torch.load(tmp_path / "out.rank1.pt"), torch.full((2,), 2.0))


def test_another_launcher_is_heeded_where_a_path_asks_for_the_rank(tmp_path):
    save_ranks(tmp_path, all_reduce("0"), all_reduce("0"))
    save_inputs(tmp_path, torch.ones(2), torch.ones(2))
    arguments = ("graph.rank{rank}.pt", "--inputs", "x.rank{rank}.pt")
    results = fx2py_ranks(2, "run", *arguments, folder=tmp_path, environment={})
    assert [result.code for result in results] == [0, 0], results
    assert ["graph.rank1.pt" in result.out for result in results] == [True, False]


def test_another_launcher_is_not_asked_for_ranks_that_the_graph_does_not_need(tmp_path):
    saved_graph(tmp_path / "graph.pt", lambda graph, x: graph.call_function(torch.relu, (x,)))
    save_inputs(tmp_path, torch.ones(2))
    alone = {"RANK": "0", "WORLD_SIZE": "2"}
    (result,) = fx2py_ranks(
        1, "run", "graph.pt", "--inputs", "x.rank0.pt", folder=tmp_path, environment=alone
    )
    assert result.code == 0, result


# -- how a run ends in which a rank fails ------------------------------------------------------------------------


def test_a_rank_without_its_file_ends_all(pair, tmp_path):
    folder, _ = pair
    (tmp_path / "block.rank0.pt2").symlink_to(folder / "block.rank0.pt2")
    results = fx2py_ranks(2, "run", "block.rank{rank}.pt2", folder=tmp_path)
    assert_all_end(results, 2, 1, "block.rank1.pt2")


def test_a_rank_whose_file_is_refused_ends_all(pair, tmp_path):
    folder, _ = pair
    (tmp_path / "block.rank1.pt2").symlink_to(folder / "block.rank1.pt2")
    (tmp_path / "block.rank0.pt2").write_bytes(b"no graph at all")
    results = fx2py_ranks(2, "diff", "block.rank{rank}.pt2", folder=tmp_path)
    assert_all_end(results, 2, 0, "block.rank0.pt2")


def test_what_is_wrong_on_every_rank_is_said_once(pair):
    folder, _ = pair
    results = fx2py_ranks(2, "run", "block.rank{rank}.pt2", "--inputs", "none.pt", folder=folder)
    assert_all_end(results, 2, 0, "none.pt")


@pytest.mark.parametrize("command", ["run", "diff"])
def test_a_rank_that_raises_half_way_releases_those_that_wait_for_it(tmp_path, command):
    save_ranks(tmp_path, matmul_then_all_reduce("0"), matmul_then_all_reduce("0"))
    save_inputs(tmp_path, torch.ones(2, 2), torch.ones(2, 3))
    start = time.monotonic()
    arguments = ("graph.rank{rank}.pt", "--inputs", "x.rank{rank}.pt")
    results = fx2py_ranks(2, command, *arguments, folder=tmp_path)
    assert_all_end(results, 2, 1, "the graph raised RuntimeError")
    assert time.monotonic() - start < 20


def test_a_result_that_cannot_be_saved_ends_all(pair):
    folder, _ = pair
    (folder / "taken.rank1.pt").mkdir(exist_ok=True)
    results = fx2py_ranks(2, "run", "block.rank{rank}.pt2", "-o", "taken.rank{rank}.pt", folder=folder)
    assert_all_end(results, 2, 1, "taken.rank1.pt")


def test_graphs_of_more_ranks_than_were_started_are_refused(grid):
    folder, _ = grid
    results = fx2py_ranks(2, "run", "block.rank{rank}.pt2", folder=folder)
    assert_all_end(results, 2, 0, "block.rank2.pt2", "only 2 ranks")


def test_ranks_that_call_differently_are_refused_before_they_wait(tmp_path):
    save_ranks(tmp_path, all_reduce("0"), lambda graph, x: x)
    save_inputs(tmp_path, torch.ones(2), torch.ones(2))
    arguments = ("graph.rank{rank}.pt", "--inputs", "x.rank{rank}.pt")
    results = fx2py_ranks(2, "run", *arguments, folder=tmp_path)
    assert_all_end(results, 2, 0, "all_reduce", "missing on rank 1")


def test_a_group_of_another_size_is_refused(tmp_path):
    saved_graph(tmp_path / "graph.pt", every_operator(2))
    save_inputs(tmp_path, *[torch.ones(4, 2)] * 4)
    results = fx2py_ranks(4, "run", "graph.pt", "--inputs", "x.rank{rank}.pt", folder=tmp_path)
    assert_all_end(results, 2, 0, "group of 2 ranks", "4 of this run")


def test_one_result_file_for_all_is_refused(pair):
    folder, _ = pair
    results = fx2py_ranks(2, "run", "block.rank{rank}.pt2", "--output", "out.pt", folder=folder)
    assert_all_end(results, 2, 0, "would write out.pt", "out.rank{rank}.pt")


def test_ranks_must_name_their_graphs(pair):
    folder, _ = pair
    results = fx2py_ranks(2, "run", folder=folder)
    assert_all_end(results, 2, 0, "no graph is named")


# -- torchrun itself ---------------------------------------------------------------------------------------------


def test_torchrun_runs_four_ranks(grid):
    folder, expected = grid
    done = torchrun(4, "run", "block.rank{rank}.pt2", "-o", "torchrun.rank{rank}.pt", folder=folder)
    assert done.returncode == 0, done.stderr
    for rank in range(4):
        torch.testing.assert_close(torch.load(folder / f"torchrun.rank{rank}.pt"), expected)


def test_torchrun_ends_when_a_rank_fails_half_way(tmp_path):
    save_ranks(tmp_path, matmul_then_all_reduce("0"), matmul_then_all_reduce("0"))
    save_inputs(tmp_path, torch.ones(2, 2), torch.ones(2, 3))
    done = torchrun(2, "run", "graph.rank{rank}.pt", "--inputs", "x.rank{rank}.pt", folder=tmp_path)
    assert done.returncode != 0
    assert done.stderr.count("error: ") == 1
    assert "rank 1: error: the graph raised RuntimeError" in done.stderr
    assert done.stdout == ""
