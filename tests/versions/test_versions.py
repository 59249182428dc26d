"""Files of every release of torch in ``files/``, which ``write.py`` wrote there, give what their models gave."""

import json
from pathlib import Path

import pytest
import torch

import fx2py

FILES = Path(__file__).parent / "files"
RELEASES = sorted(folder.name for folder in FILES.iterdir())
SCALED = ("module.pt", "package.pt", "module.graphpickle", "folder", "scaled.pt2")


def _input():
    return torch.arange(6.0).reshape(2, 3)


def _expected(release, model):
    return json.loads((FILES / release / "expected.json").read_text())[model]


@pytest.mark.parametrize("name", SCALED)
@pytest.mark.parametrize("release", RELEASES)
def test_a_file_of_any_release_computes_what_its_model_did(release, name):
    path = FILES / release / name
    policy = fx2py.Policy(classes=frozenset({"torch.nn.modules.container.Sequential"}))
    first, second = fx2py.generate(path).bind(policy=policy)(_input())
    assert [first.tolist(), second.tolist()] == _expected(release, "scaled")
    assert fx2py.diff(path, args=(_input(),), policy=policy).equal


@pytest.mark.parametrize("release", RELEASES)
def test_branches_buffers_and_varying_sizes_of_any_release_are_read(release):
    artifact = fx2py.generate(FILES / release / "counted.pt2")
    result = artifact.bind()(_input())
    assert [result["halved"].tolist(), result["calls"].tolist()] == _expected(release, "counted")
    assert fx2py.diff(FILES / release / "counted.pt2", args=(_input()[:1],)).equal


@pytest.mark.parametrize("release", RELEASES)
def test_nodes_are_named_alike_by_every_release(release):
    data = fx2py.read.open_graph(FILES / release / "counted.pt2")
    names = [node.name for node in data.graph.nodes]
    assert "cond" in names
    assert len(names) == len(set(names))


def test_the_releases_that_are_promised_are_covered():
    minors = {release.rpartition(".")[0] for release in RELEASES}
    assert {"2.10", "2.11", "2.12", "2.13", "2.14", "2.15"} <= minors
