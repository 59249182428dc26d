"""The items of a container that is only unpacked are taken at once, and live no longer than they are used."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import fx

import fx2py
from fx2py.artifact.artifact import generate
from fx2py.graph.values import GETITEM, Ref
from fx2py.program.options import GenerateOptions
from tests.checking import assert_same_behaviour, reference
from tests.replay.graphs import one_call

ATEN = torch.ops.aten


def graph_module(build: Callable[[fx.Graph, fx.Node], Any]) -> fx.GraphModule:
    graph = fx.Graph()
    graph.output(build(graph, graph.placeholder("x")))
    return fx.GraphModule({}, graph)


def statements(gm: fx.GraphModule) -> list[str]:
    """The statements of the generated function, without comments."""
    body = fx2py.generate(gm).source.partition("def execution_fn(x):\n")[2].partition("\n\n")[0]
    return [line.split("  #")[0].strip() for line in body.splitlines() if not line.strip().startswith("#")]


def items_of(graph: fx.Graph, container: fx.Node, *indices: int) -> list[fx.Node]:
    return [graph.call_function(operator.getitem, (container, index)) for index in indices]


def late_items(graph: fx.Graph, container: fx.Node) -> fx.Node:
    """Takes one item, does some work, then takes the other."""
    (first,) = items_of(graph, container, 0)
    work = graph.call_function(torch.sin, (first,))
    (second,) = items_of(graph, container, 1)
    return graph.call_function(torch.add, (work, second))


def test_items_are_taken_after_the_call_and_the_container_ends_there() -> None:
    gm = graph_module(lambda g, x: late_items(g, g.call_function(ATEN.split.Tensor, (x, 2))))
    assert statements(gm)[2:5] == [
        "getitem = split_tensor[0]",
        "getitem_1 = split_tensor[1]",
        "del split_tensor",
    ]
    assert_same_behaviour(fx2py.generate(gm).bind(), reference(gm), (torch.randn(4, 3),))


def test_functions_of_torch_are_unpacked_too() -> None:
    gm = graph_module(lambda g, x: late_items(g, g.call_function(torch.chunk, (x, 2))))
    assert statements(gm)[2:5] == ["getitem = chunk[0]", "getitem_1 = chunk[1]", "del chunk"]


def test_item_that_nobody_uses_is_not_taken() -> None:
    def build(graph: fx.Graph, x: fx.Node) -> fx.Node:
        return items_of(graph, graph.call_function(ATEN.topk.default, (x, 2)), 0, 1)[0]

    assert not any(re.search(r"topk\[1\]", line) for line in statements(graph_module(build)))


def test_unused_item_that_may_not_be_there_is_still_taken() -> None:
    def build(graph: fx.Graph, x: fx.Node) -> fx.Node:
        return items_of(graph, graph.call_function(ATEN.split.Tensor, (x, 2)), 0, 7)[0]

    gm = graph_module(build)
    assert "split_tensor[7]" in statements(gm)
    assert_same_behaviour(fx2py.generate(gm).bind(), reference(gm), (torch.randn(4, 3),))


def test_container_that_is_used_as_a_whole_keeps_its_items_where_they_are() -> None:
    def build(graph: fx.Graph, x: fx.Node) -> fx.Node:
        parts = graph.call_function(ATEN.split.Tensor, (x, 2))
        (first,) = items_of(graph, parts, 0)
        whole = graph.call_function(ATEN.cat.default, (parts,))
        (second,) = items_of(graph, parts, 1)
        return graph.call_function(torch.add, (graph.call_function(torch.add, (whole, first)), second))

    lines = statements(graph_module(build))
    assert lines.index("getitem_1 = split_tensor[1]") > lines.index("getitem = split_tensor[0]") + 1


class Loud(dict):  # type: ignore[type-arg]
    """A container whose items are counted as they are taken."""

    taken = 0

    def __getitem__(self, key: Any) -> Any:
        Loud.taken += 1
        return super().__getitem__(key) * Loud.taken


def make_loud(x: torch.Tensor) -> Loud:
    Loud.taken = 0
    return Loud({0: x, 1: x})


def test_container_of_another_function_is_left_alone() -> None:
    gm = graph_module(lambda g, x: late_items(g, g.call_function(make_loud, (x,))))
    assert statements(gm)[2] != "getitem_1 = make_loud[1]"
    assert_same_behaviour(fx2py.generate(gm).bind(), reference(gm), (torch.randn(3, 3),))


@pytest.mark.parametrize("optimize", [False, True])
@pytest.mark.parametrize("arguments", [(), (0, 1)], ids=["one argument", "three arguments"])
def test_a_file_may_call_getitem_with_another_number_of_arguments(
    arguments: tuple[int, ...], optimize: bool
) -> None:
    graph = one_call(GETITEM, Ref("x"), *arguments)
    artifact = generate(graph, GenerateOptions(optimize=optimize))
    with pytest.raises(TypeError):
        artifact.bind()(torch.ones(2))
