"""The code of a folder compared with its graph statically: which statements differ.

The code is parsed back and compared, function by function, with the Program that the graph is translated to with the
options of the folder. What it means counts: names, the order of independent statements, deletions and the way in which
a call is written do not. Nothing runs, so branches that no input takes are compared as all else is.
"""

from __future__ import annotations

import re
import tokenize
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from posixpath import basename
from typing import Any

from fx2py.artifact.artifact import Artifact, is_edited, program_of
from fx2py.collector import collector_paused
from fx2py.compare.calls import with_overloads
from fx2py.compare.differences import Difference, Place, differences
from fx2py.compare.meaning import Body, Tables, body_of
from fx2py.compare.repair import read_repaired
from fx2py.compare.report import Divergence, Kind
from fx2py.compare.tables import table_divergences
from fx2py.emit.audit import flattened
from fx2py.emit.expressions import TextScope, value_text
from fx2py.emit.module import SOURCE, TABLES, statement_text
from fx2py.emit.nesting import without_looks
from fx2py.emit.older_schemas import parse_any
from fx2py.emit.parse import GrammarError, Parsed
from fx2py.graph.data import GraphData, Node
from fx2py.program.analyses.written_tensors import written_tensors
from fx2py.program.exact_text import text_key
from fx2py.program.ir import Delete, Function, Lines, Loop, Program, Statement, bound_tensors
from fx2py.program.options import GenerateOptions
from fx2py.program.structure.outline import structured


@dataclass(frozen=True, slots=True)
class Statements:
    """What differs, in the order of the files; None where nothing of the code can be read.

    ``unreadable`` says what cannot be read: a statement of another form counts as one that differs.
    ``written`` are the names of all tensors that graph or code may write to; None where that is not known.
    """

    differing: tuple[Divergence, ...] | None
    unreadable: str = ""
    written: frozenset[str] | None = None


@collector_paused()
def compare_statements(data: GraphData, artifact: Artifact) -> Statements:
    """Every statement of the code that differs from the graph, without running either.

    Raises UnsupportedGraphError for a graph that has no Program.
    """
    unreadable = ""
    try:
        parsed = parse_any(artifact.texts)
    except GrammarError as error:
        unreadable = f"{error.file or SOURCE}, line {error.line}: {error}"
        try:
            parsed = read_repaired(artifact.texts, error)
        except GrammarError:
            return Statements(None, unreadable)
    if is_edited(artifact):  # what fx2py wrote looks at nothing
        parsed = replace(parsed, functions=without_looks(parsed.functions))
    program = program_of(data, options_of(artifact))
    differing = tuple(_differing(program, parsed, artifact))
    written = None if unreadable else _written(program, parsed if differing else None, artifact)
    return Statements(differing, unreadable, written)


def _written(program: Program, parsed: Parsed | None, artifact: Artifact) -> frozenset[str] | None:
    """What the graph and the code may write to; ``parsed`` is what the code says where it says something else."""
    own = written_tensors(program)
    if parsed is None:
        return own
    if any(edit.file == TABLES for edit in artifact.edits):
        return None
    try:
        return own | written_tensors(with_overloads(flattened(parsed).program(artifact.tensors)))
    except (ValueError, RecursionError, IndexError):  # the last for an entry that its table does not have
        return None


def options_of(artifact: Artifact) -> GenerateOptions:
    """The options that an artifact was generated with; other releases had others, and wrote flat code unless asked."""
    known = {each.name for each in fields(GenerateOptions)}
    recorded: dict[str, Any] = {k: v for k, v in artifact.manifest.options.items() if k in known}
    recorded.setdefault("flat", not artifact.manifest.options.get("structured", False))
    return GenerateOptions(**recorded)


def _differing(program: Program, parsed: Parsed, artifact: Artifact) -> Iterator[Divergence]:
    is_structured = parsed.tables.weight_paths is not None
    if is_structured and _says_the_same_inlined(program, parsed, artifact):
        form, found = program, []
    else:
        form = structured(program) if is_structured else program
        found = list(_Comparison(form, parsed, artifact).functions(parsed.functions))
    yield from merged(found)
    yield from table_divergences(form, parsed, artifact.tables)


