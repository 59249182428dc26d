"""Exported programs, live and from their archive, give the graph that ``ep.module()`` runs."""

from __future__ import annotations

import logging
import re
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch._export.serde.schema import Node as SavedNode

from fx2py.graph.data import Graph, GraphData, ModuleRecord
from fx2py.read.live.exported import read_exported_program
from fx2py.read.live.modules import read_graph_module
from tests.read.archives import read_pt2
from tests.read.exported_equality import assert_same_program, listing
from tests.read.exported_models import PROGRAMS

_SAVES_NODE_NAMES = "name" in SavedNode.__annotations__
"""Archives of torch 2.10 have the names of results alone."""


@pytest.fixture(scope="module", params=PROGRAMS)
def program(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[torch.export.ExportedProgram, Path]:
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exported = PROGRAMS[request.param]()
        path = tmp_path_factory.mktemp("pt2") / "program.pt2"
        torch.export.save(exported, path)
    return exported, path


def test_the_archive_gives_the_live_program(program: tuple[torch.export.ExportedProgram, Path]) -> None:
    exported, path = program
    assert_same_program(read_pt2(path), read_exported_program(exported), names=_SAVES_NODE_NAMES)


def test_the_archive_gives_what_torch_loads(program: tuple[torch.export.ExportedProgram, Path]) -> None:
    _, path = program
    logging.getLogger("torch._export.serde.serialize").disabled = True
    loaded = read_exported_program(torch.export.load(path))
    found = read_pt2(path)
    assert_same_program(_without_unused_results(found), _without_unused_results(loaded), names=False)


def test_the_live_program_is_unlifted_as_its_module(
    program: tuple[torch.export.ExportedProgram, Path],
) -> None:
    exported, _ = program
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = read_graph_module(exported.module(check_guards=False))
    assert listing(read_exported_program(exported).graph) == listing(module.graph)


def _without_unused_results(data: GraphData) -> GraphData:
    """torch's reader adds a getitem for each result that nothing uses; the graph that was saved has none."""
    return replace(data, root=_cleaned(data.root))


def _cleaned(record: ModuleRecord) -> ModuleRecord:
    children = {name: child and _cleaned(child) for name, child in record.children.items()}
    if record.graph is None:
        return replace(record, children=children)
    kept = [node for node in record.graph.nodes if not re.search(r"_unused_\d+$|^as_none", node.name)]
    return replace(record, children=children, graph=Graph(tuple(kept)))
