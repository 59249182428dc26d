"""The processes that run graphs together, seen from one rank: they meet, work in stages, and end together."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from fx2py.distributed.groups import RecordedGroups
from fx2py.distributed.launcher import Rank
from fx2py.errors import Fx2pyError, InternalError, OtherRankError, ReplayError

if TYPE_CHECKING:
    from fx2py.artifact import Artifact

T = TypeVar("T")

PATIENCE = timedelta(minutes=10)
"""How long a rank waits for the others, when they meet or in a collective, before it gives up."""
_FAREWELL = timedelta(seconds=5)
"""How long a rank that failed waits for the others to say how they ended."""


@dataclass(frozen=True, slots=True)
class _Outcome:
    """How a stage ended on a rank: exit code 0, or the exit code and message of an error."""

    exit_code: int = 0
    message: str = ""


class World:
    """All processes of a run, which meet where the launcher's variables say, as one ``rank`` sees them.

    They work in stages: no rank begins one before every rank has ended the one before. An error that leaves the block
    on one rank ends the run on every rank: in the others ``agree``, or the collective that waits for a rank that is
    gone, raises OtherRankError.
    """

    is_alone = False

    def __init__(self, rank: Rank) -> None:
        self.rank = rank
        self._store: Store  # of the outcomes, once the ranks have met
        self._stage = 0
        self._groups = ExitStack()
        self._has_groups = False

    def __enter__(self) -> World:
        """Meet the others: gloo for tensors on the CPU, nccl for those on CUDA, one GPU for each rank of this machine.

        Raises ReplayError when they do not meet in time.
        """
        has_nccl = torch.cuda.is_available() and dist.is_nccl_available()
        if self.rank.local < torch.cuda.device_count():
            torch.cuda.set_device(self.rank.local)
        try:
            store, _, _ = next(rendezvous("env://", self.rank.index, self.rank.size, timeout=PATIENCE))
            dist.init_process_group(
                "cpu:gloo,cuda:nccl" if has_nccl else "gloo",
                store=PrefixStore("groups", store),
                rank=self.rank.index,
                world_size=self.rank.size,
                timeout=PATIENCE,
            )
        except (RuntimeError, ValueError) as error:
            raise ReplayError(f"the {self.rank.size} ranks of this run do not meet: {error}.") from error
        self._store = PrefixStore("outcomes", store)
        self._await_others()
        return self

    def agree(self, work: Callable[[], T]) -> T:
        """Do ``work`` and return its result once every rank has done its own; OtherRankError when one failed."""
        result = work()
        self._await_others()
        return result

    def form_groups(self, artifact: Artifact) -> None:
        """Make the process groups that the code of all ranks names, until the block ends.

        Raises ReplayError when they cannot be made: see ``RecordedGroups``.
        """
        self._groups.enter_context(RecordedGroups(artifact))
        self._has_groups = True

    def gather(self, value: T) -> tuple[T, ...]:
        """The ``value`` of every rank, in order."""
        every: list[Any] = [None] * self.rank.size
        dist.all_gather_object(every, value)
        return tuple(every)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._groups.__exit__(kind, error, traceback)
        if error is None:
            dist.destroy_process_group()
        elif isinstance(error, OtherRankError):
            dist.distributed_c10d._abort_process_group()
        else:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        """Post the error, abort the collectives that others wait in, and wait for their outcomes.

        Raises OtherRankError where the error only repeats another rank's: the same message as a lower rank's, or a
        collective that lost a rank which had failed before.
        """
        own = _Outcome(getattr(error, "exit_code", InternalError.exit_code), str(error))
        before: dict[int, _Outcome] = {}
        posted = {self.rank.index: own}
        with suppress(dist.DistError):  # the store is gone where its process is
            before = _failed(self._posted())
            self._post(own)
            dist.distributed_c10d._abort_process_group()
            end = time.monotonic() + _FAREWELL.total_seconds()
            while len(posted) < self.rank.size and time.monotonic() < end:
                time.sleep(0.02)
                posted = self._posted()
        failed = _failed(posted)
        told = [rank for rank, outcome in failed.items() if rank < self.rank.index and outcome == own]
        if told or (before and self._has_groups):
            raise _of_others(failed if told else before) from error
        if isinstance(error, Fx2pyError):
            error.exit_code = max(outcome.exit_code for outcome in failed.values())

    def _post(self, outcome: _Outcome) -> None:
        self._store.set(self._key(self.rank.index), json.dumps(asdict(outcome)))

    def _posted(self) -> dict[int, _Outcome]:
        """The outcomes of this stage that ranks have posted so far."""
        there = [rank for rank in range(self.rank.size) if self._store.check([self._key(rank)])]
        return self._read(there)

    def _await_others(self) -> None:
        """End the stage when every rank has ended it; raises OtherRankError when it failed on one."""
        self._post(_Outcome())
        every = range(self.rank.size)
        try:
            self._store.wait([self._key(rank) for rank in every], PATIENCE)
        except dist.DistError as error:
            raise ReplayError(f"not every rank has answered in {PATIENCE.seconds} seconds.") from error
        failed = _failed(self._read(every))
        if failed:
            raise _of_others(failed)
        self._stage += 1

    def _read(self, ranks: Iterable[int]) -> dict[int, _Outcome]:
        return {rank: _Outcome(**json.loads(self._store.get(self._key(rank)))) for rank in ranks}

    def _key(self, rank: int) -> str:
        return f"{self._stage}/{rank}"


def _failed(outcomes: dict[int, _Outcome]) -> dict[int, _Outcome]:
    return {rank: outcome for rank, outcome in outcomes.items() if outcome.exit_code}


def _of_others(failed: dict[int, _Outcome]) -> OtherRankError:
    rank, outcome = next(iter(failed.items()))
    worst = max(each.exit_code for each in failed.values())
    return OtherRankError(f"rank {rank} failed: {outcome.message}", worst)
