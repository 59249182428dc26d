"""Calls that return their operand, such as dropout in evaluation: the operand replaces the call.

Proof. Under the conditions of its ``identity`` fact an operator returns its operand, the same object, whatever its dtype,
device or layout (``dropout`` in aten/src/ATen/native/Dropout.cpp, for example). It is CompositeImplicitAutograd, so that
autograd records nothing of it. The operand is known to be a tensor if an operator that always returns one made it, or
if it is a weight. One name for the object instead of two changes nothing for mutation, results or identity.
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
    """The variable that a call returns; '' if it may return something else."""
    given = with_defaults(op, call)
    source = given.get(identity.operand)
    holds = all(item.holds(given.get(item.argument)) for item in identity.conditions)
    return source.name if holds and isinstance(source, Ref) else ""
