"""Rules by which an operator's result dtype follows from its operands; ``dtype`` facts name them.

The rules hold outside autocast. They give None where type promotion (``result_type`` of aten/src/ATen/native/TypeProperties.cpp)
depends on more than dtypes: no rule looks at a shape, as zero-dimensional tensors would need, or at the default dtype.
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
    """The one that all tensors share, unless a number of a higher category would promote it."""
    shared = dtypes[0] if dtypes and all(dtype == dtypes[0] for dtype in dtypes) else None
    if shared is None or any(_rank_of_number(number) > _rank(shared) for number in numbers):
        return None
    return shared


def _floating(dtypes: Dtypes, numbers: Numbers, given: Given) -> Dtype:
    """The floating-point one that all tensors share, unless the call names another."""
    if given.get("dtype") is not None:
        return _asked(dtypes, numbers, given)
    shared = _common(dtypes, numbers, given)
    return shared if shared is not None and shared.is_floating_point else None


def _real(dtypes: Dtypes, numbers: Numbers, given: Given) -> Dtype:
    """The one that all tensors share, unless it is complex."""
    shared = _common(dtypes, numbers, given)
    return None if shared is None or shared.is_complex else shared


def _attended(dtypes: Dtypes, numbers: Numbers, given: Given) -> Dtype:
    """The floating-point one that query, key and value share; a mask has its own."""
    return _floating(dtypes[:3], (), {})


def _chosen(dtypes: Dtypes, numbers: Numbers, given: Given) -> Dtype:
    """The one that the operands after the condition share."""
    return _common(dtypes[1:], numbers, given)


def _unknown(dtypes: Dtypes, numbers: Numbers, given: Given) -> Dtype:
    """Not known, for operators of which only the device is."""
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
"""The categories in the order of promotion; source: ``get_higher_type`` of torch/_prims_common/__init__.py."""


def _rank_of_number(number: object) -> int:
    """The category of a literal; the highest for a variable, whose category is not known."""
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
