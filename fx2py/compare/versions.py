"""Two graphs, or the code of two folders, compared by meaning: what was added, dropped and changed in which module.

Statements are matched as code and graph are (``matching.py``). Weights are the same where their paths are; where modules got
other names, those of one last name, dtype and shape stand for each other in the order in which they are used.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from posixpath import basename
from typing import Literal, TypeAlias

import torch

from fx2py.artifact.artifact import Artifact, program_of
from fx2py.collector import collector_paused
from fx2py.compare.differences import Difference, differences
from fx2py.compare.meaning import Tables, body_of
from fx2py.compare.sequences import aligned
from fx2py.emit.audit import flattened
from fx2py.emit.expressions import TextScope, value_text
from fx2py.emit.module import SOURCE, statement_text
from fx2py.emit.older_schemas import parse_any
from fx2py.emit.parse import GrammarError
from fx2py.errors import ArtifactError
from fx2py.graph.data import GraphData, ModuleFrame, Node, NodeMeta
from fx2py.graph.tensors import shape_of
from fx2py.graph.values import Live, Ref, map_leaves
from fx2py.program.exact_text import text_key
from fx2py.program.ir import (
    ENTRY,
    WEIGHTS,
    Assign,
    Bind,
    Constant,
    Delete,
    Function,
    Loop,
    Operand,
    Program,
    Slot,
    Statement,
    Unpack,
    bound_tensors,
    is_expression,
)

Version: TypeAlias = "GraphData | Artifact"
ChangeKind: TypeAlias = Literal["added", "dropped", "changed", "moved"]


@dataclass(frozen=True, slots=True)
class Change:
    """A statement that one version alone has, or that both have in different form; ``old`` or ``new`` is '' where it is not.

    ``module`` is the path of the module in the new version, in the old one if it was dropped there.
    """

    kind: ChangeKind
    module: str
    old: str
    new: str
    source_line: str = ""


@dataclass(frozen=True, slots=True)
class ModuleChange:
    """How many statements of a module were added, dropped and changed, and how many stayed."""

    path: str
    cls: str
    added: int
    dropped: int
    changed: int
    kept: int


@dataclass(frozen=True, slots=True)
class WeightChange:
    """A weight that one version alone has, or that has another name, dtype, shape or other numbers; '' where it is not."""

    kind: Literal["added", "dropped", "renamed", "reshaped", "other numbers"]
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class VersionDiff:
    """The differences between two versions of a model; ``kept`` statements compute the same in both.

    ``signatures`` are what both are called with, where that differs.
    """

    changes: tuple[Change, ...]
    modules: tuple[ModuleChange, ...]
    weights: tuple[WeightChange, ...]
    signatures: tuple[str, str] | None
    kept: int

    @property
    def same_statements(self) -> bool:
        """Whether both compute the same from their weights and inputs, whatever numbers the weights hold."""
        return not self.changes and self.signatures is None


@collector_paused()
def compare_versions(old: Version, new: Version) -> VersionDiff:
    """What changed from one graph or folder to another.

    Raises UnsupportedGraphError for a graph that has no Program, and ArtifactError for a folder whose code cannot be read.
    """
    return _Versions(_program(old), _program(new)).diff()


def _program(version: Version) -> Program:
    return program_of(version) if isinstance(version, GraphData) else _program_of_code(version)


def _program_of_code(artifact: Artifact) -> Program:
    """The code of a folder as a flat Program; a statement stands in the module that the code says."""
    where = SOURCE if artifact.folder is None else str(artifact.folder / SOURCE)
    try:
        parsed = parse_any(artifact.texts)
        is_flat = parsed.tables.weight_paths is None
        modules = list(_modules_of_lines(artifact.source)) if is_flat else []
        placed = tuple([_placed(function, modules) for function in parsed.functions])
        parsed = flattened(replace(parsed, functions=placed))
    except (GrammarError, ValueError, RecursionError) as error:
        line = f", line {error.line}" if isinstance(error, GrammarError) else ""
        raise ArtifactError(
            f"{where}{line}: {error}, so its statements cannot be compared.", "Generate the folder again."
        ) from None
    functions = parsed.functions if is_flat else tuple(map(_named, parsed.functions))
    return replace(parsed, functions=functions).program(artifact.tensors)


def _modules_of_lines(source: str) -> Iterator[str]:
    """For each line the module that the last comment above it names: ``# encoder.layer.0 · model.py:7  x = ...``."""
    module = ""
    for line in source.splitlines():
        text = line.strip()
        if text.startswith("def "):
            module = ""
        elif text.startswith("# ") and (found := _COMMENT.match(text)):
            module = found[1] or ""
        yield module


