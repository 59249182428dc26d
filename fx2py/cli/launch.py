"""Commands under a launcher such as torchrun: every rank works, and the first one prints for all."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from fx2py.cli import terminal
from fx2py.cli.targets import newest_folder
from fx2py.distributed import launcher
from fx2py.errors import ReplayError

if TYPE_CHECKING:
    from fx2py.distributed.world import World


def set_launched_rank() -> None:
    """Under torchrun: the first rank prints for all, the others only their faults."""
    rank = asked_rank()
    if rank is not None:
        terminal.set_rank(rank)


def asked_rank(*paths: Path | None) -> launcher.Rank | None:
    """The rank that a launcher gave this process, if the command is meant for one of several: started by torchrun
    itself, or given a path with ``{rank}``. The variables alone say nothing: clusters set them for every process.
    """
    asked = launcher.is_torchrun() or any(launcher.PLACEHOLDER in str(path) for path in paths)
    return launcher.launched_rank() if asked else None


def world(rank: launcher.Rank | None) -> launcher.Alone | World:
    """The processes of this run; without a rank, this one alone."""
    if rank is None:
        return launcher.Alone()
    from fx2py.distributed.world import World

    terminal.set_rank(rank)
    return World(rank)


def every_graph(paths: Iterable[Path]) -> list[Path]:
    """The graphs to generate: that of this rank under torchrun, else those of all ranks."""
    rank = asked_rank()
    return [
        each
        for path in paths
        for each in (launcher.every_path(path) if rank is None else [launcher.own_path(path, rank)])
    ]


def folder_of_each(output: Path, graphs: int) -> list[Path]:
    """The folders to generate the graphs of all ranks to, or that of this rank's graph under torchrun."""
    rank = asked_rank()
    return [launcher.numbered(output, index) for index in (range(graphs) if rank is None else [rank.index])]


def own_graph(path: Path | None, rank: launcher.Rank | None) -> Path:
    """The graph or folder of this rank; None means the newest folder, of a single rank."""
    if path is None:
        if rank is None or rank.size == 1:
            return newest_folder(Path())
        raise ReplayError(
            "no graph is named, and one folder is not that of every rank.",
            "Name them all as one: 'graph.rank{rank}.pt2'.",
        )
    own = launcher.own_path(path, rank)
    if rank is not None:
        launcher.check_ranks(path, rank)
    return own


def own_input(path: Path | None, rank: launcher.Rank | None) -> Path | None:
    """A file to read, which ranks may share."""
    return None if path is None else launcher.own_path(path, rank)


def own_output(path: Path | None, rank: launcher.Rank | None) -> Path | None:
    """A file to write; raises ReplayError if every rank would write the same one."""
    if path is not None and rank is not None and rank.size > 1 and launcher.PLACEHOLDER not in str(path):
        each = path.with_name(f"{path.stem}.rank{launcher.PLACEHOLDER}{path.suffix}")
        raise ReplayError(f"each of {rank.size} ranks would write {path}.", f"Name a file a rank: '{each}'.")
    return own_input(path, rank)


def own_device(name: str | None, rank: launcher.Rank | None) -> str | None:
    """The device of this rank, where under a launcher ``cuda`` means a GPU for each; None is as recorded.

    Raises ReplayError unless a tensor can be made there.
    """
    if name is None:
        return None
    from fx2py.operators.devices import present_device

    own = f"cuda:{rank.local}" if name == "cuda" and rank is not None else name
    present_device(own)
    return own
