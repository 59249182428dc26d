"""One graph, and every graph nested in it, as one straight-line function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from fx2py.graph.data import Graph, ModuleRecord, Node, SymMeta
from fx2py.graph.values import (
    DEFAULTDICT,
    GETATTR,
    GETITEM,
    PLAIN,
    Attribute,
    Dict,
    List,
    Live,
    Name,
    Opaque,
    OpName,
    Record,
    Ref,
    Set,
    SymExpr,
    TensorValue,
    children,
    map_leaves,
    walk,
)
from fx2py.operators.devices import explicit_devices
from fx2py.program.calling import as_parameters, bind_arguments, pack_result, parameters_of, unpack_inputs
from fx2py.program.contract import leaf_demands
from fx2py.program.frame import Frame
from fx2py.program.handover import hand_over
from fx2py.program.ir import (
    CHECK_INPUTS,
    Assign,
    Bind,
    Call,
    Function,
    Load,
    Local,
    Method,
    Parameter,
    Slot,
    Statement,
)
from fx2py.program.literals import constant_name, needs_slot
from fx2py.program.liveness import finish, place_loads, used_names
from fx2py.program.module_level import ModuleLevel
from fx2py.program.native import native_call
from fx2py.program.scope import tensor_name
from fx2py.program.unpack import unpack_early
from fx2py.program.variable_kinds import VariableKinds
from fx2py.program.well_formed import NEVER_AT_FAULT, fault_of
from fx2py.runtime.checks import Shape

_FROZENSET = Name("builtins", "frozenset")
_TAKES_GRAPH_MODULES = frozenset(
    OpName("higher_order", name)
    for name in ("tag_activation_checkpoint", "autograd_function_apply", "run_const_graph")
)
"""Higher-order operators that look into their operand as a GraphModule; all others take any function."""
_MUTABLE = (List, Dict, Set)
_DEEPEST = 100


class FunctionLowering:
    """Lowers one function: its own graph and every graph that is flattened into it."""

    def __init__(self, program: ModuleLevel, record: ModuleRecord, path: str) -> None:
        self.program = program
        self.record = record
        self.path = path
        self.scope = program.new_scope()
        self.statements: list[Statement] = []
        self.symbols: dict[str, Any] = {}
        self.loads: dict[Slot, Load] = {}
        self.containers: set[str] = set()
        self.kinds = VariableKinds()

    def run(self, name: str) -> Function:
        graph = self.record.graph
        if graph is None:
            raise ValueError(f"{self.path} has no graph")
        frame = Frame(self.record, self.path, 0)
        data = self.program.data
        convention = data.convention if self.record is data.root else self.record.convention
        parameters = parameters_of(graph, convention, self.scope, frame.env, self.program.refuse)
        if convention is not None:
            self._check_inputs(parameters)
            self.statements += unpack_inputs(
                graph, convention, parameters, self.scope, frame.env, self.program.refuse
            )
            self._note_checked_tensors(graph, frame)
        self._nodes(graph, frame)
        result = self.convert(graph.output, frame, "output")
        if convention is not None and convention.output is not None:
            result = pack_result(convention.output, result, self.program.refuse)
            self._is_well_formed(result, "output")
        loads = self.loads.values()
        body = unpack_early(self._without_unused_containers(result), result)
        body = hand_over(body, result, loads, self.program.function_in, self.scope.fresh)
        body = place_loads(body, result, loads)
        return finish(name, parameters, body, result, self.path, self.program.functions)

    def _check_inputs(self, parameters: tuple[Parameter, ...]) -> None:
        if self.program.input_table is not None:
            call = Call(Local(CHECK_INPUTS), tuple(Ref(parameter.name) for parameter in parameters))
            self.statements.append(Assign(None, call))

    def _note_checked_tensors(self, graph: Graph, frame: Frame) -> None:
        """What passed as a tensor is known to be one."""
        if self.program.input_table is None:
            return
        demands = leaf_demands(self.program.input_table.demands).values()
        for node, demand in zip(graph.placeholders, demands, strict=False):
            if type(demand) is Shape and type(frame.env.get(node.name)) is Ref:
                self.kinds.tensors.add(frame.env[node.name].name)

    def _nodes(self, graph: Graph, frame: Frame) -> None:
        for node in graph.nodes:
            frame.metas[node.name] = node.meta.value
            handler = _HANDLERS.get(node.op)
            if handler is not None:
                handler(self, node, frame)

    # -- values ----------------------------------------------------------------------------------------------

    def convert(self, value: Any, frame: Frame, where: str, keep_tuples: bool = False) -> Any:
        """A graph's value as a Program's value; what has no exact text becomes a slot, the rest a finding."""

        def leaf(part: Any) -> Any:
            if type(part) is Ref:
                return self._reference(part.name, frame, where, keep_tuples)
            handler = _LEAVES.get(type(part))
            if handler is not None:
                return handler(self, part, frame, where)
            return self._constant(part) if self._needs_slot(part) else part

        if type(value) not in NEVER_AT_FAULT and not self._is_well_formed(value, where):
            return None
        return map_leaves(value, leaf)

    def _needs_slot(self, value: Any) -> bool:
        return self.program.embedding is None and needs_slot(value)

    def _with_devices(self, node: Node) -> Node:
        """The node with its devices as such, so that the code can move to another device."""
        return explicit_devices(node) if self.program.embedding is None else node

    def _is_well_formed(self, value: Any, where: str) -> bool:
        fault = fault_of(value)
        if fault:
            self.program.refuse(where, fault)
        return not fault

    def _reference(self, name: str, frame: Frame, where: str, keep_tuples: bool) -> Any:
        if name not in frame.env:
            self.program.refuse(where, f"uses {name!r}, which no earlier node defines")
            return None
        value = frame.env[name]
        if type(value) is Ref or (keep_tuples and type(value) is tuple):
            return value
        if type(value) in _MUTABLE or (type(value) in (tuple, Record) and children(value)):
            value = frame.env[name] = self._shared(name, value)
        return value

    def _with_shared_parts(self, name: str, value: Any) -> Any:
        """A tuple that may be taken apart, with a variable for each mutable container in it: all its uses see one."""
        if type(value) is not tuple:
            return value
        self.program.repeat(sum(type(part) is tuple for part in value))
        shares = [self._shared if type(v) in _MUTABLE else self._with_shared_parts for v in value]
        return tuple([share(name, v) for share, v in zip(shares, value, strict=True)])

    def _kept(self, value: Any, frame: Frame, node: Node) -> Any:
        """A value that crosses the border of a flattened graph: its tuples are not built unless they are needed."""
        return self._with_shared_parts(node.name, self.convert(value, frame, node.name, keep_tuples=True))

    def _shared(self, name: str, value: Any) -> Ref:
        """A variable for a container that is used as a whole, so that all its uses see one object."""
        target = self.scope.fresh(name)
        self.containers.add(target)
        if isinstance(value, Dict) and value.cls == DEFAULTDICT:
            self.statements.append(Assign(target, Call(DEFAULTDICT, (value.factory, Dict(value.items)))))
        elif isinstance(value, Dict) and value.cls is not None:
            self.statements.append(Assign(target, Call(value.cls, (List(value.items),))))
        elif isinstance(value, Set) and value.frozen:
            self.statements.append(Assign(target, Call(_FROZENSET, (Set(value.items),))))
        else:
            self.statements.append(Bind(target, value))
        return Ref(target)

    def _without_unused_containers(self, result: Any) -> list[Statement]:
        """The statements without the containers that a nested graph returned and nobody took."""
        used = set(used_names(Bind("", result)))
        kept: list[Statement] = []
        for statement in reversed(self.statements):
            target = statement.target if isinstance(statement, (Assign, Bind)) else None
            if target in self.containers and target not in used:
                continue
            used.update(used_names(statement))
            kept.append(statement)
        return kept[::-1]

    def _load(self, slot: Slot, wish: str, node: Node | None = None) -> Ref:
        if slot not in self.loads:
            self.loads[slot] = Load(self.scope.fresh(wish), slot, node)
        return Ref(self.loads[slot].target)

    def _constant(self, value: Any) -> Ref:
        wish = constant_name(value)
        loaded = self._load(self.program.tables.constant(wish, value), wish)
        if isinstance(value, torch.device):
            self.kinds.devices.add(loaded.name)
        return loaded

    def _tensor(self, tensor: torch.Tensor, path: str, node: Node | None = None) -> Ref:
        loaded = self._load(self.program.tables.weight(path, tensor), tensor_name(path), node)
        self.kinds.tensors.add(loaded.name)
        return loaded

    def _tensor_value(self, part: TensorValue, frame: Frame, where: str) -> Any:
        return self._tensor(part.tensor, f"{frame.full_path(where)}.tensor")

    def _attribute(self, part: Attribute, frame: Frame, where: str) -> Any:
        return self._at_path(part.path, frame, where, None)

    def _op(self, part: OpName, frame: Frame, where: str) -> Any:
        return self.program.use_op(part)

    def _symbol(self, part: SymExpr, frame: Frame, where: str) -> Any:
        if part.text in self.symbols:
            return self.symbols[part.text]
        self.program.refuse(where, f"the symbolic size {part.text} is no node's result")
        return None

    def _opaque(self, part: Opaque, frame: Frame, where: str) -> Any:
        self.program.refuse(
            where, f"an argument is an object of {part.cls}, which is not data {part.description}".strip()
        )
        return None

    def _at_path(self, path: str, frame: Frame, where: str, node: Node | None) -> Any:
        owner = self.program.changing.owner(frame.record, path)
        if owner:
            return self._read_anew(owner, path, frame, node)
        try:
            found = frame.record.find(path)
        except KeyError as error:
            self.program.refuse(where, f"the module has no attribute {path!r} (no {error.args[0]!r})")
            return None
        full = frame.full_path(path)
        if found is self.program.data.root:
            self.program.refuse(where, "refers to the graph that it stands in")
            return None
        if isinstance(found, torch.Tensor):
            return self._tensor(found, full, node)
        if isinstance(found, ModuleRecord):
            is_object = found.hooks or (node is not None and frame.is_handed_on(node))
            if found.graph is not None and not is_object:
                return self.program.local(found, full)
            return self._module(found, full, node)
        if type(found) in _MUTABLE and all(type(part) in PLAIN or children(part) for part in walk(found)):
            return self._load(self.program.tables.attribute(full, found), tensor_name(full), node)
        return self.convert(found, frame, where)

    def _read_anew(self, owner: str, path: str, frame: Frame, node: Node | None) -> Ref:
        """What ``path`` leads to at this moment, read from the module ``owner`` attribute by attribute."""
        found = self._module(frame.record.find(owner), frame.full_path(owner), None)
        for name in path.removeprefix(f"{owner}.").split("."):
            target = self.scope.fresh(f"{found.name}_{name}")
            self.statements.append(Assign(target, Call(GETATTR, (found, name)), node))
            found = Ref(target)
        return found

    def _module(self, record: ModuleRecord, full: str, node: Node | None) -> Ref:
        slot = self.program.tables.module(full, record)
        if self.program.tables.submods[slot.index].function is not None:
            self.program.refuse(
                full, "is a graph that is handed on as an object and called as a function here"
            )
        return self._load(slot, full.replace(".", "_"), node)

    # -- nodes -----------------------------------------------------------------------------------------------

    def _assign(self, node: Node, frame: Frame, call: Call) -> None:
        target = self.scope.fresh(node.name)
        self.statements.append(Assign(target, call, node))
        frame.env[node.name] = result = Ref(target)
        self.kinds.note_result(target, node, call)
        if isinstance(node.meta.value, SymMeta):
            self.symbols.setdefault(node.meta.value.expression, result)

    def _arguments(self, node: Node, frame: Frame) -> tuple[tuple[Any, ...], tuple[tuple[str, Any], ...]]:
        args = tuple([self.convert(value, frame, node.name) for value in node.args])
        kwargs = tuple([(name, self.convert(value, frame, node.name)) for name, value in node.kwargs])
        if len({name for name, _ in kwargs}) < len(kwargs):
            self.program.refuse(node.name, "a keyword argument is given twice")
        return args, kwargs

    def get_attr(self, node: Node, frame: Frame) -> None:
        frame.env[node.name] = self._at_path(str(node.target), frame, node.name, node)

    def call_function(self, node: Node, frame: Frame) -> None:
        node = self._with_devices(node)
        if node.target == GETITEM and self._known_item(node, frame):
            return
        target = node.target
        if not isinstance(target, Name | OpName | Live):
            self.program.refuse(node.name, f"calls {target}, which has no importable name")
            return
        if not self._is_well_formed(target, node.name):
            return
        args, kwargs = self._arguments(node, frame)
        callee: Any = target
        if isinstance(target, OpName):
            if target in _TAKES_GRAPH_MODULES:
                args = tuple(
                    [replace(value, as_graph=True) if type(value) is Local else value for value in args]
                )
            self._assign(node, frame, self._op_call(target, args, kwargs, node.name in frame.unpacked))
            return
        if self._needs_slot(target):
            callee = self._load(self.program.tables.constant(node.name, target), node.name)
        self._assign(node, frame, Call(callee, args, kwargs))

    def _op_call(
        self, op: OpName, args: tuple[Any, ...], kwargs: tuple[tuple[str, Any], ...], unpacked: bool
    ) -> Call:
        """The call of an operator: native where that is proven to be the same, else of the overload itself."""
        known = {"tensors": self.kinds.tensors, "present": self.kinds.devices}
        exact = self.program.options.exact_ops
        native = None if exact else native_call(op, args, kwargs, **known, items_only=unpacked)
        return native or Call(self.program.use_op(op), args, kwargs)

    def _known_item(self, node: Node, frame: Frame) -> bool:
        """Take an item of a tuple that was built here and never escaped, without building the tuple."""
        if (
            len(node.args) != 2
            or node.kwargs
            or type(node.args[0]) is not Ref
            or type(node.args[1]) is not int
        ):
            return False
        source, index = frame.env.get(node.args[0].name), node.args[1]
        if type(source) is not tuple or not -len(source) <= index < len(source):
            return False
        frame.env[node.name] = source[index]
        return True

    def call_method(self, node: Node, frame: Frame) -> None:
        node = self._with_devices(node)
        args, kwargs = self._arguments(node, frame)
        if not args:
            self.program.refuse(node.name, f"calls the method {node.target!r} without a receiver")
            return
        self._assign(node, frame, Call(Method(str(node.target)), args, kwargs))

    def call_module(self, node: Node, frame: Frame) -> None:
        path = str(node.target)
        full = frame.full_path(path)
        try:
            record = frame.record.find(path)
        except KeyError:
            record = None
        if record is not None and not isinstance(record, ModuleRecord):
            self.program.refuse(node.name, f"calls {path!r}, which is no module")
            return
        if record is not None and record.graph is not None and not record.hooks:
            if not self.program.options.keep_submodules and record.convention is None:
                self._inline(node, frame, record, full)
                return
            function = self.program.local(record, full).name
            slot = self.program.tables.submodule(full, record, function)
        else:
            slot = self.program.tables.submodule(full, record)
        self.program.tables.record_call(slot, frame.metas_of(node.args), node.meta.value)
        args, kwargs = self._arguments(node, frame)
        kwargs = as_parameters(self.program.function_in(slot), kwargs)
        self._assign(node, frame, Call(slot, args, kwargs))

    def _inline(self, node: Node, frame: Frame, record: ModuleRecord, path: str) -> None:
        graph = record.graph
        if graph is None or frame.depth >= _DEEPEST:
            self.program.refuse(node.name, f"modules are nested more than {_DEEPEST} deep")
            return
        self.program.flatten(record, graph)
        self.program.inlined.setdefault(path, record)
        args = tuple([self._kept(value, frame, node) for value in node.args])
        kwargs = {name: self._kept(value, frame, node) for name, value in node.kwargs}
        inner = Frame(record, path, frame.depth + 1)
        problem = bind_arguments(
            graph, args, kwargs, inner.env, lambda value: self.convert(value, inner, node.name)
        )
        if problem:
            self.program.refuse(node.name, f"the call of {path!r} does not fit: {problem}")
            return
        self._nodes(graph, inner)
        frame.env[node.name] = self._kept(graph.output, inner, node)


_HANDLERS: dict[str, Callable[[FunctionLowering, Node, Frame], None]] = {
    "get_attr": FunctionLowering.get_attr,
    "call_function": FunctionLowering.call_function,
    "call_method": FunctionLowering.call_method,
    "call_module": FunctionLowering.call_module,
}
_LEAVES: dict[type, Callable[[FunctionLowering, Any, Frame, str], Any]] = {
    TensorValue: FunctionLowering._tensor_value,
    Attribute: FunctionLowering._attribute,
    OpName: FunctionLowering._op,
    SymExpr: FunctionLowering._symbol,
    Opaque: FunctionLowering._opaque,
}
