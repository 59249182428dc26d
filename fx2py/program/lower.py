"""Lowering: GraphData to a Program of straight-line functions, with nested graphs inlined into their callers."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch

from fx2py.errors import Argument, Finding, Hint, UnsupportedGraphError
from fx2py.graph import values as language
from fx2py.graph.data import (
    MEND_LOST,
    Graph,
    GraphData,
    ModuleRecord,
    Node,
    SymMeta,
    Target,
    TensorMeta,
    Tree,
    ValueMeta,
)
from fx2py.graph.parameters import Unbound, bind_arguments
from fx2py.operators.devices import explicit_devices
from fx2py.operators.facts import returns_tensor
from fx2py.operators.schema import returns_tensor_list
from fx2py.program import ir
from fx2py.program.calling import (
    as_parameters,
    container_of,
    pack_result,
    parameters_of,
    unpack_inputs,
)
from fx2py.program.exact_text import NEVER_AT_FAULT, constant_name, exact_key, fault_of, needs_slot
from fx2py.program.identifiers import RESERVED, FreshNames, tensor_name
from fx2py.program.input_table import input_table, leaf_demands
from fx2py.program.liveness import finish, move_arguments, place_loads, unpack_early
from fx2py.program.module_use import ChangingModules, used_as_objects
from fx2py.program.native import native_call
from fx2py.program.options import DEFAULT, Embedding, GenerateOptions
from fx2py.program.verify import verify
from fx2py.recursion import DEEPEST
from fx2py.runtime.checks import Shape

_FROZENSET = language.Name("builtins", "frozenset")
_TAKES_GRAPH_MODULES = frozenset(
    language.OpName("higher_order", name)
    for name in ("tag_activation_checkpoint", "autograd_function_apply", "run_const_graph")
)
"""Higher-order operators that read their operand's ``graph`` or ``meta``; all others take any function.

