"""Dropout that is switched off: the call is left out, its input takes its place.

Proof. With ``train=False`` and ``p`` between 0 and 1 the four dropouts of ATen return the tensor that they were given,
the same object, whatever its type, device or layout; they are composite, so nothing else of them is recorded or run.
The input is surely a tensor where an operator that always returns one made it, or where it is a weight. The same object
under one name instead of two can be mutated, returned and compared by identity as before.
"""

from __future__ import annotations

from fx2py.graph.values import OpName, Ref
from fx2py.program.ir import Applied, Assign, Call, Function, Load, Program, Statement
from fx2py.program.native import returns_tensor
from fx2py.program.passes.rewriting import arguments_of, node_name, operator_of, renamed

NAME = "dropouts"
DROPOUTS = frozenset(
    OpName("aten", name, "default")
    for name in ("dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout")
)


def leave_out_dropouts(function: Function, program: Program) -> tuple[Function, tuple[Applied, ...]]:
    """The function without dropouts that return their input."""
    names: dict[str, str] = {}
    tensors: set[str] = set()
    body: list[Statement] = []
    applied: list[Applied] = []
    for statement in function.body:
        op = operator_of(statement)
        if op is not None and isinstance(statement, Assign) and statement.target is not None:
            source = _returned_input(op, statement.call)
            if source in tensors:
                names[statement.target] = names.get(source, source)
                tensors.add(statement.target)
                applied.append(Applied(NAME, node_name(statement), f"is {source} itself: train is False"))
                continue
            if returns_tensor(op):
                tensors.add(statement.target)
        elif isinstance(statement, Load) and statement.slot.table == "weights":
            tensors.add(statement.target)
        body.append(statement)
    return renamed(function, body, names), tuple(applied)


def _returned_input(op: OpName, call: Call) -> str:
    """The variable that a dropout returns; empty for all other calls."""
    if op not in DROPOUTS:
        return ""
    given = arguments_of(op, call)
    source, p = given.get("input"), given.get("p")
    is_off = given.get("train") is False and isinstance(p, (int, float)) and 0 <= p <= 1
    return source.name if is_off and isinstance(source, Ref) else ""
