"""Alias analysis: which variables of a function may share memory, which memory is written to, which is returned.

Flow-insensitive, by union-find. What operators do with memory is a fact of the table of operators: a "fresh" result
shares memory with no operand; a "view" may be any operand or share its memory; a "write" changes the first operand in
place and returns it. An unknown call may return and write to any operand. Weights share memory if they share a storage;
if the storage of one is unknown, all of them do. Devices and numbers have no memory.
"""

from __future__ import annotations

from collections.abc import Callable

from fx2py.graph.tensors import storages_of
from fx2py.graph.values import GETITEM, PRIMITIVES, OpName, Ref
from fx2py.operators.facts import Memory, facts_of
from fx2py.operators.schema import schema_of
from fx2py.program import ir
from fx2py.program.native import given_to, operator_of

BATCH_NORM = OpName("aten", "batch_norm", "default")
_READING = (GETITEM, ir.Local(ir.CHECK_INPUTS), ir.Local(ir.FIELDS_OF), ir.Local(ir.COMPUTE_ONCE))


def memory_of(statement: ir.Assign) -> Memory | None:
    """What a call does with memory; None if that is not known.

    ``aten::batch_norm`` returns a fresh tensor in evaluation; in training it writes to its running statistics, although
    its schema does not say so.
    """
    op = operator_of(statement)
    if op == BATCH_NORM:
        return "fresh" if given_to(op, statement.call).get("training") is False else None
    known = None if op is None else facts_of(op).memory
    return known or ("view" if statement.call.callee in _READING else None)


ANYWHERE = 0
"""The one storage of all weights, if one of them has an unknown storage and may share that of any other."""


class AliasClasses:
    """Classes of variables and weights that may share memory, each identified by one of them, as ``memory_in`` names them.

    ``returned``: the classes that the function returns; ``written``: those that it may write to; ``weights``: the slots of
    the weights that it reads. ``is_fresh`` says whether the result of a call shares memory with no operand.
    """

    def __init__(
        self,
        function: ir.Function,
        program: ir.Program,
        is_fresh: Callable[[ir.Assign], bool] = lambda statement: memory_of(statement) == "fresh",
    ) -> None:
        self._is_fresh = is_fresh
        self._parents: dict[str, str] = {}
        self._written: list[str] = []
        self._storages: dict[int, str] = {}
        self.weights = {slot for statement in function.body for slot in _weights_in(statement.parts)}
        read = [program.weights[slot.index].tensor for slot in self.weights]
        self._lie_apart = all(storages_of(tensor) is not None for tensor in read)
        self._without_memory: set[str] = set()
        for statement in function.body:
            self._learn(statement, program)
        result = memory_in(ir.Parts.of(function.result))
        self.returned = frozenset(map(self.class_of, result))
        self.written = frozenset(map(self.class_of, self._written))

    def class_of(self, name: str) -> str:
        """The variable that identifies the class of ``name``."""
        root = name
        while (parent := self._parents.get(root, root)) != root:
            root = parent
        while name != root:
            self._parents[name], name = root, self._parents.get(name, name)
        return root

    def _learn(self, statement: ir.Statement, program: ir.Program) -> None:
        names = [name for name in memory_in(statement.parts) if name not in self._without_memory]
        for slot in _weights_in(statement.parts):
            self._learn_weight(slot, program)
        if isinstance(statement, ir.Load):
            self._join(statement.target, names)
            if (
                statement.slot.table == "consts"
                and type(program.consts[statement.slot.index].value) in PRIMITIVES
            ):
                self._without_memory.add(statement.target)
        elif isinstance(statement, ir.Assign):
            if not self._is_fresh(statement):
                self._join(statement.target, names)
            self._written += written_names(statement)
        elif isinstance(statement, ir.Bind):
            self._join(statement.target, names)

    def _learn_weight(self, slot: ir.Slot, program: ir.Program) -> None:
        tensor = program.weights[slot.index].tensor
        storages = (storages_of(tensor) if self._lie_apart else None) or (ANYWHERE,)
        self._join(str(slot), [self._storages.setdefault(each, str(slot)) for each in storages])

    def _join(self, target: str | None, names: list[str]) -> None:
        joined = [*([] if target is None else [target]), *names]
        for name in joined[1:]:
            self._parents[self.class_of(name)] = self.class_of(joined[0])


def memory_in(parts: ir.Parts) -> list[str]:
    """What is read that has memory: variables, and weights that stand where they are used, each by its text."""
    fields = [part for part in parts.named if type(part) is ir.Field]
    return [*parts.variables, *map(str, _weights_in(parts)), *map(str, fields)]


def _weights_in(parts: ir.Parts) -> list[ir.Slot]:
    return [part for part in parts.named if type(part) is ir.Slot and part.table == ir.WEIGHTS]


def written_names(statement: ir.Assign) -> list[str]:
    """What a call may write to, as ``memory_in`` names it; for a known operator its first operand alone (``add_``, ``copy_``)."""
    kind, op = memory_of(statement), operator_of(statement)
    if kind in ("fresh", "view"):
        return []
    if op is None or not kind:
        return memory_in(statement.parts)
    schema = schema_of(op)
    first = None if schema is None else given_to(op, statement.call).get(schema.arguments[0].name)
    is_one = isinstance(first, Ref | ir.Slot | ir.Field)
    return memory_in(ir.Parts.of(first) if is_one else statement.parts)


def writes(statement: ir.Statement) -> bool:
    """Whether a statement may write to the memory of an operand."""
    return isinstance(statement, ir.Assign) and bool(written_names(statement))


def touched_names(statement: ir.Statement) -> list[str]:
    """The variables that a statement reads or assigns."""
    made = None if not isinstance(statement, (ir.Assign, ir.Bind)) else statement.target
    return [*statement.parts.variables, *([] if made is None else [made])]
