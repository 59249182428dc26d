"""The graphs of a file, asked node by node what each call takes, before anything of them runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from fx2py.graph.data import Graph, ModuleRecord, Node, Tree
from fx2py.graph.values import Attribute, Name, OpName
from fx2py.trust.admitted import Kind
from fx2py.trust.calls import Calls, Module, What
from fx2py.trust.policy import Policy


def check_graph(
    record: ModuleRecord, graph: Graph, policy: Policy, is_root: bool = False
) -> Mapping[str, What]:
    """What each node is; raises UntrustedTargetError that names the node unless each call takes what it may.

    ``record`` is the module that the graph reads from. Nested graphs that it calls are asked by themselves: what they
    are given, and what they give, is data. Only the result of the root may be a record that no call may take.
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
    """The containers that a nested graph makes of its results are values of the graph that calls it."""
    where = f"a {tree.kind} that a nested graph gives"
    calls.data(tree.keys, where)
    if tree.kind in ("namedtuple", "record") and tree.cls is not None:
        calls.record(tree.cls, where)
    for child in tree.children:
        _check_tree(calls, child)


def _node(calls: Calls, record: ModuleRecord, node: Node) -> What:
    where = f"the node {node.name!r}"
    match node.op:
        case "get_attr":
            return _at_path(calls, record, str(node.target), where)
        case "call_method":
            return calls.method(str(node.target), node.args, node.kwargs, where)
        case "call_function" if isinstance(node.target, Name | OpName):
            return calls.function(node.target, node.args, node.kwargs, where)
        case "call_function":
            return Kind.DATA
    return calls.code(node.args, node.kwargs, where)


def _leaf(calls: Calls, record: ModuleRecord, value: Any) -> What:
    return _at_path(calls, record, value.path, value.path) if type(value) is Attribute else Kind.DATA


def _at_path(calls: Calls, record: ModuleRecord, path: str, where: str) -> What:
    """What an attribute of a module of the file is; what is not there is found missing when it is read."""
    try:
        found = record.find(path)
    except KeyError:
        return Kind.DATA
    if isinstance(found, ModuleRecord):
        return _nested(found)
    return Kind.DATA if found is None or isinstance(found, torch.Tensor) else calls.what(found, where)


def _nested(record: ModuleRecord) -> What:
    return Kind.GRAPH if record.graph is not None else _module(record)


def _module(record: ModuleRecord) -> Module:
    """A module whose items are its parameters, buffers and submodules; what hides one of them is no item."""

    def part(name: str) -> What | None:
        tables = (record.parameters, record.buffers, record.children)
        found = [table[name] for table in tables if name in table]
        if len(found) != 1 or name in record.attributes or found[0] is None:
            return None
        return Kind.DATA if isinstance(found[0], torch.Tensor) else _nested(found[0])

    return Module(record.cls.path, part)
