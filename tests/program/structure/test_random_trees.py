"""Random trees of modules: structured code gives the bits of flat code and of the graph, within the planned peak."""

from __future__ import annotations

import copy
from random import Random
from typing import Any

import pytest
import torch
from torch import nn

import fx2py
from fx2py.program.options import GenerateOptions
from fx2py.program.structure.moves import peak_of
from fx2py.program.structure.outline import structured

SIZE = 4
SEEDS = range(5)
OPERATORS: tuple[Any, ...] = (torch.sin, torch.relu, lambda x: x.transpose(0, 1).contiguous().t(), torch.tanh)


class Leaf(nn.Module):
    """A few calls on one or two values; some write to a buffer, some give two values."""

    def __init__(self, choose: Random) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(SIZE, SIZE))
        self.register_buffer("calls", torch.zeros(SIZE) if choose.random() < 0.4 else None)
        self.factor = choose.choice([0.5, 1.5, 2.5, -0.0])
        self.operators = choose.choices(OPERATORS, k=choose.randint(1, 4))
        self.gives_two = choose.random() < 0.3

    def forward(self, x, other):
        if self.calls is not None:
            self.calls.add_(1)
            x = x + self.calls
        for operator in self.operators:
            x = operator(x)
        hidden = x @ self.weight * self.factor
        first, second = (hidden + other).split(SIZE // 2, dim=-1)
        y = torch.cat([second, first], dim=-1)
        return (y, hidden) if self.gives_two else (y, other)


class Tree(nn.Module):
    """A list of equal layers, or of unlike modules: some are shared, some tied, some skip what lies between."""

    def __init__(self, choose: Random, depth: int, pool: list[nn.Module]) -> None:
        super().__init__()
        count, seed = choose.randint(2, 4), choose.random()
        is_equal = choose.random() < 0.6
        layers = [_module(Random(seed) if is_equal else choose, depth - 1, pool) for _ in range(count)]
        if choose.random() < 0.3:
            layers.append(choose.choice(pool))
        self.layers = nn.ModuleList(layers)
        self.skips = choose.random() < 0.3
        leaves = [each for each in self.modules() if isinstance(each, Leaf)]
        if choose.random() < 0.4:
            leaves[-1].weight = leaves[0].weight
        for each in leaves:
            if choose.random() < 0.2:
                each.factor = choose.random()

    def forward(self, x, other):
        before = x
        for layer in self.layers:
            x, other = layer(x, other)
        return (x + before, other) if self.skips else (x, other)


def _module(choose: Random, depth: int, pool: list[nn.Module]) -> nn.Module:
    made = Leaf(choose) if depth <= 0 or choose.random() < 0.2 else Tree(choose, depth, pool)
    pool.append(made)
    return made


@pytest.mark.parametrize("seed", SEEDS)
def test_a_random_tree_gives_the_same_bits_in_every_form(seed: int) -> None:
    choose = Random(seed)
    torch.manual_seed(seed)
    inputs = (torch.randn(SIZE, SIZE), torch.randn(SIZE, SIZE))
    graph = torch.export.export(Tree(choose, 3, []).eval(), inputs)
    form, straight, interpreted = (
        copy.deepcopy(graph) for _ in range(3)
    )  # each writes to buffers of its own
    code = fx2py.generate(form)
    flat = fx2py.generate(straight, options=GenerateOptions(flat=True))
    meant = interpreted.module()(*inputs)
    for artifact in (code, flat):
        found = artifact.bind()(*inputs)
        assert all(torch.equal(one, other) for one, other in zip(found, meant, strict=True)), seed
    assert flat.program is not None
    assert peak_of(flat.program, structured(flat.program)) == flat.manifest.memory.planned_peak


class Scales(nn.Module):
    """Layers of which the second differs in numbers that are equal in the first, or equal but for type and sign."""

    class Layer(nn.Module):
        class Step(nn.Module):
            def __init__(self, factor: float) -> None:
                super().__init__()
                self.factor = factor

            def forward(self, x):
                x = x.sin() * self.factor
                return x.exp() + x

        def __init__(self, one: float, other: float) -> None:
            super().__init__()
            self.steps = nn.ModuleList([self.Step(one), self.Step(other)])
            self.one, self.other = one, other

        def forward(self, x):
            for step in self.steps:
                x = step(x)
            return (x + self.one) * self.other

    def __init__(self, *pairs: tuple[float, float]) -> None:
        super().__init__()
        self.layers = nn.ModuleList([self.Layer(*pair) for pair in pairs])

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


@pytest.mark.parametrize(
    "pairs",
    [((0.5, 0.5), (0.5, 0.3)), ((2, 2.0), (3, 3.0)), ((0.0, -0.0), (1.0, 1.0)), ((0.5, 0.5), (-0.5, -0.5))],
)
def test_numbers_are_one_parameter_only_where_they_are_one_in_every_layer(
    pairs: tuple[tuple[float, float], ...],
) -> None:
    x = torch.randn(SIZE)
    graph = torch.export.export(Scales(*pairs), (x,))
    assert torch.equal(fx2py.generate(graph).bind()(x), graph.module()(x))
