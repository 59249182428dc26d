"""The file formats in which torch, and fx2py itself, save a graph, one writer a format."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Collection
from pathlib import Path

import torch
from torch import fx
from torch.export import ExportedProgram
from torch.fx._graph_pickler import GraphPickler, Options
from torch.package import PackageExporter

import fx2py
from tests.corpus.captures import Graph


def write_torch(graph: Graph, folder: Path) -> Path:
    path = folder / "graph.pt"
    torch.save(graph, path)
    return path


def write_pickle(graph: Graph, folder: Path) -> Path:
    path = folder / "graph.pickle"
    path.write_bytes(pickle.dumps(graph))
    return path


KEPT_METADATA = frozenset({"val", "stack_trace"})


def write_graph_pickler(graph: Graph, folder: Path) -> Path:
    """As compile caches write it: any operator, and of the metadata only what can always be pickled."""
    path = folder / "graph.graphpickle"
    path.write_bytes(GraphPickler.dumps(graph, pickler_options(KEPT_METADATA)))
    return path


def pickler_options(metadata: Collection[str]) -> Options:
    """Any operator, and of each node's metadata these keys; torch 2.10 pickles every key."""
    if "node_metadata_key_filter" not in Options.__dataclass_fields__:
        return Options(ops_filter=None)
    return Options(ops_filter=None, node_metadata_key_filter=metadata.__contains__)


def write_to_folder(graph: Graph, folder: Path) -> Path:
    assert isinstance(graph, fx.GraphModule)
    path = folder / "graph_folder"
    graph.to_folder(path, "SavedGraph")
    return path


def write_package(graph: Graph, folder: Path) -> Path:
    path = folder / "graph_package.pt"
    with PackageExporter(path) as exporter:
        exporter.extern(["torch.**", "tests.**", "math", "_operator", "operator", "collections"])
        exporter.save_pickle("model", "model.pkl", graph)
    return path


def write_pt2(graph: Graph, folder: Path) -> Path:
    assert isinstance(graph, ExportedProgram)
    path = folder / "graph.pt2"
    torch.export.save(graph, path)
    return path


def write_graph_file(graph: Graph, folder: Path) -> Path:
    path = folder / "graph.fx2py"
    fx2py.save_graph(graph, path)
    return path


FORMATS: dict[str, Callable[[Graph, Path], Path]] = {
    "pt": write_torch,
    "pickle": write_pickle,
    "graph_pickler": write_graph_pickler,
    "to_folder": write_to_folder,
    "package": write_package,
    "pt2": write_pt2,
    "fx2py": write_graph_file,
}


def _protocol(number: int) -> Callable[[Graph, Path], object]:
    return lambda graph, path: path.write_bytes(pickle.dumps(graph, protocol=number))


INPUTS = (torch.ones(2), 3)
PICKLES: dict[str, Callable[[Graph, Path], object]] = {
    "stream": lambda graph, path: torch.save(graph, path, _use_new_zipfile_serialization=False),
    **{f"protocol_{number}": _protocol(number) for number in range(2, 6)},
    "dict": lambda graph, path: torch.save({"graph": graph, "args": INPUTS}, path),
    "list": lambda graph, path: torch.save([graph, *INPUTS], path),
    "tuple": lambda graph, path: torch.save((graph, INPUTS), path),
}
"""The other forms in which pickle and ``torch.save`` write a GraphModule, alone and beside inputs."""