def _says_the_same_inlined(program: Program, parsed: Parsed, artifact: Artifact) -> bool:
    """Whether structured code of another structure, inlined, equals the flat Program statement by statement."""
    try:
        flat = flattened(parsed)
    except (ValueError, RecursionError):
        return False
    return not any(_Comparison(program, flat, artifact).functions(flat.functions))


def _signature(function: Function) -> str:
    stars = {"var_positional": "*", "var_keyword": "**"}
    names = [f"{stars.get(each.kind, '')}{each.public_name}" for each in function.parameters]
    return f"def {function.name}({', '.join(names)})"


class _Comparison:
    """The functions of a Program, and those of a text."""

    def __init__(self, program: Program, parsed: Parsed, artifact: Artifact) -> None:
        self.program, self.parsed = program, parsed
        self.lines = artifact.source.splitlines()
        self.scope = TextScope.of(program)
        self.weights = list(artifact.tensors)[: parsed.tables.weight_count]
        self.texts: dict[int, str] = {}

    def functions(self, functions: Sequence[Function]) -> Iterator[Divergence]:
        """The differences of corresponding functions, paired by name or order, and of the unpaired ones."""
        names = _paired_names(self.program.functions, functions)
        ours = {each.name: each for each in self.program.functions}
        own, other = self._tables(names)
        for function in functions:
            name = names.get(function.name)
            if name is None:
                lines = function.lines or (0, 0)
                yield Divergence(
                    "static", "surplus", *lines, "", f"def {function.name}", function=function.name
                )
                continue
            place = _Place(self, ours.pop(name), function)
            yield from place.parameters(self.parsed.tables.renamed)
            yield from place.bodies(body_of(place.ours, own), body_of(function, other))
        for name, function in ours.items():
            yield Divergence(
                "static", "missing", 0, 0, f"def {name}", "", module_path=function.path, function=name
            )

    def _tables(self, names: Mapping[str, str]) -> tuple[Tables, Tables]:
        program, tables = self.program, self.parsed.tables
        own = list(bound_tensors(program))[: len(program.weights)]
        consts = [str(index) for index in range(len(program.consts))]
        others = [str(index) for index in range(len(tables.consts))]
        return (
            Tables(own, [each.path for each in program.submods], consts, {}),
            Tables(self.weights, [path for path, _ in tables.modules], others, names),
        )

    def text(self, statement: Statement) -> str:
        """A statement of the Program as fx2py writes it; a loop by its head, a call inside an expression by all of this."""
        if not self.texts:
            for function in self.program.functions:
                self.scope.inside.clear()
                self._write(function.body)
        return self.texts.get(id(statement), "")

    def _write(self, body: Iterable[Statement]) -> None:
        waiting: list[Statement] = []
        for statement in body:
            if isinstance(statement, Loop):
                self.texts[id(statement)] = statement_text(replace(statement, body=()), self.scope)[
                    0
                ].rstrip()
                self._write(statement.body)
                continue
            lines = statement_text(statement, self.scope)
            waiting.append(statement)
            if lines and not isinstance(statement, Delete):
                self.texts |= {id(each): lines[0] for each in waiting}
                waiting.clear()

    def read(self, lines: Lines) -> str:
        """What stands on lines of the file, as one line without comments."""
        part = [f"{line.strip()}\n" for line in self.lines[lines[0] - 1 : lines[1]]]
        try:
            tokens = list(tokenize.generate_tokens(iter([*part, ""]).__next__))
        except (tokenize.TokenError, IndentationError):  # the head of a loop has no body here
            return " ".join(line.strip() for line in part)
        comments = {each.start[0]: each.start[1] for each in tokens if each.type == tokenize.COMMENT}
        parts = [line[: comments.get(number, len(line))].strip() for number, line in enumerate(part, 1)]
        return _BREAKS.sub(r"\1\2", " ".join(filter(None, parts)))


_BREAKS = re.compile(r"([(\[{]) |,? ([)\]}])")
"""What black adds where it breaks a line inside brackets."""


def _paired_names(ours: Sequence[Function], theirs: Sequence[Function]) -> dict[str, str]:
    """For each of their functions, the name of the corresponding one of ours: by name, else by order."""
    own, other = [each.name for each in ours], [each.name for each in theirs]
    alone = [name for name in own if name not in other]
    same = {name: name for name in other if name in own}
    return same | dict(zip([name for name in other if name not in own], alone, strict=False))


