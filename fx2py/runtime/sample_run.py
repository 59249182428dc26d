"""A folder run on the sample inputs that lie in it, with torch alone: what ``python -m`` with its name shows."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.utils import _pytree as pytree

SAMPLES = "sample_inputs.pt"
"""The file, beside the code, of the arguments and keyword arguments that were saved with the graph."""
COLUMNS = ("output", "dtype", "shape", "min", "mean", "max")
MOST_TEXT = 40


class CannotRun(ValueError):
    """Why a folder cannot be run as it is: it has no sample inputs, or needs what is not here."""


def run_samples(file: str, load: Callable[..., Callable[..., Any]], device: str) -> str:
    """A table of what the graph returns for the sample inputs beside ``file``, an output a line.

    ``load`` gives the graph as a callable. Raises CannotRun before the graph is called.
    """
    path = pathlib.Path(file).with_name(SAMPLES)
    if not path.exists():
        raise CannotRun(f"{path.parent} holds no sample inputs: import it and call what load() returns.")
    try:
        execute = load(device)
        args, kwargs = torch.load(path, map_location=device, weights_only=True)
    except (RuntimeError, ImportError, OSError) as error:
        raise CannotRun(f"{path.parent} cannot be run as it is: {error}") from None
    return table_of_outputs(execute(*args, **kwargs))


def table_of_outputs(result: object) -> str:
    """A line for each leaf of a result, in columns below their titles."""
    rows = [COLUMNS, *output_rows(result)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    return "\n".join(lines)


def output_rows(result: object) -> Iterator[tuple[str, ...]]:
    """The cells of a row for each leaf: numbers as float64, and none of what has no order or no elements here."""
    for path, leaf in pytree.tree_flatten_with_path(result)[0]:
        name = pytree.keystr(path).removeprefix(".") or "result"
        if not isinstance(leaf, torch.Tensor) or leaf.is_nested:
            yield name, type(leaf).__name__, f"{leaf!r:.{MOST_TEXT}}".partition("\n")[0], "", "", ""
            continue
        dtype, shape = str(leaf.dtype).removeprefix("torch."), str(list(leaf.shape))
        numbers = ["", "", ""]
        has_order = not (leaf.is_complex() or leaf.is_quantized or leaf.is_meta)
        if has_order and leaf.layout == torch.strided and leaf.numel():
            values = leaf.detach().to("cpu", torch.float64)
            numbers = [f"{each.item():.3g}" for each in (values.min(), values.mean(), values.max())]
        yield name, dtype, shape, *numbers
