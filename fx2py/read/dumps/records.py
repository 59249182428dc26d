"""Logs as streams of text: what stands before each line of a log of torch, and the records of a structured trace.

Sources: ``TorchLogsFormatter`` and ``trace_structured`` of torch/_logging/_internal.py. Lines of several processes and
threads may be interleaved: all lines of one record begin with the same text, since its time is taken once.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from fx2py.errors import printable
from fx2py.read.dumps.text import HINTS, PrintedGraph, Stream
from fx2py.read.forward.values import ForwardFault
from fx2py.read.several import UniqueNames
from fx2py.typed_json import Damaged, parse, typed

_PREFIX = re.compile(
    rb"[\w\[\]:.,|+/ -]{0,120}?"  # what launchers and collectors of logs put before a line
    rb"((?:\[rank(\d{1,9})\]: ?)?[VIWEC]\d{4} \d\d:\d\d:\d\d\.\d{1,9} \d{1,12} [^\]\r\n]{1,400}:\d{1,9}\])"
    rb"( \[[!\d/_-]{1,60}\])?( \[__\w{1,80}\])?(?: |$)"
)
_TAGGED = re.compile(rb"(?:\[\w{1,40}\]:){0,4}")
"""What torchrun puts before each line of its processes; source: torch/distributed/elastic/multiprocessing/tail_log.py."""
_LONGEST = 256 * 2**20
_CONTEXT = frozenset(
    {
        *("rank", "compiled_autograd_id", "frame_id", "frame_compile_id", "attempt", "subgraph_name"),
        *("severity", "timestamp", "pathname", "thread", "process", "stack", "has_payload"),
    }
)
"""The fields of a record that are not its kind; most of them are reserved by torch."""


@dataclass(frozen=True, slots=True, eq=False)
class FoundGraph:
    """A printed graph, its name, what wrote it, and what is wrong with the record that it is in."""

    name: str
    title: str
    kind: str
    printed: PrintedGraph
    fault: str = ""


def is_log(head: bytes) -> bool:
    """Whether a file begins as a log of torch does, with or without graphs."""
    return _PREFIX.match(head.partition(b"\n")[0].rstrip()) is not None


def graphs_of_log(path: Path) -> list[FoundGraph]:
    """Every graph that a file prints, in order, each under a unique name.

    Raises ForwardFault for a line that is too long.
    """
    log = _Log()
    with path.open("rb") as file:
        for number, line in _lines(file):
            log.feed(number, line)
    log.end()
    found = sorted(log.found(), key=lambda graph: graph.printed.number)
    names = UniqueNames()
    return [replace(graph, name=names.fresh(graph.name)) for graph in _without_doubles(found)]


def _lines(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    number = 0
    while line := file.readline(_LONGEST):
        number += 1
        if len(line) == _LONGEST:
            raise ForwardFault(f"line {number} is too long")
        yield number, line


@dataclass(frozen=True, slots=True)
class _Source:
    """Who printed a graph, as far as a log says: rank and compile id in one text, and the kind of the record."""

    place: str = ""
    kind: str = "text"


class _Log:
    """Sorts the lines of a log into streams."""

    def __init__(self) -> None:
        self._streams: dict[bytes, tuple[_Source, Stream]] = {}
        self._record: _TraceRecord | None = None
        self._records: list[_TraceRecord] = []

    def feed(self, number: int, raw: bytes) -> None:
        if self._record is not None:
            if raw[:1] == b"\t":
                self._record.feed(number, raw[1:])
                return
            self.end()
        line = raw.rstrip(b"\n").removesuffix(b"\r")
        match = _PREFIX.match(line)
        if match is None:
            tag = _TAGGED.match(line)
            key = tag.group() if tag else b""
            self._line(number, key, line[len(key) :], _Source())
            return
        prefix, rank, compile_id, artifact = match.groups(b"")
        text = line[match.end() :]
        if not artifact and text.startswith(b'{"') and text.endswith(b"}"):
            self._record = _TraceRecord(number, text, ends_in_two=raw.endswith(b"\r\n"))
            return
        key = prefix + compile_id + artifact
        if key in self._streams or any(hint in text for hint in HINTS):
            self._line(number, key, text, _log_source(rank, compile_id, artifact))

    def _line(self, number: int, key: bytes, text: bytes, source: _Source) -> None:
        known = self._streams.get(key)
        if known is None:
            known = self._streams[key] = source, Stream()
        stream = known[1]
        if stream.is_open or any(hint in text for hint in HINTS):
            stream.feed(number, text.decode("utf-8", "surrogateescape"))

    def end(self) -> None:
        """End the record that is open; one without graphs is dropped."""
        if self._record is not None:
            self._record.stream.end()
            if self._record.stream.graphs:
                self._records.append(self._record)
        self._record = None

    def found(self) -> Iterator[FoundGraph]:
        """The graphs, whose names may still repeat."""
        for source, stream in self._streams.values():
            stream.end()
            for printed in stream.graphs:
                yield _found(source, printed.title, printed)
        for record in self._records:
            yield from record.found()


class _TraceRecord:
    """One record of a structured trace: a line of JSON, and the payload that follows it, a tab before each line."""

    def __init__(self, number: int, text: bytes, *, ends_in_two: bool) -> None:
        self.stream = Stream()
        self._number = number
        self._text = text
        self._end = b"\r\n" if ends_in_two else b"\n"
        self._digest = hashlib.md5(usedforsecurity=False)
        self._lines = 0

    def feed(self, number: int, raw: bytes) -> None:
        """Take a line of the payload."""
        line = raw.removesuffix(self._end)
        self._digest.update(b"\n" + line if self._lines else line)
        self._lines += 1
        if self.stream.is_open or any(hint in line for hint in HINTS):
            self.stream.feed(number, line.removesuffix(b"\r").decode("utf-8", "surrogateescape"))

    def found(self) -> Iterator[FoundGraph]:
        """The graphs of the payload, with a fault where its digest differs from the recorded one."""
        fault = ""
        try:
            record = typed(dict[str, object], parse(self._text))
        except Damaged as damage:
            record, fault = {}, f"line {self._number} {damage}"
        digest = record.get("has_payload")
        if not fault and type(digest) is str and digest != self._digest.hexdigest():
            fault = f"the text below line {self._number} is not the one that was written there (its digest is another)"
        source = _trace_source(record)
        for printed in self.stream.graphs:
            is_titled = printed.title != ("graph" if printed.root is None else printed.root.name)
            yield _found(source, printed.title if is_titled else source.kind, printed, fault)


def _found(source: _Source, title: str, printed: PrintedGraph, fault: str = "") -> FoundGraph:
    shown = printable(title)
    return FoundGraph(f"{source.place} {shown}".strip(), shown, source.kind, printed, fault)


def _log_source(rank: bytes, compile_id: bytes, artifact: bytes) -> _Source:
    parts = (f"rank{rank.decode()}" if rank else "", compile_id.decode().strip(" []"))
    return _Source(" ".join(filter(None, parts)), artifact.decode().strip(" []_") or "text")


def _trace_source(record: dict[str, object]) -> _Source:
    """Where a record comes from, written as torch's logs write it: ``0/0``, ``0/0_1`` from the second attempt on."""
    kind = next((key for key in record if key not in _CONTEXT), "record")
    fields = record.get(kind)
    name = fields.get("name") if type(fields) is dict else None
    if type(name) is str:
        kind = name if kind == "artifact" else f"{kind} {name}"
    rank, subgraph = record.get("rank"), record.get("subgraph_name")
    parts = (
        f"rank{rank}" if type(rank) is int else "",
        _compile_id(record),
        subgraph if type(subgraph) is str else "",
    )
    return _Source(printable(" ".join(filter(None, parts))), printable(kind))


def _compile_id(record: dict[str, object]) -> str:
    keys = ("compiled_autograd_id", "frame_id", "frame_compile_id", "attempt")
    backward, frame, again, attempt = (
        value if type(value := record.get(key)) is int else None for key in keys
    )
    parts = [f"!{backward}"] if backward is not None else []
    if frame is not None:
        parts.append(f"{frame}/{again or 0}")
    return "/".join(parts) + (f"_{attempt}" if attempt and parts else "")


def _without_doubles(found: Iterable[FoundGraph]) -> list[FoundGraph]:
    """The graphs without those in a form that cannot be read, where the same record prints them as code too."""
    every = list(found)
    read = {graph.name for graph in every if graph.printed.root is not None}
    return [graph for graph in every if not (graph.printed.is_other_form and graph.name in read)]
