"""Lowering: GraphData to a Program of straight-line functions; nested graphs are flattened into their callers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from fx2py.errors import UnsupportedGraphError
from fx2py.graph.data import MEND_LOST, GraphData, ModuleRecord
from fx2py.program.flatten import FunctionLowering
from fx2py.program.ir import (
    Function,
    Program,
    Submodule,
)
from fx2py.program.module_level import ModuleLevel
from fx2py.program.optimize import optimized
from fx2py.program.options import DEFAULT, Embedding, GenerateOptions
from fx2py.program.passes import below_autograd
from fx2py.program.verify import verify


@dataclass(frozen=True, slots=True)
class Stage:
    """The Program after one step of the translation, by the name of the step."""

    name: str
    program: Program


def lower(data: GraphData, options: GenerateOptions = DEFAULT, embedding: Embedding | None = None) -> Program:
    """Translate a graph into a Program; raises UnsupportedGraphError with every finding, not only the first."""
    *_, last = stages(data, options, embedding)
    return last.program


def stages(
    data: GraphData, options: GenerateOptions = DEFAULT, embedding: Embedding | None = None
) -> Iterator[Stage]:
    """The steps of the translation in their order; raises as ``lower`` does."""
    program = _translated(data, options, embedding)
    yield Stage("lowered", program)
    if options.optimize:
        for name, after in optimized(program):
            program = after
            yield Stage(name, program)
    if not (options.exact_ops or embedding):
        yield Stage(below_autograd.NAME, below_autograd.run_below_autograd(program))


def _translated(data: GraphData, options: GenerateOptions, embedding: Embedding | None) -> Program:
    lowering = ModuleLevel(data, options, _function, embedding)
    entry = _function(lowering, data.root, "", lowering.entry)
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
    return program


def _function(shared: ModuleLevel, record: ModuleRecord, path: str, name: str) -> Function:
    return FunctionLowering(shared, record, path).run(name)


def _lost(submods: Iterable[Submodule]) -> Iterator[str]:
    """What the file does not hold of the modules that the code calls."""
    for entry in submods:
        for path, record in entry.record.walk(entry.path) if entry.record else ():
            if record.lost:
                yield f"the code cannot run as it is: the submodule {path!r} {record.lost}; {MEND_LOST}"
