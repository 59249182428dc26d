"""The invariants of a Program, checked after lowering and after each pass in one walk over the statements."""

from __future__ import annotations

from collections.abc import Iterator

from fx2py.errors import InternalError
from fx2py.program import ir


def verify(program: ir.Program) -> None:
    """Raise InternalError unless every function is well-formed.

    Every variable is bound once, before its use, and deleted right after its last use unless the result holds it or a
    table owns it. Every slot exists in its table, and every function comes before its callers.
    """
    sizes = {"weights": len(program.weights), "submods": len(program.submods), "consts": len(program.consts)}
    known = {ir.FIELDS_OF} if program.input_table is None else {ir.FIELDS_OF, ir.CHECK_INPUTS}
    for function in program.functions:
        for problem in _problems(function):
            raise InternalError(f"{function.name} is not well-formed: {problem}")
        for part in function.named:
            if type(part) is ir.Slot and not (
                part.table in function.tables and part.index < sizes[part.table]
            ):
                raise InternalError(f"{function.name} uses {part}, which it is not given")
            if type(part) is ir.Local and part.name not in known:
                raise InternalError(f"{function.name} uses {part.name} before it is defined")
        known.add(function.name)


def _problems(function: ir.Function) -> Iterator[str]:
    bound = [parameter.name for parameter in function.parameters]
    alive, seen, loaded = set(bound), set(bound), set[str]()
    # A parameter that nothing uses is deleted at the very start, as if its last use were the call itself.
    last_used: set[str] = set(bound)
    if len(seen) != len(bound):
        yield "two parameters have the same name"
    for statement in function.body:
        if isinstance(statement, ir.Delete):
            names = set(statement.names)
            yield from (f"{name} is deleted but not bound" for name in sorted(names - alive))
            yield from (
                f"{name} is not deleted right after its last use" for name in sorted(names - last_used)
            )
            alive -= names
            continue
        last_used = set(statement.parts.variables)
        yield from (f"{name} is used but not bound" for name in sorted(last_used - alive))
        if not isinstance(statement, ir.Assign | ir.Bind | ir.Load):
            yield "a statement of structured code stands in it"
            continue
        target = statement.target
        if target is None:
            continue
        if target in seen:
            yield f"{target} is bound twice"
        seen.add(target)
        alive.add(target)
        if type(statement) is ir.Load:
            loaded.add(target)
    held = set(ir.names_in(function.result))
    yield from (f"the result holds {name}, which is not bound" for name in sorted(held - alive))
    yield from (f"{name} outlives its last use" for name in sorted(alive - held - loaded))
