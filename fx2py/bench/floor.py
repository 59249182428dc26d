"""The floor: what a person would write for a chain of submodules, a closure over their bound calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fx2py.artifact import Artifact, submodule_table
from fx2py.graph.values import Ref
from fx2py.program.ir import Assign, Delete, Program, Slot


def floor_of(code: Artifact, bound: Callable[..., Any]) -> Callable[..., Any] | None:
    """A hand-written closure that does what ``bound`` does; None when the graph is not a plain chain of submodules."""
    order = chain_of(code.program) if code.program is not None else None
    if order is None:
        return None
    table = submodule_table(bound)
    return chain([table[index] for index in order])


def chain(calls: list[Callable[..., Any]]) -> Callable[..., Any]:
    """``x -> calls[-1](...calls[0](x))`` as straight-line code over closure variables."""
    names = [f"call_{index}" for index in range(len(calls))]
    body = "".join([f"        x = {name}(x)\n" for name in names])
    source = f"def make({', '.join(names)}):\n    def run(x):\n{body}        return x\n    return run\n"
    namespace: dict[str, Any] = {}
    exec(source, namespace)
    run: Callable[..., Any] = namespace["make"](*calls)
    return run


def chain_of(program: Program) -> list[int] | None:
    """The submodules that a program calls one after the other, each on the result of the last; None for others."""
    entry = program.entry
    if len(entry.parameters) != 1:
        return None
    current, order = Ref(entry.parameters[0].name), []
    for statement in entry.body:
        if type(statement) is Delete:
            continue
        if type(statement) is not Assign or statement.target is None or statement.call.args != (current,):
            return None
        callee = statement.call.callee
        if type(callee) is not Slot or callee.table != "submods" or statement.call.kwargs:
            return None
        order.append(callee.index)
        current = Ref(statement.target)
    return order if order and entry.result == current else None
