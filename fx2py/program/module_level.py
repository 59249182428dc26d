"""What all functions of one Program share: its tables, its module-level names, and what it cannot say."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from fx2py.errors import Argument, Finding, Hint, UnsupportedGraphError
from fx2py.graph.data import Graph, GraphData, ModuleRecord
from fx2py.graph.values import (
    OpName,
)
from fx2py.program.contract import input_table
from fx2py.program.ir import (
    ENTRY,
    Container,
    Function,
    InputTable,
    Local,
    Slot,
)
from fx2py.program.mentions import mentions
from fx2py.program.module_state import ChangingModules
from fx2py.program.options import Embedding, GenerateOptions
from fx2py.program.scope import RESERVED, Scope
from fx2py.program.tables import Tables

LowerFunction: TypeAlias = "Callable[[ModuleLevel, ModuleRecord, str, str], Function]"
"""Lowers the graph of a record at a path to a function of the given name."""


_REPEATED_ANYWAY, _REPEATED_A_NODE, _REPEATED_AT_MOST = 10_000, 100, 100_000
"""Parts that flattening may add: some in any case, more for each node in the file, so that a small file costs little."""


class ModuleLevel:
    """What all functions of one Program share: tables, module-level names, findings."""

    def __init__(
        self,
        data: GraphData,
        options: GenerateOptions,
        lower_function: LowerFunction,
        embedding: Embedding | None = None,
    ) -> None:
        self.data = data
        self.options = options
        self.embedding = embedding
        self._lower_function = lower_function
        self.tables = Tables()
        self.changing = ChangingModules(data.root)
        self.findings: list[Finding] = []
        self.functions: list[Function] = []
        self.inlined: dict[str, ModuleRecord] = {}
        self.containers: dict[Container, str] = {}
        self.op_aliases: dict[OpName, str] = {}
        self._used_ops: set[OpName] = set()
        self.entry = ENTRY if embedding is None else embedding.entry
        others = embedding.reserved | embedding.free if embedding else frozenset[str]()
        self._module_scope = Scope([*RESERVED, self.entry, *others])
        self._function_names: dict[int, str] = {}
        self._built: dict[int, Local] = {}
        self._lowered: dict[str, Function] = {}
        self._flattened: set[int] = set()
        self._repeated = 0
        self._may_repeat = _most_repeated(data)
        self.input_table: InputTable | None = None
        self.notes: tuple[str, ...] = ()
        if data.contract is not None and data.convention is not None:
            self.input_table, self.notes = input_table(data.contract, data.convention)
        self._reserve_module_names(data)

    def _reserve_module_names(self, data: GraphData) -> None:
        """Settle every module-level name first, so that no variable of any function can hide one."""
        found = mentions(data)
        for package in found.packages:
            self._module_scope.reserve(package)
        for path, record in data.root.walk():
            if record.graph is not None and record is not data.root:
                self._function_names[id(record)] = self._module_scope.fresh(path.replace(".", "_"))
        for op in found.ops:
            wish = "_".join(filter(None, (op.namespace, op.name, op.overload)))
            self.op_aliases[op] = self._module_scope.fresh(wish.removesuffix("_default"))
        for container in found.containers:
            alias = self._module_scope.fresh(container.cls.qualname.rpartition(".")[2])
            self.containers[container] = alias

    def new_scope(self) -> Scope:
        free = self.embedding.free if self.embedding else frozenset[str]()
        return Scope(self._module_scope.taken - free)

    def use_op(self, op: OpName) -> OpName:
        self._used_ops.add(op)
        return op

    def used_aliases(self) -> tuple[tuple[str, OpName], ...]:
        return tuple((alias, op) for op, alias in self.op_aliases.items() if op in self._used_ops)

    def repeat(self, count: int) -> None:
        """Count what the file holds once and the code would hold again; UnsupportedGraphError beyond all reason.

        Modules that call each other twice, and tuples of such results, double with every step.
        """
        self._repeated += count
        if self._repeated > self._may_repeat:
            reason = f"repeats its modules and tuples: flattened, they have more than {self._may_repeat} parts more"
            fault = UnsupportedGraphError(
                (Finding("the graph", reason),), self.data.provenance.path or "the graph"
            )
            if not self.options.keep_submodules:
                fault.hint = Hint("Keep its modules as functions: ", Argument.KEEP_SUBMODULES, ".")
            raise fault

    def flatten(self, record: ModuleRecord, graph: Graph) -> None:
        """Note that the graph of a record is flattened into its caller, once more when it was before."""
        if id(record) in self._flattened:
            self.repeat(len(graph.nodes))
        self._flattened.add(id(record))

    def refuse(self, node: str, reason: str) -> None:
        self.findings.append(Finding(node, reason))

    def local(self, record: ModuleRecord, path: str) -> Local:
        """The generated function of a nested graph, lowered on first use."""
        if id(record) not in self._built:
            name = self._function_names[id(record)]
            self._built[id(record)] = Local(name)
            self._lowered[name] = self._lower_function(self, record, path, name)
            self.functions.append(self._lowered[name])
        return self._built[id(record)]

    def function_in(self, slot: Slot) -> Function | None:
        """The generated function that stands in a slot of the submodules; None where something else does."""
        name = self.tables.submods[slot.index].function if slot.table == "submods" else None
        return self._lowered.get(name or "")


def _most_repeated(data: GraphData) -> int:
    records = {id(record): record for _, record in data.root.walk()}.values()
    nodes = sum(len(record.graph.nodes) for record in records if record.graph is not None)
    return min(_REPEATED_ANYWAY + _REPEATED_A_NODE * nodes, _REPEATED_AT_MOST)
