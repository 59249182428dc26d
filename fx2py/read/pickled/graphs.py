"""Graphs as ``GraphPickler`` writes them: node by node, with what each node records."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping as MappingType
from typing import Any, get_args

from fx2py.graph.data import NO_META, CallingConvention, Graph, Node, NodeMeta, Opcode, Target
from fx2py.graph.names import dotted_name
from fx2py.graph.values import Name, Opaque
from fx2py.read.convention import boxed_convention, pytree_convention
from fx2py.read.origin import module_path, source_line
from fx2py.read.pickled.meta import PICKLER, recorded
from fx2py.read.pickled.records import Built, Mapping, PickleFault
from fx2py.read.pickled.trees import tree_of_pickled
from fx2py.read.pickled.values import Values, target_name

_OPCODES: dict[str, Opcode] = {opcode: opcode for opcode in get_args(Opcode)}
_PRECOMPILED = f"{PICKLER}._OpPrecompiledPickleData"


def graph_of(obj: Any, values: Values) -> tuple[Graph, CallingConvention | None]:
    """A pickled graph's nodes, and how it is called; PickleFault when it is damaged."""
    state = state_of(obj, "_GraphPickleData")
    nodes = state.get("nodes")
    if type(nodes) is not tuple:
        raise PickleFault("a graph has no nodes")
    graph = Graph(tuple([_node(node, values) for node in nodes]))
    return graph, _convention(state.get("_codegen"), len(graph.placeholders))


def state_of(obj: Any, cls: str) -> dict[str, Any]:
    """The attributes of one of GraphPickler's own records."""
    if type(obj) is not Built or obj.path != f"{PICKLER}.{cls}" or type(obj.state) is not Mapping:
        raise PickleFault(f"a graph holds something that is no {cls}")
    return obj.state.by_name()


def _node(obj: Any, values: Values) -> Node:
    state = state_of(obj, "_NodePickleData")
    name, op = state.get("name"), _OPCODES.get(str(state.get("op")))
    if type(name) is not str or op is None:
        raise PickleFault("a node has no name or no known opcode")
    kwargs = values.value(state.get("kwargs"))
    pairs = tuple((str(key), value) for key, value in getattr(kwargs, "items", ()))
    args = values.items(state.get("args"))
    return Node(name, op, _target(state.get("target"), op), args, pairs, _meta(state.get("meta")))


def _target(obj: Any, op: str) -> Target:
    if type(obj) is Built and obj.path == _PRECOMPILED:
        return Opaque(Name("torch._inductor.standalone_compile", "AOTCompiledArtifact"), "a compiled graph")
    text = target_name(obj)
    if text is None:
        raise PickleFault("a node has a target of an unknown kind")
    return dotted_name(text) if op == "call_function" else text


def _meta(obj: Any) -> NodeMeta:
    if type(obj) is not Mapping or not obj.pairs:
        return NO_META
    meta = obj.by_name()
    value = next((meta[key] for key in ("val", "example_value", "tensor_meta") if key in meta), None)
    trace = meta.get("stack_trace")
    return NodeMeta(
        value=recorded(value),
        source=source_line(trace) if type(trace) is str else None,
        module=_module(meta.get("nn_module_stack")),
    )


def _module(stack: Any) -> str:
    entry = stack.pairs[-1][1] if type(stack) in (Mapping, Built) and stack.pairs else None
    return module_path(entry[0]) if type(entry) is tuple and entry and type(entry[0]) is str else ""


def _plain(state: MappingType[str, Any], placeholders: int) -> None:
    return None


def _boxed(state: MappingType[str, Any], placeholders: int) -> CallingConvention:
    return boxed_convention("args_list", placeholders)


def _pytree(state: MappingType[str, Any], placeholders: int) -> CallingConvention | None:
    info = state.get("pytree_info")
    if info is None:
        return None
    if type(info) is not Built or type(info.args) is not tuple or len(info.args) != 3:
        raise PickleFault("the signature of a graph is damaged")
    names, inputs, output = info.args
    tree = tree_of_pickled(inputs)
    if tree is None or type(names) is not list or not all(type(name) is str for name in names):
        raise PickleFault("the signature of a graph is damaged")
    return pytree_convention(names, tree, tree_of_pickled(output), placeholders)


_CONVENTIONS: dict[str, Callable[[MappingType[str, Any], int], CallingConvention | None]] = {
    "torch.fx.graph.CodeGen": _plain,
    "torch.fx.graph._BoxedCodeGen": _boxed,
    "torch.fx.graph._PyTreeCodeGen": _pytree,
}


def _convention(codegen: Any, placeholders: int) -> CallingConvention | None:
    if codegen is None:
        return None
    path = codegen.path if type(codegen) is Built else ""
    if path not in _CONVENTIONS:
        raise PickleFault(f"the graph has a calling convention of its own ({path})")
    state = codegen.state.by_name() if type(codegen.state) is Mapping else {}
    return _CONVENTIONS[path](state, placeholders)
