"""What was changed by hand in a generated folder since it was written: which files, and which lines of the code."""

from __future__ import annotations

import base64
import binascii
import difflib
import hashlib
import itertools
import os
import stat
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fx2py.artifact.manifest import MANIFEST, is_as_written, read_manifest
from fx2py.digests import sha256_of

_MADE_BY_PYTHON = "__pycache__"


def edited_files(folder: Path) -> tuple[str, ...]:
    """The files of a generated folder that are not as ``gen`` wrote them, or that it did not write, by their names.

    What importing the folder leaves in it does not count, and neither does a file that is missing. Raises ArtifactError
    for a manifest that cannot be read, and OSError.
    """
    manifest = read_manifest(folder / MANIFEST)
    written = dict(manifest.files)
    if manifest.compiled is not None:
        written.update({piece.file: piece.sha256 for piece in manifest.compiled.pieces})

    def is_written(name: str) -> bool:
        path = folder / name
        if not stat.S_ISREG(path.lstat().st_mode):
            return False
        if name == MANIFEST:
            return is_as_written(manifest, path.read_bytes())
        return name in written and written[name] == sha256_of(path)

    return tuple([name for name in sorted(_files(folder, "")) if not is_written(name)])


def _files(folder: Path, prefix: str) -> Iterator[str]:
    for entry in os.scandir(folder):
        if not entry.is_dir(follow_symlinks=False):
            yield prefix + entry.name
        elif entry.name != _MADE_BY_PYTHON:
            yield from _files(folder / entry.name, f"{prefix}{entry.name}/")


# -- lines ---------------------------------------------------------------------------------------------------------

_LONGEST = 2**26
_MOST_PAIRS = 4_000_000
"""So many pairs of lines are compared to find the smallest change; beyond, all lines between the first and the last."""


@dataclass(frozen=True, slots=True)
class ChangedLine:
    """A line that is gone (``-``, with its number in the generated text) or is there (``+``, with its number now)."""

    sign: str
    number: int
    text: str


@dataclass(frozen=True, slots=True)
class EditedText:
    """A generated text that was edited: how many lines, and which; None where the folder does not hold the original."""

    file: str
    lines: int | None
    changes: tuple[ChangedLine, ...] = ()

    def __str__(self) -> str:
        if self.lines is None:
            return f"{self.file}; the folder does not say which lines"
        return f"{self.lines:,} line{'' if self.lines == 1 else 's'} of {self.file}"


def packed(text: str) -> str:
    """A text as the manifest keeps it."""
    return base64.b64encode(zlib.compress(text.encode())).decode()


def edited_text(file: str, text: str, sha256: str | None, original: Mapping[str, str]) -> EditedText | None:
    """What is edited in the text of a file, whose generated text has the digest ``sha256``; None where it is that text."""
    if hashlib.sha256(text.encode()).hexdigest() == sha256:
        return None
    before = _unpacked(original.get(file, ""))
    if before is None or hashlib.sha256(before).hexdigest() != sha256:
        return EditedText(file, None)
    return _edited(file, before.decode().splitlines(keepends=True), text.splitlines(keepends=True))


def _unpacked(text: str) -> bytes | None:
    """The content of a packed text; None for one that is damaged, or packed to be huge."""
    try:
        unpacking = zlib.decompressobj()
        content = unpacking.decompress(base64.b64decode(text), _LONGEST)
    except (binascii.Error, ValueError, zlib.error):
        return None
    return content if unpacking.eof else None


def _edited(file: str, before: Sequence[str], after: Sequence[str]) -> EditedText:
    start = _common(before, after)
    end = _common(before[start:][::-1], after[start:][::-1])
    old, new = before[start : len(before) - end], after[start : len(after) - end]
    blocks: Sequence[tuple[str, int, int, int, int]] = [("replace", 0, len(old), 0, len(new))]
    if len(old) * len(new) <= _MOST_PAIRS:
        blocks = difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
    count = 0
    changes: list[ChangedLine] = []
    for kind, first, last, own_first, own_last in blocks:
        if kind != "equal":
            count += max(last - first, own_last - own_first)
            changes += _numbered("-", old, first, last, start) + _numbered(
                "+", new, own_first, own_last, start
            )
    return EditedText(file, count, tuple(changes))


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    """How many lines both begin with."""
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def _numbered(sign: str, lines: Sequence[str], first: int, last: int, offset: int) -> list[ChangedLine]:
    return [
        ChangedLine(sign, offset + index + 1, lines[index].rstrip("\r\n")) for index in range(first, last)
    ]
