"""Signatures and results: what a caller may pass, and what comes back."""

from collections import OrderedDict
from typing import Any, NamedTuple

import pytest
import torch
from torch import fx, nn

import fx2py
from fx2py.errors import UnsupportedGraphError
from tests.checking import assert_same_behaviour, reference
from tests.edge_cases.building import X, module_of, output_graph


class Pair(NamedTuple):
    a: Any
    b: Any


def test_defaults(assert_exact):
    gm = fx.symbolic_trace(lambda x, y=2.5, z=None, w=(1, 2): (x * y, z, w))
    assert_exact(gm, torch.ones(2))
    assert_exact(gm, torch.ones(2), 3.0, z=4)


def test_default_of_any_literal(assert_exact):
    graph = fx.Graph()
    defaults = [
        float("nan"),
        -0.0,
        [1, [2]],
        {"a": 1},
        torch.float16,
        "it's",
        slice(1),
        ...,
    ]
    graph.output(
        [graph.placeholder(f"p{index}", default_value=value) for index, value in enumerate(defaults)]
    )
    assert_exact(module_of(graph), through=["fx2py"])


def test_default_of_a_keyword_after_variadic_parameters(assert_exact):
    graph = fx.Graph()
    rest, flag = graph.placeholder("*rest"), graph.placeholder("flag", default_value=True)
    graph.output((rest, flag))
    gm = module_of(graph)
    assert_exact(gm, 1, 2, through=["fx2py"])
    assert_exact(gm, 1, flag=False, through=["fx2py"])


def test_variadic_parameters(assert_exact):
    graph = fx.Graph()
    x, args, kwargs = graph.placeholder("x"), graph.placeholder("*args"), graph.placeholder("**kwargs")
    graph.output((x, args, kwargs))
    gm = fx.GraphModule(nn.Module(), graph)
    assert_exact(gm, 1)
    assert_exact(gm, 1, 2, 3, a=4, weights=5, consts=6)


def test_variadic_parameters_may_have_any_name(assert_exact):
    graph = fx.Graph()
    graph.output((graph.placeholder("*weights"), graph.placeholder("**consts")))
    assert_exact(fx.GraphModule(nn.Module(), graph), torch.ones(2), a=1)


def test_no_parameters_at_all(assert_exact):
    graph = fx.Graph()
    graph.output(graph.call_function(torch.arange, (3,)))
    assert_exact(fx.GraphModule(nn.Module(), graph))


def test_unused_parameters(assert_exact):
    assert_exact(fx.symbolic_trace(lambda x, y, z: y + 1), 1, torch.ones(2), None)


def test_missing_and_surplus_arguments_are_type_errors(assert_exact):
    gm = fx.symbolic_trace(lambda x, y: x + y)
    assert_exact(gm, torch.ones(2), raises=TypeError)
    assert_exact(gm, torch.ones(2), torch.ones(2), torch.ones(2), raises=TypeError)
    assert_exact(gm, torch.ones(2), z=torch.ones(2), raises=TypeError)


def test_annotations_of_any_kind(assert_exact):
    def annotated(x: torch.Tensor, y: list[torch.Tensor] | None = None, *, n: "int" = 3) -> torch.Tensor:
        return x * n

    assert_exact(fx.symbolic_trace(annotated), torch.ones(2), through=["fx2py"])


@pytest.mark.parametrize("annotation", ["import os", "x = 1", 'a"b', "__import__('os')", "1 +", "\n"])
def test_annotation_cannot_become_code(assert_exact, annotation):
    graph = fx.Graph()
    x = graph.placeholder("x", type_expr=annotation)
    graph.output(x, type_expr=annotation)
    assert_exact(module_of(graph), torch.ones(2), through=["fx2py"])


def test_parameter_after_a_call_is_still_a_parameter(assert_exact):
    graph = fx.Graph()
    ones = graph.call_function(torch.ones, (2,))
    graph.output(graph.call_function(torch.add, (graph.placeholder("x"), ones)))
    assert_exact(fx.GraphModule(nn.Module(), graph), torch.ones(2))


RESULTS = {
    "the input": X,
    "none": None,
    "number": 3,
    "nested": (X, [X, {"a": (X, None)}], ()),
    "empty tuple": (),
    "empty list": [],
    "tuple of one": (X,),
    "same value twice": (X, X, [X]),
    "text": "done",
}


@pytest.mark.parametrize("result", RESULTS.values(), ids=RESULTS)
def test_result_of_any_shape(assert_exact, result):
    assert_exact(output_graph(result), torch.ones(2))


def test_result_that_is_a_weight_is_the_weight(assert_exact):
    root = nn.Module()
    root.weight = nn.Parameter(torch.ones(2))
    graph = fx.Graph()
    graph.output((graph.get_attr("weight"), graph.get_attr("weight"), graph.placeholder("x")))
    assert_exact(fx.GraphModule(root, graph), 0)


