"""The code of a folder compared with its graph by reading alone: which statement says something else.

The code is parsed back and compared, function by function, with the Program that the graph is translated to with the
options of the folder. What it means counts: names, the order of independent statements, deletions and the way in which
a call is written do not. Nothing runs, so branches that no input takes are compared as all else is.
"""

from __future__ import annotations

import tokenize
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from posixpath import basename
from typing import Any

from fx2py.artifact.artifact import Artifact, program_of
from fx2py.artifact.manifest import VERSION
from fx2py.collector import collector_paused
from fx2py.compare.effects import Displaced, displaced, idle
from fx2py.compare.matching import Matching, matched
from fx2py.compare.meaning import Body, Step, Tables, Use, body_of
from fx2py.compare.report import Divergence, Kind
from fx2py.compare.tables import table_divergences
from fx2py.emit.audit import flattened
from fx2py.emit.expressions import TextScope, value_text
from fx2py.emit.module import SOURCE, statement_text
from fx2py.emit.older_schemas import parse_any
from fx2py.emit.parse import GrammarError, Parsed
from fx2py.emit.validate import path_normal
from fx2py.graph.data import GraphData, Node
from fx2py.program.exact_text import exact_key, key_of
from fx2py.program.ir import Delete, Function, Lines, Loop, Operand, Program, Statement, bound_tensors
from fx2py.program.options import GenerateOptions
from fx2py.program.structure.outline import structured


@dataclass(frozen=True, slots=True)
class Statements:
    """What differs, in the order of the files; None where the code is not in a form that can be read: see ``unreadable``."""

    differing: tuple[Divergence, ...] | None
    unreadable: str = ""


@collector_paused()
def compare_statements(data: GraphData, artifact: Artifact) -> Statements:
    """Every statement of the code that says something else than the graph, without running either.

    Raises UnsupportedGraphError for a graph that has no Program.
    """
    try:
        parsed = parse_any(artifact.texts)
        program = program_of(data, _options(artifact))
        return Statements(tuple(_differing(program, parsed, artifact)))
    except GrammarError as error:
        return Statements(None, f"{error.file or SOURCE}, line {error.line}: {error}")


def _options(artifact: Artifact) -> GenerateOptions:
    """The options that an artifact was generated with; other releases have others."""
    known = {each.name for each in fields(GenerateOptions)}
    recorded: dict[str, Any] = {k: v for k, v in artifact.manifest.options.items() if k in known}
    return GenerateOptions(**recorded)


def _differing(program: Program, parsed: Parsed, artifact: Artifact) -> Iterator[Divergence]:
    is_structured = parsed.tables.weight_paths is not None
    if is_structured and _says_the_same_inlined(program, parsed, artifact):
        form, found = program, []
    else:
        form = structured(program) if is_structured else program
        found = list(_Comparison(form, parsed, artifact).functions(parsed.functions))
    yield from merged(found)
    if artifact.manifest.fx2py == VERSION:  # another release may demand other inputs and build other tables
        yield from table_divergences(form, parsed, artifact.tables)


def _says_the_same_inlined(program: Program, parsed: Parsed, artifact: Artifact) -> bool:
    """Whether structured code of another structure does what the flat Program does, statement by statement."""
    try:
        flat = flattened(parsed)
    except (ValueError, RecursionError):
        return False
    return not any(_Comparison(program, flat, artifact).functions(flat.functions))


def _default(value: Operand) -> Hashable:
    return key_of(value, lambda leaf: exact_key(path_normal(leaf)))


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

    def functions(self, functions: Sequence[Function]) -> Iterator[Divergence]:
        """What differs in the functions that stand for each other, by name or by their order, and in the others."""
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
        """A statement of the Program as fx2py writes it; a loop by its head."""
        return "\n".join(statement_text(statement, self.scope)).partition("\n")[0]

    def read(self, lines: Lines) -> str:
        """What stands on lines of the file, as one line without comments."""
        part = [f"{line.strip()}\n" for line in self.lines[lines[0] - 1 : lines[1]]]
        try:
            tokens = list(tokenize.generate_tokens(iter([*part, ""]).__next__))
        except (tokenize.TokenError, IndentationError):  # the head of a loop has no body here
            return " ".join(line.strip() for line in part)
        comments = {each.start[0]: each.start[1] for each in tokens if each.type == tokenize.COMMENT}
        parts = [line[: comments.get(number, len(line))].strip() for number, line in enumerate(part, 1)]
        return " ".join(filter(None, parts))


def _paired_names(ours: Sequence[Function], theirs: Sequence[Function]) -> dict[str, str]:
    """For each of their functions the name of ours that it stands for: the same name, else in their order."""
    own, other = [each.name for each in ours], [each.name for each in theirs]
    alone = [name for name in own if name not in other]
    same = {name: name for name in other if name in own}
    return same | dict(zip([name for name in other if name not in own], alone, strict=False))


