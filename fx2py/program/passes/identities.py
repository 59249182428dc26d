"""Calls that return their operand, as a dropout that is switched off does: left out, the operand takes their place.

Proof. Under the conditions of its ``identity`` fact an operator returns the tensor that it was given, the same object,
whatever its type, device or layout; it is composite, so nothing else of it is recorded or run. The operand is surely a
tensor where an operator that always returns one made it, or where it is a weight. The same object under one name
instead of two can be mutated, returned and compared by identity as before.
"""

from __future__ import annotations

from fx2py.graph.values import OpName, Ref
from fx2py.operators.facts import Identity, facts_of, returns_tensor
from fx2py.program.ir import Applied, Assign, Call, Function, Load, Program, Statement
from fx2py.program.native import operator_of, with_defaults
from fx2py.program.passes.rewriting import node_name, renamed

NAME = "identities"


def leave_out_identities(function: Function, program: Program) -> tuple[Function, tuple[Applied, ...]]:
    """The function without calls that return their operand."""
    names: dict[str, str] = {}
    tensors: set[str] = set()
    body: list[Statement] = []
    applied: list[Applied] = []
    for statement in function.body:
        op = operator_of(statement)
        if op is not None and isinstance(statement, Assign) and statement.target is not None:
            identity = facts_of(op).identity
            source = _returned_operand(identity, op, statement.call) if identity is not None else ""
            if identity is not None and source in tensors:
                names[statement.target] = names.get(source, source)
                tensors.add(statement.target)
                reason = f"is {source} itself: {identity.reason}"
                applied.append(Applied(NAME, node_name(statement), reason))
                continue
            if returns_tensor(op):
                tensors.add(statement.target)
        elif isinstance(statement, Load) and statement.slot.table == "weights":
            tensors.add(statement.target)
        body.append(statement)
    return renamed(function, body, names), tuple(applied)


def _returned_operand(identity: Identity, op: OpName, call: Call) -> str:
    """The variable that a call returns; empty where it may return something else."""
    given = with_defaults(op, call)
    source = given.get(identity.operand)
    holds = all(item.holds(given.get(item.argument)) for item in identity.conditions)
    return source.name if holds and isinstance(source, Ref) else ""
