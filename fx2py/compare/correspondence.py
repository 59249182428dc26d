"""Which node of the graph each statement of generated code computes, edited or not, and which ones an edit removed."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from typing import NamedTuple

from fx2py.artifact import Artifact, generate
from fx2py.artifact.observed import Place, observed
from fx2py.compare.statements import options_of
from fx2py.compare.steps import OUTPUT
from fx2py.errors import Fx2pyError
from fx2py.graph.data import GraphData
from fx2py.program.ir import (
    COMPUTE_ONCE,
    Assign,
    Delete,
    Load,
    Local,
    Loop,
    Program,
    Statement,
    Unpack,
    is_expression,
    is_other_name,
)
from fx2py.program.structure.inlined import inlined
from fx2py.program.structure.outline import structured
from fx2py.program.structure.regions import flat_body


@dataclass(frozen=True, slots=True)
class Meaning:
    """The nodes that a place computes: the next one each time it runs in a call, or with ``again`` always the same one.

    ``path`` is that of the graph that the nodes are in, None where graphs are inlined in the code. ``is_edited``: the
    statement is not the one that was generated, or not in its place; ``is_renamed``: it assigns to other variables.
    """

    nodes: tuple[str, ...] = ()
    path: str | None = None
    again: bool = False
    is_edited: bool = False
    is_renamed: bool = False

    def node(self, count: int) -> str:
        """The node that the place is when it has run ``count`` times before; '' for none."""
        if self.again:
            return self.nodes[0] if self.nodes else ""
        return self.nodes[count] if count < len(self.nodes) else ""


class LeftOut(NamedTuple):
    """A generated statement that was removed from the code: it stood before the place of index ``before``."""

    before: int
    place: Place
    meaning: Meaning


@dataclass(frozen=True, slots=True)
class Correspondence:
    """The meaning of each place of the code, by its index, and the statements that were removed."""

    meanings: tuple[Meaning, ...]
    left_out: tuple[LeftOut, ...] = ()


class GraphPaths:
    """The first path of each nested graph: a graph that is used in two places is one."""

    def __init__(self, data: GraphData) -> None:
        self._root = data.root
        self._first = {id(record): path for path, record in data.root.walk() if record.graph is not None}
        self._known: dict[str, str | None] = {}

    def __call__(self, path: str) -> str | None:
        """None where no graph stands at the path, as for a piece of a graph that the code alone splits."""
        if path not in self._known:
            self._known[path] = self._first.get(id(self._root.find_module(path)))
        return self._known[path]


def correspondence(data: GraphData, artifact: Artifact, places: Sequence[Place]) -> Correspondence:
    """What the places of an artifact's code mean, by comparing it with the code that is generated of the graph now.

    Where none can be, a variable means the node of its name.
    """
    try:
        fresh = generate(data, options_of(artifact))
    except Fx2pyError:
        return Correspondence(tuple([Meaning(place.targets[:1], again=True) for place in places]))
    generated = observed(ast.parse(fresh.source))
    return _aligned(generated, _meanings(fresh, generated, GraphPaths(data)), places)


# -- generated code


def _meanings(fresh: Artifact, places: Sequence[Place], paths: GraphPaths) -> list[Meaning]:
    """The meaning of each place of code that was generated just now."""
    program = fresh.program
    assert program is not None
    form = program if fresh.manifest.options["flat"] else structured(program)
    nodes = _nodes_of_entry(program, form)
    by_function = _by_function(places)
    found = [Meaning()] * len(places)
    for function in form.functions:
        indices = by_function[function.name]
        statements = [each for each in _in_order(function.body) if _has_text(each)]
        own = [index for index in indices if places[index].kind in ("assigned", "called", "header")]
        is_inlined = function.is_module or function is form.entry
        if len(own) != len(statements):
            continue
        for index, statement in zip(own, statements, strict=True):
            if is_inlined and not isinstance(statement, Load | Loop):
                found[index] = Meaning(tuple(nodes[id(statement)]))
            elif not isinstance(statement, Loop | Delete) and statement.origin is not None:
                path = None if is_inlined else paths(function.path)
                found[index] = Meaning((statement.origin.name,), path, again=True)
        gives_result = not function.is_module and function.name != COMPUTE_ONCE
        if gives_result and places[indices[-1]].kind == "returned" and paths(function.path) is not None:
            found[indices[-1]] = Meaning((OUTPUT,), paths(function.path), again=True)
    return found


def _has_text(statement: Statement) -> bool:
    """Whether a statement is one in the text too: deletes are no places, and expressions stand inside another one."""
    is_inside = isinstance(statement, Assign) and is_expression(statement.target or "")
    return not isinstance(statement, Delete) and not is_inside


def _in_order(body: Sequence[Statement]) -> Iterator[Statement]:
    """The statements in the order of the text, a loop before its body."""
    for statement in body:
        yield statement
        if isinstance(statement, Loop):
            yield from _in_order(statement.body)


def _nodes_of_entry(flat: Program, form: Program) -> dict[int, list[str]]:
    """The node that each run of a statement is, for those that one call of the entry runs, by the statement's id."""
    meant = [each for each in flat_body(flat.entry).statements if not is_other_name(each)]
    sources: Sequence[Statement] = meant
    if form is not flat:
        sources = inlined(form.functions, [weight.path for weight in flat.weights]).sources
    nodes: dict[int, list[str]] = defaultdict(list)
    for source, statement in zip(sources, meant, strict=False):
        nodes[id(source)].append("" if statement.origin is None else statement.origin.name)
    for source in {id(each): each for each in sources}.values():
        if isinstance(source, Unpack):
            # The call, and the items that are taken from what it gives; a function of the code gives the items alone.
            whole = not isinstance(source.call.callee, Local)
            nodes[id(source)] = nodes[id(source)][:: len(source.targets) + 1] if whole else []
    return nodes


