"""Files that pickle wrote: ``torch.save`` in both its layouts, other pickles, and archives of ``torch.package``."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache, partial
from itertools import islice
from pathlib import Path

from fx2py.digests import sha256_of
from fx2py.errors import UnknownFormatError, printable
from fx2py.graph.data import GraphData, Provenance, SampleInputs
from fx2py.mapped import map_file
from fx2py.read.archive import Archive
from fx2py.read.pickled.contents import SAVE, description, graphs_in, graphs_inside, sample_inputs
from fx2py.read.pickled.modules import PickledModules
from fx2py.read.pickled.storages import ArchiveStorages, StreamStorages, is_stream, read_stream
from fx2py.read.pickled.stream import Built, Data, Pairs, PickleFault, read_pickle
from fx2py.read.several import Entry, Graphs

_ROOT, BYTE_ORDER = "data.pkl", "byteorder"
_MAPPED_FROM = 1 << 18
_MARK = b"\x80"
"""The opcode PROTO, with which every pickle of protocol 2 or later begins."""
_MOST_PARTS = 10_000


@contextmanager
def checkpoint_graphs(path: Path) -> Iterator[Graphs]:
    """The GraphModules in a zip archive of ``torch.save``; UnknownFormatError, naming the file, if there are none."""
    with Archive(path) as archive:
        with faults_of(path):
            check_byte_order(archive)
            root = root_of(archive)
        modules = partial(PickledModules, ArchiveStorages(archive))
        yield _required(path, _entries("torch.save", root, modules, path, archive.sha256), root)


def root_of(archive: Archive, member: str = _ROOT) -> object:
    """The object that a member pickles; the member, which torch stores uncompressed, is not larger than the file."""
    root, _ = read_pickle(archive.read(member, archive.limit))
    return root


def check_byte_order(archive: Archive) -> None:
    """UnknownFormatError for an archive of a big-endian machine."""
    if BYTE_ORDER in archive and archive.read(BYTE_ORDER, 16).strip() != b"little":
        raise archive.fault(BYTE_ORDER, "says that the file was written on a big-endian machine")


@contextmanager
def pickled_graphs(path: Path) -> Iterator[Graphs]:
    """The GraphModules in a pickle or an older stream of ``torch.save``; UnknownFormatError if there are none."""
    data, sha256 = _contents(path), cache(partial(sha256_of, path))
    with faults_of(path):
        parts = list(islice(_parts(data), _MOST_PARTS + 1))
        if len(parts) > _MOST_PARTS:
            raise PickleFault(f"it holds more than {_MOST_PARTS:,} pickles, one behind the other")
    if len(parts) == 1:
        yield _required(path, _entries(*parts[0], path, sha256), parts[0][1])
        return
    found = [_entries(*part, path, sha256, f"{number}") for number, part in enumerate(parts)]
    yield _required(path, [graph for each in found for graph in each], parts[0][1])


def _parts(data: Data) -> Iterator[tuple[str, object, Callable[[], PickledModules]]]:
    """Each of the consecutive pickles of a file: what wrote it, its root object, and what makes its modules."""
    position = 0
    while not position or data[position : position + 1] == _MARK:
        if is_stream(data, position):
            root, storages, position = read_stream(data, position)
            yield "torch.save", root, partial(PickledModules, storages)
        else:
            root, position = read_pickle(data, position)
            yield "pickle", root, lambda: PickledModules(StreamStorages())


def _contents(path: Path) -> Data:
    """The bytes of a file; a large one is mapped, so that its tensors share the memory of the file."""
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size > _MAPPED_FROM:
            return map_file(path)
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


def _required(path: Path, graphs: Graphs, root: object) -> Graphs:
    """The graphs of a file whose first pickle is ``root``; UnknownFormatError if there are none."""
    if not graphs:
        held, next_step = description(root)
        raise UnknownFormatError(f"{path} holds {held}.", next_step)
    return graphs


def _entries(
    written_by: str,
    root: object,
    modules: Callable[[], PickledModules],
    path: Path,
    sha256: Callable[[], str | None],
    before: str = "",
) -> list[Entry]:
    """The graphs of one pickle, each with the inputs stored beside it; their names begin with ``before``, its place in the file.

    ``sha256`` is that of the file, and verifies what was taken of it.
    """
    with faults_of(path):
        direct = graphs_in(root)
        found = {**direct, **graphs_inside(root, direct)}

    def read(graph: Built, name: str) -> GraphData:
        with faults_of(path):
            data = _graph_data(Provenance(written_by, str(path), model=name or None), root, graph, modules())
            return replace(data, provenance=replace(data.provenance, sha256=sha256()))

    names = {name: ".".join(filter(None, (before, name))) for name in found}
    return [
        Entry(names[name], "GraphModule", partial(read, graph, names[name]), is_part=name not in direct)
        for name, graph in found.items()
    ]


def _graph_data(provenance: Provenance, root: object, graph: Built, modules: PickledModules) -> GraphData:
    record = modules.record(graph)
    samples = _samples(root, graph, modules)
    return GraphData(
        record,
        provenance,
        convention=record.convention,
        sample_inputs=samples,
        notes=tuple(printable(note) for note in modules.notes),
    )


def _samples(root: object, graph: Built, modules: PickledModules) -> SampleInputs | None:
    if root is graph:
        return None
    try:
        return sample_inputs(root, graph, modules.values)
    except ValueError as fault:
        modules.notes.append(f"no example inputs were read: {fault}")
        return None


# -- packages ----------------------------------------------------------------------------------------------------

_PICKLE, _STORAGE = ".pkl", ".storage"
_DATA = ".data/"
"""How ``PackageExporter`` (torch/package/package_exporter.py) names pickled resources and the storages of tensors."""


@contextmanager
def package_graphs(path: Path) -> Iterator[Graphs]:
    """The GraphModules that a package holds, by the names of their resources where there are several.

    Raises UnknownFormatError, naming the file and the member, when there is none or the package is damaged.
    """
    with Archive(path) as archive:
        with faults_of(path):
            check_byte_order(archive)
            roots = {name: root_of(archive, name) for name in archive.names if name.endswith(_PICKLE)}
        root = next(iter(roots.values())) if len(roots) == 1 else Pairs(list(roots.items()))
        yield _required(
            path, _entries("torch.package", root, partial(_modules, archive), path, archive.sha256), root
        )


def _modules(archive: Archive) -> PickledModules:
    return PickledModules(ArchiveStorages(archive, _DATA, _STORAGE), lambda name: _source(archive, name))


def _source(archive: Archive, name: str) -> str:
    """The text of a Python module in the package; it is only ever parsed."""
    member = f"{name.replace('.', '/')}.py"
    if member not in archive:
        raise PickleFault(f"the package lacks the text of {name}")
    try:
        return archive.read(member, archive.limit).decode("utf-8")
    except UnicodeDecodeError:
        raise archive.fault(member, "is not UTF-8 text") from None
