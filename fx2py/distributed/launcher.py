"""What a launcher such as torchrun says of this process, which file of several is its own, and a run without one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

from fx2py.errors import ReplayError

if TYPE_CHECKING:
    from fx2py.artifact import Artifact

T = TypeVar("T")

PLACEHOLDER = "{rank}"
"""Stands in a path for the number of a rank."""
_VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True, slots=True)
class Rank:
    """One of ``size`` processes: its number, and its number among those of the same machine."""

    index: int = 0
    size: int = 1
    local: int = 0


def launched_rank(environment: Mapping[str, str] = os.environ) -> Rank | None:
    """The rank that a launcher gave this process, None where none did; ReplayError for impossible variables."""
    if not all(name in environment for name in _VARIABLES):
        return None
    told = [environment["RANK"], environment["WORLD_SIZE"], environment.get("LOCAL_RANK", "0")]
    index, size, local = [int(text) if text.isdecimal() else -1 for text in told]
    if not 0 <= index < size or local < 0:
        raise ReplayError(
            f"the launcher's variables make no sense: RANK={told[0]}, WORLD_SIZE={told[1]}, LOCAL_RANK={told[2]}.",
            "Start with torchrun, which sets them.",
        )
    return Rank(index, size, local)


def is_torchrun(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether the launcher is torchrun, which alone sets this variable; clusters set the others for every process."""
    return "TORCHELASTIC_RUN_ID" in environment


def own_path(path: Path, rank: Rank | None) -> Path:
    """``path`` with the number of the rank in its place; raises ReplayError where there is a place but no rank."""
    if PLACEHOLDER not in str(path):
        return path
    if rank is None:
        raise ReplayError(
            f"{path} names a file for each rank, and no launcher says which rank this is.",
            "Start with 'torchrun --nproc-per-node N -m fx2py ...', or name the file of one rank.",
        )
    return numbered(path, rank.index)


def check_ranks(path: Path, rank: Rank) -> None:
    """Raise ReplayError where there is a file for a rank that does not run: the graphs are of a larger world."""
    surplus = numbered(path, rank.size)
    if PLACEHOLDER in str(path) and surplus.exists():
        raise ReplayError(
            f"{surplus} is there too, but the launcher started only {rank.size} ranks.",
            "Start as many processes as the graphs were captured with.",
        )


def every_path(path: Path) -> Iterator[Path]:
    """``path`` for rank 0, 1, ... as far as there are files; raises ReplayError where there is none."""
    if PLACEHOLDER not in str(path):
        yield path
        return
    rank = 0
    while numbered(path, rank).exists():
        yield numbered(path, rank)
        rank += 1
    if rank == 0:
        raise ReplayError(f"there is no {numbered(path, 0)}, the first of {path}.", "Name files that exist.")


def numbered(path: Path, index: int) -> Path:
    """``path`` with the number of a rank in its place."""
    return Path(str(path).replace(PLACEHOLDER, str(index)))


class Alone:
    """The only process of a run: what ``world.World`` is to several."""

    is_alone = True

    def agree(self, work: Callable[[], T]) -> T:
        """The result of ``work``."""
        return work()

    def form_groups(self, artifact: Artifact) -> None:
        """Raise ReplayError for code with collectives."""
        if artifact.collectives:
            raise ReplayError(
                f"the graph calls {artifact.collectives[0].op}, in which several processes take part.",
                "Start it with 'torchrun --nproc-per-node N -m fx2py ...' and the graph of each rank, "
                "as in 'graph.rank{rank}.pt2'.",
            )

    def gather(self, value: T) -> tuple[T, ...]:
        """The ``value`` of this process."""
        return (value,)

    def __enter__(self) -> Alone:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Nothing was set up."""