Source: torch/_higher_order_ops/wrap.py and run_const_graph.py, ``AutogradFunctionApply`` in
torch/_functorch/autograd_function.py.
"""
TOO_DEEP = f"its modules are nested more than {DEEPEST} deep"
_MUTABLE = (language.List, language.Dict, language.Set)
_REPEATED_ANYWAY, _REPEATED_A_NODE, _REPEATED_AT_MOST = 10_000, 100, 100_000
"""How many nodes and tuples inlining may repeat: proportional to the file, so that a small file cannot cost much."""


def lower(
    data: GraphData, options: GenerateOptions = DEFAULT, embedding: Embedding | None = None
) -> ir.Program:
    """The Program that does what the graph does; raises UnsupportedGraphError with every finding, not only the first."""
    lowering = ProgramLowering(data, options, embedding)
    entry = FunctionLowering(lowering, data.root, "").run(lowering.entry)
    if lowering.findings:
        raise UnsupportedGraphError(tuple(lowering.findings), data.provenance.path or "the graph")
    program = ir.Program(
        functions=(*lowering.lowered.values(), entry),
        op_aliases=lowering.used_aliases(),
        containers=tuple((alias, container) for container, alias in lowering.containers.items()),
        weights=tuple(lowering.tables.weights),
        submods=tuple(lowering.tables.submods),
        consts=tuple(lowering.tables.consts),
        input_table=lowering.input_table,
        module_names=lowering.module_names,
        report=ir.Report(
            provenance=data.provenance,
            inlined=tuple(lowering.inlined.items()),
            notes=(*data.notes, *lowering.notes, *_lost(lowering.tables.submods)),
        ),
    )
    verify(program)
    return program


def _lost(submods: Iterable[ir.Submodule]) -> Iterator[str]:
    """A note for each module that the code calls and that the file holds only in part."""
    for entry in submods:
        for path, record in entry.record.walk(entry.path) if entry.record else ():
            if record.lost:
                yield f"the code cannot run as it is: the submodule {path!r} {record.lost}; {MEND_LOST}"


class ProgramLowering:
    """Lowers a whole graph; holds what its functions share: tables, module-level names and findings."""

    def __init__(self, data: GraphData, options: GenerateOptions, embedding: Embedding | None) -> None:
        self.data = data
        self.options = options
        self.embedding = embedding
        self.tables = TableBuilder()
        self.changing = ChangingModules(data.root)
        self.findings: list[Finding] = []
        self.inlined: dict[str, ModuleRecord] = {}
        self.containers: dict[ir.ContainerClass, str] = {}
        self.op_aliases: dict[language.OpName, str] = {}
        self._used_ops: set[language.OpName] = set()
        self.entry = ir.ENTRY if embedding is None else embedding.entry
        others = embedding.reserved | embedding.free if embedding else frozenset[str]()
        self._module_names = FreshNames([*RESERVED, self.entry, *others])
        self._function_names: dict[int, str] = {}
        self._built: dict[int, ir.Local] = {}
        self.lowered: dict[str, ir.Function] = {}
        """The functions of nested graphs by name, in the order in which they were finished."""
        self._inlined_once: set[int] = set()
        self._repeated = self._depth = 0
        self._may_repeat = _most_repeated(data)
        self.input_table: ir.InputTable | None = None
        self.notes: tuple[str, ...] = ()
        if data.contract is not None and data.convention is not None:
            self.input_table, self.notes = input_table(data.contract, data.convention)
        self._reserve_module_names(data)

    def _reserve_module_names(self, data: GraphData) -> None:
        """Choose every module-level name first, so that no variable of any function can hide one."""
        found = used_by(data)
        for package in found.packages:
            self._module_names.reserve(package)
        for path, record in data.root.walk():
            if record.graph is not None and record is not data.root:
                self._function_names[id(record)] = self._module_names.fresh(path.replace(".", "_"))
        for op in found.ops:
            wish = "_".join(filter(None, (op.namespace, op.name, op.overload)))
            self.op_aliases[op] = self._module_names.fresh(wish.removesuffix("_default"))
        for container in found.containers:
            alias = self._module_names.fresh(container.cls.qualname.rpartition(".")[2])
            self.containers[container] = alias

    @cached_property
    def module_names(self) -> frozenset[str]:
        """The names that no variable may hide; there are no new ones once the functions are lowered."""
        return self._module_names.taken - (self.embedding.free if self.embedding else frozenset())

    def use_op(self, op: language.OpName) -> language.OpName:
        self._used_ops.add(op)
        return op

    def used_aliases(self) -> tuple[tuple[str, language.OpName], ...]:
        return tuple((alias, op) for op, alias in self.op_aliases.items() if op in self._used_ops)

    def repeat(self, count: int) -> None:
        """Count parts that the code repeats; raises UnsupportedGraphError where a small file would give endless code.

        Modules that each call the next one twice, and tuples of such results, double with every level.
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

    def count_inlined(self, record: ModuleRecord, graph: Graph) -> None:
        """Count the nodes of a graph that is inlined for the second time or more."""
        if id(record) in self._inlined_once:
            self.repeat(len(graph.nodes))
        self._inlined_once.add(id(record))

    def refuse(self, node: str, reason: str) -> None:
        self.findings.append(Finding(node, reason))

    def local(self, record: ModuleRecord, path: str) -> ir.Local:
        """The generated function of a nested graph, lowered on first use."""
        if id(record) not in self._built:
            name = self._function_names[id(record)]
            self._built[id(record)] = ir.Local(name)
            if self._depth >= DEEPEST:
                self.refuse(path, TOO_DEEP)
                return self._built[id(record)]
            self._depth += 1
            self.lowered[name] = FunctionLowering(self, record, path).run(name)
            self._depth -= 1
        return self._built[id(record)]

    def function_in(self, slot: ir.Slot) -> ir.Function | None:
        """The generated function in a slot of the submodules; None if something else is."""
        name = self.tables.submods[slot.index].function if slot.table == "submods" else None
        return self.lowered.get(name or "")


