"""How the time to generate grows with the parts of a graph: four times as many may take little more than four times as long."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from time import process_time

import torch
from torch import fx

import fx2py
from tests.bench.rows import Row

FEWER, TIMES = 250, 4
ATEN = torch.ops.aten


def conditions(count: int) -> fx.GraphModule:
    """``cond`` after ``cond``, each with two graphs of its own."""
    root, graph = torch.nn.Module(), fx.Graph()
    x, chosen = graph.placeholder("x"), graph.placeholder("chosen")
    for index in range(count):
        for name, op in (("yes", ATEN.sin.default), ("no", ATEN.cos.default)):
            setattr(root, f"{name}_{index}", _one_call(op))
        branches = [graph.get_attr(f"{name}_{index}") for name in ("yes", "no")]
        both = graph.call_function(torch.ops.higher_order.cond, (chosen, *branches, (x,)))
        x = graph.call_function(operator.getitem, (both, 0))
    graph.output(x)
    return fx.GraphModule(root, graph)


def submodules(count: int) -> fx.GraphModule:
    """Graph after graph, each called as a module."""
    return _chain(lambda: _one_call(ATEN.sin.default), count)


def leaves(count: int) -> fx.GraphModule:
    """Linear layer after linear layer, each called as a module."""
    return _chain(lambda: torch.nn.Linear(2, 2), count)


def _chain(make: Callable[[], torch.nn.Module], count: int) -> fx.GraphModule:
    root, graph = torch.nn.Module(), fx.Graph()
    x = graph.placeholder("x")
    for index in range(count):
        setattr(root, f"layer_{index}", make())
        x = graph.call_module(f"layer_{index}", (x,))
    graph.output(x)
    return fx.GraphModule(root, graph)


def _one_call(op: torch._ops.OpOverload) -> fx.GraphModule:
    graph = fx.Graph()
    graph.output((graph.call_function(op, (graph.placeholder("x"),)),))
    return fx.GraphModule({}, graph)


def rows() -> Iterator[Row]:
    options = fx2py.GenerateOptions(keep_submodules=True)
    for make in (conditions, submodules, leaves):
        _seconds(make(2), options)  # what is imported and read once
        fewer, more = (_seconds(make(count), options) for count in (FEWER, FEWER * TIMES))
        yield Row(
            f"growth: {make.__name__}, {FEWER * TIMES:,} / {FEWER:,}",
            more / fewer,
            f"{more:.2f} s, {fewer:.2f} s",
            at_most=1.5 * TIMES,
        )


def _seconds(graph_module: fx.GraphModule, options: fx2py.GenerateOptions) -> float:
    start = process_time()
    fx2py.generate(graph_module, options=options)
    return process_time() - start
