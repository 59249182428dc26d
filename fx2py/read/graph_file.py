"""Reading graph files: the archive is opened here, and decoded in ``fx2py/graph_file``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch

from fx2py.graph.data import GraphData, Provenance
from fx2py.graph_file.schema import check_version, decode_graph
from fx2py.graph_file.writing import GRAPH_MEMBER
from fx2py.read.archive import Archive
from fx2py.read.pickled.files import check_byte_order, faults_of, root_of
from fx2py.read.pickled.storages import ArchiveStorages
from fx2py.read.pickled.tensors import Tensors
from fx2py.read.several import Entry, Graphs
from fx2py.typed_json import exact, parse

FORMAT = "fx2py"


@contextmanager
def graph_file_graphs(path: Path) -> Iterator[Graphs]:
    """The one graph in a file that fx2py wrote, which is nameless."""
    yield [Entry("", "graph", lambda: _read(path))]


def _read(path: Path) -> GraphData:
    """The graph in a file that fx2py wrote; UnknownFormatError, naming the file, when it is damaged or newer."""
    with Archive(path) as archive, faults_of(path):
        check_byte_order(archive)
        document = parse(archive.read(GRAPH_MEMBER, archive.limit))
        check_version(document, str(path))
        data = decode_graph(document, _tensors(archive))
        sha256 = archive.sha256()
    saved = data.provenance
    own = Provenance(FORMAT, str(path), sha256, saved.torch_version, origin=saved.origin or saved)
    return replace(data, provenance=own)


def _tensors(archive: Archive) -> list[torch.Tensor]:
    tensors = Tensors(ArchiveStorages(archive))
    return [tensors.tensor(each) for each in exact(root_of(archive), list)]
