"""Which of the tensors that a Program is bound to its calls may write to: all others are after a call what they were before.

By alias analysis, function by function. Of operators that were not measured their schemas say what they write to. A weight that a function other than the entry returns counts as written, since its
caller may write to it. What a module holds counts as written unless the module is one of torch's that only read.
"""

from __future__ import annotations

from typing import TypeGuard

from torch._C import FunctionSchema

from fx2py.graph.data import ModuleRecord
from fx2py.graph.values import OpName
from fx2py.operators.schema import schema_of
from fx2py.program import ir
from fx2py.program.analyses.aliasing import AliasClasses, memory_in, memory_of, written_names
from fx2py.program.native import operator_of

_READING_MODULES = frozenset(
    {
        *("linear.Linear", "linear.Bilinear", "normalization.LayerNorm", "normalization.GroupNorm"),
        *("normalization.RMSNorm", "activation.PReLU", "conv.Conv1d", "conv.Conv2d", "conv.Conv3d"),
        *("conv.ConvTranspose1d", "conv.ConvTranspose2d", "conv.ConvTranspose3d", "rnn.LSTM", "rnn.GRU"),
        *("activation.MultiheadAttention", "sparse.Embedding", "sparse.EmbeddingBag"),
    }
)
"""The modules of torch with tensors of their own, to which their forward writes in no mode; embeddings do with a
``max_norm``."""
_LIBRARY = "torch.nn.modules."
_TORCH, _HIGHER_ORDER = "aten", "higher_order"


def written_tensors(program: ir.Program) -> frozenset[str]:
    """The names, as ``bound_tensors`` has them, of the tensors that a call of a flat Program may write to.

    What it says of modules holds for a Program whose table of submodules has their records.
    """
    names = {id(tensor): name for name, tensor in ir.bound_tensors(program).items()}
    found: set[int] = set()
    clean: set[str] = set()
    for function in program.functions:  # callees come first
        writes = _Writes(function, program, clean)
        found |= {id(program.weights[index].tensor) for index in writes.weights}
        if not writes.parameters:
            clean.add(function.name)
    for entry in program.submods:
        if entry.record is not None and entry.function is None and (entry.whole or _may_write(entry.record)):
            below = (ir.module_tensors(path, record) for path, record in entry.record.walk())
            found |= {id(tensor) for held in below for _, tensor in held}
    return frozenset([name for tensor, name in names.items() if tensor in found])


class _Writes:
    """What one function may write to, or hand to one that writes: ``weights`` by index, and its ``parameters``.

    ``clean``: the functions that write to none of their parameters.
    """

    def __init__(self, function: ir.Function, program: ir.Program, clean: set[str]) -> None:
        self._program, self._clean = program, clean
        aliases = AliasClasses(function, program, _is_fresh)
        written = {aliases.class_of(name) for each in function.body for name in self._written(each)}
        handed_on = written if function is program.entry else written | aliases.returned
        self.weights = [slot.index for slot in aliases.weights if aliases.class_of(str(slot)) in handed_on]
        self.parameters = [each for each in function.parameters if aliases.class_of(each.name) in written]

    def _written(self, statement: ir.Statement) -> list[str]:
        if not isinstance(statement, ir.Assign):
            return []
        called = self._called(statement)
        if called and called <= self._clean:
            return []
        callee = statement.call.callee
        op = callee if isinstance(callee, OpName) else operator_of(statement)
        schema = None if op is None or op.is_higher_order else schema_of(op)
        if schema is None or memory_of(statement) is not None:
            return written_names(statement)
        return _declared_writes(schema, statement.call)

    def _called(self, statement: ir.Assign) -> set[str]:
        """The generated functions that a call calls itself, or gives to a higher-order operator."""
        callee = statement.call.callee
        if isinstance(callee, OpName) and callee.is_higher_order:
            return {part.name for part in statement.parts.named if isinstance(part, ir.Local)}
        function = self._program.submods[callee.index].function if _is_submodule(callee) else None
        return {function} if function else set()


def _is_fresh(statement: ir.Assign) -> bool:
    schema = _schema_of_library(statement)
    if schema is None:
        return memory_of(statement) == "fresh"
    return not any(result.alias_info for result in schema.returns)


def _schema_of_library(statement: ir.Assign) -> FunctionSchema | None:
    """What a library says that its operator returns; None for any other call, or if it is not loaded.

    torch relies on it too. Of torch's own operators some return an operand without a word.
    """
    op = statement.call.callee
    if not isinstance(op, OpName) or op.namespace in (_TORCH, _HIGHER_ORDER):
        return None
    return schema_of(op)


def _declared_writes(schema: FunctionSchema, call: ir.Call) -> list[str]:
    """What an operator of which nothing is measured writes to, as its schema says, and the statistics of a norm beside that."""
    names = [each.name for each in schema.arguments]
    given = {**dict(zip(names, call.args, strict=False)), **dict(call.kwargs)}
    written = [
        each.name
        for each in schema.arguments
        if (each.alias_info is not None and each.alias_info.is_write) or each.name.startswith("running_")
    ]
    return memory_in(ir.Parts.of(*[given[name] for name in written if name in given]))


def _is_submodule(callee: ir.Callee) -> TypeGuard[ir.Slot]:
    return isinstance(callee, ir.Slot) and callee.table == "submods"


def _may_write(record: ModuleRecord) -> bool:
    """Whether the forward of a module, or of one inside it, may write to its tensors."""
    return any(not _only_reads(each) for _, each in record.walk())


def _only_reads(record: ModuleRecord) -> bool:
    if record.hooks or not record.cls.module.startswith(_LIBRARY):
        return False
    name = f"{record.cls.module.removeprefix(_LIBRARY)}.{record.cls.qualname}"
    is_reading = name in _READING_MODULES and record.attributes.get("max_norm") is None
    return is_reading or not list(ir.module_tensors("", record))
