"""What two sides start from: copies of what a call may write to, and all else as it is, watched instead of copied."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch

from fx2py.errors import ReplayError
from fx2py.graph.pages import digests_of
from fx2py.graph.tensors import EqualStorages, TensorCopies, is_strided_view, storage_of, storages_of


class Storages:
    """The storages of some tensors; a tensor whose storages cannot be told may share any."""

    def __init__(self, tensors: Iterable[torch.Tensor] = ()) -> None:
        self._known: set[int] = set()
        self._may_be_any = False
        for tensor in tensors:
            own = storages_of(tensor)
            self._may_be_any = self._may_be_any or own is None
            self._known |= own or set()

    def __contains__(self, tensor: torch.Tensor) -> bool:
        """Whether a tensor may share memory with one of them."""
        own = storages_of(tensor)
        return own is None or self._may_be_any or not self._known.isdisjoint(own)


def may_be_written(
    state: Mapping[str, torch.Tensor], names: frozenset[str] | None
) -> dict[str, torch.Tensor]:
    """What of a state a call may write to that writes to nothing but the tensors at ``names``; all where that is not known."""
    if names is None or not names <= state.keys():
        return dict(state)
    written = Storages([state[name] for name in names])
    return {name: tensor for name, tensor in state.items() if tensor in written}


def values_of(state: Mapping[str, torch.Tensor], written: Storages) -> dict[str, torch.Tensor]:
    """The state as it is now: copies of the tensors that are in ``written``, the others themselves."""
    copies = TensorCopies()
    return {name: copies(tensor) if tensor in written else tensor for name, tensor in state.items()}


def shared(code: Mapping[str, torch.Tensor], graph: Mapping[str, torch.Tensor]) -> Mapping[str, torch.Tensor]:
    """The tensors of a code, those of the graph in their place where they have the same values, so that one copy is kept.

    Where the two do not share memory among themselves in the same way, each keeps its own.
    """
    have_equal_bits = EqualStorages()
    alike = {
        name: graph[name]
        for name, tensor in code.items()
        if name in graph and _are_alike(tensor, graph[name]) and have_equal_bits(tensor, graph[name])
    }
    pairs = {(storage_of(code[name]), storage_of(tensor)) for name, tensor in alike.items()}
    kept = Storages(tensor for name, tensor in code.items() if name not in alike)
    is_one_to_one = len({one for one, _ in pairs}) == len({other for _, other in pairs}) == len(pairs)
    is_apart = not any(code[name] in kept for name in alike)
    return {**code, **alike} if is_one_to_one and is_apart else code


def _are_alike(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one is not other and type(one) is type(other) and one.requires_grad == other.requires_grad


class Unwritten:
    """Watches tensors that nothing should write to: torch's counts of writes, and digests where those do not tell."""

    def __init__(self, tensors: Mapping[str, torch.Tensor]) -> None:
        plain = {storage_of(each): (name, each) for name, each in tensors.items() if is_strided_view(each)}
        self._watched = list(plain.values())
        self._digests = [digests_of(tensor.untyped_storage()) for _, tensor in self._watched]
        self._counts = self._counted()

    def require_no_write(self) -> None:
        """Raise ReplayError where torch has counted a write that changed something."""
        now = self._counted()
        self._require_unchanged([place for place, count in enumerate(now) if count != self._counts[place]])
        self._counts = now

    def require_no_change(self) -> None:
        """Raise ReplayError where anything changed: some kernels write without telling torch."""
        self._require_unchanged(range(len(self._watched)))

    def _require_unchanged(self, places: Iterable[int]) -> None:
        for place in places:
            name, tensor = self._watched[place]
            if digests_of(tensor.untyped_storage()) != self._digests[place]:
                raise ReplayError(
                    f"{name} changed while both sides ran, though neither says that it writes to it.",
                    "Do not write the file of the graph while it is compared; if nothing did, please report this.",
                )

    def _counted(self) -> list[int]:
        return [-1 if tensor.is_inference() else tensor._version for _, tensor in self._watched]
