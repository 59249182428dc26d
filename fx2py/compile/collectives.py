"""Collectives over fake tensors, where nothing is communicated: what waits for a tensor is that tensor.

The fake kernel of ``wait_tensor`` makes another tensor, with memory of its own; the kernel itself returns its argument.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import fx
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from fx2py.graph.tensors import storage_of


class WaitedTensors(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """``wait_tensor`` gives its argument, so that a write to its result counts as one to what was waited for."""

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        return args[0] if _is_wait(func) else func(*args, **(kwargs or {}))


class Memory:
    """Which values of a traced graph share memory: those of one storage, and what was waited for with the result."""

    def __init__(self, graph: fx.Graph) -> None:
        self._waits = [node for node in graph.nodes if _is_wait(node.target)]
        self._owner: dict[int, int] = {}
        for node in self._waits:
            (owner,) = self.of([node.args[0].meta["val"]])
            self._owner[storage_of(node.meta["val"])] = owner

    def of(self, values: Iterable[Any]) -> set[int]:
        """The storages of the tensors among some values, each by one number."""
        own = (storage_of(value) for value in values if isinstance(value, torch.Tensor))
        return {self._owner.get(storage, storage) for storage in own}

    def has_two_names(self) -> bool:
        """Whether what was waited for is then used by an older name, which compilers take for another tensor."""
        return any(map(self.has_older_name, self._waits))

    def has_older_name(self, node: fx.Node) -> bool:
        """Whether what a node returns is used after it as what an earlier node returned."""
        nodes = list(node.graph.nodes)
        place = {each: index for index, each in enumerate(nodes)}
        shared = self.of(pytree.tree_leaves(node.meta.get("val")))
        older = (
            each
            for each in nodes[: place[node]]
            if shared & self.of(pytree.tree_leaves(each.meta.get("val")))
        )
        return any(place[user] > place[node] for each in older for user in each.users)


def without_writes(graph: fx.Graph, memory: Memory) -> None:
    """Make collectives that write to their operand return another tensor, where nothing would notice.

    torch's compiler takes none that write, and makes them write again where it can.
    """
    for node in graph.nodes:
        name = _WRITING.get(_name(node.target))
        if name is not None and not memory.has_older_name(node):
            node.target = getattr(torch.ops._c10d_functional, name).default


def _is_wait(target: Any) -> bool:
    return _name(target) == "wait_tensor"


def _name(target: Any) -> str:
    """What a collective is called; '' for anything else."""
    is_collective = isinstance(target, torch._ops.OpOverload) and target.namespace == "_c10d_functional"
    return target._opname if is_collective else ""


_WRITING = {
    "all_reduce_": "all_reduce",
    "all_reduce_coalesced_": "all_reduce_coalesced",
    "broadcast_": "broadcast",
}
"""Collectives that write to their operand, and what each is called that does not."""
