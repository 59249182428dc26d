"""What the launcher's variables say, and which file of several belongs to a rank."""

from pathlib import Path

import pytest

from fx2py.distributed.launcher import Rank, check_ranks, every_path, launched_rank, own_path
from fx2py.errors import ReplayError

LAUNCHED = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "MASTER_ADDR": "here", "MASTER_PORT": "1"}


def test_a_launched_process_knows_its_rank():
    assert launched_rank(LAUNCHED) == Rank(3, 4, 1)


@pytest.mark.parametrize("name", ["RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"])
def test_without_every_variable_there_was_no_launcher(name):
    assert launched_rank({key: value for key, value in LAUNCHED.items() if key != name}) is None


@pytest.mark.parametrize(
    "change", [{"RANK": "4"}, {"RANK": "-1"}, {"WORLD_SIZE": "many"}, {"LOCAL_RANK": ""}]
)
def test_variables_that_make_no_sense_are_refused(change):
    with pytest.raises(ReplayError, match="make no sense"):
        launched_rank({**LAUNCHED, **change})


def test_the_rank_stands_where_its_place_is():
    assert own_path(Path("rank{rank}/graph.{rank}.pt2"), Rank(3, 4)) == Path("rank3/graph.3.pt2")
    assert own_path(Path("graph.pt2"), None) == Path("graph.pt2")


def test_a_place_without_a_launcher_is_refused():
    with pytest.raises(ReplayError, match="no launcher"):
        own_path(Path("graph.{rank}.pt2"), None)


def test_all_ranks_are_those_with_a_file(tmp_path):
    for rank in (0, 1, 3):
        (tmp_path / f"graph.rank{rank}.pt2").touch()
    pattern = tmp_path / "graph.rank{rank}.pt2"
    assert [path.name for path in every_path(pattern)] == ["graph.rank0.pt2", "graph.rank1.pt2"]
    with pytest.raises(ReplayError, match=r"other\.0"):
        list(every_path(tmp_path / "other.{rank}"))


def test_a_file_for_a_rank_that_does_not_run_is_refused(tmp_path):
    (tmp_path / "graph.rank2.pt2").touch()
    pattern = tmp_path / "graph.rank{rank}.pt2"
    check_ranks(pattern, Rank(0, 3))
    with pytest.raises(ReplayError, match="only 2 ranks"):
        check_ranks(pattern, Rank(0, 2))
