"""The tree of the modules that ran: what each is, how large, and which function stands for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from torch import nn

from fx2py.graph.data import Node, ValueMeta
from fx2py.program.ir import ModuleEntry, Program, Weight
from fx2py.program.structure.regions import FlatBody, Interface, Region


def module_tree(
    program: Program,
    body: FlatBody,
    root: Region,
    serves: Callable[[Region], str],
    interface: Callable[[Region], Interface],
) -> ModuleEntry:
    """The tree below ``root``; ``serves`` names the function that stands for a region, ''  where none does."""
    origins = variable_origins(program, body)
    sizes = _parameters_below(program.weights)

    def entry(calls: Sequence[Region]) -> ModuleEntry:
        first = calls[0]
        inner: dict[str, list[Region]] = {}
        for region in calls:
            for child in region.children:
                inner.setdefault(child.frame.path, []).append(child)
        inputs = [each for each in interface(first).inputs if isinstance(each, str)]
        return ModuleEntry(
            first.frame.path,
            first.frame.cls,
            len(calls),
            sizes[first.frame.path],
            serves(first),
            _recorded(inputs, origins),
            _recorded(interface(first).outputs, origins),
            tuple(map(entry, inner.values())),
        )

    return entry((root,))


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
