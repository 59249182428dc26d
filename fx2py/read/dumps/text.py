"""One stream of readable text, line by line: the graphs that ``print_readable`` printed in it.

Lines between graphs are dropped at once, so that a log may have any length.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from fx2py.read.forward.values import ForwardFault

_COLOR = re.compile(r"\x1b\[[\d;]*m")
_UNPRINTED = re.compile(r"[\x00-\x1f\ud800-\udfff]")
"""What FX never prints in code: ``repr`` escapes control characters; surrogates stand for bytes that are not UTF-8."""
_FORWARD, _CONSTRUCTOR, _INPUTS = "def forward(", "def __init__(", "def load_args("
_CLASS, _BASE = "class ", "(torch.nn.Module):"
_RULE, _PART = "=====", ("---", " graph---")
_TABLE, _LISTING = ["opcode", "name", "target", "args", "kwargs"], "graph():"
_ANNOUNCED = "TRACED GRAPH"
HINTS = tuple(
    text.encode() for text in (_BASE, _FORWARD, _INPUTS, _RULE, _ANNOUNCED, _PART[1], _TABLE[0], _LISTING)
)
"""A line outside graphs that contains none of these is skipped without being looked at further."""
_ANNOTATED = ': "'
"""FX annotates parameters with strings (``x: "f32[4]"``), which hardly any other code does."""
_OTHER_FORM = "prints a graph as {}, which does not say all of it"
_CUT = "announces a graph that does not follow: the text is cut"
_HEADLESS = "is the forward of a graph whose first line, the head of its class, is missing"
MARKS = (_BASE.encode(), _LISTING.encode())
"""The bytes of a dump contain at least one of these."""

Line = tuple[int, str]
"""The number of a line in its file, from one, and its text."""


@dataclass(frozen=True, slots=True)
class Code:
    """Lines of Python without their common indentation, and the number of each in the file."""

    lines: tuple[str, ...]
    numbers: tuple[int, ...]

    @property
    def text(self) -> str:
        """The code with comment lines emptied: Python's parser ignores them, but would refuse a null byte in one."""
        return "\n".join("" if line.lstrip().startswith("#") else line for line in self.lines)

    def check(self) -> None:
        """Raise ForwardFault for a line of code with a character that FX does not print."""
        for index, line in enumerate(self.lines, 1):
            if _UNPRINTED.search(line) and not line.lstrip().startswith("#"):
                raise ForwardFault("holds a control character, or bytes that are no UTF-8", index)


@dataclass(eq=False)
class PrintedClass:
    """One printed class: its name, the lines of its constructor and forward, and the classes printed inside it."""

    name: str
    indent: int
    number: int
    lines: list[Line] = field(default_factory=list)
    children: list[PrintedClass] = field(default_factory=list)

    @property
    def forward(self) -> Code:
        """The lines from the head of ``forward`` on; empty when the class has none."""
        return _method(self.lines, _FORWARD)

    @property
    def constructor(self) -> list[str]:
        """The lines of ``__init__`` after its head."""
        lines = _method(self.lines, _CONSTRUCTOR).lines
        ends = (index for index, line in enumerate(lines) if line.startswith(_FORWARD))
        return list(lines[1 : next(ends, len(lines))])


@dataclass(eq=False)
class PrintedGraph:
    """An outermost printed class, the title above it, and the ``load_args`` below it.

    Where there is no class, ``fault`` says why; ``is_other_form``: the graph is printed, but not as code.
    """

    title: str
    number: int
    root: PrintedClass | None = None
    inputs: list[Line] = field(default_factory=list)
    fault: str = ""
    is_other_form: bool = False

    def input_lines(self) -> Code:
        """The lines of ``load_args``, with which a minifier's script builds its inputs; empty when there is none."""
        return _method(self.inputs, _INPUTS)


