"""Modules and GraphModules of a pickle as records; no class is looked up and no constructor runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TypeGuard

import torch

from fx2py.errors import printable
from fx2py.graph.data import CallingConvention, Graph, ModuleRecord, Node
from fx2py.graph.values import Name, Opaque, Value
from fx2py.read.forward.statements import Forward, read_forward
from fx2py.read.module_state import CALL_HOOKS, GRAPH_MODULE, MODULE_STATE, ROOT_HOOKS
from fx2py.read.origin import source_line
from fx2py.read.pickled.graphs import graph_of, state_of, tree_of_pickled
from fx2py.read.pickled.storages import Storages
from fx2py.read.pickled.stream import Built, Global, Members, Pairs, PickleFault
from fx2py.read.pickled.tensors import Tensors
from fx2py.read.pickled.values import PICKLER, PickledValues, attributes, name_of
from fx2py.read.pytree import boxed_convention, pytree_convention

_FROM_TEXT = "torch.fx.graph_module.reduce_graph_module"
_FROM_NODES = f"{PICKLER}._GraphModulePickleData.unpickle"
_FROM_PACKAGE = "torch.fx.graph_module.reduce_package_graph_module"
_LOST_HOOKS = "has {}, which no file can hold"
_LOST_OBJECT = "keeps its weights packed in a torch.ScriptObject, which is no plain data"
_SCRIPT_OBJECT = Name("torch", "ScriptObject")
_TRACES = "_graphmodule_graph_node_meta_stack_trace"
SourceText = Callable[[str], str]


def is_graph_module(obj: object) -> TypeGuard[Built]:
    """Whether a pickled object is a GraphModule."""
    return type(obj) is Built and obj.path in (_FROM_TEXT, _FROM_PACKAGE, _FROM_NODES)


def is_module(obj: object) -> TypeGuard[Built]:
    """Whether a pickled object is a module of any class."""
    if is_graph_module(obj):
        return True
    state = obj.state if type(obj) is Built else None
    return type(state) is Pairs and {"_modules", "_parameters"} <= state.by_name().keys()


class PickledModules:
    """The modules of one pickle; one that is reached twice gives one record.

    ``source_text`` gives the text of a module that a package holds, by its name.
    """

    def __init__(self, storages: Storages, source_text: SourceText | None = None) -> None:
        self.tensors = Tensors(storages)
        self.values = PickledValues(self.tensors)
        self.notes: list[str] = []
        self._source_text = source_text
        self._records: dict[int, tuple[Built, ModuleRecord]] = {}
        self._open: set[int] = set()

    def record(self, obj: Built, path: str = "") -> ModuleRecord:
        """The module and all below it; PickleFault or ForwardFault when it is damaged."""
        if id(obj) not in self._records:
            if id(obj) in self._open:
                raise PickleFault(f"module {path} contains itself")
            self._open.add(id(obj))
            made = self._graph_module(obj, path) if is_graph_module(obj) else self._module(obj, path)
            self._records[id(obj)] = (obj, made)
        return self._records[id(obj)][1]

    def _module(self, obj: Built, path: str) -> ModuleRecord:
        if type(obj.function) is not Global:
            raise PickleFault(f"module {path} is of a class without a name")
        return self._with_state(ModuleRecord(name_of(obj.function)), attributes(obj), path)

    def _graph_module(self, obj: Built, path: str) -> ModuleRecord:
        described, code = obj.args if type(obj.args) is tuple and len(obj.args) == 2 else (None, None)
        if obj.path == _FROM_NODES:
            return self._pickled_nodes(described, path)
        if type(described) is not Pairs:
            raise PickleFault("a GraphModule is described in an unknown way")
        state = described.by_name()
        forward = read_forward(self._text(obj.path, code, state))
        record = ModuleRecord(
            GRAPH_MODULE,
            graph=_with_traces(forward.graph, state.get(_TRACES)),
            convention=_convention(forward, state),
        )
        return self._with_state(record, state, path)

    def _pickled_nodes(self, described: object, path: str) -> ModuleRecord:
        data = state_of(described, "_GraphModulePickleData")
        state = data.get("gm_dict")
        if type(state) is not Pairs:
            raise PickleFault("a GraphModule has no attributes")
        graph, convention = graph_of(data.get("graph"), self.values)
        record = ModuleRecord(GRAPH_MODULE, graph=graph, convention=convention)
        return self._with_state(record, state.by_name(), path)

    def _text(self, made_by: str, code: object, state: Mapping[str, object]) -> str:
        """The source of a GraphModule: ``code`` is its module's name in a package, elsewhere the imports that precede it."""
        if type(code) is not str:
            raise PickleFault("a GraphModule has no text")
        if made_by == _FROM_PACKAGE:
            if self._source_text is None:
                raise PickleFault("a GraphModule of a package stands outside its package")
            return self._source_text(code)
        text = state.get("_code") or state.get("code")
        if type(text) is not str:
            raise PickleFault("a GraphModule has no text")
        return f"{code}\n{text}"

    def _with_state(self, record: ModuleRecord, state: Mapping[str, object], path: str) -> ModuleRecord:
        hooks = tuple(_hooks(state))
        if hooks and not path:
            self.notes.append(ROOT_HOOKS.format(", ".join(hooks)))
        skipped = MODULE_STATE[record.graph is not None]
        held = {name: self.values.value(item) for name, item in state.items() if name not in skipped}
        children = self._children(state, path)
        return replace(
            record,
            training=state.get("training") is not False,
            parameters=self._tensor_table(state, "_parameters"),
            buffers=self._tensor_table(state, "_buffers"),
            non_persistent=frozenset(_names(state.get("_non_persistent_buffers_set"))),
            children=children,
            attributes=held,
            hooks=hooks,
            lost=(printable(_LOST_HOOKS.format(", ".join(hooks))) if hooks else _lost_object(held, children)),
        )

    def _tensor_table(self, state: Mapping[str, object], name: str) -> dict[str, torch.Tensor | None]:
        table = _table(state, name)
        return {key: None if obj is None else self.tensors.tensor(obj) for key, obj in table.items()}

    def _children(self, state: Mapping[str, object], path: str) -> dict[str, ModuleRecord | None]:
        children: dict[str, ModuleRecord | None] = {}
        for name, child in _table(state, "_modules").items():
            child_path = f"{path}.{name}" if path else name
            if child is not None and not is_module(child):
                raise PickleFault(f"module {child_path} is not a module")
            children[name] = None if child is None else self.record(child, child_path)
        return children


