"""Sizes for the symbols of a graph's inputs: one that tells dimensions apart, and the ends of what each may be."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from fx2py.graph.data import GraphData, SymMeta, TensorMeta, ValueMeta
from fx2py.runtime.sizes import SizeExpression

_SMALLEST = 3
"""The first symbol's size; each further symbol gets the next one, so that mixed up dimensions do not go unseen.

0 and 1 would not do: torch.export takes them for constants ("0/1 specialization" of ``ShapeEnv``).
"""
_MOST_SYMBOLS = 3
"""As many symbols have their ends tried one by one: a case for each end takes time."""
_LARGEST_EXPONENT = 16


def symbol_sizes(data: GraphData) -> Mapping[str, int]:
    """A size for each symbol of the inputs, in its range."""
    sizes: dict[str, int] = {}
    for symbol, _, _ in _occurrences(data):
        low, high = _range(data, symbol)
        size = max(_SMALLEST + len(sizes), low)
        sizes.setdefault(symbol, size if high is None else min(size, high))
    return sizes


def end_sizes(data: GraphData, budget: int) -> Iterator[tuple[str, Mapping[str, int]]]:
    """The least sizes, 0 and 1 for each symbol and where its range begins, then the largest for all together.

    With each its name (``x.shape[0] = 1``). ``budget`` is the number of bytes that all recorded values may take.
    """
    usual, names = symbol_sizes(data), _places(data)
    for symbol in list(usual)[:_MOST_SYMBOLS]:
        low, high = _range(data, symbol)
        for size in sorted({size for size in (0, 1, low) if size >= low and (high is None or size <= high)}):
            if size != usual[symbol]:
                yield f"{names[symbol]} = {size}", {**usual, symbol: size}
    for exponent in range(_LARGEST_EXPONENT, 1, -1):
        largest = {symbol: _at_most(data, symbol, 2**exponent) for symbol in usual}
        is_larger = largest != usual and all(largest[each] >= usual[each] for each in usual)
        if is_larger and bytes_of_values(data, largest) <= budget:
            yield ", ".join(f"{names[symbol]} = {size:,}" for symbol, size in largest.items()), largest
            return


def bytes_of_values(data: GraphData, sizes: Mapping[str, int]) -> int:
    """The bytes of all values that the graph records, were they alive at once; sizes that are not known count as 1."""
    graphs = [record.graph for _, record in data.root.walk() if record.graph is not None]
    return sum(_bytes(node.meta.value, sizes) for graph in graphs for node in graph.nodes)


def _bytes(meta: ValueMeta, sizes: Mapping[str, int]) -> int:
    if isinstance(meta, tuple):
        return sum(_bytes(each, sizes) for each in meta)
    if not isinstance(meta, TensorMeta):
        return 0
    return meta.dtype.itemsize * math.prod(_size(size, sizes) for size in meta.shape)


def _size(size: int | str, sizes: Mapping[str, int]) -> int:
    if isinstance(size, int):
        return size
    try:
        return int(SizeExpression(size).value(sizes))
    except (ValueError, ArithmeticError, KeyError):
        return 1


def _at_most(data: GraphData, symbol: str, size: int) -> int:
    low, high = _range(data, symbol)
    return max(low, size if high is None else min(size, high))


def _range(data: GraphData, symbol: str) -> tuple[int, int | None]:
    for name, low, high in data.contract.ranges if data.contract else ():
        if name == symbol:
            return max(low or 0, 0), high
    return 0, None


def _places(data: GraphData) -> dict[str, str]:
    """Where each symbol stands among the inputs: the first place where it stands alone, else the first one."""
    found = list(reversed(list(_occurrences(data))))
    anywhere = {symbol: place for symbol, _, place in found}
    return anywhere | {symbol: place for symbol, text, place in found if text == symbol}


def _occurrences(data: GraphData) -> Iterator[tuple[str, str, str]]:
    """Each symbol of the inputs with the expression and the place that it stands in."""
    for node in data.graph.placeholders:
        meta = node.meta.value
        sizes = (
            {f".shape[{index}]": size for index, size in enumerate(meta.shape)}
            if isinstance(meta, TensorMeta)
            else {}
        )
        for place, size in ({"": meta.expression} if isinstance(meta, SymMeta) else sizes).items():
            for symbol in _symbols(size) if isinstance(size, str) else ():
                yield symbol, str(size), f"{node.target}{place}"


def _symbols(expression: str) -> list[str]:
    """The names in a size expression; none when it is not arithmetic."""
    try:
        return sorted(SizeExpression(expression).names)
    except ValueError:
        return []
