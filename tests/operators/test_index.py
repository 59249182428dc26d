"""The facts ``index`` and ``elements`` are proven by calling what they are of, by every name that a graph has for it."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
import torch

from fx2py.operators.facts import facts_named, table

ROWS, COLUMNS = 5, 3
TABLE = torch.arange(float(ROWS * COLUMNS)).view(ROWS, COLUMNS)
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
}
"""A call of each, with the word for the indices in their place; what is in place is called alike."""


def called(name: str) -> Any:
    if name == "getitem":
        return lambda table, subscript: table[subscript]
    if name.startswith("torch."):
        module, _, function = name.rpartition(".")
        return getattr(importlib.import_module(module), function)
    return getattr(torch.ops.aten, name)


def filled(value: Any, number: int) -> Any:
    """The arguments with indices that are all ``number``."""
    if isinstance(value, list | tuple):
        return type(value)(filled(part, number) for part in value)
    shape = {"indices": (1, COLUMNS), "row": (1,)}.get(value) if isinstance(value, str) else None
    return value if shape is None else torch.full(shape, number)


@pytest.mark.parametrize("name", [name for name in table() if facts_named(name).index])
def test_indices_may_be_as_large_as_the_last_row_and_no_larger(name: str) -> None:
    bound = facts_named(name).index
    assert bound is not None
    args = INDEXED.get(name) or (TABLE.clone(), *INDEXED[name.removesuffix("_")][1:])
    assert isinstance(args[bound.table], torch.Tensor)
    subscript = args[bound.indices]
    assert "row" in subscript if bound.dimension is None else isinstance(subscript, str)
    if bound.by_argument:
        assert bound.dimension is not None
        assert args[bound.dimension] == 0
    call = called(name)
    call(*filled(args, ROWS - 1))
    with pytest.raises((IndexError, RuntimeError)):
        call(*filled(args, ROWS))


NUMBERS = torch.tensor([[3, 1], [2, 5]])
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
}
METHODS = {"long", "int", "type", "getitem"}
"""What no operator is called."""


@pytest.mark.parametrize("name", [name for name in table() if facts_named(name).keeps_elements])
def test_a_result_holds_no_other_numbers_than_the_first_argument(name: str) -> None:
    method = "__getitem__" if name == "getitem" else name
    call = getattr(torch.Tensor, method) if name in METHODS else getattr(torch.ops.aten, name)
    made = call(NUMBERS, *KEEPING.get(name, ()))
    assert made.numel()
    assert set(made.flatten().tolist()) <= set(NUMBERS.flatten().tolist())
