"""Which tensors a call may write to follows from the Program; whatever a call changes is among them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import fx, nn

from fx2py.artifact.artifact import program_of
from fx2py.compare.runs import record_run
from fx2py.errors import UnsupportedGraphError
from fx2py.graph.values import OpName
from fx2py.operators.facts import facts_of
from fx2py.program.analyses.written_tensors import written_tensors
from fx2py.program.options import GenerateOptions
from fx2py.read import open_graph
from fx2py.replay.interpreter import Reference
from fx2py.trust import Policy
from tests.corpus.selection import parameters, representative

ATEN = torch.ops.aten


def written(root: nn.Module, build: Callable[[fx.Graph, fx.Node], Any], **options: bool) -> set[str]:
    """The tensors of a module that the graph may write to that ``build`` makes of its input."""
    graph = fx.Graph()
    graph.output(build(graph, graph.placeholder("x")))
    data = open_graph(fx.GraphModule(root, graph))
    return set(written_tensors(program_of(data, GenerateOptions(**options))))


def holding(**buffers: torch.Tensor) -> nn.Module:
    root = nn.Module()
    for name, buffer in buffers.items():
        root.register_buffer(name, buffer)
    return root


def test_a_buffer_that_is_only_read_is_not_written() -> None:
    root = holding(read=torch.ones(2), counted=torch.zeros(2))

    def build(graph: fx.Graph, x: fx.Node) -> fx.Node:
        graph.call_function(ATEN.add_.Tensor, (graph.get_attr("counted"), 1))
        return graph.call_function(ATEN.mul.Tensor, (x, graph.get_attr("read")))

    assert written(root, build) == {"counted"}


def test_a_write_to_a_view_is_one_to_all_that_share_its_memory() -> None:
    base = torch.zeros(4)
    root = holding(whole=base, part=base[:2], other=torch.zeros(4))

    def build(graph: fx.Graph, x: fx.Node) -> Any:
        row = graph.call_function(ATEN.select.int, (graph.get_attr("part"), 0, 0))
        graph.call_function(ATEN.fill_.Scalar, (row, 1))
        return graph.get_attr("whole"), graph.get_attr("other")

    assert written(root, build) == {"whole", "part"}


def test_what_is_given_to_a_call_of_which_nothing_is_known_may_be_written() -> None:
    assert written(holding(w=torch.ones(2)), lambda g, x: g.call_function(sorted, (g.get_attr("w"),))) == {
        "w"
    }


@torch.library.custom_op("fx2py_written::count", mutates_args={"total"})
def count(x: torch.Tensor, weight: torch.Tensor, total: torch.Tensor) -> torch.Tensor:
    total += 1
    return x * weight


def test_a_librarys_operator_writes_to_what_its_schema_says() -> None:
    def build(graph: fx.Graph, x: fx.Node) -> fx.Node:
        operands = (x, graph.get_attr("weight"), graph.get_attr("total"))
        return graph.call_function(torch.ops.fx2py_written.count.default, operands)

    assert written(holding(weight=torch.ones(2), total=torch.zeros(2)), build) == {"total"}


def test_an_operator_that_was_not_measured_writes_to_what_its_schema_says() -> None:
    def build(graph: fx.Graph, x: fx.Node) -> fx.Node:
        return graph.call_function(ATEN._int_mm.default, (x, graph.get_attr("weight")))

    assert facts_of(OpName("aten", "_int_mm", "default")).memory is None
    assert written(holding(weight=torch.ones(2, 2, dtype=torch.int8)), build) == set()


@pytest.mark.parametrize(("training", "expected"), [(True, {"mean", "var"}), (False, set())])
def test_batch_norm_writes_in_training(training: bool, expected: set[str]) -> None:
    root = holding(mean=torch.zeros(3), var=torch.ones(3))

    def build(graph: fx.Graph, x: fx.Node) -> fx.Node:
        statistics = (graph.get_attr("mean"), graph.get_attr("var"))
        return graph.call_function(
            ATEN.batch_norm.default, (x, None, None, *statistics, training, 0.1, 1e-5, True)
        )

    assert written(root, build) == expected


class Branches(nn.Module):
    def __init__(self, writes: bool) -> None:
        super().__init__()
        self.register_buffer("scale", torch.ones(2))
        self.register_buffer("count", torch.zeros(2))
        self.writes = writes

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.writes:
            self.count.add_(1)
        return torch.cond(x.sum() > 0, lambda x: x * self.scale, lambda x: x - self.scale, (x,))


@pytest.mark.parametrize("writes", [True, False])
def test_what_branches_only_read_is_not_written(writes: bool) -> None:
    data = open_graph(torch.export.export(Branches(writes), (torch.ones(2),)))
    assert set(written_tensors(program_of(data))) == ({"count"} if writes else set())


class Own(nn.Module):
    """A module of unknown code."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.weight


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        (nn.Linear(2, 2), set()),
        (nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.LayerNorm(2)), set()),
        (nn.Embedding(2, 2), set()),
        (nn.Embedding(2, 2, max_norm=1.0), {"m.weight"}),
        (nn.BatchNorm1d(2, affine=False), {"m.running_mean", "m.running_var", "m.num_batches_tracked"}),
        (Own(), {"m.weight"}),
        (nn.utils.parametrizations.weight_norm(nn.Linear(2, 2, bias=False)), None),
    ],
    ids=lambda each: type(each).__name__ if isinstance(each, nn.Module) else "",
)
def test_called_modules_write_unless_they_are_torchs_own_that_only_read(
    module: nn.Module, expected: set[str] | None
) -> None:
    root = nn.Module()
    root.m = module
    found = written(root, lambda graph, x: graph.call_module("m", (x,)))
    every = {f"m.{name}" for name, _ in (*module.named_parameters(), *module.named_buffers())}
    assert found == (every if expected is None else expected)


def test_a_module_whose_attributes_are_read_may_be_written() -> None:
    root = nn.Module()
    root.m = nn.Linear(2, 2)

    def build(graph: fx.Graph, x: fx.Node) -> fx.Node:
        weight = graph.call_function(getattr, (graph.get_attr("m"), "weight"))
        graph.call_function(ATEN.mul_.Scalar, (weight, 2))
        return graph.call_module("m", (x,))

    assert written(root, build) == {"m.weight", "m.bias"}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", parameters(representative()))
def test_all_that_a_call_changes_is_among_what_it_may_write(case: Any) -> None:
    captured = case.capture()
    data = open_graph(captured.graph)
    try:
        program = program_of(data)
    except UnsupportedGraphError:
        pytest.skip("has no Program")
    reference = Reference(data, Policy(trust_all=True))
    state = reference.tensors
    run = record_run(reference, captured.args, captured.kwargs, state, 0)
    assert state.keys() & run.changed.keys() <= written_tensors(program)
