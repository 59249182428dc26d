"""Made inputs fit what a graph does with them: it runs on any seed, and its results are numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fx2py.graph.data import GraphData
from fx2py.read import open_graph
from fx2py.replay.domains import input_domains
from fx2py.replay.inputs import find_inputs
from fx2py.replay.interpreter import Reference

IDS = torch.zeros(6, dtype=torch.int64)
FLOATS = torch.full((6,), 0.5)
TABLE = torch.randn(5, 3)
LOGITS = torch.randn(6, 5)


class Function(nn.Module):
    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function
        self.words = nn.Embedding(5, 3)
        self.register_buffer("table", TABLE)

    def forward(self, *args: torch.Tensor) -> Any:
        return self.function(self, *args)


def exported(function: Callable[..., Any], *args: torch.Tensor) -> GraphData:
    program = torch.export.export(Function(function), args)
    return replace(open_graph(program), sample_inputs=None)


INDICES: dict[str, tuple[Callable[..., Any], tuple[torch.Tensor, ...]]] = {
    "one less": (lambda m, x: m.words(x - 1), (IDS + 1,)),
    "one less, by a method": (lambda m, x: m.words(x.sub(1)), (IDS + 1,)),
    "counted from the end": (lambda m, x: m.words(4 - x), (IDS,)),
    "every other": (lambda m, x: m.words(x // 2), (IDS,)),
    "doubled": (lambda m, x: m.words(x * 2), (IDS,)),
    "the sum of two": (lambda m, x, y: m.words(x + y), (IDS, IDS)),
    "joined": (lambda m, x, y: m.words(torch.cat([x, y - 2])), (IDS, IDS + 2)),
    "stacked": (lambda m, x, y: m.words(torch.stack([x, y])), (IDS, IDS)),
    "chosen": (lambda m, c, x, y: m.words(torch.where(c, x, y)), (IDS > 0, IDS, IDS)),
    "flipped": (lambda m, x: m.words(x.flip(0).roll(1)), (IDS,)),
    "split": (lambda m, x: m.words(x.split(2)[1]), (IDS,)),
    "clamped below": (lambda m, x: m.words(x.clamp(min=0)), (IDS,)),
    "clamped": (lambda m, x: m.words(x.clamp(0, 4)), (IDS,)),
    "cast from floats": (lambda m, x: m.words((x * 3).long()), (FLOATS,)),
    "one of some classes": (lambda m, x: F.one_hot(x, 5).float() @ m.table, (IDS,)),
    "one of some classes, shifted": (lambda m, x: F.one_hot(x + 2, num_classes=5), (IDS - 2,)),
    "subscripts": (lambda m, x, y: m.table[x, y], (IDS, IDS)),
    "targets": (lambda m, x, y: F.cross_entropy(x, y), (LOGITS, IDS)),
    "target of one row": (lambda m, x, y: F.cross_entropy(x[0], y[0]), (LOGITS, IDS)),
    "targets of nll_loss": (lambda m, x, y: F.nll_loss(x.log_softmax(1), y - 1), (LOGITS, IDS + 1)),
    "bags": (lambda m, x, o: F.embedding_bag(x, m.table, o), (IDS, torch.tensor([0, 2]))),
    "bags with the last offset": (
        lambda m, x, o: F.embedding_bag(x, m.table, o, include_last_offset=True),
        (IDS, torch.tensor([0, 2, 6])),
    ),
    "lookup in a branch": (
        lambda m, c, x: torch.cond(c.sum() > 0, lambda x: m.table[x - 1], lambda x: m.table[x - 1], (x,)),
        (FLOATS, IDS + 1),
    ),
    "divisor": (lambda m, x, y: x // y + x % y, (IDS, IDS + 1)),
}
NUMBERS: dict[str, tuple[Callable[..., Any], tuple[torch.Tensor, ...]]] = {
    "log": (lambda m, x: x.log(), (FLOATS,)),
    "log of a shifted number": (lambda m, x: torch.log(1 - x / 2), (FLOATS,)),
    "log of a mean": (lambda m, x: torch.log(x.mean()), (FLOATS,)),
    "log of a quotient": (lambda m, x, y: torch.log(x / y), (FLOATS, FLOATS)),
    "sqrt": (lambda m, x: x.sqrt() + torch.rsqrt(x), (FLOATS,)),
    "sqrt of a difference": (lambda m, x: (x - 3).sqrt(), (FLOATS + 4,)),
    "acos": (lambda m, x: torch.acos(x * 0.5), (FLOATS,)),
    "acos of a product": (lambda m, x, y: torch.acos(x * y), (FLOATS, FLOATS)),
    "in half precision": (lambda m, x: torch.atanh(x).float(), (FLOATS.half(),)),
    "acosh": (lambda m, x: torch.acosh(x), (FLOATS + 1,)),
    "quotient": (lambda m, x, y: x / y, (FLOATS, IDS + 1)),
    "broken power": (lambda m, x: x**0.5 + x**-1, (FLOATS,)),
    "probabilities": (lambda m, x, y: F.binary_cross_entropy(x, y), (FLOATS, FLOATS)),
}


@pytest.mark.parametrize("name", [*INDICES, *NUMBERS])
def test_made_inputs_fit_what_the_graph_does_with_them(name: str) -> None:
    function, args = {**INDICES, **NUMBERS}[name]
    graph = exported(function, *args)
    for seed in range(5):
        found = find_inputs(graph, seed=seed)
        result = Reference(graph)(*found.args, **found.kwargs)
        assert isinstance(result, torch.Tensor)
        assert result.isfinite().all()


def test_a_lookup_reaches_the_last_row_and_the_first() -> None:
    graph = exported(lambda m, x: m.words(x - 1), (torch.ones(200, dtype=torch.int64)))
    (made,) = find_inputs(graph).args
    assert (int(made.min()), int(made.max())) == (1, 5)


def test_a_power_of_whole_exponent_and_a_clamped_log_take_any_number() -> None:
    graph = exported(lambda m, x, y: x**2 + torch.log(y.clamp(min=0.1)), FLOATS, FLOATS)
    assert all(domain.low == -float("inf") for domain in input_domains(graph.root, {}).values())


def test_uses_that_exclude_each_other_leave_the_later_one() -> None:
    graph = exported(lambda m, x: torch.log(x - 3) + torch.acos(x), FLOATS)
    ((_, domain),) = input_domains(graph.root, {}).items()
    assert (domain.low, domain.high) == (-1, 1)


def test_keywords_of_traced_functions_stand_where_their_parameters_do() -> None:
    class Bag(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("table", TABLE)

        def forward(self, x: torch.Tensor, o: torch.Tensor) -> torch.Tensor:
            return F.embedding_bag(input=x, offsets=o, weight=self.table)

    graph = open_graph(torch.fx.symbolic_trace(Bag()))
    domains = input_domains(graph.root, {})
    assert domains["x"].high == 5
    assert domains["o"].ascending


@pytest.mark.parametrize("module", [nn.CrossEntropyLoss(), nn.NLLLoss(), nn.MultiMarginLoss()])
def test_targets_of_a_loss_that_is_called_as_a_module(module: nn.Module) -> None:
    class Loss(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.loss = module
            self.register_buffer("logits", LOGITS)

        def forward(self, target: torch.Tensor) -> torch.Tensor:
            return self.loss(self.logits, target)

    assert input_domains(open_graph(torch.fx.symbolic_trace(Loss())).root, {})["target"].high == 5
