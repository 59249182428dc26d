"""The dtype of an operator's result, from the dtypes and numbers that it is given: a rule for each overload known.

Each line of ``_OVERLOADS`` is proven by running the overload. The rules hold outside autocast, and say nothing (None)
where torch's promotion would need more than the dtypes: no rule looks at a shape or at the default dtype.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias

import torch

from fx2py.graph.values import OpName

DtypeRule: TypeAlias = Callable[
    [Sequence["torch.dtype | None"], Sequence[Any], "dict[str, Any]"], "torch.dtype | None"
]
"""Of the operands' dtypes (None: unknown), the numbers among the operands, and all arguments by name."""


@dataclass(frozen=True, slots=True)
class Rule:
    """How a result's dtype follows; ``makes_list``: the result is a list of tensors of that dtype.

    ``follows_first``: device and layout are those of the first operand, whatever the others are.
    """

    dtype: DtypeRule
    makes_list: bool = False
    follows_first: bool = False


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


_OVERLOADS: dict[str, Rule] = {
    """alias.default clone.default contiguous.default detach.default expand.default flatten.using_ints
    index.Tensor gather.default index_select.default masked_fill.Scalar narrow.default permute.default
    repeat.default reshape.default select.int slice.Tensor squeeze.default squeeze.dim squeeze.dims t.default
    transpose.int unsqueeze.default view.default constant_pad_nd.default roll.default
    dropout.default relu.default neg.default add_.Tensor mul_.Tensor relu_.default fill_.Scalar copy_.default
    triu.default tril.default max_pool2d.default unfold.default""": Rule(
        _first
    ),
    "embedding.default": Rule(_first, follows_first=True),
    "split.Tensor split_with_sizes.default chunk.default unbind.int": Rule(_first, makes_list=True),
    """add.Tensor sub.Tensor mul.Tensor rsub.Scalar maximum.default minimum.default
    stack.default cat.default clamp.default min.other max.other""": Rule(
        _common
    ),
    """div.Tensor pow.Tensor_Scalar linear.default addmm.default mm.default bmm.default matmul.default conv1d.default
    conv2d.default layer_norm.default batch_norm.default group_norm.default gelu.default silu.default
    tanh.default sigmoid.default exp.default log.default sqrt.default rsqrt.default cos.default sin.default
    softplus.default mean.dim mean.default sum.dim_IntList softmax.int cumsum.default
    adaptive_avg_pool2d.default avg_pool2d.default""": Rule(
        _floating
    ),
    "scaled_dot_product_attention.default": Rule(_attended),
    "abs.default": Rule(_real),
    "where.self": Rule(_chosen),
    "where.Scalar where.ScalarSelf where.ScalarOther diff.default": Rule(_unknown),
    """eq.Tensor eq.Scalar ne.Tensor ne.Scalar lt.Tensor lt.Scalar le.Tensor le.Scalar gt.Tensor gt.Scalar
    ge.Tensor ge.Scalar logical_not.default logical_and.default logical_or.default""": Rule(
        _boolean
    ),
    "__and__.Tensor __or__.Tensor bitwise_not.default": Rule(_common),
    "to.dtype to.device": Rule(_asked),
    "to.dtype_layout zeros_like.default ones_like.default full_like.default new_ones.default new_zeros.default "
    "new_full.default": Rule(_asked_or_first),
    "zeros.default ones.default full.default empty.memory_format": Rule(_asked),
    "arange.default arange.start arange.start_step": Rule(_counted),
}


@cache
def rules() -> dict[str, Rule]:
    """Every rule by ``name.overload``."""
    return {overload: rule for overloads, rule in _OVERLOADS.items() for overload in overloads.split()}


def rule_of(op: OpName) -> Rule | None:
    return rules().get(f"{op.name}.{op.overload}")
