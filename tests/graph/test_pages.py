"""Storages are looked through in pieces, and the pages of mapped files do not stay in memory for that."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from fx2py.graph.pages import digests_of, give_back, hold_the_same

MEBI = 2**20


def storage_of_size(size: int) -> torch.UntypedStorage:
    return (torch.arange(size) % 251).to(torch.uint8).untyped_storage()


@pytest.mark.parametrize("size", [0, 1, 7, 8, 4 * MEBI - 1, 4 * MEBI, 9 * MEBI + 5])
def test_equal_storages_are_told_from_those_that_differ_in_one_byte(size: int) -> None:
    one, other = storage_of_size(size), storage_of_size(size)
    assert hold_the_same(one, other)
    assert digests_of(one) == digests_of(other)
    for place in {0, size // 2, size - 1} if size else ():
        other[place] += 1
        assert not hold_the_same(one, other)
        assert digests_of(one) != digests_of(other)
        other[place] -= 1


def test_storages_of_different_sizes_differ() -> None:
    assert not hold_the_same(storage_of_size(8), storage_of_size(9))


def mapped(path: Path, size: int) -> torch.Tensor:
    """A private mapping of a new file of zeros."""
    with path.open("wb") as file:
        file.truncate(size)
    return torch.from_file(str(path), shared=False, size=size, dtype=torch.uint8)


def resident() -> int:
    """The bytes of files that this process has in memory."""
    lines = Path("/proc/self/status").read_text("ascii").splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("RssFile"))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what is in memory")
def test_a_mapped_file_is_looked_through_without_staying_in_memory(tmp_path: Path) -> None:
    size = 64 * MEBI
    one, other = mapped(tmp_path / "one", size), mapped(tmp_path / "other", size)
    before = resident()
    assert hold_the_same(one.untyped_storage(), other.untyped_storage())
    assert digests_of(one.untyped_storage()) == digests_of(other.untyped_storage())
    assert resident() - before < size // 2
    one.sum()
    assert resident() - before > size // 2  # so that the test can fail


def test_what_was_written_to_a_mapped_file_stays_when_it_is_looked_through(tmp_path: Path) -> None:
    data = mapped(tmp_path / "file", 16 * MEBI)
    data[5 * MEBI] = 7
    digests_of(data.untyped_storage())
    give_back(data)
    assert data[5 * MEBI] == 7
    assert int(data.sum()) == 7


def test_memory_of_no_file_stays_when_it_is_given_back() -> None:
    data = torch.ones(4 * MEBI, dtype=torch.uint8)
    give_back(data)
    assert bool((data == 1).all())
