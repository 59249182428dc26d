"""Two sequences aligned: which items stand for each other, in order, where both have most items in common."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from itertools import pairwise

Pair = tuple[int, int]
_SMALL = 40_000
"""The most pairs of items that are compared one by one; larger parts without an item that occurs once stay unaligned."""


def aligned(ours: Sequence[Hashable], theirs: Sequence[Hashable]) -> list[Pair]:
    """The indices of equal items that stand for each other, in ascending order.

    Items that occur once on both sides come first (a patience diff), then what lies between them; nearly linear where
    the sequences differ in few places.
    """
    found: list[Pair] = []
    todo = [(0, len(ours), 0, len(theirs))]
    while todo:
        start, stop, other_start, other_stop = todo.pop()
        while start < stop and other_start < other_stop and ours[start] == theirs[other_start]:
            found.append((start, other_start))
            start, other_start = start + 1, other_start + 1
        while start < stop and other_start < other_stop and ours[stop - 1] == theirs[other_stop - 1]:
            stop, other_stop = stop - 1, other_stop - 1
            found.append((stop, other_stop))
        if start == stop or other_start == other_stop:
            continue
        anchors = _anchors(ours, theirs, (start, stop), (other_start, other_stop))
        if anchors:
            ends = [(start - 1, other_start - 1), *anchors, (stop, other_stop)]
            found += anchors
            todo += [(a + 1, c, b + 1, d) for (a, b), (c, d) in pairwise(ends)]
        elif (stop - start) * (other_stop - other_start) <= _SMALL:
            found += _longest(ours, theirs, (start, stop), (other_start, other_stop))
    return sorted(found)


def _anchors(
    ours: Sequence[Hashable], theirs: Sequence[Hashable], part: Pair, other_part: Pair
) -> list[Pair]:
    """The longest ascending row of items that occur once in both parts."""
    once = _once(theirs, other_part)
    pairs = [
        (index, once[item]) for item, index in sorted(_once(ours, part).items(), key=_second) if item in once
    ]
    return _ascending(pairs)


def _second(item: tuple[Hashable, int]) -> int:
    return item[1]


def _once(items: Sequence[Hashable], part: Pair) -> dict[Hashable, int]:
    counts = Counter(items[part[0] : part[1]])
    return {items[index]: index for index in range(*part) if counts[items[index]] == 1}


def _ascending(pairs: Sequence[Pair]) -> list[Pair]:
    """The longest part of pairs, ascending in their first numbers, that ascends in the second ones too."""
    ends: list[int] = []
    last: list[int] = []
    before: list[int] = []
    for place, (_, number) in enumerate(pairs):
        length = bisect_left(ends, number)
        before.append(last[length - 1] if length else -1)
        if length == len(ends):
            ends.append(number)
            last.append(place)
        else:
            ends[length], last[length] = number, place
    found: list[Pair] = []
    place = last[-1] if last else -1
    while place >= 0:
        found.append(pairs[place])
        place = before[place]
    return found[::-1]


def _longest(
    ours: Sequence[Hashable], theirs: Sequence[Hashable], part: Pair, other_part: Pair
) -> Iterator[Pair]:
    """The longest common subsequence of two short parts."""
    (start, stop), (other_start, other_stop) = part, other_part
    width = other_stop - other_start
    lengths = [[0] * (width + 1) for _ in range(stop - start + 1)]
    for row in range(stop - start - 1, -1, -1):
        item, here, below = ours[start + row], lengths[row], lengths[row + 1]
        for column in range(width - 1, -1, -1):
            if item == theirs[other_start + column]:
                here[column] = below[column + 1] + 1
            else:
                here[column] = max(below[column], here[column + 1])
    row = column = 0
    while row < stop - start and column < width:
        if ours[start + row] == theirs[other_start + column]:
            yield start + row, other_start + column
            row, column = row + 1, column + 1
        elif lengths[row + 1][column] >= lengths[row][column + 1]:
            row += 1
        else:
            column += 1
