"""The printed form of a Program, one line a statement; tests of passes compare it, and ``fx2py gen`` can print it after each pass."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from typing import Any

from fx2py.graph.listing import arguments_text, tensor_note, value_note, value_text
from fx2py.program import ir


def listing(program: ir.Program) -> str:
    """The bound tables and every function, callees first."""
    tables = [
        *(
            f"weights[{i}] = {each.path}  # {tensor_note(each.tensor)}"
            for i, each in enumerate(program.weights)
        ),
        *(f"submods[{i}] = {each.path}" for i, each in enumerate(program.submods)),
        *(f"consts[{i}] = {value_text(each.value)}" for i, each in enumerate(program.consts)),
    ]
    parts = ["\n".join(tables), *map(function_listing, program.functions)]
    marks = "marked: may run below autograd" if program.below_autograd else ""
    return "\n\n".join(filter(None, (*parts, marks))) + "\n"


def function_listing(function: ir.Function) -> str:
    """One function: its parameters and tables, its statements, its result."""
    parameters = ", ".join((*map(_parameter, function.parameters), *function.tables))
    body = [f"  {_STATEMENTS[type(statement)](statement)}" for statement in function.body]
    return "\n".join([f"{function.name}({parameters}):", *body, f"  return {value_text(function.result)}"])


def changes(before: ir.Program, after: ir.Program) -> Iterator[str]:
    """The lines in which two listings differ: ``-`` before those that are gone, ``+`` before new ones."""
    one, other = (listing(program).splitlines() for program in (before, after))
    lines = difflib.unified_diff(one, other, n=0, lineterm="")
    for line in lines:
        if not line.startswith(("---", "+++", "@@")) and line[1:].strip():
            yield f"{line[0]} {line[1:].strip()}".rstrip()


def _parameter(parameter: ir.Parameter) -> str:
    stars = {"var_positional": "*", "var_keyword": "**"}.get(parameter.kind, "")
    default = "" if parameter.default is ir.REQUIRED else f"={value_text(parameter.default)}"
    return f"{stars}{parameter.name}{default}"


def _assign(statement: ir.Assign) -> str:
    call = statement.call
    target = "" if statement.target is None else f"{statement.target} = "
    text = f"{target}{_callee(call.callee)}({arguments_text(call.args, call.kwargs)})"
    note = "" if statement.origin is None else value_note(statement.origin.meta.value)
    return f"{text}  # {note}" if note else text


def _callee(callee: ir.Callee) -> str:
    """What is called; a method, which is looked up on the first argument, as ``.name``."""
    if isinstance(callee, ir.Local | ir.Method):
        return callee.name if isinstance(callee, ir.Local) else f".{callee.name}"
    return value_text(callee)


_STATEMENTS: dict[type, Callable[[Any], str]] = {
    ir.Assign: _assign,
    ir.Load: lambda statement: f"{statement.target} = {statement.slot}",
    ir.Bind: lambda statement: f"{statement.target} = {value_text(statement.value)}",
    ir.Delete: lambda statement: f"del {', '.join(statement.names)}",
}
