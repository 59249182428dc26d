"""Alias analysis: which variables of a function may share memory, which memory is written to, which is returned.

Flow-insensitive, by union-find. What operators do with memory is a fact of the table of operators: a "fresh" result
shares memory with no operand; a "view" may be any operand or share its memory; a "write" changes the first operand in
place and returns it. An unknown call may return and write to any operand. Weights share memory if they share a storage;
if the storage of one is unknown, all of them do. Devices and numbers have no memory.
"""

from __future__ import annotations

from collections.abc import Sequence

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
    """Classes of variables that may share memory, each identified by one of its variables.

    ``returned``: the classes that the function returns; ``written``: those that it may write to.
    """

    def __init__(self, function: ir.Function, program: ir.Program) -> None:
        self._parents: dict[str, str] = {}
        self._written: list[str] = []
        self._storages: dict[int, str] = {}
        self._lie_apart = all(storages_of(weight.tensor) is not None for weight in program.weights)
        self._without_memory: set[str] = set()
        for statement in function.body:
            self._learn(statement, program)
        result = ir.names_in(function.result)
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
        names = [name for name in statement.parts.variables if name not in self._without_memory]
        if isinstance(statement, ir.Load):
            self._learn_load(statement, program)
        elif isinstance(statement, ir.Assign):
            if memory_of(statement) != "fresh":
                self._join(statement.target, names)
            self._written += written_names(statement)
        elif isinstance(statement, ir.Bind):
            self._join(statement.target, names)

    def _learn_load(self, load: ir.Load, program: ir.Program) -> None:
        if load.slot.table == "weights":
            tensor = program.weights[load.slot.index].tensor
            storages = (storages_of(tensor) if self._lie_apart else None) or (ANYWHERE,)
            self._join(load.target, [self._storages.setdefault(each, load.target) for each in storages])
        elif load.slot.table == "consts" and type(program.consts[load.slot.index].value) in PRIMITIVES:
            self._without_memory.add(load.target)

    def _join(self, target: str | None, names: list[str]) -> None:
        joined = [*([] if target is None else [target]), *names]
        for name in joined[1:]:
            self._parents[self.class_of(name)] = self.class_of(joined[0])


def written_names(statement: ir.Assign) -> Sequence[str]:
    """The variables whose memory a call may write to; for a known operator its first operand alone (``add_``, ``copy_``)."""
    kind, op = memory_of(statement), operator_of(statement)
    if kind in ("fresh", "view"):
        return []
    if op is None or not kind:
        return statement.parts.variables
    schema = schema_of(op)
    first = None if schema is None else given_to(op, statement.call).get(schema.arguments[0].name)
    return [first.name] if isinstance(first, Ref) else statement.parts.variables


def writes(statement: ir.Statement) -> bool:
    """Whether a statement may write to the memory of an operand."""
    return isinstance(statement, ir.Assign) and bool(written_names(statement))


def touched_names(statement: ir.Statement) -> list[str]:
    """The variables that a statement reads or assigns."""
    made = None if not isinstance(statement, (ir.Assign, ir.Bind)) else statement.target
    return [*statement.parts.variables, *([] if made is None else [made])]
