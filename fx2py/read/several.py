"""The graphs of one file: which of them is meant, and what to say where that is not clear."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from fx2py.errors import Argument, Choose, Fx2pyError, Hint, UnknownFormatError, printable
from fx2py.graph.data import GraphData

_SHOWN, _WIDTH = 60, 100


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """One graph of a file: its unique name, what it was saved as, and how to read it.

    ``title`` is a shorter name, which several graphs may share; the only graph of a file may be nameless.
    ``is_part`` says that the graph was saved inside something else, a module of another class for example.
    ``read`` raises UnknownFormatError or UnsupportedGraphError, naming the file.
    """

    name: str
    kind: str
    read: Callable[[], GraphData]
    title: str = ""
    is_part: bool = False


Graphs: TypeAlias = Sequence[Entry]
Opened: TypeAlias = AbstractContextManager[Graphs]
"""The graphs of a file, which can be read while it is open; there is at least one."""


def chosen(path: Path, graphs: Graphs, model: str | None) -> Entry:
    """The graph that ``model`` names, or the only one unless it is a part; else UnknownFormatError, which lists them."""
    if model is None:
        if len(graphs) > 1 or graphs[0].is_part:
            raise _open_choice(path, graphs)
        return graphs[0]
    found = [entry for entry in graphs if entry.name and entry.name == model]
    found = found or [entry for entry in graphs if model and model in (entry.title, printable(entry.name))]
    if len(found) != 1:
        raise _no_such(path, graphs, model, len(found))
    return found[0]


def _open_choice(path: Path, graphs: Graphs) -> UnknownFormatError:
    rows = [_row(entry) for entry in graphs[:_SHOWN]]
    width = max(len(name) for name, _ in rows)
    lines = "".join(f"\n  {name:{width}}  {what}" for name, what in rows)
    rest = f"\n  ... and {len(graphs) - _SHOWN} more" if len(graphs) > _SHOWN else ""
    what = "several graphs" if len(graphs) > 1 else "a graph inside another object only"
    return UnknownFormatError(
        f"{path} holds {what}:{lines}{rest}",
        Hint(
            "Choose one, for example with ",
            Choose(rows[0][0]),
            ", or take them all with ",
            Argument.EVERY_GRAPH,
            ".",
        ),
    )


def _row(entry: Entry) -> tuple[str, str]:
    """The name of a graph, and its kind and size or why it cannot be read."""
    try:
        count = len(entry.read().graph.nodes)
    except Fx2pyError as fault:
        return shown(entry.name), f"{entry.kind}, cannot be read: {fault.message.partition(chr(10))[0]}"
    return shown(entry.name), f"{entry.kind}, {count} node{'s' * (count != 1)}"


def _no_such(path: Path, graphs: Graphs, model: str, matches: int) -> UnknownFormatError:
    names = ", ".join(shown(entry.name) for entry in graphs[:_SHOWN])
    held = f"{names}, and {len(graphs) - _SHOWN} more" if len(graphs) > _SHOWN else names
    what = "no graph" if not matches else f"{matches} graphs"
    return UnknownFormatError(
        f"{path} holds {what} {printable(model)!r}.", f"It holds: {held or 'one without a name'}."
    )


def shown(name: str, width: int = _WIDTH) -> str:
    """A name from a file as part of a line, cut where it is longer than so many characters."""
    text = printable(name)
    return text if len(text) <= width else f"{text[:width]}..."


def every(graphs: Graphs) -> Iterator[tuple[str, GraphData | Fx2pyError]]:
    """Each graph by its name, one after the other, or why it cannot be read."""
    for entry in graphs:
        try:
            data = entry.read()
        except Fx2pyError as fault:
            yield entry.name, fault
        else:
            yield entry.name, data


class UniqueNames:
    """Names for the graphs of a file, numbered from the second on where they repeat."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = set(taken)
        self._numbers: dict[str, int] = {}

    def fresh(self, name: str) -> str:
        number, made = self._numbers.get(name, 1), name
        while made in self._taken:
            number += 1
            made = f"{name} ({number})"
        self._numbers[name] = number
        self._taken.add(made)
        return made
