"""The gap between two submodule calls: 64 modules that do nothing, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from time import thread_time
from typing import Any

import torch
from torch import fx

import fx2py
from fx2py.bench.timing import interleave, too_noisy
from fx2py.bench.ways import chain
from fx2py.integrations.vllm import compile_execution_fn, generate_execution_code
from tests.bench.rows import Row

MODULES = 64


class Nothing(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


class Chain(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.steps = torch.nn.ModuleList([Nothing() for _ in range(MODULES)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for step in self.steps:
            x = step(x)
        return x


class Leaves(fx.Tracer):
    def is_leaf_module(self, module: torch.nn.Module, name: str) -> bool:
        return isinstance(module, Nothing)


def rows() -> Iterator[Row]:
    model = Chain()
    graph_module = fx.GraphModule(model, Leaves().trace(model))
    code, names, consts = generate_execution_code(graph_module)
    ways: dict[str, Callable[[torch.Tensor], Any]] = {
        "FX GraphModule": graph_module,
        "calling the modules": chain(list(model.steps)),
        "hand-written closure": chain([step.forward for step in model.steps]),
        "fx2py": fx2py.generate(graph_module).bind(),
        "engine's drop-in": compile_execution_fn(
            code, {name: graph_module.get_submodule(name) for name in names}, names, consts
        ),
    }
    x = torch.ones(1)
    timings = interleave({name: partial(way, x) for name, way in ways.items()}, rounds=101, clock=thread_time)
    gaps = {name: timing.seconds / MODULES for name, timing in timings.items()}
    detail = ", ".join(f"{name} {gap * 1e9:.0f} ns" for name, gap in gaps.items())
    ours = gaps["fx2py"]
    yield Row("gap: FX GraphModule / fx2py", gaps["FX GraphModule"] / ours, detail, at_least=50)
    yield Row("gap: calling the modules / fx2py", gaps["calling the modules"] / ours, at_least=20)
    yield Row(
        "gap: fx2py / hand-written closure",
        ours / gaps["hand-written closure"],
        too_noisy(timings),
        at_most=1.3,
    )
    dropped_in = gaps["engine's drop-in"]
    yield Row(
        "gap: calling the modules / drop-in, given modules",
        gaps["calling the modules"] / dropped_in,
        "looks at each call whether a module got a forward of its own",
        at_least=10,
    )
    yield Row("gap: drop-in, given modules / fx2py", dropped_in / ours, at_most=2)