@dataclass(frozen=True, slots=True)
class _Place:
    """A function of ours and the corresponding one of theirs."""

    comparison: _Comparison
    ours: Function
    theirs: Function

    def divergence(
        self, kind: Kind, lines: Lines, expected: str, actual: str, node: Node | None = None
    ) -> Divergence:
        meta = None if node is None else node.meta
        return Divergence(
            "static",
            kind,
            *lines,
            expected,
            actual,
            node="" if node is None else node.name,
            module_path="" if meta is None else meta.module,
            source_line="" if node is None else source_line(node),
            function=self.theirs.name,
            serves=_served(self.ours),
        )

    def parameters(self, renamed: Iterable[tuple[str, str]]) -> Iterator[Divergence]:
        """The signature of the entry as callers see it; other functions are called by place."""
        public = {own: name for name, own in renamed}
        is_entry = self.ours is self.comparison.program.entry
        ours = [
            (each.public_name if is_entry else "", each.kind, text_key(each.default))
            for each in self.ours.parameters
        ]
        theirs = [
            (public.get(each.name, each.name) if is_entry else "", each.kind, text_key(each.default))
            for each in self.theirs.parameters
        ]
        if ours != theirs:
            lines = self.theirs.lines or (0, 0)
            yield self.divergence("inputs", lines, _signature(self.ours), self.comparison.read(lines))

    def bodies(self, ours: Body, theirs: Body) -> Iterator[Divergence]:
        """The differences between the statements of the two."""
        for found in differences(ours, theirs, self.comparison.program):
            lines = self._lines(found.place)
            actual = "" if found.kind == "missing" else self.comparison.read(lines)
            expected = self._expected(found)
            if found.kind == "order":
                expected, actual = (
                    text if last is None else f"{text}, behind {self.comparison.text(last)}"
                    for text, last in zip((expected, actual), found.behind, strict=True)
                )
            node = _origin(found.ours or found.near)
            place = self.divergence(found.kind, lines, expected, actual, node)
            yield replace(place, node="", source_line="") if found.kind == "surplus" else place

    def _expected(self, found: Difference) -> str:
        """The statement that should be there."""
        if found.ours is not None:
            return self.comparison.text(found.ours)
        if found.kind == "result":
            return f"return {value_text(self.ours.result, self.comparison.scope)}"
        return _signature(self.ours) if found.place == "parameters" else ""

    def _lines(self, place: Place) -> Lines:
        """The lines of a place; of a loop those of its head."""
        if place == "parameters":
            return self.theirs.lines or (0, 0)
        if place == "result":
            return self.theirs.result_lines or (0, 0)
        lines = (None if isinstance(place, Delete) else place.lines) or (0, 0)
        return (lines[0], lines[0]) if isinstance(place, Loop) else lines


def _origin(statement: Statement | None) -> Node | None:
    if isinstance(statement, Loop):
        return next((node for each in statement.body if (node := _origin(each)) is not None), None)
    return None if statement is None or isinstance(statement, Delete) else statement.origin


def source_line(node: Node) -> str:
    """The line of the model that a node comes from, after the name of its file and its number; '' where none is recorded."""
    source = node.meta.source
    return "" if source is None else f"{basename(source.file)}:{source.line}  {source.code}".rstrip()


def _served(function: Function) -> tuple[str, ...]:
    """The calls that a function serves, if there are several."""
    module = function.module
    if module is None or module.calls < 2:
        return ()
    name = module.cls.rpartition(".")[2] or "a module"
    return (f"{module.calls} calls of {name}", *([f"first {function.path}"] if function.path else []))


def merged(found: Iterable[Divergence]) -> list[Divergence]:
    """Each place of the text once, in the order of the functions and lines; several reasons at one place are one."""
    first: dict[tuple[str, str, int], Divergence] = {}
    for each in found:
        first.setdefault(
            (each.file, each.function, each.line) if each.line else (each.file, each.expected, 0), each
        )
    return sorted(first.values(), key=lambda each: (each.line, each.end_line))