def _table(state: Mapping[str, object], name: str) -> dict[str, object]:
    """A table of the state by name; older files hold it as an OrderedDict."""
    obj = state.get(name)
    if type(obj) is Built and obj.path == "collections.OrderedDict":
        return Pairs(obj.pairs).by_name()
    if type(obj) is not Pairs:
        raise PickleFault(f"a module has no {name}")
    return obj.by_name()


def _hooks(state: Mapping[str, object]) -> Iterator[str]:
    """The tables that hold hooks, with the name of each hook where the file has one."""
    for name in CALL_HOOKS:
        table = state.get(name)
        if isinstance(table, Pairs | Built) and table.pairs:
            yield f"{name} ({', '.join([_hook_name(hook) for _, hook in table.pairs])})"


def _lost_object(attributes: Mapping[str, Value], children: Mapping[str, ModuleRecord | None]) -> str:
    """What is lost of a module that keeps state in a TorchScript object, itself or in a part of it."""
    if any(type(value) is Opaque and value.cls == _SCRIPT_OBJECT for value in attributes.values()):
        return _LOST_OBJECT
    return _LOST_OBJECT if any(child and child.lost == _LOST_OBJECT for child in children.values()) else ""


def _hook_name(hook: object) -> str:
    found = hook.function if type(hook) is Built else hook
    return name_of(found).path if type(found) is Global else "an object without a name"


def _names(obj: object) -> list[str]:
    """The strings of a pickled set."""
    found = obj.items if type(obj) is Members else None
    if type(obj) is Built and obj.path == "builtins.set":
        found = obj.first if isinstance(obj.first, list) else None
    return [name for name in found or () if isinstance(name, str)]


def _with_traces(graph: Graph, traces: object) -> Graph:
    """The graph with the source lines that a package keeps beside the text."""
    if type(traces) is not Pairs or not traces.pairs:
        return graph
    by_node = traces.by_name()
    return Graph(tuple([_with_trace(node, by_node.get(node.name)) for node in graph.nodes]))


def _with_trace(node: Node, trace: object) -> Node:
    if type(trace) is not str:
        return node
    return replace(node, meta=replace(node.meta, source=source_line(trace)))


def _convention(forward: Forward, state: Mapping[str, object]) -> CallingConvention | None:
    count = len(forward.graph.placeholders)
    if forward.boxed:
        return boxed_convention(forward.parameters[0] if forward.parameters else "args_list", count)
    if not forward.flattens and not forward.unflattens:
        return None
    inputs = tree_of_pickled(state.get("_in_spec"))
    output = tree_of_pickled(state.get("_out_spec")) if forward.unflattens else None
    if inputs is None:
        raise PickleFault("a GraphModule lacks the structure of its inputs")
    return pytree_convention(forward.parameters, inputs, output, count)