def test_graph_without_output_returns_none(assert_exact):
    graph = fx.Graph()
    graph.call_method("add_", (graph.placeholder("x"), 1))
    assert_exact(module_of(graph), torch.ones(2), through=["fx2py"])


def test_input_returned_after_it_was_changed(assert_exact):
    graph = fx.Graph()
    x = graph.placeholder("x")
    graph.call_method("add_", (x, 1))
    graph.output((x, graph.call_method("view", (x, 2, 1))))
    assert_exact(fx.GraphModule(nn.Module(), graph), torch.ones(2))


def test_a_record_as_a_default_is_refused():
    """Its class is bound to the function, which a default cannot wait for."""
    graph = fx.Graph()
    pair = graph.placeholder("pair", default_value=Pair(1, 2))
    graph.output(graph.call_function(getattr, (pair, "a")))
    with pytest.raises(UnsupportedGraphError, match="the default of the parameter has no exact text"):
        fx2py.generate(fx.GraphModule(nn.Module(), graph))


def test_flattened_inputs_and_results(assert_exact):
    gm = fx.symbolic_trace(
        lambda batch: {"sum": batch["a"] + batch["b"][0], "rest": (batch["b"][1],)},
        concrete_args={"batch": {"a": fx.PH, "b": [fx.PH, fx.PH]}},
    )
    assert_exact(gm, {"a": torch.ones(2), "b": [torch.ones(2), torch.zeros(2)]})


@pytest.mark.parametrize(
    "names", [("input", "weights"), ("from", "lambda"), ("x", "input"), ("x", "**weights")]
)
def test_a_nested_graph_that_stays_a_function_takes_keywords(names):
    inner = fx.Graph()
    inner.output(inner.call_function(pair, tuple([inner.placeholder(name) for name in names])))
    root, graph = nn.Module(), fx.Graph()
    root.inner = module_of(inner)
    x, y = graph.placeholder("x"), graph.placeholder("y")
    first, second = (name.lstrip("*") for name in names)
    graph.output(graph.call_module("inner", (), {second: y, first: x}))
    gm = module_of(graph, root)
    run = fx2py.generate(gm, options=fx2py.GenerateOptions(keep_submodules=True)).bind()
    assert_same_behaviour(run, reference(gm), (torch.ones(2), torch.zeros(2)))


def pair(first, second):
    return first, second


class OfThree(nn.Module):
    def forward(self, x, pair, y):
        return torch.utils._pytree.tree_map(lambda leaf: leaf if leaf is None else leaf * 2, pair), x + y


ONE, TWO = torch.ones(2), torch.full((2,), 2.0)
CONCRETE = {
    "dict of a list": ({"a": [fx.PH, fx.PH]}, {"a": [ONE, TWO]}),
    "lists in a list": ([[fx.PH, fx.PH], fx.PH], [[ONE, TWO], ONE]),
    "tuple": ((fx.PH, fx.PH), (ONE, TWO)),
    "containers that are empty": ([(), {}, fx.PH], [(), {}, ONE]),
    "nothing but an empty list": ([], []),
    "a dict that keeps its order": (OrderedDict(b=fx.PH, a=fx.PH), OrderedDict(b=ONE, a=TWO)),
    "None and a number beside an input": ((fx.PH, None, 2), (ONE, None, 2)),
    "a key that is called self": ({"self": fx.PH}, {"self": ONE}),
}


@pytest.mark.parametrize(("structure", "value"), CONCRETE.values(), ids=CONCRETE)
@pytest.mark.parametrize("format_", ["pt", "pickle", "graph_pickler", "fx2py"])
def test_module_traced_with_containers_for_an_argument(assert_exact, format_, structure, value):
    gm = fx.symbolic_trace(OfThree(), concrete_args={"pair": structure})
    assert_exact(gm, ONE, value, TWO, through=[format_])


class KeywordOnly(nn.Module):
    def forward(self, x, *, y):
        return {"sum": x[0] + y["k"], "parts": [x[0], (y["k"],)]}


def test_containers_for_several_arguments(assert_exact):
    gm = fx.symbolic_trace(KeywordOnly(), concrete_args={"x": [fx.PH], "y": {"k": fx.PH}})
    assert_exact(gm, [ONE], {"k": TWO}, through=["pt", "pickle", "graph_pickler", "fx2py"])


@pytest.mark.parametrize("value", [None, 3, 2.5, True, "text"])
def test_module_traced_for_one_value_of_an_argument(assert_exact, value):
    gm = fx.symbolic_trace(OfThree(), concrete_args={"pair": value})
    assert_exact(gm, ONE, value, TWO, through=["pt", "pickle", "graph_pickler", "fx2py"])
