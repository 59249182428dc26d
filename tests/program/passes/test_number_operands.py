"""A number that meets tensors again and again is made a tensor once, and every bit stays the same."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import pytest
import torch

import fx2py
from tests.checking import assert_same

NAME = "number_operands"
X = torch.arange(-4.0, 4.0).view(2, 4) / 3


class Scaled(torch.nn.Module):
    """``times`` numbers of each kind that may be made tensors, on what a weight makes."""

    def __init__(
        self, dtype: torch.dtype = torch.float32, times: int = 3, change: Callable[..., Any] | None = None
    ) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.inner = torch.nn.Linear(4, 4, dtype=dtype)
        self.times = times
        self.change = change or (lambda y: (y * 0.1 + 1e-6) - 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        table = torch.nn.functional.embedding(torch.arange(2, device=x.device), self.inner.weight)
        y = self.inner(table)
        for _ in range(self.times):
            y = self.change(y)
        return x + y


def generated(model: Scaled, x: torch.Tensor = X) -> fx2py.Artifact:
    program = torch.export.export(model, (x,))
    artifact = fx2py.generate(program, options=fx2py.GenerateOptions(optimize=True))
    assert fx2py.diff(program, artifact).equal
    return artifact


def named(artifact: fx2py.Artifact) -> int:
    return sum(item.pass_name == NAME for item in artifact.manifest.optimizations)


class Halved(torch.nn.Module):
    """Numbers on what depends on the input."""

    def __init__(self, change: Callable[..., Any]) -> None:
        super().__init__()
        self.table = torch.nn.Embedding(8, 4)
        self.change = change

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        y = self.table(ids)
        for _ in range(4):
            y = self.change(y)
        return y


IDS = torch.tensor([[1, 2, 5]])


def test_numbers_are_made_in_compute_once_and_each_is_made_once() -> None:
    artifact = generated(Halved(lambda y: y * 0.1 + 1), IDS)
    assert artifact.source.count("torch.full([], ") == 2
    assert named(artifact) == 8
    once, _, entry = artifact.source.partition("def execution_fn")
    assert "torch.full" in once
    assert "torch.full" not in entry.partition("# ---")[0]


UNTOUCHED: dict[str, tuple[Callable[..., Any], torch.dtype]] = {
    "quotients": (lambda y: y / 0.1, torch.float32),
    "numbers that float32 rounds from another integer": (lambda y: y + (2**24 + 1), torch.float32),
    "numbers beyond float32": (lambda y: y * 1e300, torch.float32),
    "infinity": (lambda y: y * float("inf"), torch.float32),
    "half precision": (lambda y: y * 0.1, torch.bfloat16),
    "truth values": (lambda y: y * True, torch.float32),
}


@pytest.mark.parametrize("name", UNTOUCHED)
def test_numbers_stay_numbers_for(name: str) -> None:
    change, dtype = UNTOUCHED[name]
    model = Halved(change).to(dtype)
    assert named(generated(model, IDS)) == 0


def test_two_numbers_are_not_worth_it() -> None:
    class Once(Halved):
        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            return self.table(ids) * 0.1 + 1

    assert named(generated(Once(abs), IDS)) == 0


def test_numbers_on_what_is_computed_once_are_the_same_too() -> None:
    artifact = generated(Scaled())
    assert named(artifact) == 9


def test_gradients_are_the_same() -> None:
    grads = []
    for optimize in (False, True):
        model = Halved(lambda y: (y * 0.1 + 1) * y - 0.5)
        with torch.no_grad():
            model.table.weight.copy_(torch.linspace(-1, 1, 32).view(8, 4))
        program = torch.export.export(model, (IDS,))
        artifact = fx2py.generate(program, options=fx2py.GenerateOptions(optimize=optimize))
        weight = next(iter(artifact.tensors.values()))
        artifact.bind()(IDS).sum().backward()
        grads.append(weight.grad)
    assert_same(*grads, "gradient")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("op", [operator.add, operator.sub, operator.mul])
def test_a_tensor_without_dimensions_computes_as_the_number_does(op, dtype) -> None:
    numbers = [0.1, -0.0, 1e-45, 1e-310, 3.4e38, 2**24, -7, 0, 0.044715, 1 / 3]
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(4, 37, generator=generator, dtype=dtype) * torch.logspace(-30, 30, 37, dtype=dtype)
    special = torch.tensor([float("nan"), float("inf"), -0.0, 0.0], dtype=dtype)
    for x in (values, values.t(), values[1, 3], values[:0], values[:1].expand(5, 37), special):
        for number in numbers:
            made = torch.full([], number, dtype=dtype)
            assert_same(op(x, made), op(x, number), f"{op.__name__} {number}")
            assert op(x, made).stride() == op(x, number).stride()
