"""Whether calls that record no gradients may skip the dispatch keys Autograd and ADInplaceOrView.

torch sends every operator through these two keys before its kernel. When no gradients are recorded, the kernel of
Autograd does nothing but redispatch. That of ADInplaceOrView marks the result of a view operator as a view
(``DifferentiableViewMeta``) and bumps the version counter of a tensor that is written to (Note [ADInplaceOrView key] in
c10/core/DispatchKey.h). A Program that this pass marks runs such calls under torch's guard
``AutoDispatchBelowADInplaceOrView``, hence the name "below autograd"; a note beside the guard
(ATen/core/LegacyTypeDispatch.h) shows how that goes wrong, so it takes a proof that nobody can miss the views and
versions:

Proof. Each operator whose memory behaviour is in the table of operators was run with and without these keys, with equal
results. What ADInplaceOrView would note stays inside the code, because

- nothing writes to memory of an input or a weight, so no version counter that is visible outside is missed;
- each result is one tensor and shares memory with no other result, input or weight. All that it lacks is the mark of
  a view whose base nothing else holds.

What depends on the call (gradients, modes, transforms, tensor subclasses) is checked in each call, by
``below_autograd`` in fx2py/runtime/autograd.py.
"""

from __future__ import annotations

from dataclasses import replace

from fx2py.graph.values import Name
from fx2py.operators.facts import returns_tensor
from fx2py.program.analyses.aliasing import AliasClasses, memory_of
from fx2py.program.analyses.type_inference import ARITHMETIC
from fx2py.program.ir import COMPUTE_ONCE, Applied, Assign, Load, Program, Statement, names_in, with_applied
from fx2py.program.native import operator_of

NAME = "below_autograd"
REASON = "in calls that record no gradients, nothing outside sees what autograd's layers would note"
FEWEST, FEWEST_A_PARAMETER = 20, 4
"""How many operators must be called to save what the checks cost: for each call, and more for each input."""


def run_below_autograd(program: Program) -> Program:
    """The Program, marked if skipping the dispatch keys is proven to change nothing and saves time."""
    if not _may_run_below_autograd(program):
        return program
    applied = Applied(NAME, program.entry.name, REASON)
    return with_applied(replace(program, below_autograd=True), [applied])


def _may_run_below_autograd(program: Program) -> bool:
    """Whether it is proven and saves more than it costs."""
    entry = program.entry
    calls = sum(isinstance(statement, Assign) for statement in entry.body)
    return (
        calls >= FEWEST + FEWEST_A_PARAMETER * len(entry.parameters)
        and all(function.name == COMPUTE_ONCE for function in program.functions[:-1])
        and all(_is_covered(statement) for function in program.functions for statement in function.body)
        and _stays_inside(program)
    )


def _is_covered(statement: Statement) -> bool:
    """Whether the table of operators covers what a statement calls, or it calls no operator."""
    if not isinstance(statement, Assign):
        return True
    callee = statement.call.callee
    if isinstance(callee, Name) and operator_of(statement) is None:
        return callee.module in ARITHMETIC or callee.path.startswith("torch.sym_")
    return memory_of(statement) is not None


def _stays_inside(program: Program) -> bool:
    """Whether no memory that others hold is written to and each result has memory of its own."""
    entry, aliases = program.entry, AliasClasses(program.entry, program)
    given = {parameter.name for parameter in entry.parameters}
    given.update(item.target for item in entry.body if isinstance(item, Load))
    outside = set(map(aliases.class_of, given))
    results = set(names_in(entry.result))
    made = {item.target: item for item in entry.body if isinstance(item, Assign) and item.target in results}
    return (
        not aliases.written & outside
        # Two results in one class may be one tensor and its view, and a write to one must count for the other.
        and len(aliases.returned) == len(results)
        and all(name in given or aliases.class_of(name) not in outside for name in results)
        and all(name in given or (name in made and _is_one_tensor(made[name])) for name in results)
    )


def _is_one_tensor(statement: Assign) -> bool:
    op = operator_of(statement)
    return op is not None and returns_tensor(op)