def _most_repeated(data: GraphData) -> int:
    records = {id(record): record for _, record in data.root.walk()}.values()
    nodes = sum(len(record.graph.nodes) for record in records if record.graph is not None)
    return min(_REPEATED_ANYWAY + _REPEATED_A_NODE * nodes, _REPEATED_AT_MOST)


@dataclass(frozen=True, slots=True)
class UsedNames:
    """The top-level packages, operators and container classes that a graph names, each once, in order of appearance."""

    packages: dict[str, None] = field(default_factory=dict)
    ops: dict[language.OpName, None] = field(default_factory=dict)
    containers: dict[ir.ContainerClass, None] = field(default_factory=dict)

    def add(self, found: ir.Operand | Target) -> None:
        if isinstance(found, language.OpName):
            self.ops[found] = None
        elif isinstance(found, language.Name):
            self.packages[found.module.partition(".")[0]] = None
        elif isinstance(found, language.EnumMember):
            self.add(found.cls)
        elif isinstance(found, language.Record):
            self.containers[ir.ContainerClass(found.cls, tuple(name for name, _ in found.fields))] = None

    def add_inside(self, value: ir.Operand | Target) -> None:
        if type(value) in _NAMELESS:
            return
        for part in language.walk(value):
            if type(part) not in _NAMELESS:
                self.add(part)


_NAMELESS = language.PRIMITIVES | {language.Ref}


def used_by(data: GraphData) -> UsedNames:
    """The names in all graphs, in the modules' attributes and in the structure of the results."""
    found = UsedNames()
    for _, record in data.root.walk():
        for node in record.graph.nodes if record.graph else ():
            found.add_inside(node.target)
            for value in node.operands:
                found.add_inside(value)
        for value in record.attributes.values():
            found.add_inside(value)
    conventions = [data.convention, *(record.convention for _, record in data.root.walk())]
    stack: list[Tree] = [each.output for each in conventions if each is not None and each.output is not None]
    while stack:
        tree = stack.pop()
        made = container_of(tree)
        if made is not None:
            found.containers[made] = None
        elif tree.cls is not None:
            found.add(tree.cls)
        stack.extend(reversed(tree.children))
    return found


class TableBuilder:
    """Fills the tables: one slot for each tensor and module record (by identity) and each constant (by type and bits)."""

    def __init__(self) -> None:
        self.weights: list[ir.Weight] = []
        self.submods: list[ir.Submodule] = []
        self.consts: list[ir.Constant] = []
        self._index: dict[Hashable, ir.Slot] = {}
        self._const_names = FreshNames()

    def weight(self, path: str, tensor: torch.Tensor) -> ir.Slot:
        key = ("weight", id(tensor))
        if key not in self._index:
            self._index[key] = ir.Slot("weights", len(self.weights))
            self.weights.append(ir.Weight(path, tensor))
        return self._index[key]

    def submodule(self, path: str, record: ModuleRecord | None, function: str | None = None) -> ir.Slot:
        key = ("submod", path if record is None else id(record))
        if key not in self._index:
            self._index[key] = ir.Slot("submods", len(self.submods))
            self.submods.append(ir.Submodule(path, record, 0, function))
        return self._index[key]

    def module(self, path: str, record: ModuleRecord) -> ir.Slot:
        """The slot of a submodule that is used as an object and not only called."""
        slot = self.submodule(path, record)
        self.submods[slot.index] = replace(self.submods[slot.index], whole=True)
        return slot

    def record_call(self, slot: ir.Slot, inputs: tuple[ValueMeta, ...], output: ValueMeta) -> None:
        """Count a call site; what the first one recorded becomes the entry's inputs and output."""
        entry = self.submods[slot.index]
        if not entry.calls:
            entry = replace(entry, inputs=inputs, output=output)
        self.submods[slot.index] = replace(entry, calls=entry.calls + 1)

    def attribute(self, path: str, value: language.Value) -> ir.Slot:
        """The slot of a mutable attribute: one object for every read and every call, as on the module."""
        return self._constant(("attribute", path), path.replace(".", "_"), value)

    def constant(self, wish: str, value: language.Value) -> ir.Slot:
        key = value if isinstance(value, language.Live | language.TensorValue) else exact_key(value)
        return self._constant(("const", key), wish, value)

    def _constant(self, key: Hashable, wish: str, value: language.Value) -> ir.Slot:
        if key not in self._index:
            self._index[key] = ir.Slot("consts", len(self.consts))
            self.consts.append(ir.Constant(self._const_names.fresh(wish), value))
        return self._index[key]


