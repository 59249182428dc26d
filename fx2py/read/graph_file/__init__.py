"""Graph files: fx2py's own format for a graph as data, whatever it was read from.

A zip archive as ``torch.save`` writes it, of the list of the tensors, with the rest as JSON in a member beside them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch

from fx2py.errors import UnknownFormatError
from fx2py.graph.data import GraphData, Provenance
from fx2py.read.archive import Archive
from fx2py.read.documents import Damaged, exactly, field, parse
from fx2py.read.graph_file.schema import MARK, VERSION, decode_graph, encode_graph
from fx2py.read.origin import sha256_of
from fx2py.read.pickled.files import check_byte_order, faults_of, root_of
from fx2py.read.pickled.tensors import Tensors
from fx2py.read.several import Entry, Graphs
from fx2py.read.storages import ArchiveStorages

__all__ = ["FORMAT", "GRAPH_MEMBER", "encode_graph", "graph_file_graphs"]

GRAPH_MEMBER = "fx2py_graph.json"
FORMAT = "fx2py"


@contextmanager
def graph_file_graphs(path: Path) -> Iterator[Graphs]:
    """The one graph in a file that fx2py wrote, which has no name."""
    yield [Entry("", "graph", lambda: _read(path))]


def _read(path: Path) -> GraphData:
    """The graph in a file that fx2py wrote; UnknownFormatError, naming the file, when it is damaged or newer."""
    with Archive(path) as archive, faults_of(path):
        check_byte_order(archive)
        document = parse(archive.read(GRAPH_MEMBER, archive.limit))
        _check_version(path, field(document, MARK, int))
        data = decode_graph(document, _tensors(archive))
    saved = data.provenance
    own = Provenance(FORMAT, str(path), sha256_of(path), saved.torch_version, origin=saved.origin or saved)
    return replace(data, provenance=own)


def _check_version(path: Path, version: int) -> None:
    if version > VERSION:
        raise UnknownFormatError(
            f"{path} is of version {version} of fx2py's graph files, newer than {VERSION}.", "Update fx2py."
        )
    if version < 1:
        raise Damaged(f"is of an impossible version ({version})")


def _tensors(archive: Archive) -> list[torch.Tensor]:
    tensors = Tensors(ArchiveStorages(archive))
    return [tensors.tensor(each) for each in exactly(root_of(archive), list)]
