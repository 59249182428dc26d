"""Archives that ``torch.export.save`` writes (.pt2), read as data.

Source: torch/export/pt2_archive/_package.py and torch/_export/serde/schema.py (schema version 8). Nothing that the
archive names is imported; compiled libraries, pickled objects and extra files in it are not touched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any

from fx2py.errors import UnknownFormatError
from fx2py.files import sha256_of
from fx2py.graph.data import GraphData, Provenance, SampleInputs
from fx2py.read.archive import Archive
from fx2py.read.documents import optional
from fx2py.read.exported.unlifted import graph_data
from fx2py.read.pt2.program import read_program
from fx2py.read.pt2.tensors import read_constants, read_state, weights_only
from fx2py.read.several import Entry, Graphs
from fx2py.typed_json import parse, typed

MODELS, SUFFIX = "models/", ".json"
ARCHIVE_VERSION = b"0"
MAX_MARK = 64


@contextmanager
def archive_graphs(path: Path) -> Iterator[Graphs]:
    """The exported programs in an archive, each unlifted.

    Raises UnknownFormatError, naming file and member, for a damaged archive or one of another version.
    """
    with Archive(path) as archive:
        _check_version(archive)
        sha256 = cache(partial(sha256_of, path))
        yield [
            Entry(name, "ExportedProgram", partial(_read, archive, name, sha256)) for name in _names(archive)
        ]


def _read(archive: Archive, name: str, sha256: Callable[[], str]) -> GraphData:
    member = f"{MODELS}{name}{SUFFIX}"
    try:
        document = typed(dict[str, object], parse(archive.read(member, archive.limit)))
        program = read_program(document, read_state(archive, name), read_constants(archive, name))
        samples, notes = _samples(archive, name)
        torch_version = optional(document, "torch_version", str)
        provenance = Provenance("pt2", archive.path, sha256(), torch_version, name)
        return graph_data(program, provenance, samples, notes)
    except RecursionError:
        raise archive.fault(member, "is nested too deeply") from None
    except ValueError as fault:
        raise archive.fault(member, str(fault)) from None


def _check_version(archive: Archive) -> None:
    for member, expected in (("archive_format", b"pt2"), ("archive_version", ARCHIVE_VERSION)):
        found = archive.read(member, MAX_MARK)
        if found.strip() != expected:
            raise archive.fault(member, f"says {found[:20]!r}, and only {expected.decode()} is read")


def _names(archive: Archive) -> list[str]:
    names = sorted(
        name[len(MODELS) : -len(SUFFIX)]
        for name in archive.names
        if name.startswith(MODELS) and name.endswith(SUFFIX)
    )
    if not names:
        raise UnknownFormatError(
            f"{archive.path} is an archive without an exported program.",
            "Save one with torch.export.save or torch.export.pt2_archive.package_pt2.",
        )
    return names


def _samples(archive: Archive, model: str) -> tuple[SampleInputs | None, tuple[str, ...]]:
    """The example inputs where they are plain data, else a note that says why there are none."""
    member = f"data/sample_inputs/{model}.pt"
    if member not in archive or not archive.size(member):
        return None, ()
    try:
        found = weights_only(archive.read(member, archive.limit))
    except ValueError as error:
        return None, (f"{member} {error}; the sample inputs were not read",)
    if _is_call(found):
        return SampleInputs(*found), ()
    return None, ("the sample inputs in the archive are not arguments of a call and were not read",)


def _is_call(found: Any) -> bool:
    return type(found) is tuple and [type(part) for part in found] == [tuple, dict]
