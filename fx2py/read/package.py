"""Graphs in archives of ``torch.package``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fx2py.read.archive import Archive
from fx2py.read.pickled.files import check_byte_order, faults_of, graphs_of, root_of
from fx2py.read.pickled.modules import Modules
from fx2py.read.pickled.records import Mapping, PickleFault
from fx2py.read.several import Graphs
from fx2py.read.storages import ArchiveStorages

_PICKLE, _STORAGE = ".pkl", ".storage"
_DATA = ".data/"


@contextmanager
def package_graphs(path: Path) -> Iterator[Graphs]:
    """The GraphModules that a package holds, by the names of their resources where there are several.

    Raises UnknownFormatError, naming the file and the member, when there is none or the package is damaged.
    """
    with Archive(path) as archive:
        with faults_of(path):
            check_byte_order(archive)
            roots = {name: root_of(archive, name) for name in archive.names if name.endswith(_PICKLE)}
        root = next(iter(roots.values())) if len(roots) == 1 else Mapping(list(roots.items()))
        yield graphs_of(path, "torch.package", root, lambda: _modules(archive))


def _modules(archive: Archive) -> Modules:
    return Modules(ArchiveStorages(archive, _DATA, _STORAGE), lambda name: _source(archive, name))


def _source(archive: Archive, name: str) -> str:
    """The text of a Python module in the package; it is only ever parsed."""
    member = f"{name.replace('.', '/')}.py"
    if member not in archive:
        raise PickleFault(f"the package lacks the text of {name}")
    try:
        return archive.read(member, archive.limit).decode("utf-8")
    except UnicodeDecodeError:
        raise archive.fault(member, "is no UTF-8 text") from None
