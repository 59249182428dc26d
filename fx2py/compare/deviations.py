"""How far apart two values are; tensors are compared in pieces, so that large ones need no copies."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch

from fx2py.compare.leaves import leaves_with_paths
from fx2py.compare.report import Deviation
from fx2py.compare.tensors import dense_parts, in_pieces, same_bits
from fx2py.graph.tensors import shape_of

_ORDERED = {2: torch.int16, 4: torch.int32, 8: torch.int64}
_WITH_ULPS = frozenset({torch.float16, torch.bfloat16, torch.float32, torch.float64})


def deviations(expected: object, actual: object) -> tuple[Deviation, ...]:
    """One for each pair of tensors, leaf by leaf, that differ only in their numbers."""
    pairs = zip(leaves_with_paths("", expected), leaves_with_paths("", actual), strict=False)
    found: list[Deviation] = []
    for (_, one), (_, other) in pairs:
        if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
            found += _between(one, other)
    return tuple(found)


@torch.no_grad()
def _between(one: torch.Tensor, other: torch.Tensor) -> Iterator[Deviation]:
    if (one.dtype, one.layout, shape_of(one)) != (other.dtype, other.layout, shape_of(other)):
        return
    parts, others = list(dense_parts(one)), list(dense_parts(other))
    if [(part.dtype, part.shape) for part in parts] != [(part.dtype, part.shape) for part in others]:
        return
    total = _Total()
    for part, its in zip(parts, others, strict=True):
        for piece, other_piece in zip(in_pieces(part), in_pieces(its), strict=True):
            total.add(piece, other_piece.to(piece.device))
    if total.differing:
        yield total.result(one)


class _Total:
    """The sums over the pieces so far; ``place`` is the index of the first element of the next piece."""

    def __init__(self) -> None:
        self.place = self.differing = 0
        self.largest: float | None = None
        self.relative: float | None = None
        self.ulps: int | None = None
        self.worst: int | None = None
        self.nans, self.infinities = [0, 0], [0, 0]

    def add(self, one: torch.Tensor, other: torch.Tensor) -> None:
        differ = ~same_bits(one, other)
        self.differing += int(differ.sum())
        wide = torch.complex128 if one.is_complex() else torch.float64
        pair = one.to(wide), other.to(wide)
        for side, each in enumerate(pair):
            self.nans[side] += int(each.isnan().sum())
            self.infinities[side] += int(each.isinf().sum())
        finite = differ & pair[0].isfinite() & pair[1].isfinite()
        if bool(finite.any()):
            self._add_distances(one, other, pair, finite)
        self.place += one.numel()

    def _add_distances(
        self,
        one: torch.Tensor,
        other: torch.Tensor,
        pair: tuple[torch.Tensor, torch.Tensor],
        where: torch.Tensor,
    ) -> None:
        places = where.nonzero().reshape(-1)
        distance = (pair[0][places] - pair[1][places]).abs()
        worst = int(distance.argmax())
        if self.largest is None or float(distance[worst]) > self.largest:
            self.largest, self.worst = float(distance[worst]), self.place + int(places[worst])
        magnitude = pair[0][places].abs()
        relative = (distance / magnitude)[magnitude > 0]
        if relative.numel():
            self.relative = max(self.relative or 0.0, float(relative.max()))
        if one.dtype in _WITH_ULPS:
            ranks = _rank(one[places]) - _rank(other[places])
            self.ulps = max(self.ulps or 0, int(ranks.abs().max()))

    def result(self, tensor: torch.Tensor) -> Deviation:
        shape = shape_of(tensor)
        worst = None
        if self.worst is not None and math.prod(shape) == self.place:
            worst = tuple([int(index) for index in torch.unravel_index(torch.tensor(self.worst), shape)])
        return Deviation(
            str(tensor.dtype).removeprefix("torch."),
            shape,
            self.differing,
            self.largest,
            self.relative,
            self.ulps,
            worst,
            (self.nans[0], self.nans[1]),
            (self.infinities[0], self.infinities[1]),
        )


def _rank(tensor: torch.Tensor) -> torch.Tensor:
    """The place of each finite number among all of its dtype; both zeros have place 0.

    The bits of a float, read as an integer, count its magnitude, and the highest bit is its sign.
    """
    bits = tensor.contiguous().view(_ORDERED[tensor.element_size()])
    return torch.where(bits < 0, torch.iinfo(bits.dtype).min - bits, bits).to(torch.int64)
