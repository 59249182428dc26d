"""Whether the code may run below autograd in calls that record no gradients.

Above its kernels torch passes each operator through two layers. Autograd does nothing there when no gradients are
recorded. The layer below it notes in a result that it is a view, and counts what is written to a tensor. The code may
leave out both where nobody can miss those notes.

Proof. Each operator whose memory behaviour the table of operators holds was run above and below and gave the same. What the layers would note
stays inside, because

- nothing writes to memory of an input or a weight, where the count would be missed;
- each result is one tensor, and shares memory with no other result, input or weight. What is missing of it is then only
  that it calls itself a view of memory that nothing else holds.

What depends on the call is checked in each call, by ``below_autograd`` of the runtime.
"""

from __future__ import annotations

from dataclasses import replace

from fx2py.graph.values import Name
from fx2py.operators.facts import returns_tensor
from fx2py.program.analyses.aliasing import Sharing, memory_of
from fx2py.program.analyses.type_inference import ARITHMETIC
from fx2py.program.ir import COMPUTE_ONCE, Applied, Assign, Load, Program, Statement, names_in, with_applied
from fx2py.program.native import operator_of

NAME = "below_autograd"
REASON = "in calls that record no gradients, nothing outside sees what autograd's layers would note"
FEWEST, FEWEST_A_PARAMETER = 20, 4
"""The checks in each call cost about as much as this many operators save, for the call and for each input."""


def run_below_autograd(program: Program) -> Program:
    """The Program marked where leaving out autograd's layers is proven to change nothing."""
    if not _may_run_below_autograd(program):
        return program
    applied = Applied(NAME, program.entry.name, REASON)
    return with_applied(replace(program, below_autograd=True), [applied])


def _may_run_below_autograd(program: Program) -> bool:
    """Whether it is proven, and saves more than it costs."""
    entry = program.entry
    calls = sum(isinstance(statement, Assign) for statement in entry.body)
    return (
        calls >= FEWEST + FEWEST_A_PARAMETER * len(entry.parameters)
        and all(function.name == COMPUTE_ONCE for function in program.functions[:-1])
        and all(_is_covered(statement) for function in program.functions for statement in function.body)
        and _stays_inside(program)
    )


def _is_covered(statement: Statement) -> bool:
    """Whether the table holds what a statement calls, or it calls no operator."""
    if not isinstance(statement, Assign):
        return True
    callee = statement.call.callee
    if isinstance(callee, Name) and operator_of(statement) is None:
        return callee.module in ARITHMETIC or callee.path.startswith("torch.sym_")
    return memory_of(statement) is not None


def _stays_inside(program: Program) -> bool:
    """Whether no memory that others hold is written to, and each result has memory of its own."""
    entry, sharing = program.entry, Sharing(program.entry, program)
    given = {parameter.name for parameter in entry.parameters}
    given.update(item.target for item in entry.body if isinstance(item, Load))
    outside = set(map(sharing.class_of, given))
    results = set(names_in(entry.result))
    made = {item.target: item for item in entry.body if isinstance(item, Assign) and item.target in results}
    return (
        not sharing.written & outside
        and len(sharing.leaving) == len(results)
        and all(name in given or sharing.class_of(name) not in outside for name in results)
        and all(name in given or (name in made and _is_one_tensor(made[name])) for name in results)
    )


def _is_one_tensor(statement: Assign) -> bool:
    op = operator_of(statement)
    return op is not None and returns_tensor(op)
