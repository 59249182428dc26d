"""Exported programs, live and from their archive, give the graph that ``ep.module()`` runs."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch

from fx2py.graph.data import GraphData
from fx2py.read.exported_live import read_exported_program
from fx2py.read.live import read_graph_module
from fx2py.read.pt2 import read_pt2
from tests.read.exported_equality import _listing, assert_same_program
from tests.read.exported_models import PROGRAMS

PROGRAM = dict[str, tuple[torch.export.ExportedProgram, Path]]


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
    assert_same_program(read_pt2(path), read_exported_program(exported))


def test_the_archive_gives_what_torch_loads(program: tuple[torch.export.ExportedProgram, Path]) -> None:
    _, path = program
    loaded = read_exported_program(torch.export.load(path))
    assert_same_program(read_pt2(path), _without_unused_results(loaded), names=False)


def test_the_live_program_is_unlifted_as_its_module(
    program: tuple[torch.export.ExportedProgram, Path],
) -> None:
    exported, _ = program
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = read_graph_module(exported.module(check_guards=False))
    assert _listing(read_exported_program(exported).graph, True) == _listing(module.graph, True)


def _without_unused_results(data: GraphData) -> GraphData:
    """torch's reader adds a getitem for each result that nothing uses; the graph that was saved has none."""
    from dataclasses import replace

    from fx2py.graph.data import Graph, ModuleRecord
    from fx2py.graph.values import Name, Ref, walk

    def cleaned(record: ModuleRecord) -> ModuleRecord:
        children = {name: child and cleaned(child) for name, child in record.children.items()}
        if record.graph is None:
            return replace(record, children=children)
        used = {
            value.name
            for node in record.graph.nodes
            for part in (node.args, *(v for _, v in node.kwargs))
            for value in walk(part)
            if type(value) is Ref
        }
        kept = tuple(
            node
            for node in record.graph.nodes
            if node.target != Name("operator", "getitem") or node.name in used
        )
        return replace(record, children=children, graph=Graph(kept))

    return replace(data, root=cleaned(data.root))
