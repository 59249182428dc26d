"""The dtype of an operator's result, from the dtypes and numbers that it is given: the rules that ``dtype`` facts name.

The rules hold outside autocast, and say nothing (None) where torch's promotion would need more than the dtypes: no rule
looks at a shape or at the default dtype.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import torch

DtypeRule: TypeAlias = Callable[
    [Sequence["torch.dtype | None"], Sequence[Any], "dict[str, Any]"], "torch.dtype | None"
]
"""Of the operands' dtypes (None: unknown), the numbers among the operands, and all arguments by name."""


def _first(dtypes: Sequence[torch.dtype | None], numbers: Sequence[Any], given: dict[str, Any]) -> Any:
    """That of the first operand, whatever the others are."""
    return dtypes[0] if dtypes else None


def _common(dtypes: Sequence[torch.dtype | None], numbers: Sequence[Any], given: dict[str, Any]) -> Any:
    """The one that all tensors share, where each number is of its kind or of a lower one."""
    shared = dtypes[0] if dtypes and all(dtype == dtypes[0] for dtype in dtypes) else None
    if shared is None or any(_rank_of_number(number) > _rank(shared) for number in numbers):
        return None
    return shared


def _floating(dtypes: Sequence[torch.dtype | None], numbers: Sequence[Any], given: dict[str, Any]) -> Any:
    """The floating one that all tensors share; a dtype that is asked for comes first."""
    if given.get("dtype") is not None:
        return _asked(dtypes, numbers, given)
    shared = _common(dtypes, numbers, given)
    return shared if shared is not None and shared.is_floating_point else None


def _real(dtypes: Sequence[torch.dtype | None], numbers: Sequence[Any], given: dict[str, Any]) -> Any:
    """The one that all tensors share, unless it is complex."""
    shared = _common(dtypes, numbers, given)
    return None if shared is None or shared.is_complex else shared


def _attended(dtypes: Sequence[torch.dtype | None], numbers: Sequence[Any], given: dict[str, Any]) -> Any:
    """The floating one of query, key and value; a mask has its own."""
    return _floating(dtypes[:3], (), {})


def _chosen(dtypes: Sequence[torch.dtype | None], numbers: Sequence[Any], given: dict[str, Any]) -> Any:
    """That of what a condition chooses among."""
    return _common(dtypes[1:], numbers, given)


def _unknown(dtypes: Sequence[torch.dtype | None], numbers: Sequence[Any], given: dict[str, Any]) -> Any:
    """None that is told here; the device is that of the operands all the same."""
    return None


def _boolean(dtypes: Sequence[torch.dtype | None], numbers: Sequence[Any], given: dict[str, Any]) -> Any:
    return torch.bool


def _asked(dtypes: Sequence[torch.dtype | None], numbers: Sequence[Any], given: dict[str, Any]) -> Any:
    """The one that the call names."""
    return given["dtype"] if isinstance(given.get("dtype"), torch.dtype) else None


def _asked_or_first(
    dtypes: Sequence[torch.dtype | None], numbers: Sequence[Any], given: dict[str, Any]
) -> Any:
    return _first(dtypes, numbers, given) if given.get("dtype") is None else _asked(dtypes, numbers, given)


def _counted(dtypes: Sequence[torch.dtype | None], numbers: Sequence[Any], given: dict[str, Any]) -> Any:
    """int64 of whole numbers, unless the call names a dtype."""
    if given.get("dtype") is None and all(type(number) is int for number in numbers):
        return torch.int64
    return _asked(dtypes, numbers, given)


_RANKS = {bool: 0, int: 1, float: 2, complex: 3}


def _rank_of_number(number: Any) -> int:
    """The rank of a literal's kind; above all kinds for a variable, of which it is not known."""
    return _RANKS.get(type(number), len(_RANKS))


def _rank(dtype: torch.dtype) -> int:
    if dtype is torch.bool:
        return 0
    return 3 if dtype.is_complex else 2 if dtype.is_floating_point else 1


RULES: Mapping[str, DtypeRule] = {
    rule.__name__.removeprefix("_"): rule
    for rule in (
        *(_first, _common, _floating, _real, _attended, _chosen, _unknown),
        *(_boolean, _asked, _asked_or_first, _counted),
    )
}
"""Every rule by the name that the table of operators has for it."""
