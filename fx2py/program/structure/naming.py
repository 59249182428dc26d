"""Names and lifetimes of a structured function: what the model's source calls a value, and where its life ends.

The functions come with names that are bound once. Here each variable gets the name that its line in the model assigns
to; a name is assigned again where its value has died, which frees that value as a ``del`` would. A ``del`` remains
where a value dies and nothing takes its name at once.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Container, Iterator, Mapping
from dataclasses import replace
from functools import lru_cache

from fx2py.graph.data import Node, SourceLine
from fx2py.graph.values import List, Ref, map_leaves
from fx2py.program.identifiers import RESERVED, identifier_for
from fx2py.program.ir import (
    WEIGHTS,
    Assign,
    Bind,
    Delete,
    Field,
    Function,
    Load,
    Local,
    Loop,
    Operand,
    Parameter,
    Statement,
    Take,
    Unpack,
    names_in,
)
from fx2py.read.origin import parts_between_commas

MOVED = "moved"
"""What the list is called in which arguments are moved into a call."""
_TARGETS = re.compile(
    r"\(?\s*([A-Za-z_]\w*(?:\s*,\s*[A-Za-z_]\w*)*)\s*\)?\s*(?::[^=]+)?(?:[-+*/@&|]|//|\*\*)?=(?!=)"
)
_RETURN = re.compile(r"return\s+(.+)$")
_RETURNED = re.compile(r"([A-Za-z_]\w*)(?:\.\w+\([^()]*\))*$")


_MARK = "#"


def unlike_any_node(wish: str, number: int) -> str:
    """A variable that no node of a graph is called, until it is named; it should be named ``wish``."""
    return f"{wish}{_MARK}{number}"


def wish_of(variable: str) -> str:
    """What a variable should be named for its own sake."""
    return variable.partition(_MARK)[0]


@lru_cache(maxsize=4096)
def targets_of(code: str) -> tuple[str, ...]:
    """The names that a line of source assigns to, or the variables that it returns; () where there are none."""
    match = _TARGETS.match(code)
    if match:
        return tuple([name.strip() for name in match[1].split(",")])
    returned = _RETURN.match(code)
    found = (
        [_RETURNED.fullmatch(part.strip()) for part in parts_between_commas(returned[1])]
        if returned
        else [None]
    )
    return tuple([each[1] for each in found if each]) if all(found) and "self" not in code[:12] else ()


def source_targets(node: Node | None, depth: int) -> tuple[str, ...]:
    """The names that the innermost line assigns to, or else a line that called it, within the module at ``depth``."""
    line = node.meta.source if node is not None else None
    while line is not None and line.depth >= depth:
        names = targets_of(line.code)
        if names:
            return names
        line = line.caller
    return ()


def line_at(node: Node | None, depth: int) -> SourceLine | None:
    """The line in the module at ``depth`` of the module stack in which a node was recorded."""
    line = node.meta.source if node is not None else None
    while line is not None and line.depth > depth:
        line = line.caller
    return line


def targets(statement: Statement) -> tuple[str, ...]:
    """The variables that a statement binds and that live on behind it."""
    if isinstance(statement, Unpack):
        return statement.targets
    if isinstance(statement, Loop):
        return tuple([name for inner in statement.body for name in targets(inner)])
    return (statement.target,) if not isinstance(statement, Delete) and statement.target is not None else ()


class Naming:
    """The names of one function, given out from its first statement to its last."""

    def __init__(
        self,
        function: Function,
        wishes: Mapping[str, str],
        loads: Mapping[str, Load],
        moves: Mapping[str, frozenset[int]],
        taken: Container[str],
    ) -> None:
        self.function = function
        self.taken = taken
        self.moves = moves
        self.wishes = dict(wishes)
        self.body = list(_with_loads(function, loads))
        self.last = {
            name: index
            for index, each in enumerate(self.body)
            for name in (*targets(each), *names_in(*each.operands))
        }
        self.last |= dict.fromkeys(names_in(function.result), len(self.body))
        self.kept = {each.target for each in self.body if isinstance(each, Load)}
        self.names: dict[str, str] = {}
        self.holders: dict[str, str] = {}
        self.out: list[Statement] = []

    def run(self) -> Function:
        for each in self.body:
            if isinstance(each, Bind) and isinstance(each.value, Ref) and each.target in self.wishes:
                self.wishes[each.value.name] = self.wishes[each.target]
        parameters = tuple([self._parameter(each) for each in self.function.parameters])
        for index, statement in enumerate(self.body):
            self._statement(index, statement)
        result = self._renamed(self.function.result)
        return replace(self.function, parameters=parameters, body=tuple(self.out), result=result)

    def _parameter(self, parameter: Parameter) -> Parameter:
        if parameter.name == WEIGHTS:
            self.names[WEIGHTS] = WEIGHTS
            return parameter
        if not self.function.is_module:
            self._take(parameter.name, parameter.name)
            return parameter
        name = self._take(parameter.name, self._wish(parameter.name))
        return replace(parameter, name=name, public_name=name)

    def _wish(self, variable: str) -> str:
        return self.wishes.get(variable, wish_of(variable))

    def _statement(self, index: int, statement: Statement) -> None:
        source = statement.value if isinstance(statement, Bind) else None
        if isinstance(source, Ref) and self._moves(index, targets(statement)[0], source.name):
            return
        dying = [name for name in dict.fromkeys(names_in(*statement.operands)) if self._dies(name, index)]
        owned = [self.names[name] for name in dying if not self._is_borrowed(name)]
        changed = self._with_names(statement)
        for name in dying:
            self.holders.pop(self.names[name])
        bound = targets(statement)
        for name in bound:
            if name not in self.names:
                self._take(name, self._wish(name))
        if isinstance(changed, Loop):
            changed = replace(changed, item=self._take(changed.item, self._wish(changed.item)))
            changed = replace(
                changed, body=tuple([self._with_item(each, statement) for each in changed.body])
            )
        moved = self._moved(statement, self._with_targets(changed), owned)
        if isinstance(changed, Loop):
            self.holders.pop(changed.item)
        idle = [self.names[name] for name in bound if self.last[name] == index and name not in self.kept]
        for name in bound:
            if self.last[name] == index and name not in self.kept:
                self.holders.pop(self.names[name], None)
        again = {self.names[name] for name in bound}
        left = [name for name in owned if name not in moved]
        ends = [name for name in (*left, *idle) if name not in again or name in idle]
        if ends and index < len(self.body) - 1:
            self.out.append(Delete(tuple(dict.fromkeys(ends))))

    def _moved(self, statement: Statement, changed: Statement, owned: Collection[str]) -> set[str]:
        """Append a statement, with the variables that end in its call moved into it; gives those.

        The caller's variable would keep the argument alive until the call ends: a list gives it away before.
        """
        if isinstance(changed, Loop):
            (inner,) = changed.body
            carried = {self.names[name] for name in targets(statement)}
            body = self._with_moves(inner, carried)
            self.out.append(replace(changed, body=tuple(body)))
            return set()
        statements = self._with_moves(changed, owned)
        self.out += statements
        return {name for each in statements if isinstance(each, Delete) for name in each.names}

    def _with_moves(self, statement: Statement, owned: Collection[str]) -> list[Statement]:
        if not isinstance(statement, Assign | Unpack) or not isinstance(statement.call.callee, Local):
            return [statement]
        args = statement.call.args
        places = [
            place
            for place in sorted(self.moves.get(statement.call.callee.name, ()))
            if isinstance(value := args[place], Ref) and value.name in owned and args.count(value) == 1
        ]
        if not places:
            return [statement]
        taken = tuple([args[place] for place in places])
        after = tuple([Take(MOVED) if place in places else value for place, value in enumerate(args)])
        return [
            Bind(MOVED, List(taken)),
            Delete(tuple(names_in(*taken))),
            replace(statement, call=replace(statement.call, args=after)),
        ]

    def _moves(self, index: int, target: str, source: str) -> bool:
        """Let a variable that stands for one that dies here take over its name; nothing is to be done then."""
        if not self._dies(source, index) or source not in self.names:
            return False
        name = self.names[source]
        self.names[target] = name
        self.holders[name] = target
        return True

    def _dies(self, name: str, index: int) -> bool:
        mine = name in self.names and self.holders.get(self.names[name]) == name
        return mine and self.last.get(name) == index and name not in self.kept

    def _is_borrowed(self, name: str) -> bool:
        """Whether the caller holds the value too, so that a ``del`` here would free nothing."""
        places = self.moves.get(self.function.name, ())
        parameters = enumerate(self.function.parameters)
        return self.function.is_module and any(
            each.name == name and place not in places for place, each in parameters
        )

    def _take(self, variable: str, wish: str) -> str:
        stem = identifier_for(wish)
        if stem in RESERVED or stem in self.taken:
            stem = f"{stem}_"
        if stem == MOVED:
            stem = f"_{stem}"
        name, number = stem, 1
        while name in self.holders or name in RESERVED or name in self.taken or name == MOVED:
            name, number = f"{stem}_{number}", number + 1
        self.names[variable] = name
        self.holders[name] = variable
        return name

    def _with_names(self, statement: Statement) -> Statement:
        """What a statement reads, under the names that hold it."""
        if isinstance(statement, Assign | Unpack) and isinstance(statement.call.callee, Ref):
            callee = Ref(self.names[statement.call.callee.name])
            statement = replace(statement, call=replace(statement.call, callee=callee))
        return statement.with_leaves(self._leaf)

    def _with_item(self, inner: Statement, loop: Statement) -> Statement:
        """A statement of a loop's body with the name of the record that the round is about."""

        def leaf(part: Operand) -> Operand:
            is_item = isinstance(part, Field) and isinstance(loop, Loop) and part.base == loop.item
            return replace(part, base=self.names[part.base]) if is_item and isinstance(part, Field) else part

        return inner.with_leaves(leaf)

    def _renamed(self, value: Operand) -> Operand:
        return map_leaves(value, self._leaf)

    def _leaf(self, part: Operand) -> Operand:
        return (
            replace(part, name=self.names.get(part.name, part.name)) if isinstance(part, Ref | Take) else part
        )

    def _with_targets(self, statement: Statement) -> Statement:
        if isinstance(statement, Unpack):
            return replace(statement, targets=tuple([self.names[each] for each in statement.targets]))
        if isinstance(statement, Loop):
            return replace(statement, body=tuple([self._with_targets(each) for each in statement.body]))
        if isinstance(statement, Assign | Bind | Load) and statement.target is not None:
            return replace(statement, target=self.names[statement.target])
        return statement


def _with_loads(function: Function, loads: Mapping[str, Load]) -> Iterator[Statement]:
    """The body with the loads of what it uses, each before the first statement that does."""
    bound = {parameter.name for parameter in function.parameters}
    for statement in function.body:
        for name in names_in(*statement.operands):
            if name in loads and name not in bound:
                bound.add(name)
                yield loads[name]
        bound.update(targets(statement))
        yield statement
