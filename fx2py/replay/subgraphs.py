"""Nested graphs as operands of higher-order operators."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.fx


class _Body(torch.nn.Module):
    def __init__(self, call: Callable[..., Any]) -> None:
        super().__init__()
        self.call = call

    def forward(self, args: tuple[Any, ...]) -> Any:
        return self.call(*args)


def as_subgraph(call: Callable[..., Any]) -> torch.fx.GraphModule:
    """``call`` as the GraphModule that higher-order operators demand.

    Its graph is always the same two nodes, so that the text that FX executes for it holds nothing of a file.
    """
    graph = torch.fx.Graph()
    operands = graph.placeholder("*args")
    graph.output(graph.call_module("body", (operands,)))
    return torch.fx.GraphModule({"body": _Body(call)}, graph)
