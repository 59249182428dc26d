"""No value outlives its last use: planned and measured peaks of a replay."""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import pytest
import torch
from torch import fx
from torch.fx.passes.shape_prop import ShapeProp
from torch.fx.passes.split_module import split_module

import fx2py
from fx2py.program.analyses.peak_memory import PlannedPeak, planned_peak
from fx2py.replay.memory import measured_peak

ROWS, WIDTH = 8, 16
UNIT = ROWS * WIDTH * 4


class Block(torch.nn.Module):
    """Four tensors are alive at once at its worst: the input, two halves' results and what they are joined to."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(WIDTH, WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        wide = torch.relu(self.linear(x))
        left, right = wide.chunk(2, -1)
        return torch.cat([left.sin(), right.cos()], -1) * x


class Net(torch.nn.Module):
    def __init__(self, blocks: int) -> None:
        super().__init__()
        self.blocks = torch.nn.ModuleList([Block() for _ in range(blocks)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            x = block(x)
        return x


def in_pieces(traced: fx.GraphModule, net: torch.nn.Module, count: int) -> fx.GraphModule:
    places = {node: index for index, node in enumerate(traced.graph.nodes)}
    return split_module(traced, net, lambda node: places[node] * count // len(places))


def peak_of(source: Any, **options: bool) -> int:
    code = fx2py.generate(source, options=fx2py.GenerateOptions(**options)).bind()
    with torch.no_grad():
        return measured_peak(code, (torch.randn(ROWS, WIDTH),), {})


def in_new_process(function: Callable[[], tuple[int, int]]) -> tuple[int, int]:
    """What a function returns in a process without the frame evaluator that a failed torch.compile leaves behind."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function).result()


@pytest.fixture(scope="module")
def net() -> Net:
    return Net(16).eval()


def test_net_in_sixteen_pieces_peaks_at_the_figure_of_the_flat_graph(net: Net) -> None:
    traced = fx.symbolic_trace(net)
    assert peak_of(in_pieces(traced, net, 16)) == peak_of(traced)


def peaks_of_kept_pieces_and_flat() -> tuple[int, int]:
    net = Net(16).eval()
    traced = fx.symbolic_trace(net)
    return peak_of(in_pieces(traced, net, 16), keep_submodules=True), peak_of(traced)


def measured_and_planned_peak_of_kept_pieces() -> tuple[int, int]:
    x, net = torch.randn(ROWS, WIDTH), Net(16).eval()
    traced = fx.symbolic_trace(net)
    ShapeProp(traced).propagate(x)
    pieces = in_pieces(traced, net, 5)
    ShapeProp(pieces).propagate(x)
    code = fx2py.generate(pieces, options=fx2py.GenerateOptions(keep_submodules=True))
    assert "moved.pop(0)" in code.source
    with torch.no_grad():
        return measured_peak(code.bind(), (x,), {}), code.manifest.memory.planned_peak or 0


@pytest.mark.skipif(sys.version_info < (3, 11), reason="a running call keeps its arguments alive")
def test_kept_pieces_free_what_they_are_handed() -> None:
    pieces, flat = in_new_process(peaks_of_kept_pieces_and_flat)
    assert pieces == flat


@pytest.mark.skipif(sys.version_info < (3, 11), reason="a running call keeps its arguments alive")
def test_planned_peak_of_kept_pieces_is_the_measured_one() -> None:
    measured, planned = in_new_process(measured_and_planned_peak_of_kept_pieces)
    assert measured == planned > 0


def exported(
    function: Callable[..., Any], *args: torch.Tensor, **options: Any
) -> torch.export.ExportedProgram:
    class Model(torch.nn.Module):
        def forward(self, *inputs: torch.Tensor) -> Any:
            return function(*inputs)

    return torch.export.export(Model(), args, **options)


def used_late(x: torch.Tensor) -> torch.Tensor:
    values, places = torch.topk(x, WIDTH)
    values = values.sin().cos().sin()
    return values + places


def used_at_once(x: torch.Tensor) -> torch.Tensor:
    values, _ = torch.topk(x, WIDTH)
    values = values.sin()
    return values.cos().sin()


@pytest.mark.parametrize(
    ("function", "units"), [(used_late, 4), (used_at_once, 3), (lambda x: (x.sin().cos(), x.view(-1)), 2)]
)
def test_peak_is_what_the_live_values_take(function: Callable[..., Any], units: int) -> None:
    """topk gives four-byte values and eight-byte places: 1 + 2 units."""
    x = torch.randn(ROWS, WIDTH)
    code = fx2py.generate(exported(function, x))
    assert code.program is not None
    assert planned_peak(code.program) == PlannedPeak(units * UNIT)
    assert measured_peak(code.bind(), (x,), {}) == units * UNIT


def test_planned_peak_is_in_the_manifest(tmp_path: Any) -> None:
    code = fx2py.generate(exported(used_late, torch.randn(ROWS, WIDTH))).write(tmp_path / "late_fx2py")
    assert fx2py.open_artifact(tmp_path / "late_fx2py").manifest.memory.planned_peak == 4 * UNIT
    assert code.manifest.memory.planned_peak == 4 * UNIT


def test_peak_of_symbolic_sizes_is_unknown_and_says_why() -> None:
    rows = torch.export.Dim("rows", min=2)
    code = fx2py.generate(exported(used_late, torch.randn(ROWS, WIDTH), dynamic_shapes=(({0: rows},),)))
    memory = code.manifest.memory
    assert memory.planned_peak is None
    assert "known only in a call" in memory.unknown


def test_peak_without_recorded_shapes_is_unknown(net: Net) -> None:
    memory = fx2py.generate(fx.symbolic_trace(net)).manifest.memory
    assert memory.planned_peak is None
    assert memory.unknown == "no shape of blocks_0_linear is recorded"
