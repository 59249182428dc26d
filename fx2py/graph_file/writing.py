"""Writing a graph, whatever it was read from, to a graph file."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import torch

from fx2py.collector import collector_paused
from fx2py.errors import ArtifactError
from fx2py.files import ZIP_FAULTS, whole_file
from fx2py.graph.data import GraphData
from fx2py.graph.objects import object_of, value_of
from fx2py.graph_file.schema import encode_graph

GRAPH_MEMBER = "fx2py_graph.json"
_FOLDER = "archive"
"""The folder of all members when torch.save writes to an open file: ``PyTorchFileWriter`` is given no name to derive it from."""


@collector_paused()
def save_graph(data: GraphData, path: str | os.PathLike[str]) -> None:
    """Write a graph file, whole or not at all, in place of an older one.

    Example inputs other than scalars, containers and tensors are left out, with a note in the file. Raises UnsupportedGraphError, naming
    every node, when the graph holds something that no file can, and ArtifactError when ``path`` cannot be written or is a file of
    another kind.
    """
    target = Path(path)
    document, tensors = encode_graph(_with_plain_samples(data))
    if not _is_replaceable(target):
        raise ArtifactError(f"{target} exists and is no graph file that fx2py wrote.", "Choose another file.")
    try:
        with whole_file(target) as staging:
            _write(staging, json.dumps(document, separators=(",", ":"), allow_nan=False), tensors)
    except (OSError, RuntimeError, KeyError) as error:  # KeyError: a dtype that torch.save does not know
        raise ArtifactError(f"{target} cannot be written: {error}.", "Choose another file.") from None


def is_graph_file(members: Collection[str]) -> bool:
    """Whether an archive of these members, named without the folder that all share, is a graph file."""
    return GRAPH_MEMBER in members


def _write(path: Path, document: str, tensors: list[torch.Tensor]) -> None:
    with path.open("wb") as file:
        torch.save(tensors, file)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(zipfile.ZipInfo(f"{_FOLDER}/{GRAPH_MEMBER}"), document)


def _with_plain_samples(data: GraphData) -> GraphData:
    if data.sample_inputs is None:
        return data
    try:
        object_of(value_of((data.sample_inputs.args, dict(data.sample_inputs.kwargs))))
    except ValueError as fault:
        return replace(data, sample_inputs=None, notes=(*data.notes, f"{fault}; they were not saved"))
    return data


def _is_replaceable(target: Path) -> bool:
    """Whether overwriting it loses nothing but a graph file."""
    if not target.exists() or (target.is_file() and not target.stat().st_size):
        return True
    try:
        with zipfile.ZipFile(target) as archive:
            return is_graph_file([name.partition("/")[2] for name in archive.namelist()])
    except ZIP_FAULTS:
        return False