_COMMENT = re.compile(r"# (?:(\S+) · )?\S+:\d+(?:  |$)")


def _placed(function: Function, modules: Sequence[str]) -> Function:
    """The function with the module of each statement: by its line in flat code, else the function that stands for one."""

    def placed(statement: Statement) -> Statement:
        if isinstance(statement, Loop):
            return replace(statement, body=tuple(map(placed, statement.body)))
        if isinstance(statement, Delete) or statement.lines is None:
            return statement
        names = statement.targets if isinstance(statement, Unpack) else (statement.target or "",)
        frame = ModuleFrame(modules[statement.lines[0] - 1] if modules else function.name)
        meta = NodeMeta(stack=(frame,) if modules or function.name != ENTRY else ())
        name = "value" if is_expression(names[0]) else names[0]
        return replace(statement, origin=Node(name, "call_function", "", meta=meta))

    return replace(function, body=tuple(map(placed, function.body)))


def _named(function: Function) -> Function:
    """Inlined code with names for its variables, which have numbers."""
    names = {
        each.target: f"{each.origin.name if each.origin else 'value'}_{each.target}"
        for each in function.body
        if isinstance(each, Assign | Bind) and each.target is not None
    }

    def renamed(value: Operand) -> Operand:
        return Ref(names.get(value.name, value.name)) if type(value) is Ref else value

    body: list[Statement] = []
    for each in function.body:
        if isinstance(each, Assign):
            target = None if each.target is None else names[each.target]
            body.append(replace(each.with_leaves(renamed), target=target))
        elif isinstance(each, Bind):
            body.append(replace(each.with_leaves(renamed), target=names[each.target]))
    return replace(function, body=tuple(body), result=map_leaves(function.result, renamed))


class _Versions:
    """Two Programs, and the names in the old one of weights that have others in the new one."""

    def __init__(self, old: Program, new: Program) -> None:
        self.old, self.new = old, new
        self.scopes = _scope(old), _scope(new)
        self.weights = _weights(old), _weights(new)
        self.old_names = _same_weights(old, new)

    def diff(self) -> VersionDiff:
        changes: list[Change] = []
        functions = {each.name: each for each in self.old.functions}
        names = {name: name for name in functions}
        own = self._tables(self.old, names, {})
        other = self._tables(self.new, names, self.old_names)
        for function in self.new.functions:
            counterpart = functions.pop(function.name, None)
            if counterpart is None:
                changes += [self._change("added", None, each) for each in _computing(function)]
                continue
            places = {id(each): place for place, each in enumerate(function.body)}
            found = sorted(
                differences(body_of(counterpart, own), body_of(function, other), self.old),
                key=lambda each: places.get(id(each.place), len(places)),
            )
            changes += dict.fromkeys([self._of(each, counterpart, function) for each in found])
        for function in functions.values():
            changes += [self._change("dropped", each, None) for each in _computing(function)]
        known = all(each.input_table is not None for each in (self.old, self.new))  # code lists names alone
        signatures = _signature(self.old, known), _signature(self.new, known)
        count = sum(len(list(_computing(function))) for function in self.new.functions)
        return VersionDiff(
            tuple(changes),
            tuple(self._modules(changes)),
            tuple(self._weight_changes()),
            signatures if signatures[0] != signatures[1] else None,
            count - sum(each.kind != "dropped" for each in changes),
        )

    def _tables(self, program: Program, functions: Mapping[str, str], names: Mapping[str, str]) -> Tables:
        weights = list(bound_tensors(program))[: len(program.weights)]
        return Tables(
            [names.get(each, each) for each in weights],
            [each.path for each in program.submods],
            [_constant_key(each) for each in program.consts],
            functions,
        )

    def _of(self, found: Difference, old: Function, new: Function) -> Change:
        place = found.place if not isinstance(found.place, str) else None
        if found.kind == "result" or place is None:
            text = [
                f"return {value_text(each.result, scope)}"
                for each, scope in zip((old, new), self.scopes, strict=True)
            ]
            if found.kind == "missing":
                return self._change("dropped", found.ours, None)
            return Change("changed", "", *(text if found.kind == "result" else (_inputs(old), _inputs(new))))
        if found.kind == "missing":
            return self._change("dropped", found.ours, None)
        if found.kind == "surplus":
            return self._change("added", None, place)
        return self._change("moved" if found.kind == "order" else "changed", found.ours, place)

    def _change(self, kind: ChangeKind, old: Statement | None, new: Statement | None) -> Change:
        nodes = [_origin(each) for each in (new, old)]
        node = next((each for each in nodes if each is not None), None)
        source = None if node is None else node.meta.source
        line = "" if source is None else f"{basename(source.file)}:{source.line}  {source.code}".rstrip()
        texts = [
            "" if each is None else _text(each, self.scopes[side]) for side, each in enumerate((old, new))
        ]
        return Change(kind, "" if node is None else node.meta.module, texts[0], texts[1], line)

    def _modules(self, changes: Sequence[Change]) -> Iterator[ModuleChange]:
        """The modules in which something changed, in the order of the new version, then those of the old one."""
        sizes: Counter[str] = Counter()
        classes: dict[str, str] = {}
        for program in (self.new, self.old):
            for function in program.functions:
                for statement in _computing(function):
                    node = _origin(statement)
                    path = "" if node is None else node.meta.module
                    sizes[path] += program is self.new
                    if node is not None and node.meta.stack:
                        classes.setdefault(path, node.meta.stack[-1].cls)
        counts: dict[str, Counter[str]] = {path: Counter() for path in sizes}
        for each in changes:
            counts.setdefault(each.module, Counter())[each.kind] += 1
        for path, own in counts.items():
            if own:
                changed = own["changed"] + own["moved"]
                kept = max(sizes[path] - own["added"] - changed, 0)
                yield ModuleChange(path, classes.get(path, ""), own["added"], own["dropped"], changed, kept)

    def _weight_changes(self) -> Iterator[WeightChange]:
        old, new = self.weights
        there = set(new)
        for name, tensor in new.items():
            before = name if name in old else self.old_names.get(name)
            if before is None:
                yield WeightChange("added", "", _described(name, tensor))
                continue
            there.add(before)
            described = _described(before, old[before]), _described(name, tensor)
            if before != name:
                yield WeightChange("renamed", *described)
            if (tensor.dtype, shape_of(tensor)) != (old[before].dtype, shape_of(old[before])):
                yield WeightChange("reshaped", *described)
            elif not _same_numbers(tensor, old[before]):
                yield WeightChange("other numbers", *described)
        yield from (WeightChange("dropped", _described(n, t), "") for n, t in old.items() if n not in there)


