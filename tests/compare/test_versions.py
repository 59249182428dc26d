"""Two exports of a model: what was added, dropped and changed, whatever modules and variables are called."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import nn

import fx2py
from fx2py import GenerateOptions
from fx2py.compare.versions import VersionDiff, compare_versions
from fx2py.errors import ArtifactError
from fx2py.graph.data import GraphData
from fx2py.read import open_graph
from tests.mutants.graphs import Block


class Model(nn.Module):
    """Blocks under a name that is asked for, and a head."""

    def __init__(
        self, layers: int, name: str = "layers", act: Callable[[torch.Tensor], torch.Tensor] = torch.relu
    ) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.head = nn.Linear(8, 3)
        self.add_module(name, nn.ModuleList([Block(8) for _ in range(layers)]))
        self.act, self.name = act, name

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in getattr(self, self.name):
            x = block(x)
        return self.act(self.head(x))


def exported(model: nn.Module, batch: int = 2) -> GraphData:
    return open_graph(torch.export.export(model.eval(), (torch.ones(batch, 4, 8),)))


@pytest.fixture(scope="module")
def old() -> GraphData:
    return exported(Model(2))


def kinds(diff: VersionDiff) -> list[str]:
    return [each.kind for each in diff.changes]


def test_equal_models_are_equal(old: GraphData) -> None:
    found = compare_versions(old, exported(Model(2)))
    assert found.same_statements
    assert (found.changes, found.modules, found.weights, found.signatures) == ((), (), (), None)


def test_modules_under_other_names_are_the_same_modules(old: GraphData) -> None:
    found = compare_versions(old, exported(Model(2, "blocks")))
    assert found.same_statements
    assert {each.kind for each in found.weights} == {"renamed"}
    assert found.weights[0].old.startswith("layers.0.norm.weight")
    assert found.weights[0].new.startswith("blocks.0.norm.weight")


def test_added_layer_is_what_was_added(old: GraphData) -> None:
    found = compare_versions(old, exported(Model(3)))
    assert set(kinds(found)) == {"added"}
    assert {each.path.rpartition("layers.2")[0] for each in found.modules} == {""}
    assert all(each.path.startswith("layers.2") and not each.kept for each in found.modules)
    assert {each.kind for each in found.weights} == {"added"}
    back = compare_versions(exported(Model(3)), old)
    assert set(kinds(back)) == {"dropped"}
    assert len(back.changes) == len(found.changes)


def test_changed_statement_is_told_with_both_texts(old: GraphData) -> None:
    (found,) = compare_versions(old, exported(Model(2, "blocks", torch.tanh))).changes
    assert (found.kind, found.module) == ("changed", "")
    assert (found.old, found.new) == ("relu = torch.relu(linear_8)", "tanh = torch.tanh(linear_8)")
    assert found.source_line.endswith("return self.act(self.head(x))")


def test_other_numbers_and_shapes_of_weights_are_told() -> None:
    model, other = Model(1), Model(1)
    with torch.no_grad():
        other.head.weight[0, 0] += 1
    other.head.bias = nn.Parameter(torch.zeros(3, dtype=torch.float64).float())
    found = compare_versions(exported(model), exported(other))
    assert found.same_statements
    assert [(each.kind, each.new.partition(" ")[0]) for each in found.weights] == [
        ("other numbers", "head.weight"),
        ("other numbers", "head.bias"),
    ]


def test_other_sizes_of_inputs_are_another_signature(old: GraphData) -> None:
    found = compare_versions(old, exported(Model(2), batch=3))
    assert found.signatures is not None
    assert "2, 4, 8" in found.signatures[0]
    assert "3, 4, 8" in found.signatures[1]


@pytest.mark.parametrize("options", [GenerateOptions(), GenerateOptions(flat=True)])
def test_code_of_folders_is_compared_in_either_form(old: GraphData, options: GenerateOptions) -> None:
    """The graphs of two folders may be gone."""
    new = fx2py.generate(exported(Model(2, act=torch.tanh)), options=options)
    found = compare_versions(fx2py.generate(old, options=GenerateOptions(flat=True)), new)
    (change,) = found.changes
    assert change.old == "relu = torch.relu(linear_8)"
    assert "torch.tanh(" in change.new
    assert compare_versions(old, fx2py.generate(old, options=options)).changes == ()


def test_code_that_cannot_be_read_is_an_error_that_names_it(old: GraphData, tmp_path) -> None:
    folder = fx2py.generate(old).write(tmp_path / "code")
    broken = replace(folder, source=folder.source + "while True: pass\n")
    with pytest.raises(ArtifactError, match=r"code.execution_fn\.py, line \d+"):
        compare_versions(old, broken)
