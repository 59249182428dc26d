"""The facts ``index``, ``offsets``, ``domain`` and ``elements`` are proven by calling what they are of, by every name that a graph has for it."""

from __future__ import annotations

import importlib
import operator
from math import isfinite
from typing import Any

import pytest
import torch
from torch.utils._pytree import tree_leaves

from fx2py.operators.facts import facts_named, table

ROWS, COLUMNS = 5, 3
TABLE = torch.arange(float(ROWS * COLUMNS)).view(ROWS, COLUMNS)
CLASSES = torch.rand(1, ROWS).log_softmax(1)
INDEXED: dict[str, tuple[Any, ...]] = {
    "embedding": (TABLE, "indices"),
    "torch.nn.functional.embedding": ("indices", TABLE),
    "torch.nn.functional.embedding_bag": ("indices", TABLE),
    "gather": (TABLE, 0, "indices"),
    "index_select": (TABLE, 0, "row"),
    "scatter": (TABLE, 0, "indices", 1.0),
    "scatter_add": (TABLE, 0, "indices", torch.ones(1, COLUMNS)),
    "scatter_reduce": (TABLE, 0, "indices", torch.ones(1, COLUMNS), "sum"),
    "index_add": (TABLE, 0, "row", torch.ones(1, COLUMNS)),
    "index_copy": (TABLE, 0, "row", torch.ones(1, COLUMNS)),
    "index_fill": (TABLE, 0, "row", 1.0),
    "index_reduce": (TABLE, 0, "row", torch.ones(1, COLUMNS), "mean"),
    "index": (TABLE, ["row"]),
    "index_put": (TABLE, ["row"], torch.ones(COLUMNS)),
    "getitem": (TABLE, ("row",)),
    "one_hot": ("indices", ROWS),
    "embedding_bag": (TABLE, "row", torch.zeros(1, dtype=torch.int64)),
    **dict.fromkeys(
        ("_embedding_bag", "_embedding_bag_forward_only"), (TABLE, "row", torch.zeros(1, dtype=torch.int64))
    ),
    **dict.fromkeys(("cross_entropy", "cross_entropy_loss", "nll_loss", "nll_loss_nd"), (CLASSES, "row")),
    "multi_margin_loss": (CLASSES, "row"),
    "nll_loss_forward": (CLASSES, "row", None, 1, -100),
    "nll_loss2d": (CLASSES[:, :, None, None], "pixel"),
    "nll_loss2d_forward": (CLASSES[:, :, None, None], "pixel", None, 1, -100),
}
"""A call of each, with the word for the indices in their place; what is in place is called alike."""


def called(name: str) -> Any:
    if name == "getitem":
        return lambda table, subscript: table[subscript]
    if name.startswith("torch."):
        module, _, function = name.rpartition(".")
        return getattr(importlib.import_module(module), function)
    if name in ("cross_entropy", "binary_cross_entropy"):
        return getattr(torch.nn.functional, name)
    if name in ("truediv", "floordiv", "mod"):
        return getattr(operator, name)
    return getattr(torch.ops.aten if hasattr(torch.ops.aten, name) else torch, name)


def filled(value: Any, number: int) -> Any:
    """The arguments with indices that are all ``number``."""
    if isinstance(value, list | tuple):
        return type(value)(filled(part, number) for part in value)
    shape = (
        {"indices": (1, COLUMNS), "row": (1,), "pixel": (1, 1, 1)}.get(value)
        if isinstance(value, str)
        else None
    )
    return value if shape is None else torch.full(shape, number)


@pytest.mark.parametrize("name", [name for name in table() if facts_named(name).index])
def test_indices_may_be_as_large_as_the_last_row_and_no_larger(name: str) -> None:
    bound = facts_named(name).index
    assert bound is not None
    args = INDEXED.get(name) or (TABLE.clone(), *INDEXED[name.removesuffix("_")][1:])
    subscript = args[bound.indices]
    assert "row" in subscript if bound.dimension is None else isinstance(subscript, str)
    if bound.table is None:
        assert bound.dimension is not None
        assert args[bound.dimension] == ROWS
    elif bound.by_argument:
        assert bound.dimension is not None
        assert args[bound.dimension] == 0
    call = called(name)
    call(*filled(args, ROWS - 1))
    with pytest.raises((IndexError, RuntimeError)):
        call(*filled(args, ROWS))


