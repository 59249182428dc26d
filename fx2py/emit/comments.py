"""The comments of structured code: what each function stands for, and which line of the model each statement comes from."""

from __future__ import annotations

import posixpath
import textwrap
from collections.abc import Iterator, Mapping, Sequence

import torch

from fx2py.emit import text
from fx2py.emit.layout import WIDTH
from fx2py.graph.data import Node, SourceLine
from fx2py.graph.listing import tensor_note, value_note
from fx2py.graph.values import walk
from fx2py.program import ir
from fx2py.program.structure.source_text import line_at
from fx2py.runtime.weight_tree import weight_tree

_ROOM = WIDTH - len("    # ")
_MOST_LINES = 2
"""The most lines that a heading has for the weights, or for what goes in and comes out."""


class Headings:
    """The comments above the functions of one structured Program."""

    def __init__(self, program: ir.Program) -> None:
        self.program = program
        self.tree = weight_tree([weight.path for weight in program.weights])
        self.entries: dict[str, list[ir.ModuleEntry]] = {}
        for entry in program.modules.walk() if program.modules is not None else ():
            self.entries.setdefault(entry.function, []).append(entry)

    def of(self, function: ir.Function) -> Iterator[str]:
        """Class, source, calls and parameters; inputs and outputs; weights; in what it differs from one of its class."""
        entries = self.entries.get(function.name)
        if not entries:
            return
        name = entries[0].cls.rpartition(".")[2]
        line = _first_line(function)
        where = f", {posixpath.basename(line.file)}:{line.line}" if line is not None else ""
        calls = sum(entry.calls for entry in entries)
        parameters = sum(entry.parameters for entry in entries)
        counts = [f"{calls} call{'s' if calls > 1 else ''}"] if function.is_module else []
        counts += [f"{parameters:,} parameters"] if parameters else []
        if name:
            yield " · ".join([f"{name}{where}", *counts])
        yield from _wrapped(self._flow(function, entries[0]))
        alike: dict[str, list[str]] = {}
        for name, note in self._weights(function).items():
            alike.setdefault(note, []).append(name)
        weights = ", ".join([f"{', '.join(names)}{_KEPT_TOGETHER}{note}" for note, names in alike.items()])
        yield from _wrapped(f"weights: {weights}" if weights else "")
        if function.module is not None:
            yield from _wrapped(function.module.differs)

    def constant(self, slot: ir.Slot) -> str:
        """The device that a slot of the constants holds; '' for anything else."""
        value = self.program.consts[slot.index].value if slot.table == "consts" else None
        return text.comment(str(value)) if isinstance(value, torch.device) else ""

    def _flow(self, function: ir.Function, entry: ir.ModuleEntry) -> str:
        """What goes in and what comes out, as far as it was recorded."""
        known = [
            (each.name, value_note(each.origin.meta.value)) for each in function.parameters if each.origin
        ]
        given = ", ".join([_together(f"{name} {note}") for name, note in known if note])
        made = ", ".join([_together(note) for note in map(value_note, entry.outputs) if note])
        return f"{given} -> {made}" if given and made else given

    def _weights(self, function: ir.Function) -> Mapping[str, str]:
        """The weights that a function reads itself, in the order of their first use, with dtype and shape."""
        found: dict[str, str] = {}
        for part in walk(*function.operands):
            if isinstance(part, ir.Field) and part.base == ir.WEIGHTS:
                base = self.tree.place(function.path) if function.is_module else ()
                tree = self.tree.at((*base, *part.path))
                if tree.index is not None:
                    name = str(part).removeprefix(f"{ir.WEIGHTS}.")
                    found[name] = tensor_note(self.program.weights[tree.index].tensor)
        return found


_KEPT_TOGETHER = "\N{NO-BREAK SPACE}"


def _together(part: str) -> str:
    """A part of a comment between whose words no line ends."""
    return part.replace(" ", _KEPT_TOGETHER)


def _wrapped(line: str) -> Sequence[str]:
    """A comment in lines that fit; too many are cut between its parts."""
    lines = textwrap.wrap(
        line,
        _ROOM,
        break_long_words=False,
        break_on_hyphens=False,
        max_lines=_MOST_LINES,
        placeholder=" ...",
    )
    return [each.replace(_KEPT_TOGETHER, " ") for each in lines]


def _first_line(function: ir.Function) -> SourceLine | None:
    """The first line in the module's own code that a function comes from."""
    depth = function.module.depth if function.module is not None else 0
    lines = (line_at(node, depth) for node in _origins(function))
    return next((line for line in lines if line is not None), None)


def _origins(function: ir.Function) -> Iterator[Node]:
    for statement in ir.straight(function.body):
        if isinstance(statement, ir.Assign | ir.Bind | ir.Unpack) and statement.origin is not None:
            yield statement.origin


class LineNotes:
    """The lines of the model above the statements of a function, each once."""

    def __init__(self, function: ir.Function) -> None:
        first = _first_line(function)
        self.file = first.file if first is not None else ""
        self.shown: set[tuple[str, int]] = set()
        self.current: SourceLine | None = None

    def of(self, node: Node) -> str:
        """The line that a node comes from; '' below a line that called it, and where it was shown before."""
        line = node.meta.source
        outer = line
        while outer is not None:
            if outer == self.current:
                return ""
            outer = outer.caller
        if line is None or (line.file, line.line) in self.shown:
            return ""
        self.current = line
        self.shown.add((line.file, line.line))
        where = str(line.line) if line.file == self.file else f"{posixpath.basename(line.file)}:{line.line}"
        return f"{where}  {whole_words(line.code, _ROOM - len(where) - 2)}".rstrip()


def whole_words(code: str, room: int) -> str:
    """A line of code where it fits, else as much of it as ends behind a word; one that goes on says so."""
    code = text.one_line(code).strip()
    goes_on = code.endswith(("(", "[", "{"))
    if len(code) + 3 * goes_on <= room:
        return f"{code}..." if goes_on else code
    ends = [place for place, sign in enumerate(code[: room - 4], 1) if sign in " ,([{"]
    return f"{code[: ends[-1] if ends else room - 4].rstrip()} ..."
