"""Weights of tensor subclasses, as torchao's quantized ones are: a file of them is read, and its code needs no such class."""

from __future__ import annotations

import io
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

import fx2py
from fx2py.errors import UnknownFormatError
from tests.graph.wrappers import Flattened, Layer, quantized

X = torch.tensor([[1.0, -2.0, 3.0, 0.5]])


class Functional(Flattened):
    """One whose functions are torch's own on the tensors inside, as torchao writes them: tracing sees no class."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is functional.linear:
            x, weight, *bias = args
            return functional.linear(x, weight.numbers.to(x.dtype) * weight.scale, *bias)
        return super().__torch_function__(func, types, args, kwargs or {})


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = Layer(quantized(Functional)), Layer(quantized(Functional))
        self.other.weight = self.one.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.one(x) + 2 * self.other(x)


def saved(model: nn.Module, path: Path) -> Path:
    torch.export.save(torch.export.export(model, (X,)), path)
    return path


@pytest.fixture
def layer(tmp_path: Path) -> Path:
    return saved(Layer(quantized(Functional)), tmp_path / "layer.pt2")


def test_the_tensors_inside_are_the_weights(layer: Path) -> None:
    artifact = fx2py.generate(layer)
    assert {name: each.dtype for name, each in artifact.tensors.items()} == {
        "weight.numbers": torch.int8,
        "weight.scale": torch.float32,
    }
    assert torch.equal(artifact.bind()(X), Layer(quantized(Functional))(X))
    assert fx2py.diff(layer, artifact).equal


def test_a_live_program_gives_the_code_of_its_file(layer: Path) -> None:
    live = fx2py.generate(torch.export.export(Layer(quantized(Functional)), (X,)))
    assert body(live.source) == body(fx2py.generate(layer).source)


def body(source: str) -> str:
    return source[source.index("def execution_fn") :]


def test_the_folder_runs_where_the_class_is_unknown(layer: Path, tmp_path: Path) -> None:
    fx2py.generate(layer).write(tmp_path / "layer_fx2py")
    script = (
        "import torch, layer_fx2py\n"
        f"print(layer_fx2py.load()(torch.tensor({X.tolist()})).tolist())\n"
        "import sys; assert not any(name.startswith('tests') for name in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.strip() == str(Layer(quantized(Functional))(X).tolist()), done.stderr


def test_one_weight_of_two_modules_stays_one(tmp_path: Path) -> None:
    path = saved(Tied(), tmp_path / "tied.pt2")
    artifact = fx2py.generate(path)
    assert len(artifact.tensors) == 2
    assert torch.equal(artifact.bind()(X), Tied()(X))


def test_a_graph_that_uses_such_a_weight_as_a_whole_is_refused_with_the_way_out(tmp_path: Path) -> None:
    program = torch.export.export(Layer(quantized(Flattened)), (X,))
    path = tmp_path / "whole.pt2"
    torch.export.save(program, path)
    with pytest.raises(
        UnknownFormatError, match=r"linear uses weight, of the class .*Flattened, as a whole"
    ) as raised:
        fx2py.generate(path)
    assert "run_decompositions" in str(raised.value)
    torch.export.save(program.run_decompositions({}), path)
    assert torch.equal(fx2py.generate(path).bind()(X), Layer(quantized(Flattened))(X))


def rewritten(path: Path, change: Callable[[bytes], bytes]) -> Path:
    """The archive with the pickle of its weight changed."""
    target = path.with_name(f"changed_{path.name}")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w") as new:
        for member in old.infolist():
            data = old.read(member)
            is_weight = "/data/weights/weight" in member.filename
            new.writestr(zipfile.ZipInfo(member.filename), change(data) if is_weight else data)
    return target


def repickled(data: bytes, old: bytes, new: bytes) -> bytes:
    """A file of torch.save with a text in its pickle replaced."""
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(target, "w") as made:
        for member in source.infolist():
            made.writestr(zipfile.ZipInfo(member.filename), source.read(member).replace(old, new))
    return target.getvalue()


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda data: data[: len(data) // 2], "no file of torch.save"),
        (lambda data: data.replace(b"numbers", b"numbersx", 1)[:-1], "damaged"),
        (lambda data: repickled(data, b"numbers", b"numberz"), "which has no such tensor"),
        (lambda data: repickled(data, b"wrapper_subclass", b"wrapper_subclasx"), "more than plain tensors"),
        (lambda data: repickled(data, b"CharStorage", b"LongStorage"), "it should"),
    ],
    ids=["cut", "shifted", "no such tensor", "rebuilt by something else", "a larger dtype"],
)
def test_a_damaged_weight_is_refused_in_one_sentence(
    layer: Path, damage: Callable[[bytes], bytes], said: str
) -> None:
    with pytest.raises(UnknownFormatError, match=said):
        fx2py.generate(rewritten(layer, damage))
