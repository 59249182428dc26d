"""Peak memory of a net that was split into 16 pieces, against the flat graph."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import fx

import fx2py
from fx2py.replay.memory import measured_peak
from tests.bench.rows import Row
from tests.replay.test_memory import ROWS, WIDTH, Net, in_pieces


def rows() -> Iterator[Row]:
    net = Net(16).eval()
    traced = fx.symbolic_trace(net)
    split = in_pieces(traced, net, 16)
    ways: dict[str, Callable[..., Any]] = {
        "flat": fx2py.generate(traced).bind(),
        "fx2py": fx2py.generate(split).bind(),
        "fx2py --keep-submodules": fx2py.generate(
            split, options=fx2py.GenerateOptions(keep_submodules=True)
        ).bind(),
        "FX GraphModule": split,
    }
    with torch.no_grad():
        peaks = {name: measured_peak(way, (torch.randn(ROWS, WIDTH),), {}) for name, way in ways.items()}
    detail = ", ".join(f"{name} {peak:,} bytes" for name, peak in peaks.items())
    yield Row("peak memory, 16 pieces / flat: fx2py", peaks["fx2py"] / peaks["flat"], detail, at_most=1)
    kept = peaks["fx2py --keep-submodules"] / peaks["flat"]
    yield Row("peak memory, 16 pieces / flat: fx2py --keep-submodules", kept, at_most=1)
    yield Row("peak memory, 16 pieces / flat: FX GraphModule", peaks["FX GraphModule"] / peaks["flat"])