# -- edited code


def _by_function(places: Sequence[Place]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = defaultdict(list)
    for index, place in enumerate(places):
        found[place.function].append(index)
    return found


def _aligned(generated: Sequence[Place], meant: Sequence[Meaning], places: Sequence[Place]) -> Correspondence:
    """Function by function: statements with equal text are matched, and those between them count as edited."""
    meanings = [Meaning(is_edited=True)] * len(places)
    left_out: list[LeftOut] = []
    own, fresh = _by_function(places), _by_function(generated)
    for name, indices in own.items():
        others = fresh.get(name, [])
        missing: list[tuple[int, int]] = []
        surplus: dict[str, list[int]] = defaultdict(list)
        keys = ([generated[each].key for each in others], [places[each].key for each in indices])
        for _, start, end, low, high in SequenceMatcher(None, *keys, autojunk=False).get_opcodes():
            is_same = keys[0][start:end] == keys[1][low:high]
            there, here = others[start:end], indices[low:high]
            pairs = _paired([generated[each] for each in there], [places[each] for each in here])
            for one, other in pairs.items():
                is_renamed = generated[there[one]].targets != places[here[other]].targets
                meanings[here[other]] = replace(
                    meant[there[one]], is_edited=not is_same, is_renamed=is_renamed
                )
            before = indices[high] if high < len(indices) else indices[-1] + 1
            missing += [(each, before) for one, each in enumerate(there) if one not in pairs]
            for other, each in enumerate(here):
                if other not in pairs.values():
                    surplus[places[each].key].append(each)
        for each, before in missing:
            moved = surplus[generated[each].key]
            if moved:
                meanings[moved.pop(0)] = replace(meant[each], is_edited=True)
            else:
                left_out.append(LeftOut(before, generated[each], meant[each]))
    return Correspondence(tuple(meanings), tuple(left_out))


def _paired(one: Sequence[Place], other: Sequence[Place]) -> dict[int, int]:
    """The places of one stretch of code paired with those of another: in order if as many, else by targets."""
    if len(one) == len(other):
        return dict(zip(range(len(one)), range(len(other)), strict=True))
    found: dict[int, int] = {}
    for place, each in enumerate(one):
        start = max(found.values(), default=-1) + 1
        same = [index for index in range(start, len(other)) if other[index].targets == each.targets != ()]
        if same:
            found[place] = same[0]
    return found
