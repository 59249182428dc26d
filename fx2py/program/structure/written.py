"""The forms in which structured code is written: an edited text of any other form is refused before it runs.

``inlined`` says what structured code does. That holds for a text only where a name below ``weights`` is read of a record,
where every function that stands for a module is called and nothing else, and where a list moves arguments and does
nothing else. Anything more could make a variable hold, in Python, what it does not hold in the inlined code.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from fx2py.graph.values import GETATTR, GETITEM, List, Ref, walk
from fx2py.program import ir
from fx2py.program.structure.bodies import Unsound
from fx2py.program.structure.naming import MOVED
from fx2py.runtime.weight_tree import WeightTree


def reached(functions: Sequence[ir.Function], bound: Collection[str]) -> tuple[ir.Function, ...]:
    """The functions that running the entry can come to: an edit may have left others behind, which never run.

    ``bound`` are those that a table holds. Raises Unsound for one of the others with a default, which Python evaluates
    all the same.
    """
    by_name = {function.name: function for function in functions}
    found: set[str] = set()
    wanted = {functions[-1].name, ir.COMPUTE_ONCE, *bound} & by_name.keys()
    while wanted:
        found |= wanted
        named = {
            part.name
            for each in wanted
            for part in walk(*by_name[each].operands)
            if isinstance(part, ir.Local)
        }
        wanted = (named & by_name.keys()) - found
    for function in functions:
        if function.name not in found and any(
            each.default is not ir.REQUIRED for each in function.parameters
        ):
            raise Unsound(f"{function.name} is called by nothing and has a default")
    return tuple([function for function in functions if function.name in found])


def require_structured(functions: Sequence[ir.Function], bound: Collection[str], tree: WeightTree) -> None:
    """Raise Unsound unless functions have the forms of structured code; ``bound`` are those that a table holds."""
    *others, entry = functions
    modules = frozenset(each.name for each in others if each.is_module)
    for name in modules & set(bound):
        raise Unsound(f"{name} is called by its name and stands in a table")
    called: set[str] = set()
    for function in reversed(functions):  # callers before callees
        if function is not entry and not function.is_module:
            _require_flat(function, modules, tree)
            continue
        if function is not entry and function.name not in called:
            raise Unsound(f"{function.name} is called by nothing that is called")
        called.update(_Structured(function, modules, function is entry).check())


def _require_flat(function: ir.Function, modules: Collection[str], tree: WeightTree) -> None:
    """A branch or a kept submodule: straight-line code that reads whole weights alone."""
    bound = {each.name for each in function.parameters}
    for statement in function.body:
        if isinstance(statement, ir.Loop | ir.Unpack):
            raise Unsound(f"{function.name} has a form of structured code")
        bound.update(_bound(statement))
    if ir.WEIGHTS in bound:
        raise Unsound(f"{function.name} gives another value the name of the weights")
    for part in walk(*function.operands):
        if isinstance(part, ir.Local) and part.name in modules:
            raise Unsound(f"{function.name} uses the function of a module")
        if isinstance(part, ir.Field):
            found: WeightTree | None = (
                tree if part.base == ir.WEIGHTS and ir.WEIGHTS in function.tables else None
            )
            for step in part.path:
                found = None if found is None else found.below(step)
            if found is None or found.index is None:
                raise Unsound(f"{part} names no weight")


class _Structured:
    """The entry, or the function of a module."""

    def __init__(self, function: ir.Function, modules: Collection[str], is_entry: bool) -> None:
        self.function, self.modules, self.is_entry = function, modules, is_entry

    def check(self) -> set[str]:
        """The functions of modules that are called; Unsound where the function has another form."""
        self._parameters()
        called: set[str] = set()
        for group in _groups(self.function.body):
            if isinstance(group[0], ir.Loop):
                called.update(self._loop(group[0]))
            else:
                called.update(self._group(group))
        self._operands((self.function.result,))
        return called

    def _parameters(self) -> None:
        for each in self.function.parameters:
            is_plain = each.kind == "positional" and each.default is ir.REQUIRED
            if each.name == MOVED or (each.name == ir.WEIGHTS if self.is_entry else not is_plain):
                raise Unsound(f"{self.function.name} takes {each.name} otherwise than fx2py writes it")

    def _loop(self, loop: ir.Loop) -> set[str]:
        rounds = (
            loop.over
            if isinstance(loop.over, int)
            else 1 if loop.stop == ir.WHOLE else loop.stop - loop.start
        )
        if rounds < 1 or loop.start < 0:
            raise Unsound("a loop has no round")
        return {name for group in _groups(loop.body) for name in self._group(group)}

    def _group(self, group: Sequence[ir.Statement]) -> set[str]:
        """A statement, with those that move its arguments before it."""
        *moving, last = group
        if isinstance(last, ir.Loop):
            raise Unsound("a loop stands in a loop")
        operands = last.operands
        name = ""
        if isinstance(last, ir.Assign | ir.Unpack) and isinstance(last.call.callee, ir.Local):
            name = last.call.callee.name if last.call.callee.name in self.modules else ""
        if isinstance(last, ir.Unpack) and last.call.callee in (GETITEM, GETATTR):
            raise Unsound("what an item or an attribute holds is taken apart")
        if name and isinstance(last, ir.Assign | ir.Unpack):
            if last.call.kwargs:
                raise Unsound(f"{name} is given keywords")
            operands = last.call.args
        elif moving:
            raise Unsound("arguments are moved into something else than the function of a module")
        taken = sum(isinstance(part, ir.Take) and part.name == MOVED for part in operands)
        if moving and not self._moves(moving, taken):
            raise Unsound("arguments are moved otherwise than fx2py writes it")
        if isinstance(last, ir.Delete) and {MOVED, ir.WEIGHTS} & set(last.names):
            raise Unsound("what moves arguments, or the weights, are deleted")
        if {MOVED, ir.WEIGHTS} & set(_bound(last)):
            raise Unsound("a value has the name of what moves arguments, or of the weights")
        self._operands(tuple([part for part in operands if not (moving and isinstance(part, ir.Take))]))
        return {name} if name else set()

    def _moves(self, moving: Sequence[ir.Statement], taken: int) -> bool:
        match moving:
            case [ir.Bind(target="moved", value=List(items=items)), ir.Delete(names=names)]:
                variables = [item.name for item in items if isinstance(item, Ref)]
                return len(variables) == len(items) == taken and tuple(variables) == names
        return False

    def _operands(self, values: Sequence[ir.Operand]) -> None:
        if MOVED in ir.names_in(*values):
            raise Unsound("what moves arguments is used as a value")
        for part in walk(*values):
            if isinstance(part, ir.Local) and part.name in self.modules:
                raise Unsound(f"{part.name} stands for a module, and is used as a value")


def _groups(body: Sequence[ir.Statement]) -> Iterator[list[ir.Statement]]:
    """The statements one by one; two that move arguments stand with the call that they are moved into."""
    index = 0
    while index < len(body):
        statement = body[index]
        count = 3 if isinstance(statement, ir.Bind) and statement.target == MOVED else 1
        yield list(body[index : index + count])
        index += count


def _bound(statement: ir.Statement) -> tuple[str, ...]:
    if isinstance(statement, ir.Unpack):
        return statement.targets
    if isinstance(statement, ir.Assign | ir.Bind | ir.Load):
        return () if statement.target is None else (statement.target,)
    return ()
