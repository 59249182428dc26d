"""The dtype of an operator's result, from the dtypes and numbers that it is given: the rules that ``dtype`` facts name.

The rules hold outside autocast, and say nothing (None) where torch's promotion would need more than the dtypes: no rule
looks at a shape or at the default dtype.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import torch

Dtype: TypeAlias = torch.dtype | None
Dtypes: TypeAlias = Sequence[Dtype]
Numbers: TypeAlias = Sequence[object]
Given: TypeAlias = Mapping[str, object]
DtypeRule: TypeAlias = Callable[[Dtypes, Numbers, Given], Dtype]
"""Of the operands' dtypes (None: unknown), the numbers among the operands, and all arguments by name."""


def _first(dtypes: Dtypes, numbers: Numbers, given: Given) -> Dtype:
    """That of the first operand, whatever the others are."""
    return dtypes[0] if dtypes else None


def _common(dtypes: Dtypes, numbers: Numbers, given: Given) -> Dtype:
    """The one that all tensors share, where each number is of its kind or of a lower one."""
    shared = dtypes[0] if dtypes and all(dtype == dtypes[0] for dtype in dtypes) else None
    if shared is None or any(_rank_of_number(number) > _rank(shared) for number in numbers):
        return None
    return shared


def _floating(dtypes: Dtypes, numbers: Numbers, given: Given) -> Dtype:
    """The floating one that all tensors share; a dtype that is asked for comes first."""
    if given.get("dtype") is not None:
        return _asked(dtypes, numbers, given)
    shared = _common(dtypes, numbers, given)
    return shared if shared is not None and shared.is_floating_point else None


def _real(dtypes: Dtypes, numbers: Numbers, given: Given) -> Dtype:
    """The one that all tensors share, unless it is complex."""
    shared = _common(dtypes, numbers, given)
    return None if shared is None or shared.is_complex else shared


def _attended(dtypes: Dtypes, numbers: Numbers, given: Given) -> Dtype:
    """The floating one of query, key and value; a mask has its own."""
    return _floating(dtypes[:3], (), {})


def _chosen(dtypes: Dtypes, numbers: Numbers, given: Given) -> Dtype:
    """That of what a condition chooses among."""
    return _common(dtypes[1:], numbers, given)


def _unknown(dtypes: Dtypes, numbers: Numbers, given: Given) -> Dtype:
    """None that is told here; the device is that of the operands all the same."""
    return None


def _boolean(dtypes: Dtypes, numbers: Numbers, given: Given) -> Dtype:
    return torch.bool


def _asked(dtypes: Dtypes, numbers: Numbers, given: Given) -> Dtype:
    """The one that the call names."""
    dtype = given.get("dtype")
    return dtype if isinstance(dtype, torch.dtype) else None


def _asked_or_first(dtypes: Dtypes, numbers: Numbers, given: Given) -> Dtype:
    return _first(dtypes, numbers, given) if given.get("dtype") is None else _asked(dtypes, numbers, given)


def _counted(dtypes: Dtypes, numbers: Numbers, given: Given) -> Dtype:
    """int64 of whole numbers, unless the call names a dtype."""
    if given.get("dtype") is None and all(type(number) is int for number in numbers):
        return torch.int64
    return _asked(dtypes, numbers, given)


_RANKS: dict[type, int] = {bool: 0, int: 1, float: 2, complex: 3}
"""The kinds in the order of promotion; source: ``get_higher_type`` of torch/_prims_common/__init__.py."""


def _rank_of_number(number: object) -> int:
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
