"""Items of containers that the code itself builds: the item replaces the lookup.

Proof. An item of a container display, by a literal index or key, is the object written there. For a container in
a variable this holds only if it is a tuple, which cannot change, and is used only for items that are variables: a list
written inside the tuple is one object for all who look it up, and writing it again would make another.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from fx2py.graph.values import GETITEM, Dict, List, Ref
from fx2py.program.ir import Applied, Assign, Bind, Function, Operand, Program, Statement
from fx2py.program.passes.rewriting import node_name, renamed

NAME = "built_items"


def take_built_items(function: Function, program: Program) -> tuple[Function, tuple[Applied, ...]]:
    """The function without lookups in containers that it builds itself."""
    lookups = _ItemLookups()
    body = [kept for statement in function.body for kept in lookups.kept(statement)]
    return renamed(function, body, lookups.names), tuple(lookups.applied)


@dataclass(slots=True)
class _ItemLookups:
    """What earlier statements tell: the tuples that variables hold, and the variables that stand for others."""

    tuples: dict[str, tuple[Operand, ...]] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    applied: list[Applied] = field(default_factory=list)

    def kept(self, statement: Statement) -> list[Statement]:
        """What remains of a statement: itself, a shorter one, or nothing."""
        if isinstance(statement, Bind) and type(statement.value) is tuple:
            self.tuples[statement.target] = statement.value
        if not isinstance(statement, Assign) or statement.call.callee != GETITEM or statement.target is None:
            return [statement]
        if len(statement.call.args) != 2:
            return [statement]
        container, index = statement.call.args
        if isinstance(container, Ref):
            item = _item(self.tuples.get(self._first_name(container)), index)
            can_take = isinstance(item, Ref)
        else:
            item = _item(container, index)
            can_take = isinstance(item, (Ref, tuple, List, Dict))
        if not can_take:
            return [statement]
        self.applied.append(Applied(NAME, node_name(statement), "an item of what the code builds"))
        if isinstance(item, Ref):
            self.names[statement.target] = self._first_name(item)
            return []
        return self.kept(Bind(statement.target, item, origin=statement.origin))

    def _first_name(self, value: Ref) -> str:
        return self.names.get(value.name, value.name)


def _item(container: Operand, index: Operand) -> Operand:
    """The item at a literal index or key; None if there is none, or more than one."""
    if isinstance(container, (tuple, List)) and type(index) is int:
        items = container.items if isinstance(container, List) else container
        return items[index] if -len(items) <= index < len(items) else None
    if isinstance(container, Dict) and container.cls is None and type(index) is str:
        found = [item for key, item in container.items if type(key) is str and key == index]
        is_by_text = all(type(key) is str for key, _ in container.items)
        return found[0] if is_by_text and len(found) == 1 else None
    return None