class FunctionLowering:
    """Lowers one function: its own graph and every graph that is inlined into it."""

    def __init__(self, outer: ProgramLowering, record: ModuleRecord, path: str) -> None:
        self.outer = outer
        self.record = record
        self.path = path
        self.names = FreshNames(outer.module_names)
        self.statements: list[ir.Statement] = []
        self.symbols: dict[str, language.Ref] = {}
        self.loads: dict[ir.Slot, ir.Load] = {}
        self.containers: set[str] = set()
        self.kinds = VariableKinds()

    def run(self, name: str) -> ir.Function:
        graph = self.record.graph
        if graph is None:
            raise ValueError(f"{self.path} has no graph")
        frame = Frame(self.record, self.path, 0)
        data = self.outer.data
        convention = data.convention if self.record is data.root else self.record.convention
        parameters = parameters_of(graph, convention, self.names, frame.env, self.outer.refuse)
        if convention is not None:
            self._check_inputs(parameters)
            self.statements += unpack_inputs(
                graph, convention, parameters, self.names, frame.env, self.outer.refuse
            )
            self._note_checked_tensors(graph, frame)
        self._nodes(graph, frame)
        result = self.convert(graph.output, frame, "output")
        if convention is not None and convention.output is not None:
            result = pack_result(convention.output, result, self.outer.refuse)
            self._is_well_formed(result, "output")
        loads = self.loads.values()
        # Unpacking ends the use of tuples early, which is what lets their items be moved; loads are placed after both,
        # because they keep nothing alive and need only precede their first use.
        body = unpack_early(self._without_unused_containers(result), result)
        body = move_arguments(body, result, loads, self.outer.function_in, self.names.fresh)
        body = place_loads(body, result, loads)
        return finish(name, parameters, body, result, self.path, self.outer.lowered)

    def _check_inputs(self, parameters: tuple[ir.Parameter, ...]) -> None:
        if self.outer.input_table is not None:
            call = ir.Call(
                ir.Local(ir.CHECK_INPUTS), tuple(language.Ref(parameter.name) for parameter in parameters)
            )
            self.statements.append(ir.Assign(None, call))

    def _note_checked_tensors(self, graph: Graph, frame: Frame) -> None:
        """Note the inputs that are tensors, because ``check_inputs`` let them pass as such."""
        if self.outer.input_table is None:
            return
        demands = leaf_demands(self.outer.input_table.demands).values()
        for node, demand in zip(graph.placeholders, demands, strict=False):
            value = frame.env.get(node.name)
            if type(demand) is Shape and type(value) is language.Ref:
                self.kinds.tensors.add(value.name)

    def _nodes(self, graph: Graph, frame: Frame) -> None:
        for node in graph.nodes:
            frame.metas[node.name] = node.meta.value
            handler = _HANDLERS.get(node.op)
            if handler is not None:
                handler(self, node, frame)
                frame.env.setdefault(node.name, None)  # of a node that was refused, so that its users are not

    # -- values

    def convert(
        self, value: language.Value, frame: Frame, where: str, keep_tuples: bool = False
    ) -> ir.Operand:
        """A graph's value as an operand; what has no exact text becomes a slot, what cannot be written a finding."""
        if type(value) is language.Ref:
            return self._reference(value.name, frame, where, keep_tuples)

        def leaf(part: language.Value) -> ir.Operand:
            if type(part) is language.Ref:
                return self._reference(part.name, frame, where, keep_tuples)
            handler = _LEAVES.get(type(part))
            if handler is not None:
                return handler(self, part, frame, where)
            return self._constant(part) if self._needs_slot(part) else part

        if type(value) not in NEVER_AT_FAULT and not self._is_well_formed(value, where):
            return None
        return language.map_leaves(value, leaf)

    def _needs_slot(self, value: language.Value) -> bool:
        return self.outer.embedding is None and needs_slot(value)

    def _with_devices(self, node: Node) -> Node:
        """The node with text and defaults that mean a device replaced by devices, so that they can be retargeted."""
        return explicit_devices(node) if self.outer.embedding is None else node

    def _is_well_formed(self, value: ir.Operand, where: str) -> bool:
        fault = fault_of(value)
        if fault:
            self.outer.refuse(where, fault)
        return not fault

    def _reference(self, name: str, frame: Frame, where: str, keep_tuples: bool) -> ir.Operand:
        if name not in frame.env:
            self.outer.refuse(where, f"uses {name!r}, which no earlier node defines")
            return None
        value = frame.env[name]
        if type(value) is language.Ref or (keep_tuples and type(value) is tuple):
            return value
        # Written twice, a list would be two lists, and a change of one would not show in the other. An empty tuple is
        # one object in CPython, however often it is written.
        if type(value) in _MUTABLE or (type(value) in (tuple, language.Record) and language.children(value)):
            value = frame.env[name] = self._shared(name, value)
        return value

    def _with_shared_parts(self, name: str, value: ir.Operand) -> ir.Operand:
        """A tuple kept as its items, with a variable for each mutable container in it, so that all uses see one object."""
        if type(value) is not tuple:
            return value
        self.outer.repeat(sum(type(part) is tuple for part in value))
        shares = [self._shared if type(v) in _MUTABLE else self._with_shared_parts for v in value]
        return tuple([share(name, v) for share, v in zip(shares, value, strict=True)])

    def _kept(self, value: language.Value, frame: Frame, node: Node) -> ir.Operand:
        """An argument or result of an inlined graph; its tuples are built only if something needs them whole."""
        return self._with_shared_parts(node.name, self.convert(value, frame, node.name, keep_tuples=True))

    def _shared(self, name: str, value: ir.Operand) -> language.Ref:
        """A variable for a container that is used whole, so that all uses see one object."""
        target = self.names.fresh(name)
        self.containers.add(target)
        # These have no display: written inside an expression they would be calls, which a Bind does not hold.
        if isinstance(value, language.Dict) and value.cls == language.DEFAULTDICT:
            self.statements.append(
                ir.Assign(target, ir.Call(language.DEFAULTDICT, (value.factory, language.Dict(value.items))))
            )
        elif isinstance(value, language.Dict) and value.cls is not None:
            self.statements.append(ir.Assign(target, ir.Call(value.cls, (language.List(value.items),))))
        elif isinstance(value, language.Set) and value.frozen:
            self.statements.append(ir.Assign(target, ir.Call(_FROZENSET, (language.Set(value.items),))))
        else:
            self.statements.append(ir.Bind(target, value))
        return language.Ref(target)

    def _without_unused_containers(self, result: ir.Operand) -> list[ir.Statement]:
        """The statements without containers that an inlined graph returned and nothing uses."""
        if not self.containers:
            return self.statements
        used = set(ir.names_in(result))
        kept: list[ir.Statement] = []
        for statement in reversed(self.statements):
            target = statement.target if isinstance(statement, (ir.Assign, ir.Bind)) else None
            if target in self.containers and target not in used:
                continue
            used.update(statement.parts.variables)
            kept.append(statement)
        return kept[::-1]

    def _load(self, slot: ir.Slot, wish: str, node: Node | None = None) -> language.Ref:
        if slot not in self.loads:
            self.loads[slot] = ir.Load(self.names.fresh(wish), slot, origin=node)
        return language.Ref(self.loads[slot].target)

    def _constant(self, value: language.Value) -> language.Ref:
        wish = constant_name(value)
        loaded = self._load(self.outer.tables.constant(wish, value), wish)
        if isinstance(value, torch.device):
            self.kinds.devices.add(loaded.name)
        return loaded

    def _tensor(self, tensor: torch.Tensor, path: str, node: Node | None = None) -> language.Ref:
        loaded = self._load(self.outer.tables.weight(path, tensor), tensor_name(path), node)
        self.kinds.tensors.add(loaded.name)
        return loaded

    def _tensor_value(self, part: language.TensorValue, frame: Frame, where: str) -> ir.Operand:
        return self._tensor(part.tensor, f"{frame.full_path(where)}.tensor")

    def _attribute(self, part: language.Attribute, frame: Frame, where: str) -> ir.Operand:
        return self._at_path(part.path, frame, where, None)

    def _op(self, part: language.OpName, frame: Frame, where: str) -> ir.Operand:
        return self.outer.use_op(part)

    def _symbol(self, part: language.SymExpr, frame: Frame, where: str) -> ir.Operand:
        if part.text in self.symbols:
            return self.symbols[part.text]
        self.outer.refuse(where, f"the symbolic size {part.text} is no node's result")
        return None

    def _opaque(self, part: language.Opaque, frame: Frame, where: str) -> ir.Operand:
        described = f" ({part.description})" if part.description else ""
        self.outer.refuse(
            where,
            f"an argument is an object of {part.cls}{described}, which is not data; "
            "where a compiler put it there, save the program as it was before",
        )
        return None

    def _at_path(self, path: str, frame: Frame, where: str, node: Node | None) -> ir.Operand:
        owner = self.outer.changing.owner(frame.record, path)
        if owner:
            return self._read_anew(owner, path, frame, node)
        try:
            found = frame.record.find(path)
        except KeyError as error:
            self.outer.refuse(where, f"the module has no attribute {path!r} (no {error.args[0]!r})")
            return None
        full = frame.full_path(path)
        if found is self.outer.data.root:
            self.outer.refuse(where, "refers to the graph that it stands in")
            return None
        if isinstance(found, torch.Tensor):
            return self._tensor(found, full, node)
        if isinstance(found, ModuleRecord):
            # A graph with hooks must be called as a module, or they would not run.
            is_object = found.hooks or (node is not None and frame.is_used_as_object(node))
            if found.graph is not None and not is_object:
                return self.outer.local(found, full)
            return self._module(found, full, node)
        # A list or dict on a module is one object: what one call puts into it, the next call sees.
        if type(found) in _MUTABLE and all(
            type(part) in language.PRIMITIVES or language.children(part) for part in language.walk(found)
        ):
            return self._load(self.outer.tables.attribute(full, found), tensor_name(full), node)
        return self.convert(found, frame, where)

    def _read_anew(self, owner: str, path: str, frame: Frame, node: Node | None) -> language.Ref:
        """What ``path`` leads to when the code gets here, read by ``getattr`` from the module ``owner``."""
        module = frame.record.find_module(owner)
        if module is None:
            raise KeyError(owner)
        found = self._module(module, frame.full_path(owner), None)
        for name in path.removeprefix(f"{owner}.").split("."):
            target = self.names.fresh(f"{found.name}_{name}")
            self.statements.append(ir.Assign(target, ir.Call(language.GETATTR, (found, name)), origin=node))
            found = language.Ref(target)
        return found

    def _module(self, record: ModuleRecord, full: str, node: Node | None) -> language.Ref:
        slot = self.outer.tables.module(full, record)
        if self.outer.tables.submods[slot.index].function is not None:
            self.outer.refuse(full, "is a graph that is handed on as an object and called as a function here")
        return self._load(slot, full.replace(".", "_"), node)

    # -- nodes

    def _assign(self, node: Node, frame: Frame, call: ir.Call) -> None:
        target = self.names.fresh(node.name)
        self.statements.append(ir.Assign(target, call, origin=node))
        frame.env[node.name] = result = language.Ref(target)
        self.kinds.note_result(target, node, call)
        if isinstance(node.meta.value, SymMeta):
            self.symbols.setdefault(node.meta.value.expression, result)

    def _arguments(self, node: Node, frame: Frame) -> tuple[ir.Arguments, ir.Keywords]:
        args = tuple([self.convert(value, frame, node.name) for value in node.args])
        kwargs = tuple([(name, self.convert(value, frame, node.name)) for name, value in node.kwargs])
        if len({name for name, _ in kwargs}) < len(kwargs):
            self.outer.refuse(node.name, "a keyword argument is given twice")
        return args, kwargs

    def get_attr(self, node: Node, frame: Frame) -> None:
        frame.env[node.name] = self._at_path(str(node.target), frame, node.name, node)

    def call_function(self, node: Node, frame: Frame) -> None:
        node = self._with_devices(node)
        if self._known_item(node, frame):
            return
        target = node.target
        if not isinstance(target, language.Name | language.OpName | language.Live):
            self.outer.refuse(node.name, f"calls {target}, which has no importable name")
            return
        if not self._is_well_formed(target, node.name):
            return
        args, kwargs = self._arguments(node, frame)
        callee: ir.Callee = target
        if isinstance(target, language.OpName):
            if target in _TAKES_GRAPH_MODULES:
                args = tuple(
                    [replace(value, as_graph=True) if type(value) is ir.Local else value for value in args]
                )
            self._assign(node, frame, self._op_call(node, frame, target, args, kwargs))
            return
        if self._needs_slot(target):
            callee = self._load(self.outer.tables.constant(node.name, target), node.name)
        self._assign(node, frame, ir.Call(callee, args, kwargs))

    def _op_call(
        self, node: Node, frame: Frame, op: language.OpName, args: ir.Arguments, kwargs: ir.Keywords
    ) -> ir.Call:
        """The call of an operator: native if that is proven to be the same, else of the overload itself."""
        first = next(iter(frame.metas_of(node.args[:1])), None)
        native = native_call(
            op,
            args,
            kwargs,
            tensors=self.kinds.tensors,
            present=self.kinds.devices,
            items_only=node.name in frame.unpacked,
            sizes=first.shape if isinstance(first, TensorMeta) else (),
        )
        if native is None or self.outer.options.exact_ops:
            return ir.Call(self.outer.use_op(op), args, kwargs)
        return native

    def _known_item(self, node: Node, frame: Frame) -> bool:
        """Take an item of a tuple that exists only during lowering, so that the code need not build it."""
        taken = language.item_taken(node.target, node.args, node.kwargs)
        if taken is None:
            return False
        name, index = taken
        items = frame.env.get(name)
        if type(items) is not tuple or not -len(items) <= index < len(items):
            return False
        frame.env[node.name] = items[index]
        return True

    def call_method(self, node: Node, frame: Frame) -> None:
        node = self._with_devices(node)
        args, kwargs = self._arguments(node, frame)
        if not args:
            self.outer.refuse(node.name, f"calls the method {node.target!r} without a receiver")
            return
        self._assign(node, frame, ir.Call(ir.Method(str(node.target)), args, kwargs))

    def call_module(self, node: Node, frame: Frame) -> None:
        path = str(node.target)
        full = frame.full_path(path)
        try:
            record = frame.record.find(path)
        except KeyError:
            record = None
        if record is not None and not isinstance(record, ModuleRecord):
            self.outer.refuse(node.name, f"calls {path!r}, which is no module")
            return
        if record is not None and record.graph is not None and not record.hooks:
            if not self.outer.options.keep_submodules and record.convention is None:
                self._inline(node, frame, record, full)
                return
            function = self.outer.local(record, full).name
            slot = self.outer.tables.submodule(full, record, function)
        else:
            slot = self.outer.tables.submodule(full, record)
        self.outer.tables.record_call(slot, frame.metas_of(node.args), node.meta.value)
        args, kwargs = self._arguments(node, frame)
        kwargs = as_parameters(self.outer.function_in(slot), kwargs)
        self._assign(node, frame, ir.Call(slot, args, kwargs))

    def _inline(self, node: Node, frame: Frame, record: ModuleRecord, path: str) -> None:
        graph = record.graph
        if graph is None or frame.depth >= DEEPEST:
            self.outer.refuse(node.name, TOO_DEEP)
            return
        self.outer.count_inlined(record, graph)
        self.outer.inlined.setdefault(path, record)
        args = tuple([self._kept(value, frame, node) for value in node.args])
        kwargs = {name: self._kept(value, frame, node) for name, value in node.kwargs}
        inner = Frame(record, path, frame.depth + 1)
        try:
            bound = bind_arguments(
                graph.placeholders,
                args,
                kwargs,
                default=lambda value: self.convert(value, inner, node.name),
                keywords=lambda rest: language.Dict(tuple(rest.items())),
            )
        except Unbound as fault:
            self.outer.refuse(node.name, f"the call of {path!r} does not fit: {fault}")
            return
        inner.env.update(bound)
        self._nodes(graph, inner)
        frame.env[node.name] = self._kept(graph.output, inner, node)


