"""What a whole graph mentions by name: the module-level names that its file will need."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from fx2py.graph.data import GraphData, ModuleRecord, Tree
from fx2py.graph.values import EnumMember, Name, OpName, Record, Ref, walk
from fx2py.program.calling import container_of
from fx2py.program.ir import Container


@dataclass(frozen=True, slots=True)
class Mentions:
    """Top-level packages, operators and container classes, each once, in order of appearance."""

    packages: dict[str, None] = field(default_factory=dict)
    ops: dict[OpName, None] = field(default_factory=dict)
    containers: dict[Container, None] = field(default_factory=dict)

    def add(self, found: Any) -> None:
        if isinstance(found, OpName):
            self.ops[found] = None
        elif isinstance(found, Name):
            self.packages[found.module.partition(".")[0]] = None
        elif isinstance(found, EnumMember):
            self.add(found.cls)
        elif isinstance(found, Record):
            self.containers[Container(found.cls, tuple(name for name, _ in found.fields))] = None


def mentions(data: GraphData) -> Mentions:
    """Everything that the graphs, the modules' attributes and the structure of the result name."""
    found = Mentions()
    for _, record in data.root.walk():
        for value in _values(record):
            if type(value) is not Ref:
                for part in walk(value):
                    found.add(part)
    conventions = [data.convention, *(record.convention for _, record in data.root.walk())]
    stack: list[Tree] = [each.output for each in conventions if each is not None and each.output is not None]
    while stack:
        tree = stack.pop()
        made = container_of(tree)
        if made is not None:
            found.containers[made] = None
        elif tree.cls is not None:
            found.add(tree.cls)
        stack.extend(reversed(tree.children))
    return found


def _values(record: ModuleRecord) -> Iterator[Any]:
    for node in record.graph.nodes if record.graph else ():
        yield node.target
        yield from node.args
        for _, value in node.kwargs:
            yield value
    yield from record.attributes.values()
