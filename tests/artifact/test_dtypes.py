"""Weights of every dtype that checkpoints have: generated, written, opened, run and compared, to the last bit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

import fx2py
from fx2py.cli.call import summarize
from fx2py.compare.deviations import deviations
from fx2py.compare.sides import Side, diff_callables
from fx2py.compare.tensors import compare_values
from fx2py.errors import ArtifactError, UnsupportedGraphError
from fx2py.graph.tensors import PACKED

BYTES = (torch.arange(64) * 37 % 251).to(torch.uint8).view(8, 8)
X = torch.linspace(-2, 2, 16).view(2, 8)
FLOAT8 = [torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e4m3fnuz, torch.float8_e5m2fnuz]
PACKED_DTYPES = sorted(PACKED, key=str)
OTHERS = [torch.float8_e8m0fnu, torch.uint16, torch.uint32, torch.uint64, torch.complex32, torch.bool]
ON_DISK = {"torch.save": ".pt", "torch.export.save": ".pt2"}


class Converted(nn.Module):
    """A linear layer whose weight is made wider, as for float16, bfloat16 and float8."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.register_buffer("weight", torch.linspace(-3, 3, 64).view(8, 8).to(dtype))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.linear(x, self.weight.to(torch.float32))


class Int4(nn.Module):
    """A linear layer with two numbers of four bits in each byte, and a scale for each row."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("weight", BYTES[:, :4].contiguous())
        self.register_buffer("scale", torch.linspace(0.1, 1, 8).view(8, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        low, high = (self.weight & 15).to(torch.int8) - 8, (self.weight >> 4).to(torch.int8) - 8
        return functional.linear(x, torch.stack((low, high), -1).flatten(-2) * self.scale)


class Returned(nn.Module):
    """Gives its weight as it is."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        is_converted = dtype in (torch.complex32, torch.bool)
        self.register_buffer("weight", BYTES.to(dtype) if is_converted else BYTES.view(dtype))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x + 1, self.weight


class Shared(nn.Module):
    """Two names of one parameter, and two parts of one storage."""

    def __init__(self) -> None:
        super().__init__()
        self.one = self.other = nn.Parameter(torch.linspace(-1, 1, 64).view(8, 8))
        stacked = torch.linspace(0, 1, 128).view(2, 8, 8)
        self.register_buffer("first", stacked[0])
        self.register_buffer("second", stacked[1])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self.one @ self.first + x @ self.other @ self.second


MODELS: dict[str, Callable[[], nn.Module]] = {
    **{
        f"converted {each}": lambda each=each: Converted(each)
        for each in (torch.float16, torch.bfloat16, *FLOAT8)
    },
    **{f"returned {each}": lambda each=each: Returned(each) for each in (*OTHERS, torch.float4_e2m1fn_x2)},
    "int4 in bytes": Int4,
    "shared": Shared,
}


def traced(model: nn.Module) -> torch.fx.GraphModule:
    """The graph without annotations, which are texts in this file; FX cannot save those."""
    graph = torch.fx.Tracer().trace(model)
    for node in graph.nodes:
        node.type = None
    return torch.fx.GraphModule(model, graph)


@pytest.mark.parametrize("saved", ON_DISK)
@pytest.mark.parametrize("name", MODELS)
def test_a_folder_holds_the_weights_to_the_last_bit(name: str, saved: str, tmp_path: Path) -> None:
    model, path = MODELS[name](), tmp_path / f"graph{ON_DISK[saved]}"
    if saved == "torch.save":
        torch.save(traced(model), path)
    elif any(each.dtype in PACKED for each in model.buffers()):
        pytest.skip("torch.export.save has no such dtype")
    else:
        torch.export.save(torch.export.export(model, (X,)), path)
    fx2py.generate(path).write(tmp_path / "folder")
    opened = fx2py.open_artifact(tmp_path / "folder")
    assert fx2py.diff(path, opened, (X,)).equal
    with torch.no_grad():
        assert diff_callables(Side(opened.bind()), Side(model), (X,)).equal
        assert list(summarize(opened.bind()(X)))


@pytest.mark.parametrize("dtype", PACKED_DTYPES, ids=str)
def test_results_of_dtypes_that_torch_converts_to_no_other_are_compared_by_bytes(dtype: torch.dtype) -> None:
    other = BYTES.clone()
    other[3, 3] ^= 1
    one, another = BYTES.view(dtype), other.view(dtype)
    assert compare_values(one, one) == (0, None)
    assert compare_values(one, another)[0] == 1
    assert deviations(one, another)
    assert not diff_callables(Side(lambda x: one), Side(lambda x: another), (X,)).equal


def test_weights_of_dtypes_that_torch_cannot_save_are_refused_by_name(tmp_path: Path) -> None:
    model = Returned(torch.int4)
    artifact = fx2py.generate(traced(model))
    assert artifact.bind()(X)[1] is model.weight
    with pytest.raises(UnsupportedGraphError, match=r"weight.*torch\.int4"):
        artifact.write(tmp_path / "folder")
    with pytest.raises(ArtifactError, match=r"torch\.int4"):
        fx2py.save_graph(traced(model), tmp_path / "graph.fx2py")
    assert not list(tmp_path.iterdir())
