"""Small graphs with collectives, written by hand: any operator, any group name."""

from __future__ import annotations

import operator
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import fx

functional = torch.ops._c10d_functional
autograd = torch.ops._c10d_functional_autograd
wait = functional.wait_tensor.default


def saved_graph(path: Path, build: Callable[[fx.Graph, fx.Node], Any]) -> None:
    """Save a GraphModule of one input ``x`` that returns what ``build`` makes of it."""
    graph = fx.Graph()
    graph.output(build(graph, graph.placeholder("x")))
    torch.save(fx.GraphModule(torch.nn.Module(), graph), path)


def all_reduce(group: str) -> Callable[[fx.Graph, fx.Node], fx.Node]:
    """The sum of ``x`` over a group."""

    def build(graph: fx.Graph, x: fx.Node) -> fx.Node:
        reduced = graph.call_function(functional.all_reduce.default, (x, "sum", group))
        return graph.call_function(wait, (reduced,))

    return build


def matmul_then_all_reduce(group: str) -> Callable[[fx.Graph, fx.Node], fx.Node]:
    """``x @ x`` summed over a group: a rank whose ``x`` is not square raises before it meets the others."""

    def build(graph: fx.Graph, x: fx.Node) -> fx.Node:
        return all_reduce(group)(graph, graph.call_function(torch.matmul, (x, x)))

    return build


def every_operator(size: int) -> Callable[[fx.Graph, fx.Node], dict[str, fx.Node]]:
    """A result of each operator of ``_c10d_functional`` among all of ``size`` ranks."""
    calls: dict[str, tuple[Any, ...]] = {
        "all_reduce": (functional.all_reduce.default, "x", "sum"),
        "all_reduce_": (functional.all_reduce_.default, "copy", "max"),
        "all_gather": (functional.all_gather_into_tensor.default, "x", size),
        "reduce_scatter": (functional.reduce_scatter_tensor.default, "x", "sum", size),
        "all_to_all": (functional.all_to_all_single.default, "x", [4 // size] * size, [4 // size] * size),
        "broadcast": (functional.broadcast.default, "x", 1),
        "broadcast_": (functional.broadcast_.default, "copy", 1),
        "autograd_all_gather": (autograd.all_gather_into_tensor.default, "x", size),
        "autograd_reduce_scatter": (autograd.reduce_scatter_tensor.default, "x", "sum", size),
        "autograd_all_to_all": (
            *(autograd.all_to_all_single.default, "x"),
            *([4 // size] * size, [4 // size] * size),
        ),
    }
    coalesced: dict[str, tuple[Any, ...]] = {
        "all_reduce_coalesced": (functional.all_reduce_coalesced.default, "sum"),
        "all_gather_coalesced": (functional.all_gather_into_tensor_coalesced.default, size),
        "reduce_scatter_coalesced": (functional.reduce_scatter_tensor_coalesced.default, "sum", size),
    }

    def build(graph: fx.Graph, x: fx.Node) -> dict[str, fx.Node]:
        results = {}
        for name, (target, operand, *rest) in calls.items():
            given = x if operand == "x" else graph.call_method("clone", (x,))
            results[name] = graph.call_function(wait, (graph.call_function(target, (given, *rest, "0")),))
        for name, (target, *rest) in coalesced.items():
            made = graph.call_function(target, ([x, x], *rest, "0"))
            second = graph.call_function(operator.getitem, (made, 1))
            results[name] = graph.call_function(wait, (second,))
        return results

    return build


def expected_of_every_operator(inputs: list[torch.Tensor], rank: int) -> dict[str, torch.Tensor]:
    """What ``every_operator`` gives on ``rank``, computed from the inputs of all ranks without collectives."""
    size = len(inputs)
    total, gathered = torch.stack(inputs).sum(0), torch.cat(inputs)
    exchanged = torch.cat([each.chunk(size)[rank] for each in inputs])
    return {
        "all_reduce": total,
        "all_reduce_": torch.stack(inputs).amax(0),
        "all_gather": gathered,
        "reduce_scatter": total.chunk(size)[rank],
        "all_to_all": exchanged,
        "broadcast": inputs[1],
        "broadcast_": inputs[1],
        "autograd_all_gather": gathered,
        "autograd_reduce_scatter": total.chunk(size)[rank],
        "autograd_all_to_all": exchanged,
        "all_reduce_coalesced": total,
        "all_gather_coalesced": gathered,
        "reduce_scatter_coalesced": total.chunk(size)[rank],
    }
