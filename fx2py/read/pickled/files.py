"""Files that pickle wrote: ``torch.save`` in both its layouts, and plain pickles."""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any

from fx2py.errors import UnknownFormatError
from fx2py.graph.data import GraphData, Provenance, SampleInputs
from fx2py.read.archive import Archive
from fx2py.read.no_graph import SAVE, description
from fx2py.read.origin import printable, sha256_of
from fx2py.read.pickled.contents import graphs_in, sample_inputs
from fx2py.read.pickled.modules import Modules
from fx2py.read.pickled.records import Built
from fx2py.read.pickled.stream import Data, read_pickle
from fx2py.read.several import Entry, Graphs
from fx2py.read.storages import ArchiveStorages, StreamStorages, is_stream, read_stream

_ROOT, BYTE_ORDER = "data.pkl", "byteorder"
_MAPPED_FROM = 1 << 18


@contextmanager
def checkpoint_graphs(path: Path) -> Iterator[Graphs]:
    """The GraphModules in a zip archive of ``torch.save``; UnknownFormatError, naming the file, where none is."""
    with Archive(path) as archive:
        with faults_of(path):
            check_byte_order(archive)
            root = root_of(archive)
        yield graphs_of(path, "torch.save", root, lambda: Modules(ArchiveStorages(archive)))


def root_of(archive: Archive, member: str = _ROOT) -> Any:
    """The object that a member pickles; the member, which torch stores uncompressed, is not larger than the file."""
    root, _ = read_pickle(archive.read(member, archive.limit))
    return root


def check_byte_order(archive: Archive) -> None:
    """UnknownFormatError for an archive of a big-endian machine."""
    if BYTE_ORDER in archive and archive.read(BYTE_ORDER, 16).strip() != b"little":
        raise archive.fault(BYTE_ORDER, "says that the file was written on a big-endian machine")


@contextmanager
def pickled_graphs(path: Path) -> Iterator[Graphs]:
    """The GraphModules in a pickle or an older stream of ``torch.save``; UnknownFormatError where none is."""
    data = _contents(path)
    with faults_of(path):
        if is_stream(data):
            root, storages = read_stream(data)
            graphs = graphs_of(path, "torch.save", root, lambda: Modules(storages))
        else:
            root, _ = read_pickle(data)
            graphs = graphs_of(path, "pickle", root, lambda: Modules(StreamStorages()))
    yield graphs


def _contents(path: Path) -> Data:
    """The bytes of a file; a large one is mapped, so that its tensors share the memory of the file."""
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size > _MAPPED_FROM:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        return file.read(_MAPPED_FROM)


@contextmanager
def faults_of(path: Path) -> Iterator[None]:
    """Turns the faults of readers, which name the place, into one that names the file too."""
    try:
        yield
    except RecursionError:
        raise UnknownFormatError(f"{path} is nested too deeply for a graph.", SAVE) from None
    except MemoryError:
        raise UnknownFormatError(f"{path} needs more memory than there is.", SAVE) from None
    except ValueError as fault:
        raise UnknownFormatError(
            f"{path}: {printable(str(fault))}.", "The file is damaged, or not a saved graph."
        ) from None


def graphs_of(path: Path, written_by: str, root: Any, modules: Callable[[], Modules]) -> Graphs:
    """The graphs among what a pickle holds, each with the inputs beside it; UnknownFormatError where none is."""
    with faults_of(path):
        found = graphs_in(root)
    if not found:
        held, next_step = description(root)
        raise UnknownFormatError(f"{path} holds {held}.", next_step)
    sha256 = cache(partial(sha256_of, path))

    def read(name: str) -> GraphData:
        with faults_of(path):
            return _graph_data(
                Provenance(written_by, str(path), sha256(), model=name or None), root, found[name], modules()
            )

    return [Entry(name, "GraphModule", partial(read, name)) for name in found]


def _graph_data(provenance: Provenance, root: Any, graph: Built, modules: Modules) -> GraphData:
    record = modules.record(graph)
    samples = _samples(root, graph, modules)
    return GraphData(
        record,
        provenance,
        convention=record.convention,
        sample_inputs=samples,
        notes=tuple(printable(note) for note in modules.notes),
    )


def _samples(root: Any, graph: Built, modules: Modules) -> SampleInputs | None:
    if root is graph:
        return None
    try:
        return sample_inputs(root, graph, modules.values)
    except ValueError as fault:
        modules.notes.append(f"no example inputs were read: {fault}")
        return None
