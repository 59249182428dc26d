"""A statement that says something else though no case shows it: other values that enter it decide."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import fx2py
from fx2py import GenerateOptions
from fx2py.artifact import Artifact
from fx2py.compare import EquivalenceReport
from fx2py.graph.data import GraphData
from fx2py.read import open_graph


class Masked(nn.Module):
    """Bounds and literals that random inputs do not come to, and operators that do nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        h = F.relu(self.linear(x).clamp(max=100000.0))
        scores = (h @ h.transpose(-2, -1)).masked_fill((ids == 1)[:, None, :], -1e9)
        h = F.dropout(torch.softmax(scores, -1) @ h, 0.25, training=False)
        return torch.where(x == 12345.0, h + 1, h).permute(0, 2, 1) * torch.arange(3).clamp(max=77)


@pytest.fixture(scope="module")
def data() -> GraphData:
    torch.manual_seed(0)
    inputs = (torch.randn(2, 3, 4), torch.randint(5, 9, (2, 3)))
    return open_graph(torch.export.export(Masked().eval(), inputs))


@pytest.fixture(scope="module", params=[False, True], ids=["structured", "flat"])
def artifact(data: GraphData, request: pytest.FixtureRequest) -> Artifact:
    return fx2py.generate(data, options=GenerateOptions(flat=request.param))


def diffed(data: GraphData, artifact: Artifact, old: str, new: str) -> EquivalenceReport:
    """The comparison of code in which the one text outside comments is replaced."""
    parts = [(*line.partition("#"),) for line in artifact.source.splitlines(keepends=True)]
    assert sum(part[0].count(old) for part in parts) == 1, artifact.source
    source = "".join([part[0].replace(old, new) + part[1] + part[2] for part in parts])
    return fx2py.diff(data, replace(artifact, source=source, program=None))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("100000.0", "100001.0"),
        ("12345.0", "12346.0"),
        ("ids == 1", "ids == 2"),
        ("-1000000000.0", "-10000.0"),
    ],
)
def test_a_literal_that_no_case_comes_to_makes_the_code_different(
    data: GraphData, artifact: Artifact, old: str, new: str
) -> None:
    report = diffed(data, artifact, old, new)
    assert report.verdict == "different"
    assert report.divergence is not None
    assert report.divergence.found == "static"
    assert new in report.divergence.actual
    if report.tried:
        assert report.divergence.entered


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("0.25, False", "0.5, False"),
        (".permute(0, 2, 1)", ".transpose(1, 2)"),
        ("77", "78"),
    ],
)
def test_what_makes_no_difference_is_equivalent_and_listed(
    data: GraphData, artifact: Artifact, old: str, new: str
) -> None:
    report = diffed(data, artifact, old, new)
    assert report.verdict == "equivalent"
    assert len(report.statements or ()) == 1
    assert not report.is_complete