def _scope(program: Program) -> TextScope:
    """Writes statements with weights by their paths in place of their numbers."""
    names = list(_weights(program))

    def special(value: Operand) -> str:
        return names[value.index] if isinstance(value, Slot) and value.table == WEIGHTS else ""

    return replace(TextScope.of(program), special=special)


def _text(statement: Statement, scope: TextScope) -> str:
    return "\n".join(statement_text(statement, scope)).partition("\n")[0]


def _weights(program: Program) -> dict[str, torch.Tensor]:
    return dict(list(bound_tensors(program).items())[: len(program.weights)])


def _same_weights(old: Program, new: Program) -> dict[str, str]:
    """For weights of new names, the old name of the one that is used in its place."""
    ours, theirs = _weights(old), _weights(new)
    gone = [name for name in ours if name not in theirs]
    come = [name for name in theirs if name not in ours]
    keys = [[_key(name, side[name]) for name in names] for side, names in ((ours, gone), (theirs, come))]
    return {come[column]: gone[row] for row, column in aligned(*keys)}


def _key(name: str, tensor: torch.Tensor) -> Hashable:
    return (name.rpartition(".")[2], tensor.dtype, shape_of(tensor))


def _same_numbers(one: torch.Tensor, other: torch.Tensor) -> bool:
    if one is other:
        return True
    if one.layout != torch.strided or other.layout != torch.strided or one.is_quantized or one.is_meta:
        return True  # not compared here: numbers are compared by running both
    return torch.equal(one.cpu(), other.cpu())


def _described(name: str, tensor: torch.Tensor) -> str:
    return f"{name} {str(tensor.dtype).removeprefix('torch.')}{list(shape_of(tensor))}"


def _constant_key(constant: Constant) -> Hashable:
    if isinstance(constant.value, Live):
        return constant.value.description
    return text_key(constant.value)


def _computing(function: Function) -> Iterator[Statement]:
    return (each for each in function.body if isinstance(each, Assign | Bind))


def _origin(statement: Statement | None) -> Node | None:
    return None if statement is None or isinstance(statement, Delete | Loop) else statement.origin


def _inputs(function: Function) -> str:
    stars = {"var_positional": "*", "var_keyword": "**"}
    return ", ".join([stars.get(each.kind, "") + each.public_name for each in function.parameters])


def _signature(program: Program, with_demands: bool) -> str:
    """The inputs of a graph, and the checks of each."""
    table = program.input_table if with_demands else None
    demands = {} if table is None else dict(table.demands)
    names = [each.public_name for each in program.entry.parameters]
    return ", ".join([f"{name}: {demands[name]!s}" if name in demands else name for name in names])
