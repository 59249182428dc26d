"""What a graph returned, in plain containers, and what a result table shows of each value in them."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from fx2py.graph.tensors import is_wrapper, shape_of, without_repetition


@dataclass(frozen=True, slots=True)
class Summary:
    """One returned value: where it stands in the result, what it is, and the range of its numbers.

    ``dtype``, ``shape`` and ``device`` are those of a tensor, ``value`` is the text of anything else.
    ``minimum``, ``mean`` and ``maximum`` leave nan out; they are None where there is no number to order, as in an
    empty or complex tensor. ``nans`` is None for what is not a tensor of numbers.
    """

    path: str
    type: str
    value: str | None = None
    dtype: str | None = None
    shape: tuple[int, ...] | None = None
    device: str | None = None
    minimum: float | None = None
    mean: float | None = None
    maximum: float | None = None
    nans: int | None = None


def plain(value: Any) -> Any:
    """A result in dicts, lists and tuples only, so that a saved one opens anywhere with ``weights_only=True``."""
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return {name: plain(part) for name, part in zip(value._fields, value, strict=True)}
    if isinstance(value, Mapping):
        return {key: plain(part) for key, part in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, tuple) and not isinstance(value, torch.Size):
        return tuple([plain(part) for part in value])
    return [plain(part) for part in value] if isinstance(value, list | deque) else value


def summarize(result: Any) -> Iterator[Summary]:
    """A row for each leaf of a plain result, in order; a tensor that stands there often is looked through once."""
    return _rows(result, "", {})


def _rows(result: Any, path: str, known: dict[int, Summary]) -> Iterator[Summary]:
    if isinstance(result, dict):
        for key, part in result.items():
            named = isinstance(key, str) and key.isidentifier()
            yield from _rows(part, f"{path}.{key}" if named else f"{path}[{key!r}]", known)
    elif type(result) in (tuple, list):
        for index, part in enumerate(result):
            yield from _rows(part, f"{path}[{index}]", known)
    else:
        where = path.removeprefix(".") or "result"
        if id(result) not in known:
            known[id(result)] = _summary(where, result)
        yield dataclasses.replace(known[id(result)], path=where)


def _summary(path: str, value: Any) -> Summary:
    if not isinstance(value, torch.Tensor):
        return Summary(path, type(value).__name__, f"{value!r:.40}")
    dtype = str(value.dtype).removeprefix("torch.")
    place = (path, "Tensor", None, dtype, shape_of(value), str(value.device))
    each, times = without_repetition(value) if _is_plain(value) else (value, 1)
    numbers = _numbers(each)
    if numbers is None:
        return Summary(*place)
    present = numbers[~numbers.isnan()]
    nans = (numbers.numel() - present.numel()) * times
    if present.numel() == 0:
        return Summary(*place, nans=nans)
    low, high = present.aminmax()
    return Summary(*place, low.item(), present.mean().item(), high.item(), nans)


def _is_plain(value: torch.Tensor) -> bool:
    return value.layout == torch.strided and not value.is_nested and not is_wrapper(value)


def _numbers(value: torch.Tensor) -> torch.Tensor | None:
    """The values as float64 on the CPU; None for complex, quantized and other tensors that have no order or keep their numbers elsewhere."""
    if (
        value.is_complex()
        or value.is_quantized
        or value.layout != torch.strided
        or value.is_nested
        or is_wrapper(value)
        or value.device.type == "meta"
    ):
        return None
    return value.detach().to("cpu", torch.float64).flatten()
