"""Process groups under the names that a graph records, made in the processes that run it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any

import torch.distributed as dist
from torch._C import _distributed_c10d
from torch._C._distributed_c10d import ProcessGroup

from fx2py.arguments import instance_of, require
from fx2py.errors import ReplayError
from fx2py.program.analyses.collectives import Collective

if TYPE_CHECKING:
    from fx2py.artifact import Artifact

_registry: Any = _distributed_c10d
"""torch's process groups by name, in which functional collectives look the name of their group up."""
WORLD = "0"
"""The name that torch gives the default group, and that a graph captured in it records.

``_process_group_name`` in torch/distributed/distributed_c10d.py numbers the groups in the order in which they are made.
"""


class RecordedGroups:
    """The process groups that ``artifact`` names, while the block runs; the members of each are the ranks that name it.

    Every process of the default group enters this, with the artifact of its own rank. Raises ReplayError on all of
    them when the members of a group cannot be known, or the ranks' calls do not match.
    """

    def __init__(self, artifact: Artifact) -> None:
        from fx2py.artifact import Artifact

        require(
            "artifact", artifact, instance_of(Artifact), "Open a folder with fx2py.open_artifact(folder)."
        )
        self._artifact = artifact
        self._made: list[ProcessGroup | None] = []
        self._hidden: dict[str, ProcessGroup | None] = {}

    def __enter__(self) -> None:
        """Make all groups before any is registered: a name may be that which torch gives the next new group."""
        plan = self._plan()
        groups = {
            name: dist.group.WORLD if name == WORLD else dist.new_group(list(plan[name])) for name in plan
        }
        self._made = [group for name, group in groups.items() if name != WORLD]
        for name, ranks in plan.items():
            if dist.get_rank() in ranks:
                self._hidden[name] = _registered(name)
                _register(name, groups[name])

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Restore the names and destroy the groups; after an error a rank may be gone, so that none waits for another."""
        for name, group in self._hidden.items():
            _register(name, group)
        if error is None:
            dist.barrier()
            for group in self._made:
                dist.destroy_process_group(group)
        self._made.clear()
        self._hidden.clear()

    def _plan(self) -> Mapping[str, tuple[int, ...]]:
        if not dist.is_initialized():
            hint = "Call torch.distributed.init_process_group first, in every process."
            raise ReplayError("there is no process group.", hint)
        origin = self._artifact.manifest.graph
        every: list[Any] = [None] * dist.get_world_size()
        dist.all_gather_object(every, ((origin.path, origin.sha256), self._artifact.collectives))
        sources = {source for source, _ in every}
        is_shared = len(every) > 1 and len(sources) == 1 and origin.path is not None
        return plan_groups([calls for _, calls in every], is_shared=is_shared)


@contextmanager
def fake_groups(calls: Iterable[Collective]) -> Iterator[None]:
    """Registers, while the block runs, a group without a backend under each name that ``calls`` record.

    It is as large as recorded, else as the group that had the name. One of unknown size has two members, unless the
    shape of a result depends on the size: then none is registered.
    """
    sizes: dict[str, int | None] = {}
    for call in calls:
        sizes[call.group] = sizes.get(call.group) or call.size
    hidden = {name: _registered(name) for name in sizes}
    needed = {call.group for call in calls if call.op in _SHAPED_BY_SIZE}
    made: list[ProcessGroup] = []  # torch's registry holds weak references
    for name, group in hidden.items():
        size = sizes[name] or (None if group is None else group.size())
        if size is not None or name not in needed:
            made.append(_registry.ProcessGroup(0, size or _SOME))
            _register(name, made[-1])
    try:
        yield
    finally:
        for name, group in hidden.items():
            _register(name, group)


_SHAPED_BY_SIZE = frozenset({"shard_dim_alltoall"})
"""Operators whose result has a shape that depends on the size of the group, which the call does not record."""
_SOME = 2
"""More than one, so that a collective is not left out."""


def plan_groups(
    recorded: Sequence[Sequence[Collective]], *, is_shared: bool
) -> Mapping[str, tuple[int, ...]]:
    """The ranks of each group, by name in order, from the collectives in each rank's code.

    The members of a group are the ranks whose code names it: no other could take part. ``is_shared`` says that all
    ranks run one file, which records the group names of the one rank that it was captured on. Raises ReplayError when
    the members cannot be known, are not as many as recorded, or do not make the same calls in the same order.
    """
    members: dict[str, list[int]] = {}
    for rank, calls in enumerate(recorded):
        for name in dict.fromkeys(call.group for call in calls):
            members.setdefault(name, []).append(rank)
    if WORLD in members:
        members[WORLD] = list(range(len(recorded)))
    for name, ranks in members.items():
        made = {rank: [call for call in recorded[rank] if call.group == name] for rank in ranks}
        if is_shared and name != WORLD and not any(call.size == len(recorded) for call in made[0]):
            raise ReplayError(
                f"the ranks of the process group {name!r} cannot be known: every rank runs the same graph.",
                "Save the graph of each rank, and name them all as one: 'graph.rank{rank}.pt2'.",
            )
        _check_name(name)
        _check_size(name, made)
        _check_order(name, made)
    return {name: tuple(members[name]) for name in sorted(members)}


def _check_name(name: str) -> None:
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise ReplayError(f"{name!r} is no name that torch takes for a process group.") from error


def _check_size(name: str, made: Mapping[int, list[Collective]]) -> None:
    for rank, calls in made.items():
        for call in calls:
            if call.size not in (None, len(made)):
                raise ReplayError(
                    f"{call.op} on rank {rank} was recorded in a process group of {call.size} ranks, "
                    f"but {len(made)} of this run name the group {name!r}.",
                    "Start as many processes as the graphs were captured with, each with the graph of its rank.",
                )


def _check_order(name: str, made: Mapping[int, list[Collective]]) -> None:
    """Ranks whose calls differ would wait for each other for ever, or take one tensor for another."""
    together = {rank: [str(call) for call in calls if call.by_all] for rank, calls in made.items()}
    first = next(iter(together))
    for rank, calls in together.items():
        if calls != together[first]:
            place = _first_difference(together[first], calls)
            here, there = (_called(each, place) for each in (together[first], calls))
            raise ReplayError(
                f"the ranks do not make the same calls on the process group {name!r}: "
                f"its call {place + 1} is {here} on rank {first}, {there} on rank {rank}.",
                "Run graphs that were captured together.",
            )


def _first_difference(one: list[str], other: list[str]) -> int:
    pairs = enumerate(zip(one, other, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(one), len(other)))


def _called(calls: list[str], place: int) -> str:
    return calls[place] if place < len(calls) else "missing"


def _register(name: str, group: ProcessGroup | None) -> None:
    """Register ``group`` under ``name``, in place of what has the name; None only removes that."""
    if _registered(name) is not None:
        _registry._unregister_process_group(name)
    if group is not None:
        _registry._register_process_group(name, group)


def _registered(name: str) -> ProcessGroup | None:
    """The group of that name; None where there is none."""
    try:
        found: ProcessGroup = _registry._resolve_process_group(name)
        return found
    except RuntimeError:
        return None
