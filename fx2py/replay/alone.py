"""A run in one process: what ``distributed.World`` is to several."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

from fx2py.errors import ReplayError

if TYPE_CHECKING:
    from fx2py.artifact import Artifact

T = TypeVar("T")


class Alone:
    """The only process of a run."""

    is_alone = True

    def agree(self, work: Callable[[], T]) -> T:
        """What ``work`` gives."""
        return work()

    def form_groups(self, artifact: Artifact) -> None:
        """Raise ReplayError where the code needs others."""
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
        """There is nothing to leave."""
