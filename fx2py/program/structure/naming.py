"""Names and lifetimes of a structured function: what the model's source calls a value, and where its life ends.

The functions come with names that are bound once. Here each variable gets the name that its line in the model assigns
to; a name is assigned again where its value has died, which frees that value as a ``del`` would. A ``del`` remains
where a value dies and nothing takes its name at once.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Container, Iterator, Mapping, Sequence
from dataclasses import replace

from fx2py.graph.values import List, Ref, map_leaves
from fx2py.program import ir
from fx2py.program.identifiers import RESERVED, identifier_for
from fx2py.program.structure.nesting import Kept, written_inside
from fx2py.program.structure.wishes import Wishes

MOVED = "moved"
"""What the list is called in which arguments are moved into a call."""
_MARK = "#"


def unlike_any_node(wish: str, number: int) -> str:
    """A variable that no node of a graph is called, until it is named; it should be named ``wish``."""
    return f"{wish}{_MARK}{number}"


def wish_of(variable: str) -> str:
    """What a variable should be named for its own sake."""
    return variable.partition(_MARK)[0]


def without_number(name: str) -> str:
    return re.sub(r"_\d+$", "", name) or name


def targets(statement: ir.Statement) -> tuple[str, ...]:
    """The variables that a statement binds and that live on behind it."""
    if isinstance(statement, ir.Unpack):
        return statement.targets
    if isinstance(statement, ir.Loop):
        return tuple([name for inner in statement.body for name in targets(inner)])
    return (
        (statement.target,) if not isinstance(statement, ir.Delete) and statement.target is not None else ()
    )


class Naming:
    """The names of one function, given out from its first statement to its last."""

    def __init__(
        self,
        function: ir.Function,
        wishes: Wishes,
        loads: Mapping[str, ir.Load],
        moves: Mapping[str, frozenset[int]],
        taken: Container[str],
        kept: Kept,
    ) -> None:
        self.function = function
        self.taken = taken
        self.moves = moves
        self.wishes = wishes
        held = {*loads, *[each.name for each in function.parameters if self._is_borrowed(each.name)]}
        self.inside = written_inside(function, self._wish, held, kept)
        self.body = list(_with_loads(function, loads, self.inside))
        self.last = {
            name: index
            for index, each in enumerate(self.body)
            for name in (*targets(each), *ir.names_in(*each.operands))
        }
        self.last |= dict.fromkeys(ir.names_in(function.result), len(self.body))
        self.kept = {each.target for each in self.body if isinstance(each, ir.Load)}
        self.names: dict[str, str] = {}
        self.holders: dict[str, str] = {}
        self.out: list[ir.Statement] = []
        self.ended: list[str] = []
        """What has died in expressions, and is held until the statement that takes them is done."""
        self.expressions = 0
        self.start = 0
        """Where the statement begins that the last calls are a part of."""

    def run(self) -> ir.Function:
        for each in self.body:
            if isinstance(each, ir.Bind) and isinstance(each.value, Ref):
                self.wishes.names[each.value.name] = self._wish(each.target)
        parameters = tuple([self._parameter(each) for each in self.function.parameters])
        for index, statement in enumerate(self.body):
            self._statement(index, statement)
        result = self._renamed(self.function.result)
        return replace(self.function, parameters=parameters, body=tuple(self.out), result=result)

    def _parameter(self, parameter: ir.Parameter) -> ir.Parameter:
        if parameter.name == ir.WEIGHTS:
            self.names[ir.WEIGHTS] = ir.WEIGHTS
            return parameter
        if not self.function.is_module:
            self._take(parameter.name, parameter.name)
            return parameter
        name = self._take(parameter.name, self._wish(parameter.name))
        return replace(parameter, name=name, public_name=name)

    def _wish(self, variable: str) -> str:
        return wish_of(self.wishes.of(variable))

    def _statement(self, index: int, statement: ir.Statement) -> None:
        before = self.body[index - 1] if index else None
        if not (isinstance(before, ir.Assign) and before.target in self.inside):
            self.start = len(self.out)
        source = statement.value if isinstance(statement, ir.Bind) else None
        if isinstance(source, Ref) and self._moves(index, targets(statement)[0], source.name):
            return
        dying = [name for name in dict.fromkeys(ir.names_in(*statement.operands)) if self._dies(name, index)]
        owned = [self.names[name] for name in dying if not self._is_borrowed(name)]
        changed = self._with_names(statement)
        for name in dying:
            self.holders.pop(self.names[name])
        bound = targets(statement)
        if bound and bound[0] in self.inside:
            self._expression(changed, bound[0], owned)
            return
        owned += self.ended
        self.ended = []
        for name in bound:
            if name not in self.names:
                is_read = self.last[name] > index or len(bound) == 1
                self._take(name, self._wish_beside(name, bound) if is_read else "_", owned)
        if isinstance(changed, ir.Loop):
            changed = replace(changed, item=self._take(changed.item, self._wish(changed.item)))
            changed = replace(
                changed, body=tuple([self._with_item(each, statement) for each in changed.body])
            )
        moved = self._moved(statement, self._with_targets(changed), owned)
        if isinstance(changed, ir.Loop):
            self.holders.pop(changed.item)
        idle = [self.names[name] for name in bound if self.last[name] == index and name not in self.kept]
        for name in bound:
            if self.last[name] == index and name not in self.kept:
                self.holders.pop(self.names[name], None)
        again = {self.names[name] for name in bound}
        left = [name for name in owned if name not in moved]
        ends = [name for name in (*left, *idle) if name not in again or name in idle]
        if index == len(self.body) - 1:
            ends = [name for name in ends if ir.is_expression(name)]
        if ends:
            ends.sort(key=ir.is_expression, reverse=True)  # the text lets go of them first
            self.out.append(ir.Delete(tuple(dict.fromkeys(ends))))

    def _wish_beside(self, name: str, bound: Sequence[str]) -> str:
        """What a result should be called, beside others of the same statement.

        Where a value that lives on has the name, that one gets the name that a later line reads it by: the line
        ``residual = hidden_states`` of a model makes no node.
        """
        wish = self._wish(name)
        if any(other != name and self._wish(other) == wish for other in bound):
            return self._free_other(name) or wish
        holder = self.holders.get(wish, "")
        other = self._free_other(holder) if holder and holder not in self.kept else ""
        if other:
            self._insert(ir.Bind(other, Ref(wish)))
            del self.holders[wish]
            self.names[holder], self.holders[other] = other, holder
        return wish

    def _insert(self, bind: ir.Bind) -> None:
        """Put a second name of a value before the statement; a ``del`` of what had that name just before says nothing more."""
        before = self.out[self.start - 1] if self.start else None
        if isinstance(before, ir.Delete) and bind.target in before.names:
            names = tuple([name for name in before.names if name != bind.target])
            self.out[self.start - 1 : self.start] = [ir.Delete(names)] if names else []
            self.start -= not names
        self.out.insert(self.start, bind)

    def _free_other(self, variable: str) -> str:
        """The name by which a later line reads a variable, if nothing has it."""
        others = self.wishes.others.get(variable, ())
        return next(
            (name for name in others if name != self._wish(variable) and not self._is_taken(name)), ""
        )

    def _expression(self, changed: ir.Statement, target: str, owned: Sequence[str]) -> None:
        """A statement that is written inside a later one."""
        name = ir.expression(self.expressions)
        self.expressions += 1
        self.names[target], self.holders[name] = name, target
        self.out.append(self._with_targets(changed))
        inner = [each for each in owned if ir.is_expression(each)]
        self.ended += [each for each in owned if not ir.is_expression(each)]
        if inner:
            self.out.append(ir.Delete(tuple(inner)))

    def _moved(self, statement: ir.Statement, changed: ir.Statement, owned: Collection[str]) -> set[str]:
        """Append a statement, with the variables that end in its call moved into it; gives those.

        The caller's variable would keep the argument alive until the call ends: a list gives it away before.
        """
        if isinstance(changed, ir.Loop):
            (inner,) = changed.body
            carried = {self.names[name] for name in targets(statement)}
            body = self._with_moves(inner, carried)
            self.out.append(replace(changed, body=tuple(body)))
            return set()
        statements = self._with_moves(changed, owned)
        self.out += statements
        return {name for each in statements if isinstance(each, ir.Delete) for name in each.names}

    def _with_moves(self, statement: ir.Statement, owned: Collection[str]) -> list[ir.Statement]:
        if not isinstance(statement, ir.Assign | ir.Unpack) or not isinstance(
            statement.call.callee, ir.Local
        ):
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
        after = tuple([ir.Take(MOVED) if place in places else value for place, value in enumerate(args)])
        return [
            ir.Bind(MOVED, List(taken)),
            ir.Delete(tuple(ir.names_in(*taken))),
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

    def _take(self, variable: str, wish: str, dying: Collection[str] = ()) -> str:
        """Give a variable the name that it should have, with a number where another has it.

        A name with a number is one of the ``dying`` if it can be, as assigning that again takes the place of a ``del``.
        """
        stem = identifier_for(wish)
        if stem in RESERVED or stem in self.taken:
            stem = f"{stem}_"
        if stem == MOVED:
            stem = f"_{stem}"
        numbered = (f"{stem}_{number}" for number in itertools.count(1))
        again = sorted(
            (each for each in dying if without_number(each) == stem), key=lambda each: (len(each), each)
        )
        name = next(each for each in itertools.chain((stem,), again, numbered) if not self._is_taken(each))
        self.names[variable] = name
        self.holders[name] = variable
        return name

    def _is_taken(self, name: str) -> bool:
        return name in self.holders or name in RESERVED or name in self.taken or name == MOVED

    def _with_names(self, statement: ir.Statement) -> ir.Statement:
        """What a statement reads, under the names that hold it."""
        if isinstance(statement, ir.Assign | ir.Unpack) and isinstance(statement.call.callee, Ref):
            callee = Ref(self.names[statement.call.callee.name])
            statement = replace(statement, call=replace(statement.call, callee=callee))
        return statement.with_leaves(self._leaf)

    def _with_item(self, inner: ir.Statement, loop: ir.Statement) -> ir.Statement:
        """A statement of a loop's body with the name of the record that the round is about."""

        def leaf(part: ir.Operand) -> ir.Operand:
            is_item = isinstance(part, ir.Field) and isinstance(loop, ir.Loop) and part.base == loop.item
            return (
                replace(part, base=self.names[part.base]) if is_item and isinstance(part, ir.Field) else part
            )

        return inner.with_leaves(leaf)

    def _renamed(self, value: ir.Operand) -> ir.Operand:
        return map_leaves(value, self._leaf)

    def _leaf(self, part: ir.Operand) -> ir.Operand:
        return (
            replace(part, name=self.names.get(part.name, part.name))
            if isinstance(part, Ref | ir.Take)
            else part
        )

    def _with_targets(self, statement: ir.Statement) -> ir.Statement:
        if isinstance(statement, ir.Unpack):
            return replace(statement, targets=tuple([self.names[each] for each in statement.targets]))
        if isinstance(statement, ir.Loop):
            return replace(statement, body=tuple([self._with_targets(each) for each in statement.body]))
        if isinstance(statement, ir.Assign | ir.Bind | ir.Load) and statement.target is not None:
            return replace(statement, target=self.names[statement.target])
        return statement


def _with_loads(
    function: ir.Function, loads: Mapping[str, ir.Load], inside: Container[str]
) -> Iterator[ir.Statement]:
    """The body with the loads of what it uses, each before the first statement that does, or that an expression is in."""
    bound = {parameter.name for parameter in function.parameters}
    together: list[ir.Statement] = []
    for statement in function.body:
        for name in ir.names_in(*statement.operands):
            if name in loads and name not in bound:
                bound.add(name)
                yield loads[name]
        bound.update(targets(statement))
        together.append(statement)
        if not (isinstance(statement, ir.Assign) and statement.target in inside):
            yield from together
            together = []
