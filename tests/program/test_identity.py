"""Mutable containers keep their identity, and items are taken early only from fresh containers."""

from __future__ import annotations

import operator

import pytest
import torch
from torch import fx

import fx2py
from fx2py.errors import Fx2pyError


def outer(inner: fx.GraphModule, build) -> fx.GraphModule:
    graph = fx.Graph()
    x = graph.placeholder("x")
    graph.output(build(graph, graph.call_module("inner", (x,)), x))
    return fx.GraphModule({"inner": inner}, graph)


def inner(result) -> fx.GraphModule:
    graph = fx.Graph()
    graph.output(result(graph.placeholder("x")))
    return fx.GraphModule({}, graph)


def test_list_in_a_tuple_of_a_flattened_graph_is_one_object() -> None:
    def build(graph, pair, x):
        first = graph.call_function(operator.getitem, (pair, 0))
        graph.call_method("append", (first, x))
        return graph.call_function(len, (graph.call_function(operator.getitem, (pair, 0)),))

    gm = outer(inner(lambda x: ([x], x)), build)
    assert fx2py.generate(gm).bind()(1) == gm(1) == 2


@pytest.mark.parametrize("start", [[], [0]], ids=["empty", "falsy"])
def test_list_of_a_flattened_graph_is_one_object(start: list[int]) -> None:
    def build(graph, made, x):
        graph.call_method("append", (made, x))
        return graph.call_function(len, (made,))

    gm = outer(inner(lambda x: list(start)), build)
    assert fx2py.generate(gm).bind()(1) == len(start) + 1


def test_list_attribute_is_one_object_for_every_read_and_call() -> None:
    root = torch.nn.Module()
    root.seen = [1]
    graph = fx.Graph()
    x = graph.placeholder("x")
    graph.call_method("append", (graph.get_attr("seen"), x))
    graph.output(graph.call_function(len, (graph.get_attr("seen"),)))
    call = fx2py.generate(fx.GraphModule(root, graph)).bind()
    assert [call(7), call(7)] == [2, 3]


def test_item_of_a_tensor_is_taken_where_the_graph_takes_it() -> None:
    graph = fx.Graph()
    x = graph.placeholder("x")
    same = graph.call_function(torch.relu_, (x,))
    graph.call_method("t_", (x,))
    graph.output(graph.call_function(operator.getitem, (same, 1)))
    gm = fx.GraphModule({}, graph)
    values = torch.tensor([[3.0, 1.0], [2.0, 5.0]])
    assert torch.equal(fx2py.generate(gm).bind()(values.clone()), gm(values.clone()))


def test_code_that_reads_hidden_fields_is_refused(tmp_path) -> None:
    graph = fx.Graph()
    graph.output(graph.call_function(operator.neg, (graph.placeholder("x"),)))
    fx2py.generate(fx.GraphModule({}, graph)).write(tmp_path / "out")
    path = tmp_path / "out" / "execution_fn.py"
    text = path.read_text().replace(
        "    return neg", '    n = "__globals__"\n    g = fields_of(x, [n])\n    return g'
    )
    path.write_text(text)
    with pytest.raises(Fx2pyError):
        fx2py.open_artifact(tmp_path / "out").bind()