@pytest.mark.parametrize("name", [name for name in table() if facts_named(name).offsets])
def test_offsets_ascend_from_0_to_the_number_of_indices(name: str) -> None:
    known = facts_named(name).offsets
    assert known is not None
    args = [torch.tensor([1, 2, 0]), TABLE] if name.startswith("torch.") else [TABLE, torch.tensor([1, 2, 0])]
    assert args[known.indices].shape == (3,)
    assert known.offsets == 2
    called(name)(*args, torch.tensor([0, 2, 2]))
    for wrong in ([1, 2], [0, 4]):
        with pytest.raises(RuntimeError):
            called(name)(*args, torch.tensor(wrong))


@pytest.mark.parametrize(
    ("name", "place"), [(name, each) for name in table() for each in facts_named(name).domains]
)
def test_numbers_inside_a_domain_give_finite_results_and_those_at_its_end_may_not(
    name: str, place: Any
) -> None:
    low, high = max(place.low, -3.0), min(place.high, 3.0)
    inside = low + (high - low) * torch.tensor([0.1, 0.4, 0.6, 0.9])
    assert is_finite(name, place.argument, inside)
    outside = [end for end in (place.low, place.low - 1, place.high, place.high + 1) if isfinite(end)]
    assert not all(is_finite(name, place.argument, torch.full((4,), end)) for end in outside)


def is_finite(name: str, place: int, numbers: torch.Tensor) -> bool:
    if name in ("floordiv", "mod", "bincount"):
        numbers = numbers.ceil().to(torch.int64)
    rest = {"multinomial": (1,), "binary_cross_entropy": (torch.full((4,), 0.5),)}.get(name, ())
    args = (numbers, *rest) if place == 0 else (torch.full((4,), 0.5).to(numbers.dtype), numbers)
    try:
        return bool(called(name)(*args).isfinite().all())
    except (RuntimeError, ZeroDivisionError):
        return False


NUMBERS = torch.tensor([[3, 1], [2, 5]])
MASK = torch.tensor([[True, False], [False, True]])
KEEPING: dict[str, tuple[Any, ...]] = {
    "view": ([4],),
    "reshape": ([4],),
    "to": (torch.int32,),
    "slice": (0, 1),
    "select": (0, 1),
    "unsqueeze": (0,),
    "expand": ([3, 2, 2],),
    "transpose": (0, 1),
    "permute": ([1, 0],),
    "repeat": ([2, 1],),
    "_unsafe_view": ([4],),
    "expand_as": (torch.zeros(3, 2, 2),),
    "view_as": (torch.zeros(4),),
    "getitem": (0,),
    "type": (torch.int32,),
    "flip": ([0],),
    "roll": ([1],),
    "rot90": (),
    **dict.fromkeys(("split", "chunk", "repeat_interleave"), (2,)),
    "split_with_sizes": ([1, 1],),
    "tensor_split": (2,),
    "masked_select": (MASK,),
    "masked_fill": (MASK, 0),
    "tile": ([2],),
    "narrow": (0, 0, 1),
    "movedim": (0, 1),
    "swapaxes": (0, 1),
    "unflatten": (0, [2, 1]),
    "constant_pad_nd": ([1, 1], 0),
    "index_select": (0, torch.tensor([1])),
    "gather": (0, torch.tensor([[1, 0]])),
    "index_put": ([torch.tensor([0])], torch.tensor(0)),
}
CONSTANT = dict.fromkeys(("masked_fill", "constant_pad_nd", "index_put", "triu", "tril"), (0,))
LISTS = {"cat", "concat", "concatenate", "stack", "hstack", "vstack"}
METHODS = {"long", "int", "short", "type", "getitem", "float", "double", "half", "bfloat16"}
"""What no operator is called."""


@pytest.mark.parametrize("name", [name for name in table() if facts_named(name).elements])
def test_a_result_holds_no_other_numbers_than_these_arguments(name: str) -> None:
    method = "__getitem__" if name == "getitem" else name
    call = getattr(torch.Tensor, method) if name in METHODS else called(name)
    places = facts_named(name).elements
    operand = [NUMBERS, NUMBERS] if name in LISTS else NUMBERS
    args = [MASK] * min(places) + [operand] * len(places) + list(KEEPING.get(name, ()))
    made = tree_leaves(call(*args))
    assert all(each.numel() for each in made)
    found = {number for each in made for number in each.flatten().tolist()}
    assert found <= set(NUMBERS.flatten().tolist()) | set(CONSTANT.get(name, ()))
