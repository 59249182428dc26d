"""What a comparison calls both sides with, and what it concludes where they cannot be compared."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.export import Dim, export

import fx2py
from fx2py.artifact import Artifact
from fx2py.compare.cases import NoInputsError, cases_of
from fx2py.compare.diff import bind_pair
from fx2py.compare.precision import in_double, precision
from fx2py.compare.sides import Side, diff_callables
from fx2py.compare.tolerance import BIT_FOR_BIT, manner_of
from fx2py.errors import ReplayError
from fx2py.graph.data import GraphData
from fx2py.read import open_graph
from fx2py.replay.inputs import Inputs
from fx2py.replay.interpreter import Reference
from tests.replay.graphs import data, output, placeholder

X = torch.tensor([0.5, 1.5, 2.5])


class Function(nn.Module):
    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function
        self.register_buffer("count", torch.zeros(3))

    def forward(self, *args: torch.Tensor) -> Any:
        return self.function(self, *args)


def graph_of(function: Callable[..., Any], *args: torch.Tensor, sizes: Any = None) -> GraphData:
    shapes = None if sizes is None else (sizes,)
    return open_graph(export(Function(function), args or (X,), dynamic_shapes=shapes))


@pytest.fixture
def edited(tmp_path: Path) -> Callable[[GraphData, str, str], Artifact]:
    """The folder of a graph with one text in its code replaced."""

    def edit(graph: GraphData, old: str, new: str) -> Artifact:
        fx2py.generate(graph).write(tmp_path / "folder")
        code = tmp_path / "folder" / "execution_fn.py"
        assert old in code.read_text()
        code.write_text(code.read_text().replace(old, new))
        return fx2py.open_artifact(tmp_path / "folder")

    return edit


def names(graph: GraphData, given: tuple[Inputs, ...] = (), **options: Any) -> list[str]:
    return [case.inputs.name for case in cases_of(graph, given, **options)]


# -- which cases


def test_recorded_inputs_come_first_then_seeded_ones() -> None:
    graph = graph_of(lambda m, x: x + 1)
    expected = [
        "recorded inputs",
        "recorded inputs, shuffled",
        "made with seed 0",
        "made with seed 1, spread 30",
    ]
    assert names(graph) == expected
    assert names(graph, limit=1) == expected[:1]
    assert names(graph, limit=3) == expected[:3]
    assert len(names(graph, limit=9)) == 9


def test_all_given_inputs_are_used_and_take_the_place_of_recorded_ones() -> None:
    graph = graph_of(lambda m, x: x + 1)
    given = (Inputs((X,), name="a.pt"), Inputs((X,), name="b.pt"))
    assert names(graph, given)[:3] == ["a.pt", "b.pt", "a.pt, shuffled"]
    assert names(graph, given, limit=1) == ["a.pt", "b.pt"]


def test_the_same_seed_gives_the_same_cases_and_another_one_others() -> None:
    graph = graph_of(lambda m, x: x + 1)

    def numbers(seed: int) -> list[list[float]]:
        return [case.inputs.args[0].tolist() for case in cases_of(graph, seed=seed, limit=6)]

    assert numbers(3) == numbers(3)
    assert all(one != other for one, other in zip(numbers(3)[1:], numbers(7)[1:], strict=True))


def test_shuffled_inputs_hold_the_same_numbers_and_keep_offsets_in_order() -> None:
    graph = graph_of(lambda m, x, o, f: x + o.sum() + f, X, torch.tensor([0, 2, 5]), torch.tensor([3, 1, 2]))
    shuffled = next(itertools.islice(cases_of(graph, seed=1), 1, None)).inputs
    x, offsets, whole = shuffled.args
    assert sorted(x.tolist()) == X.tolist()
    assert offsets.tolist() == [0, 2, 5]
    assert sorted(whole.tolist()) == [1, 2, 3]


def test_sizes_that_vary_have_their_ends_tried() -> None:
    rows = Dim("rows", min=0, max=500)
    graph = graph_of(lambda m, x: x.cumsum(0), torch.ones(4, 2), sizes=({0: rows},))
    found = {case.inputs.name: case.inputs.args[0].shape for case in cases_of(graph)}
    assert found["args_0.shape[0] = 0"] == (0, 2)
    assert found["args_0.shape[0] = 1"] == (1, 2)
    assert found["args_0.shape[0] = 500"] == (500, 2)


def test_the_largest_sizes_stay_within_a_budget_of_memory() -> None:
    graph = graph_of(
        lambda m, x: (x[:, None] * x[None]).sum(), torch.ones(4), sizes=({0: Dim("n", max=10**9)},)
    )
    largest = max(case.inputs.args[0].numel() for case in cases_of(graph))
    assert 1000 < largest < 5000


def test_nothing_to_take_inputs_from_is_an_error() -> None:
    graph = data(placeholder("x"), output(1))
    assert names(graph, (Inputs((X,), name="a.pt"),), limit=4) == ["a.pt", *["a.pt, shuffled"] * 3]
    with pytest.raises(NoInputsError, match="nothing is recorded of the input 'x'"):
        names(graph)


class Plus(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + 1


def test_without_any_input_the_statements_decide(edited: Any, tmp_path: Path) -> None:
    graph = open_graph(torch.fx.symbolic_trace(Plus()))
    report = fx2py.diff(graph)
    assert (report.verdict, report.runs) == ("not compared", ())
    assert "nothing is recorded of the input" in report.reason
    assert fx2py.diff(graph, edited(graph, " + 1", " + 2")).verdict == "different"


def test_inputs_that_hold_code_are_refused() -> None:
    graph = graph_of(lambda m, x: x + 1)
    with pytest.raises(ReplayError, match="no data"):
        names(graph, (Inputs((torch.relu,)),))


# -- what is found


def test_a_difference_that_only_other_numbers_show_is_found(edited: Any) -> None:
    graph = graph_of(lambda m, x: x.clamp(-10, 10))
    wrong = edited(graph, "-10, 10", "-10, 11")
    assert {run.verdict for run in fx2py.diff(graph, wrong, cases=1).runs} == {"equivalent"}
    report = fx2py.diff(graph, wrong)
    assert report.verdict == "different"
    assert report.runs[-1].case == "made with seed 1, spread 30"


def test_a_difference_in_the_second_call_only_is_found(edited: Any) -> None:
    def count(m: Any, x: torch.Tensor) -> torch.Tensor:
        result = x + m.count.clone().clamp_(max=1)
        m.count.add_(2)
        return result

    graph = graph_of(count)
    report = fx2py.diff(graph, edited(graph, "(clone, None, 1)", "(clone, None, 2)"))
    assert report.verdict == "different"
    assert [run.call for run in report.runs] == [1, 2]


def test_each_case_is_called_twice_from_the_state_that_the_first_call_left() -> None:
    def count(m: Any, x: torch.Tensor) -> torch.Tensor:
        m.count.add_(1)
        return x + m.count

    graph = graph_of(count)
    report = fx2py.diff(graph)
    assert report.equal
    assert [run.call for run in report.runs] == [1, 2] * 4


def test_a_branch_that_no_case_took_is_listed() -> None:
    graph = graph_of(lambda m, x: torch.cond((x.abs() < 1e9).all(), lambda x: x + 1, lambda x: x - 1, (x,)))
    report = fx2py.diff(graph)
    assert report.equal
    (missed,) = report.not_run
    assert missed.function.startswith("false_graph")
    both = graph_of(lambda m, x: torch.cond(x.sum() > 0, lambda x: x + 1, lambda x: x - 1, (x,)))
    assert fx2py.diff(both, cases=8).not_run == ()


def test_a_graph_that_no_made_inputs_can_run_is_not_compared() -> None:
    graph = graph_of(lambda m, x, y: x.view(3, 1)[:, 0] + y, X, X)
    first, second = graph.graph.placeholders
    short = replace(second.meta.value, shape=(2,))  # type: ignore[arg-type]
    nodes = tuple(
        replace(node, meta=replace(node.meta, value=short)) if node is second else node
        for node in graph.graph.nodes
    )
    misled = replace(
        graph,
        root=replace(graph.root, graph=replace(graph.graph, nodes=nodes)),
        sample_inputs=None,
        contract=None,
    )
    report = fx2py.diff(misled)
    assert report.verdict == "not compared"
    assert {run.reason for run in report.runs} == {"both sides raise the same error"}
    assert first.name == "args_0"


def test_sizes_that_a_graph_refuses_are_no_difference() -> None:
    graph = graph_of(lambda m, x: x[1:] - x[:-1], torch.ones(4), sizes=({0: Dim.DYNAMIC},))
    report = fx2py.diff(graph)
    assert report.verdict == "equivalent"


# -- results that are not determined


def test_uninitialised_memory_is_no_difference_and_is_named() -> None:
    graph = graph_of(lambda m, x: (x + 1, torch.empty(4096)))
    report = fx2py.diff(graph)
    assert report.verdict == "equivalent"
    assert [leaf.is_deterministic for leaf in report.outputs] == [True, False]
    assert report.nondeterministic == ("empty (aten.empty.memory_format)",)


def test_memory_that_is_written_before_it_is_read_is_none() -> None:
    report = fx2py.diff(graph_of(lambda m, x: torch.empty(3).copy_(x)))
    assert report.equal
    assert report.nondeterministic == ()


@pytest.mark.parametrize("left", [0.0, float("nan")])
def test_nothing_but_uninitialised_memory_compares_nothing(left: float) -> None:
    freed = [torch.full((4096,), left) for _ in range(64)]
    del freed  # so that memory that is given again holds this
    graph = graph_of(lambda m, x: torch.empty(4096) + x.sum())
    report = fx2py.diff(graph)
    assert report.verdict == "not compared"
    assert report.runs[0].reason == "two runs of the graph itself differ"


_calls = itertools.count()


def drifting(x: torch.Tensor) -> torch.Tensor:
    """What no two calls give alike."""
    return x + next(_calls)


torch.fx.wrap("drifting")


class Drifting(nn.Module):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x * 2, drifting(x * 3) + 1


def test_an_operator_that_gives_two_runs_different_results_is_named() -> None:
    report = fx2py.diff(torch.fx.symbolic_trace(Drifting()), args=(X,), cases=2)
    assert report.verdict == "equivalent"
    assert [leaf.is_deterministic for leaf in report.outputs] == [True, False]
    (name,) = report.nondeterministic
    assert name.startswith("drifting (")


def test_a_real_difference_beside_uninitialised_memory_is_found(edited: Any) -> None:
    graph = graph_of(lambda m, x: (x + 1, torch.empty(4096)))
    assert fx2py.diff(graph, edited(graph, "args_0 + 1", "args_0 + 2")).verdict == "different"


# -- sides on two devices


def test_inputs_and_state_go_to_the_device_of_each_side_and_results_come_home() -> None:
    seen: list[str] = []

    def call(x: torch.Tensor) -> torch.Tensor:
        seen.append(x.device.type)
        return torch.ones(2)

    meta = torch.device("meta")
    sides = Side(call), Side(call, {"count": torch.zeros(3, device="meta")}, device=meta)
    report = diff_callables(*sides, (torch.zeros(2),), manner=BIT_FOR_BIT.across_devices())
    assert report.equal
    assert seen == ["cpu", "meta"]


def test_a_random_state_and_strides_of_another_device_do_not_count() -> None:
    one, other = Side(lambda x: x.t().contiguous()), Side(lambda x: (torch.rand(1), x.t())[1])
    x = torch.arange(6.0).view(2, 3)
    assert diff_callables(one, other, (x,)).verdict == "different"
    manner = manner_of(None).of_another_program().across_devices()
    assert diff_callables(one, other, (x,), manner=manner).equal


# -- double precision


def test_the_graph_in_double_precision_has_only_wide_numbers() -> None:
    def mixed(m: Any, x: torch.Tensor) -> torch.Tensor:
        return (x.half().float() + m.count).to(torch.bfloat16) * torch.ones(3, dtype=torch.float32)

    wide = Reference(in_double(graph_of(mixed)))
    result = wide(X.double() / 3)
    assert isinstance(result, torch.Tensor)
    assert torch.equal(result, X.double() / 3)


def test_the_side_with_the_smaller_error_is_closer() -> None:
    graph = graph_of(lambda m, x: (x / 3).to(torch.float64))
    pair = bind_pair(graph, fx2py.generate(graph))
    case = next(cases_of(graph))
    rough = replace(pair, candidate=Side(lambda x: (x.half() / 3).double()))
    (found,) = precision(rough, case)
    assert found.closer == "graph"
    assert 0 < found.graph < found.code
    assert precision(pair, case)[0].closer == "neither"