class Stream:
    """The lines that one writer wrote: one record of a log, or everything outside its records."""

    def __init__(self) -> None:
        self.graphs: list[PrintedGraph] = []
        self._title = ""
        self._around: list[PrintedClass] = []
        self._inputs: list[Line] | None = None
        self._listing = self._announced = 0
        self._orphan: int | None = None

    @property
    def is_open(self) -> bool:
        """Whether the next line may belong to something that has begun."""
        waits = self._inputs is not None or self._orphan is not None or self._listing > 0
        return waits or bool(self._around)

    def feed(self, number: int, line: str) -> None:
        """Read the next line, given without its line end."""
        text = _COLOR.sub("", line) if "\x1b" in line else line
        code = text.lstrip(" ")
        if not code.strip():
            return
        indent = len(text) - len(code)
        if self._orphan is not None and indent >= self._orphan:
            return
        self._orphan = None
        while self._around and indent <= self._around[-1].indent:
            self._around.pop()
        if self._inputs is not None and not indent:
            self._inputs = None
        name = _class_name(code)
        if name is not None:
            self._begin(PrintedClass(name, indent, number))
        elif self._around:
            self._around[-1].lines.append((number, text))
        elif self._inputs is not None:
            self._inputs.append((number, text))
        else:
            self._between(number, indent, code.strip())

    def _begin(self, printed: PrintedClass) -> None:
        if self._around:
            self._around[-1].children.append(printed)
        else:
            self._add(PrintedGraph(self._title or printed.name, printed.number, printed))
        self._around.append(printed)

    def _between(self, number: int, indent: int, text: str) -> None:
        """Read a line outside classes: a title, the inputs of the graph above, or a graph that cannot be read."""
        listed, self._listing = self._listing, 0
        if text.startswith(f"{_RULE} ") and text.endswith(f" {_RULE}"):
            self._title = text[len(_RULE) : -len(_RULE)].strip()
        elif text.endswith(_ANNOUNCED):
            self._end_announced(is_other_form=True)
            self._announced = number
        elif text.startswith(_PART[0]) and text.endswith(_PART[1]):
            self._title = f"{text[len(_PART[0]) : -len(_PART[1])]} graph"
        elif text.startswith(_INPUTS) and self.graphs:
            self._inputs = self.graphs[-1].inputs = [(number, text)]
        elif text.startswith(_FORWARD) and (self._title or _ANNOTATED in text):
            self._orphan = indent
            self._unread(number, _HEADLESS, is_other_form=False)
        elif text.split() == _TABLE:
            self._unread(number, _OTHER_FORM.format("a table"), is_other_form=True)
        elif text == _LISTING:
            self._listing = number
        elif listed and text.startswith("%"):
            self._unread(listed, _OTHER_FORM.format("a list of nodes"), is_other_form=True)

    def _unread(self, number: int, fault: str, *, is_other_form: bool) -> None:
        title = self._title or "graph"
        self._add(PrintedGraph(title, number, fault=fault, is_other_form=is_other_form))

    def _add(self, graph: PrintedGraph) -> None:
        self.graphs.append(graph)
        self._title, self._announced = "", 0

    def end(self) -> None:
        """Note that the stream has ended; a log may break off where a graph was announced."""
        self._end_announced(is_other_form=False)

    def _end_announced(self, *, is_other_form: bool) -> None:
        if self._announced:
            self._unread(self._announced, _CUT, is_other_form=is_other_form)


def _class_name(code: str) -> str | None:
    """The name in ``class GraphModule(torch.nn.Module):``, which may follow a file name on its line in a log."""
    head = code.strip()
    if not head.endswith(_BASE) or head.startswith("#"):
        return None
    head = head[: -len(_BASE)]
    if head.startswith(_CLASS):
        return head[len(_CLASS) :]
    before, mark, name = head.rpartition(_CLASS)
    return name if mark and before[-1:].isspace() else None


def _method(lines: Iterable[Line], head: str) -> Code:
    """The lines from the one that begins with ``head`` on, less the indentation of that one."""
    found: list[Line] = []
    margin = ""
    for number, line in lines:
        code = line.lstrip(" ")
        if not found and code.startswith(head):
            margin = " " * (len(line) - len(code))
            found.append((number, code))
        elif found:
            found.append((number, line.removeprefix(margin)))
    return Code(tuple([text for _, text in found]), tuple([number for number, _ in found]))
