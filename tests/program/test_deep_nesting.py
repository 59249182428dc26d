"""Graphs nested a thousand deep: torch takes minutes to build such a GraphModule, so they are built as data."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
import torch

import fx2py
from fx2py.errors import UnsupportedGraphError
from fx2py.graph.data import Graph, GraphData, ModuleRecord, Node, Provenance
from fx2py.graph.values import GETITEM, Name, OpName, Ref
from fx2py.recursion import DEEPEST

GRAPH_MODULE = Name("torch.fx.graph_module", "GraphModule")
ADD, COND = OpName("aten", "add", "Tensor"), OpName("higher_order", "cond")
X, INNER = Node("x", "placeholder", "x"), Node("inner", "call_module", "inner", (Ref("x"),))


def _record(*nodes: Node, **children: ModuleRecord) -> ModuleRecord:
    return ModuleRecord(GRAPH_MODULE, Graph(nodes), children=children)


def _added(value: str) -> Node:
    return Node("added", "call_function", ADD, (Ref(value), 1.0))


def _modules(levels: int) -> GraphData:
    record = _record(X, _added("x"), Node("output", "output", "output", (Ref("added"),)))
    for _ in range(levels):
        record = _record(
            X, INNER, _added("inner"), Node("output", "output", "output", (Ref("added"),)), inner=record
        )
    return GraphData(record, Provenance("live"))


def _conditions(levels: int) -> GraphData:
    """A branch of each ``cond`` is a graph with the next one; the other adds one."""
    leaf = _record(X, _added("x"), Node("output", "output", "output", ((Ref("added"),),)))
    record = leaf
    nodes = (
        X,
        Node("yes", "get_attr", "yes"),
        Node("no", "get_attr", "no"),
        Node("cond", "call_function", COND, (False, Ref("yes"), Ref("no"), (Ref("x"),))),
        Node("item", "call_function", GETITEM, (Ref("cond"), 0)),
        Node("output", "output", "output", ((Ref("item"),),)),
    )
    for _ in range(levels):
        record = _record(*nodes, yes=record, no=leaf)
    return GraphData(record, Provenance("live"))


@pytest.fixture
def _room_to_run() -> Iterator[None]:
    """Functions that call each other a thousand deep exceed Python's own limit."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(10 * DEEPEST)
    yield
    sys.setrecursionlimit(before)


def test_modules_a_thousand_deep_are_inlined() -> None:
    code = fx2py.generate(_modules(DEEPEST))
    assert code.bind()(torch.zeros(1)).item() == DEEPEST + 1


@pytest.mark.usefixtures("_room_to_run")
def test_modules_a_thousand_deep_are_functions() -> None:
    code = fx2py.generate(_modules(DEEPEST), options=fx2py.GenerateOptions(keep_submodules=True))
    assert code.bind()(torch.zeros(1)).item() == DEEPEST + 1


def test_conditions_a_thousand_deep_are_functions() -> None:
    code = fx2py.generate(_conditions(DEEPEST - 1))
    assert code.source.count("torch.ops.higher_order") == 1
    assert code.source.count("\ndef ") == DEEPEST


@pytest.mark.parametrize("keeps", [False, True])
def test_deeper_modules_are_one_finding(keeps: bool) -> None:
    options = fx2py.GenerateOptions(keep_submodules=keeps)
    with pytest.raises(UnsupportedGraphError, match="modules are nested more than 1000 deep") as error:
        fx2py.generate(_modules(DEEPEST + 5), options=options)
    assert len(error.value.findings) == 1


def test_generating_leaves_the_limit_of_calls_as_it_was() -> None:
    before = sys.getrecursionlimit()
    fx2py.generate(_modules(2))
    assert sys.getrecursionlimit() == before