@dataclass(frozen=True, slots=True)
class _Place:
    """A function of ours and the one that stands for it."""

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
            source_line="" if node is None else _source_line(node),
            function=self.theirs.name,
            serves=_served(self.ours),
        )

    def parameters(self, renamed: Iterable[tuple[str, str]]) -> Iterator[Divergence]:
        """The signature of the entry as callers see it; other functions are called by place."""
        public = {own: name for name, own in renamed}
        is_entry = self.ours is self.comparison.program.entry
        ours = [
            (each.public_name if is_entry else "", each.kind, _default(each.default))
            for each in self.ours.parameters
        ]
        theirs = [
            (public.get(each.name, each.name) if is_entry else "", each.kind, _default(each.default))
            for each in self.theirs.parameters
        ]
        if ours != theirs:
            lines = self.theirs.lines or (0, 0)
            yield self.divergence("inputs", lines, _signature(self.ours), self.comparison.read(lines))

    def bodies(self, ours: Body, theirs: Body, around: Lines | None = None) -> Iterator[Divergence]:
        """What differs between two functions, or between the bodies of two loops, which stand ``around`` them."""
        matching = matched(ours, theirs)
        result = around or self.theirs.result_lines or (0, 0)
        yield from _Bodies(self, matching, result).all()
        for index, partner in enumerate(matching.partners):
            step = theirs.steps[index]
            own = None if partner is None else ours.steps[partner].body
            if own is not None and step.body is not None:
                yield from self.bodies(own, step.body, _lines(step))


@dataclass(frozen=True, slots=True)
class _Alone:
    """The steps of ours that nothing stands for, and theirs that stand for nothing; each is reported by itself."""

    missing: frozenset[int]
    surplus: frozenset[int]

    def explains(self, ours: Use, theirs: Use) -> bool:
        """Whether one of these steps is why two values differ."""
        return (ours.source[0] == "made" and _index(ours) in self.missing) or (
            theirs.source[0] == "made" and _index(theirs) in self.surplus
        )


