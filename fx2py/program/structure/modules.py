"""The tree of the modules that ran: what each is, how large, and which function stands for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeAlias

from torch import nn

from fx2py.graph.data import Node, ValueMeta
from fx2py.program.ir import ModuleEntry, Program, Weight
from fx2py.program.structure.regions import FlatBody, Region, flat_body, names_modules, regions

Ends: TypeAlias = "tuple[Sequence[str], Sequence[str]]"
"""The variables that go into a region, and those that come out."""


def module_tree(
    program: Program,
    body: FlatBody,
    root: Region,
    serves: Callable[[Region], str],
    ends: Callable[[Region], Ends],
) -> ModuleEntry:
    """The tree below ``root``; ``serves`` names the function that stands for a region, '' where none does."""
    origins = variable_origins(program, body)
    sizes = _parameters_below(program.weights)

    def entry(calls: Sequence[Region]) -> ModuleEntry:
        first = calls[0]
        inner: dict[str, list[Region]] = {}
        for region in calls:
            for child in region.children:
                inner.setdefault(child.frame.path, []).append(child)
        inputs, outputs = ends(first)
        return ModuleEntry(
            first.frame.path,
            first.frame.cls,
            len(calls),
            sizes[first.frame.path],
            serves(first),
            sum([region.size for region in calls]),
            _recorded(inputs, origins),
            _recorded(outputs, origins),
            tuple(map(entry, inner.values())),
        )

    return entry((root,))


def flat_module_tree(program: Program) -> ModuleEntry | None:
    """The tree of a program that is written flat; None where the graph recorded no modules."""
    if not names_modules(program.entry):
        return None
    body = flat_body(program.entry)
    root = regions(body)
    entry = program.entry.name
    return module_tree(program, body, root, lambda region: "" if region.depth else entry, _ends_in(body))


def _ends_in(body: FlatBody) -> Callable[[Region], Ends]:
    def ends(region: Region) -> Ends:
        made: dict[str, None] = {}
        read: dict[str, None] = {}
        for statement in body.statements[region.start : region.end]:
            operands = statement.parts.variables
            read |= dict.fromkeys([each for each in operands if each not in made and each not in body.loads])
            if statement.target is not None:
                made[statement.target] = None
        return [*read], [name for name in made if body.last_use.get(name, -1) >= region.end]

    return ends


def variable_origins(program: Program, body: FlatBody) -> dict[str, Node]:
    """The node that each variable of the entry comes from, where one is known."""
    made = {each.target: each.origin for each in body.statements if each.target is not None}
    found = {each.name: each.origin for each in program.entry.parameters} | made
    return {name: origin for name, origin in found.items() if origin is not None}


def _recorded(names: Iterable[str], origins: Mapping[str, Node]) -> tuple[ValueMeta, ...]:
    return tuple([origins[name].meta.value if name in origins else None for name in names])


def _parameters_below(weights: Iterable[Weight]) -> Counter[str]:
    """How many numbers the parameters at and below each path hold."""
    found: Counter[str] = Counter()
    for weight in weights:
        if isinstance(weight.tensor, nn.Parameter):
            parts = weight.path.split(".")
            for count in range(len(parts)):
                found[".".join(parts[:count])] += weight.tensor.numel()
    return found
