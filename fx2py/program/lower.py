"""Lowering: GraphData to a Program of straight-line functions; nested graphs are flattened into their callers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from fx2py.errors import UnsupportedGraphError
from fx2py.graph.data import MEND_LOST, GraphData, ModuleRecord
from fx2py.program.flatten import FunctionLowering
from fx2py.program.ir import (
    ENTRY,
    Function,
    Program,
    Submodule,
)
from fx2py.program.module_level import ModuleLevel
from fx2py.program.optimize import optimize
from fx2py.program.options import DEFAULT, GenerateOptions
from fx2py.program.passes.below_autograd import run_below_autograd
from fx2py.program.verify import verify


def lower(data: GraphData, options: GenerateOptions = DEFAULT) -> Program:
    """Translate a graph into a Program; raises UnsupportedGraphError with every finding, not only the first."""
    lowering = ModuleLevel(data, options, _function)
    entry = _function(lowering, data.root, "", ENTRY)
    if lowering.findings:
        raise UnsupportedGraphError(tuple(lowering.findings), data.provenance.path or "the graph")
    program = Program(
        functions=(*lowering.functions, entry),
        op_aliases=lowering.used_aliases(),
        containers=tuple((alias, container) for container, alias in lowering.containers.items()),
        weights=tuple(lowering.tables.weights),
        submods=tuple(lowering.tables.submods),
        consts=tuple(lowering.tables.consts),
        convention=data.convention,
        input_table=lowering.input_table,
        provenance=data.provenance,
        inlined=tuple(lowering.inlined.items()),
        notes=(*data.notes, *lowering.notes, *_lost(lowering.tables.submods)),
    )
    verify(program)
    if options.optimize:
        program = optimize(program)
    return program if options.exact_ops else run_below_autograd(program)


def _function(shared: ModuleLevel, record: ModuleRecord, path: str, name: str) -> Function:
    return FunctionLowering(shared, record, path).run(name)


def _lost(submods: Iterable[Submodule]) -> Iterator[str]:
    """What the file does not hold of the modules that the code calls."""
    for entry in submods:
        for path, record in entry.record.walk(entry.path) if entry.record else ():
            if record.lost:
                yield f"the code cannot run as it is: the submodule {path!r} {record.lost}; {MEND_LOST}"
