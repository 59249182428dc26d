"""Both sides start from one state; of what no call writes to there is one copy, which is watched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import fx2py
from fx2py.compare.diff import bind_pair, diff_pair
from fx2py.compare.sides import Side, diff_callables
from fx2py.compare.state import Unwritten, shared
from fx2py.compare.statements import compare_statements
from fx2py.errors import ReplayError
from fx2py.graph.tensors import storage_of
from fx2py.read import open_graph
from tests.compare.test_work import Copying


class Counting(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 8)
        self.register_buffer("calls", torch.zeros(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls.add_(1)
        return self.linear(x) + self.calls[0]


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "graph.pt2"
    torch.export.save(torch.export.export(Counting().requires_grad_(False), (torch.ones(2, 8),)), path)
    fx2py.generate(path).write(tmp_path / "folder")
    return path


def opened(saved: Path) -> Any:
    return bind_pair(open_graph(saved), fx2py.open_artifact(saved.with_name("folder")))


def test_the_code_of_a_folder_uses_the_weights_of_the_graph(saved: Path) -> None:
    pair = opened(saved)
    for name, tensor in pair.candidate.state.items():
        assert storage_of(tensor) == storage_of(pair.reference.state[name])


def test_weights_that_nothing_writes_to_are_never_copied(saved: Path) -> None:
    pair = opened(saved)
    sizes = {name: each.untyped_storage().nbytes() for name, each in pair.reference.state.items()}
    with Copying(sizes["linear.weight"]) as weights, Copying(sizes["calls"]) as calls:
        assert diff_pair(pair).equal
    assert weights.count == 0
    assert calls.count > 0


def test_the_first_statement_that_differs_is_found_without_a_copy_of_the_weights(saved: Path) -> None:
    code = saved.with_name("folder") / "execution_fn.py"
    text = code.read_text("utf-8")
    assert "F.linear(x, " in text
    code.write_text(text.replace("F.linear(x, ", "F.linear(torch.sin(x), "))
    pair = opened(saved)
    with Copying(pair.reference.state["linear.weight"].untyped_storage().nbytes()) as weights:
        report = diff_pair(pair)
    assert report.divergence is not None
    assert "torch.sin" in pair.artifact.source.splitlines()[report.divergence.line - 1]
    assert weights.count == 0


def test_an_edit_that_writes_to_a_weight_is_a_difference_and_leaves_the_weight(saved: Path) -> None:
    code = saved.with_name("folder") / "execution_fn.py"
    text = code.read_text("utf-8")
    name = "weights.linear.weight"
    assert f"F.linear(x, {name}, " in text
    code.write_text(text.replace(f"F.linear(x, {name}, ", f"F.linear(x, torch.Tensor.add_({name}, 1), "))
    pair = opened(saved)
    before = {name: each.clone() for name, each in pair.reference.state.items()}
    report = diff_pair(pair)
    assert report.verdict == "different"
    assert "linear.weight" in [leaf.path for run in report.runs for leaf in run.mutations]
    assert all(torch.equal(each, pair.reference.state[name]) for name, each in before.items())


def test_sides_that_write_to_less_than_their_state_are_compared_as_before() -> None:
    kept, counted = torch.ones(1000), torch.zeros(2)

    def call(x: torch.Tensor) -> torch.Tensor:
        return x + counted.add_(1) + kept[0]

    side = Side(call, {"kept": kept, "counted": counted}, writes=frozenset({"counted"}))
    with Copying(kept.untyped_storage().nbytes()) as copying:
        report = diff_callables(side, side, (torch.ones(2),), calls=2)
    assert report.equal
    assert [leaf.path for run in report.runs for leaf in run.mutations] == ["counted", "counted"]
    assert copying.count == 0
    assert counted.tolist() == [0, 0]


@pytest.mark.parametrize("through", ["torch", "numpy"])
def test_a_write_to_what_nothing_should_write_to_is_told(through: str) -> None:
    weight = torch.zeros(5)
    watched = Unwritten({"weight": weight})
    watched.require_no_write()
    watched.require_no_change()
    if through == "torch":
        weight[3] = 1
        with pytest.raises(ReplayError, match="weight changed while both sides ran"):
            watched.require_no_write()
    else:
        weight.numpy()[3] = 1  # which torch does not count
        watched.require_no_write()
    with pytest.raises(ReplayError, match="weight changed while both sides ran"):
        watched.require_no_change()


def test_a_write_that_changes_nothing_is_none() -> None:
    weight = torch.zeros(5)
    watched = Unwritten({"weight": weight})
    weight.zero_()
    watched.require_no_write()
    watched.require_no_change()


def test_sides_whose_weights_share_memory_otherwise_keep_their_own() -> None:
    base = torch.zeros(4)
    tied = {"a": base, "b": base}
    apart = {"a": torch.zeros(4), "b": torch.zeros(4)}
    alike = {"a": torch.zeros(4), "b": torch.zeros(4)}
    assert shared(tied, apart) is tied
    assert shared(apart, tied) is apart
    assert shared(apart, alike) == alike


def test_only_tensors_that_are_alike_in_every_way_are_shared() -> None:
    graph = {"same": torch.zeros(2), "kind": torch.zeros(2), "bits": torch.zeros(2)}
    code = {"same": torch.zeros(2), "kind": nn.Parameter(torch.zeros(2)), "bits": torch.ones(2)}
    found = shared(code, graph)
    assert found["same"] is graph["same"]
    assert found["kind"] is code["kind"]
    assert found["bits"] is code["bits"]


@pytest.mark.parametrize("flat", [False, True])
def test_what_an_edit_may_write_to_is_read_from_the_code(saved: Path, flat: bool) -> None:
    folder = saved.with_name("folder")
    fx2py.generate(saved, options=fx2py.GenerateOptions(flat=flat)).write(folder)
    code = folder / "execution_fn.py"
    text = code.read_text("utf-8")
    assert "F.linear(x, " in text
    code.write_text(text.replace("F.linear(x, ", "F.linear(torch.sin(x), "))
    found = compare_statements(open_graph(saved), fx2py.open_artifact(folder))
    assert found.differing
    assert found.written == {"calls"}