@dataclass(frozen=True, slots=True)
class _Bodies:
    """Two bodies whose steps are matched; ``result`` has the lines of what the second one gives."""

    place: _Place
    matching: Matching
    result: Lines

    def all(self) -> Iterator[Divergence]:
        """What differs, in the order of the text but for what is missing and what stands in another place."""
        matching, ours, theirs = self.matching, self.matching.ours, self.matching.theirs
        surplus, missing = list(matching.surplus), list(matching.missing)
        surplus = sorted(set(surplus) - idle(theirs.steps, surplus, theirs.result.all_uses))
        missing = sorted(set(missing) - idle(ours.steps, missing, ours.result.all_uses))
        alone = _Alone(frozenset(missing), frozenset(surplus))
        for index in sorted(matching.changed):
            own, step = ours.steps[matching.partners[index] or 0], theirs.steps[index]
            if own.shape != step.shape:
                yield self._changed("changed", own, step)
            else:
                yield from self._other_values(own.uses, step.uses, alone, own, step)
        for index in surplus:
            yield self._surplus(index)
        for index in missing:
            yield self._missing(index)
        for each in displaced(matching, self.place.comparison.program):
            yield self._displaced(each)
        if ours.result.shapes != theirs.result.shapes:
            yield self._of_result()
        elif not matching.same_result():
            yield from self._other_values(ours.result.all_uses, theirs.result.all_uses, alone)

    def _changed(self, kind: Kind, own: Step, step: Step) -> Divergence:
        return self._said(kind, _lines(step), own.statement)

    def _said(self, kind: Kind, lines: Lines, expected: Statement) -> Divergence:
        comparison = self.place.comparison
        node = None if isinstance(expected, Delete) else _origin(expected)
        return self.place.divergence(kind, lines, comparison.text(expected), comparison.read(lines), node)

    def _of_result(self) -> Divergence:
        comparison, ours = self.place.comparison, self.matching.ours
        expected = f"return {value_text(ours.function.result, comparison.scope)}"
        return self.place.divergence("result", self.result, expected, comparison.read(self.result))

    def _other_values(
        self,
        ours: Sequence[Use],
        theirs: Sequence[Use],
        alone: _Alone,
        own: Step | None = None,
        step: Step | None = None,
    ) -> Iterator[Divergence]:
        """What explains that a step, or the result, uses other values; nothing where steps that stand alone explain it.

        If the text uses the same names, the cause is where one of them is given to another value.
        """
        for one, other in zip(ours, theirs, strict=True):
            if self.matching.is_same(one, other) or alone.explains(one, other):
                continue
            cause = self._cause(one, other)
            if cause is not None:
                yield cause
            elif own is not None and step is not None:
                yield self._changed("changed", own, step)
            else:
                yield self._of_result()

    def _cause(self, one: Use, other: Use) -> Divergence | None:
        """The statement that gave a name, which both texts use in this place, to another value; None where none did."""
        if one.name != other.name or other.name == "":
            return None
        maker = one.given or self._maker(one)
        if other.given is not None and other.given.lines is not None:
            return self._said("changed", other.given.lines, maker or other.given)
        if other.source[0] == one.source[0] == "parameter" and self.place.theirs.lines is not None:
            lines = self.place.theirs.lines
            text = self.place.comparison.read(lines)
            return self.place.divergence("inputs", lines, _signature(self.place.ours), text)
        renamed = None if maker is None else self._renamed(one, other)
        return None if renamed is None or maker is None else self._said("changed", _lines(renamed), maker)

    def _renamed(self, one: Use, other: Use) -> Step | None:
        """Their step that gives its result another name than ours does, so that the name stands for something else."""
        matching = self.matching
        if one.source[0] == "made" and _index(one) in matching.partners:
            step = matching.theirs.steps[matching.partners.index(_index(one))]
            if step.targets != matching.ours.steps[_index(one)].targets:
                return step
        if other.source[0] == "made" and (partner := matching.partners[_index(other)]) is not None:
            step = matching.theirs.steps[_index(other)]
            return step if matching.ours.steps[partner].targets != step.targets else None
        return None

    def _maker(self, use: Use) -> Statement | None:
        return self.matching.ours.steps[_index(use)].statement if use.source[0] == "made" else None

    def _surplus(self, index: int) -> Divergence:
        lines = _lines(self.matching.theirs.steps[index])
        before = [partner for partner in self.matching.partners[:index] if partner is not None]
        near = _origin(self.matching.ours.steps[before[-1]].statement) if before else None
        found = self.place.divergence("surplus", lines, "", self.place.comparison.read(lines), near)
        return replace(found, node="", source_line="")

    def _missing(self, index: int) -> Divergence:
        """A step that is not there, at the first statement that would have used it, else at the one behind it."""
        matching, comparison = self.matching, self.place.comparison
        step = matching.ours.steps[index]
        theirs = {partner: place for place, partner in enumerate(matching.partners) if partner is not None}
        rest = range(index + 1, len(matching.ours.steps))
        users = [i for i in rest if _uses(matching.ours.steps[i].uses, index)]
        places = [theirs[i] for i in (*users, *rest) if i in theirs]
        is_returned = not users and _uses(matching.ours.result.all_uses, index)
        lines = self.result if is_returned or not places else _lines(matching.theirs.steps[places[0]])
        lines = self._renaming(step.targets) or lines
        expected = comparison.text(step.statement)
        return self.place.divergence("missing", lines, expected, "", _origin(step.statement))

    def _renaming(self, targets: tuple[str, ...]) -> Lines | None:
        """The lines of a statement that gives the name of a result to another value."""
        used = [use for step in self.matching.theirs.steps for use in step.uses]
        given = [use.given for use in (*used, *self.matching.theirs.result.all_uses) if use.name in targets]
        return next((each.lines for each in given if each is not None), None)

    def _displaced(self, found: Displaced) -> Divergence:
        ours, comparison = self.matching.ours, self.place.comparison
        places = {partner: index for index, partner in enumerate(self.matching.partners)}
        lines = _lines(self.matching.theirs.steps[places[found.step]])
        statement = ours.steps[found.step].statement
        expected, actual = (
            text if last is None else f"{text}, behind {comparison.text(ours.steps[last].statement)}"
            for last, text in (
                (found.expected, comparison.text(statement)),
                (found.actual, comparison.read(lines)),
            )
        )
        return self.place.divergence("order", lines, expected, actual, _origin(statement))


def _uses(uses: Iterable[Use], index: int) -> bool:
    return any(use.source[:2] == ("made", index) for use in uses)


def _index(use: Use) -> int:
    index = use.source[1]
    return index if isinstance(index, int) else -1


def _lines(step: Step) -> Lines:
    """The lines of a statement; of a loop those of its head."""
    lines = step.statement.lines or (0, 0)
    return (lines[0], lines[0]) if isinstance(step.statement, Loop) else lines


def _origin(statement: Statement) -> Node | None:
    if isinstance(statement, Loop):
        return next((node for each in statement.body if (node := _origin(each)) is not None), None)
    return None if isinstance(statement, Delete) else statement.origin


def _source_line(node: Node) -> str:
    source = node.meta.source
    return "" if source is None else f"{basename(source.file)}:{source.line}  {source.code}".rstrip()


def _served(function: Function) -> tuple[str, ...]:
    """The calls that a function stands for, where it serves several."""
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