_HANDLERS: dict[str, Callable[[FunctionLowering, Node, Frame], None]] = {
    "get_attr": FunctionLowering.get_attr,
    "call_function": FunctionLowering.call_function,
    "call_method": FunctionLowering.call_method,
    "call_module": FunctionLowering.call_module,
}
_LEAVES: dict[type, Callable[[FunctionLowering, Any, Frame, str], ir.Operand]] = {
    language.TensorValue: FunctionLowering._tensor_value,
    language.Attribute: FunctionLowering._attribute,
    language.OpName: FunctionLowering._op,
    language.SymExpr: FunctionLowering._symbol,
    language.Opaque: FunctionLowering._opaque,
}


def _only_unpacked(graph: Graph) -> frozenset[str]:
    """The nodes whose results are only ever indexed."""
    taken = [language.item_taken(node.target, node.args, node.kwargs) for node in graph.nodes]
    unpacked = {item[0] for item in taken if item is not None}
    if unpacked:
        for node, item in zip(graph.nodes, taken, strict=True):
            if item is None:
                unpacked.difference_update(language.references(*node.operands))
    return frozenset(unpacked)


class Frame:
    """One graph that is being lowered into a function: its module, its path, and the value of each node so far."""

    __slots__ = ("_used_as_objects", "depth", "env", "metas", "path", "record", "unpacked")

    def __init__(self, record: ModuleRecord, path: str, depth: int) -> None:
        self.record = record
        self.path = path
        self.depth = depth
        self.env: dict[str, ir.Operand] = {}
        self.metas: dict[str, ValueMeta] = {}
        self._used_as_objects: frozenset[str] | None = None
        self.unpacked = _only_unpacked(record.graph) if record.graph else frozenset()

    def is_used_as_object(self, node: Node) -> bool:
        """Whether something other than generated code and higher-order operators receives the node's value."""
        if self._used_as_objects is None:
            self._used_as_objects = used_as_objects(self.record.graph) if self.record.graph else frozenset()
        return node.name in self._used_as_objects

    def metas_of(self, values: tuple[language.Value, ...]) -> tuple[ValueMeta, ...]:
        return tuple(self.metas.get(value.name) if type(value) is language.Ref else None for value in values)

    def full_path(self, path: str) -> str:
        return f"{self.path}.{path}" if self.path else path


class VariableKinds:
    """The variables proven to hold a tensor, a list of tensors, or a device, whatever the inputs are."""

    def __init__(self) -> None:
        self.tensors: set[str] = set()
        self.tensor_lists: set[str] = set()
        self.devices: set[str] = set()

    def note_result(self, target: str, node: Node, call: ir.Call) -> None:
        """Learn what the call of a node assigns to ``target``."""
        if isinstance(node.target, language.OpName):
            if returns_tensor(node.target):
                self.tensors.add(target)
            elif returns_tensor_list(node.target):
                self.tensor_lists.add(target)
        else:
            taken = language.item_taken(node.target, call.args, call.kwargs)
            if taken is not None and taken[0] in self.tensor_lists:
                self.tensors.add(target)
