"""Recorded process groups in a program of one's own: generated code called between torch's own groups."""

import os

import pytest
import torch
import torch.distributed as dist
from torch._C._distributed_c10d import _resolve_process_group

import fx2py
from fx2py.distributed.launcher import launched_rank
from fx2py.distributed.world import World
from tests.distributed.graphs import all_reduce, saved_graph
from tests.distributed.ranks import call_ranks, fx2py_ranks


def run_between_own_groups():
    """Ranks 0 and 2 reduce in a group that is named like one that this program has made of all ranks."""
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    own = dist.new_group()
    artifact = fx2py.generate(f"graph.rank{rank}.pt")
    with fx2py.RecordedGroups(artifact):
        found = artifact.bind()(torch.tensor([1.0 + rank]))
    assert found.item() == {0: 4.0, 1: 2.0, 2: 4.0}[rank]
    assert _resolve_process_group(own.group_name) is own
    dist.destroy_process_group()


def test_groups_are_there_for_the_block_and_own_groups_keep_their_names(tmp_path):
    for rank, group in enumerate(["1", "lonely", "1"]):
        saved_graph(tmp_path / f"graph.rank{rank}.pt", all_reduce(group))
    results = call_ranks(3, run_between_own_groups, folder=tmp_path)
    assert [(result.code, result.err) for result in results] == [(0, "")] * 3


def leave_without_a_word():
    """Rank 1 is gone in the middle of a run."""
    with World(launched_rank()) as world:
        world.form_groups(fx2py.generate("graph.pt"))
        if world.rank.index == 1:
            os._exit(9)
        world.gather(None)


def test_a_rank_that_is_killed_is_noticed(tmp_path):
    saved_graph(tmp_path / "graph.pt", all_reduce("0"))
    results = call_ranks(2, leave_without_a_word, folder=tmp_path)
    assert [result.code for result in results] == [1, 9]
    assert "remote worker" in results[0].err


def fail_differently():
    """Rank 0 is at fault in one way, rank 1 in a worse one, rank 2 not at all."""
    with World(launched_rank()) as world:
        world.agree((refuse, divide, int)[world.rank.index])


def refuse():
    raise fx2py.Fx2pyError("refused")


def divide():
    return 1 // 0


def exit_code_of_failing_differently():
    try:
        fail_differently()
    except fx2py.Fx2pyError as error:
        raise SystemExit(error.exit_code) from None


def test_every_rank_ends_with_the_worst_exit_code(tmp_path):
    results = call_ranks(3, exit_code_of_failing_differently, folder=tmp_path)
    assert [results[rank].code for rank in (0, 2)] == [70, 70]
    assert "ZeroDivisionError" in results[1].err


@pytest.mark.gpu
def test_ranks_with_a_gpu_each_reduce_over_nccl(tmp_path):
    size = torch.cuda.device_count()
    saved_graph(tmp_path / "graph.pt", all_reduce("0"))
    torch.save((torch.ones(3),), tmp_path / "x.pt")
    arguments = ("graph.pt", "--inputs", "x.pt", "--device", "cuda")
    results = fx2py_ranks(size, "run", *arguments, "--output", "out.rank{rank}.pt", folder=tmp_path)
    assert [result.code for result in results] == [0] * size, results
    for rank in range(size):
        found = torch.load(tmp_path / f"out.rank{rank}.pt")
        assert found.device == torch.device("cuda", rank)
        assert found.tolist() == [size] * 3
    results = fx2py_ranks(size, "diff", *arguments, folder=tmp_path)
    assert [result.code for result in results] == [0] * size, results
