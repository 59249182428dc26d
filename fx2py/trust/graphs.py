"""The graphs of a file checked node by node, before anything of them runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias

import torch

from fx2py.errors import with_article
from fx2py.graph.data import Graph, ModuleRecord, Node, Tree
from fx2py.graph.values import Attribute, Name, OpName, Value
from fx2py.trust.admitted import ValueKind
from fx2py.trust.calls import Calls, KindOrModule, file_module
from fx2py.trust.policy import Policy

_Items: TypeAlias = tuple[Iterable[tuple[str, "torch.Tensor | ModuleRecord | None"]], ...]


def check_graph(
    record: ModuleRecord, graph: Graph, policy: Policy, is_root: bool = False
) -> Mapping[str, KindOrModule]:
    """The kind of each node; raises UntrustedTargetError that names the first node whose call is not admitted.

    ``record`` is the module that the graph reads from. Nested graphs that it calls are checked by themselves: what they
    take and return is data. Only the result of the root may be a record that no call may take.
    """
    if policy.trust_all:
        return {}
    calls = Calls(policy, lambda value: _leaf(calls, record, value))
    for node in graph.nodes:
        if node.op == "output" and is_root:
            calls.result(node.args, f"the node {node.name!r}")
        else:
            calls.kinds[node.name] = _node(calls, record, node)
    if record.convention is not None and record.convention.output is not None and not is_root:
        _check_tree(calls, record.convention.output)
    return calls.kinds


def _check_tree(calls: Calls, tree: Tree) -> None:
    """Refuse containers of a nested graph's result that are not data: they are values of the graph that calls it."""
    where = f"{with_article(tree.kind)} that a nested graph gives"
    calls.data(tree.keys, where)
    if tree.kind in ("namedtuple", "record") and tree.cls is not None:
        calls.record(tree.cls, where)
    for child in tree.children:
        _check_tree(calls, child)


def _node(calls: Calls, record: ModuleRecord, node: Node) -> KindOrModule:
    where = f"the node {node.name!r}"
    match node.op:
        case "get_attr":
            return _at_path(calls, record, str(node.target), where)
        case "call_method":
            return calls.method(str(node.target), node.args, node.kwargs, where)
        case "call_function" if isinstance(node.target, Name | OpName):
            return calls.function(node.target, node.args, node.kwargs, where)
        case "call_function":
            return ValueKind.DATA
    return calls.code(node.args, node.kwargs, where)


def _leaf(calls: Calls, record: ModuleRecord, value: Value) -> KindOrModule:
    return _at_path(calls, record, value.path, value.path) if type(value) is Attribute else ValueKind.DATA


def _at_path(calls: Calls, record: ModuleRecord, path: str, where: str) -> KindOrModule:
    """The kind of an attribute of a module; one that is missing is refused when it is read."""
    try:
        found = record.find(path)
    except KeyError:
        return ValueKind.DATA
    if isinstance(found, ModuleRecord):
        return _nested(found)
    return ValueKind.DATA if found is None or isinstance(found, torch.Tensor) else calls.what(found, where)


def _nested(record: ModuleRecord) -> KindOrModule:
    """The kind of a module or nested graph."""
    if record.graph is not None:
        return ValueKind.GRAPH
    items: _Items = (record.parameters.items(), record.buffers.items(), record.children.items())
    return file_module(record.cls.path, items, record.attributes, _item)


def _item(value: torch.Tensor | ModuleRecord | None) -> KindOrModule | None:
    if isinstance(value, ModuleRecord):
        return _nested(value)
    return None if value is None else ValueKind.DATA
