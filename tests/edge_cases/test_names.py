"""Names that Python, torch.fx or the generated file itself use already."""

import keyword

import pytest
import torch
from torch import fx, nn

from fx2py.trust import Policy
from tests.edge_cases.building import module_of


def identity_with(placeholder, *, name=None):
    graph = fx.Graph()
    value = graph.create_node("placeholder", placeholder, name=name or placeholder)
    graph.output(graph.call_function(torch.add, (value, 1)))
    return module_of(graph)


@pytest.mark.parametrize("name", ["nan", "inf"])
def test_parameter_named_like_a_float_stands_beside_that_float(assert_exact, name):
    """pytorch/pytorch 198072."""
    graph = fx.Graph()
    value = graph.placeholder(name)
    graph.output((value, float(name), graph.call_function(torch.mul, (value, float(name)))))
    assert_exact(module_of(graph), torch.ones(2), through=["fx2py"])


NAMES_IN_USE = [
    *("torch", "operator", "math", "F", "nn", "aten", "device", "fx_pytree", "pytree", "Tensor"),
    *("weights", "submods", "consts", "execution_fn", "load", "args", "kwargs", "forward", "__file__"),
    *("print", "len", "getattr", "float", "tuple", "dict", "slice", "range", "complex", "set", "type", "zip"),
]


@pytest.mark.parametrize("name", NAMES_IN_USE)
def test_parameter_may_have_a_name_that_the_file_uses(assert_exact, name):
    graph = fx.Graph()
    value = graph.create_node("placeholder", name, name=name)
    other = graph.call_function(torch.ops.aten.add.Tensor, (value, float("inf")))
    last = graph.call_function(getattr, (graph.call_function(torch.relu, (other,)), "shape"))
    graph.output((other, last, slice(0, 1), graph.call_function(len, (value,)), torch.device("cpu")))
    assert_exact(module_of(graph), torch.ones(2), through=["fx2py"])


@pytest.mark.parametrize("name", ["torch", "weights", "consts", "len"])
def test_caller_passes_a_parameter_by_its_own_name(assert_exact, name):
    assert_exact(identity_with(name), through=["fx2py"], **{name: torch.ones(2)})


def test_parameter_may_be_named_self(assert_exact):
    assert_exact(identity_with("self"), torch.ones(2), through=["fx2py"])


@pytest.mark.parametrize("name", ["class", "lambda", "None", "async", "if"])
def test_parameter_may_be_named_with_a_keyword(assert_exact, name):
    """pytorch/pytorch 188538."""
    assert keyword.iskeyword(name)
    assert_exact(identity_with(name), torch.ones(2), through=["fx2py"])


@pytest.mark.parametrize(
    "name", ["class", "it's", 'say "x"', "back\\slash", "a b", "0", "1e5", "é", "日本", "#", "{x}"]
)
def test_weight_and_submodule_may_have_any_name(assert_exact, name):
    """pytorch/pytorch 62547 and 188538."""
    root = nn.Module()
    root.register_parameter(name, nn.Parameter(torch.tensor([1.0, 2.0])))
    root.add_module("inner", nn.Module())
    root.inner.add_module(name, nn.Linear(2, 2))
    root.inner.register_buffer("buffer of " + name, torch.ones(2))
    graph = fx.Graph()
    hidden = graph.call_module(f"inner.{name}", (graph.placeholder("x"),))
    shifted = graph.call_function(torch.add, (hidden, graph.get_attr(name)))
    graph.output(graph.call_function(torch.add, (shifted, graph.get_attr("inner.buffer of " + name))))
    assert_exact(module_of(graph, root), torch.ones(2), through=["fx2py"])


def test_numbered_submodules_of_a_saved_graph_are_found(assert_exact):
    assert_exact(fx.symbolic_trace(nn.Sequential(nn.Sequential(nn.Linear(2, 2)), nn.ReLU())), torch.ones(2))


@pytest.mark.parametrize(
    "name",
    ["if", "getattr", "None", "torch", "execution_fn", "weights", "print", "_", "__class__", "match", "é"],
)
def test_node_may_have_any_name(assert_exact, name):
    graph = fx.Graph()
    x = graph.placeholder("x")
    node = graph.call_function(torch.add, (x, 1))
    node._rename(name)
    node.name = name
    graph.output((node, graph.call_function(getattr, (node, "shape"))))
    assert_exact(module_of(graph), torch.ones(2), through=["fx2py"])


def gathered(**options):
    return options


@pytest.mark.parametrize("name", ["from", "class", "not an identifier", "self", "x", "", "é", "print"])
def test_keyword_of_a_call_may_have_any_name(assert_exact, name):
    """pytorch/pytorch 169328."""
    graph = fx.Graph()
    graph.output(graph.call_function(gathered, (), {name: graph.placeholder("x"), "plain": 1}))
    policy = Policy(functions=frozenset({f"{__name__}.gathered"}))
    assert_exact(module_of(graph), torch.ones(2), through=["fx2py"], policy=policy)


def test_two_names_that_look_alike_after_normalization_stay_apart(assert_exact):
    """Python reads both spellings of the ligature as one identifier."""
    graph = fx.Graph()
    first = graph.create_node("placeholder", "ﬁ", name="ﬁ")
    second = graph.create_node("placeholder", "fi", name="fi")
    graph.output(graph.call_function(torch.sub, (first, second)))
    assert_exact(module_of(graph), torch.ones(2), torch.zeros(2), through=["fx2py"])


def test_names_that_differ_only_in_what_an_identifier_cannot_hold_stay_apart(assert_exact):
    root = nn.Module()
    for value, name in enumerate(("a b", "a-b", "a_b", "a.b"[0:1] + "+b")):
        root.register_buffer(name, torch.tensor([float(value)]))
    graph = fx.Graph()
    x = graph.placeholder("x")
    graph.output([graph.call_function(torch.add, (x, graph.get_attr(name))) for name in root._buffers])
    assert_exact(module_of(graph, root), torch.zeros(1), through=["fx2py"])


def test_thousand_parameters(assert_exact):
    graph = fx.Graph()
    inputs = [graph.placeholder(f"argument_{index}") for index in range(1000)]
    graph.output(graph.call_function(torch.cat, (inputs,)))
    assert_exact(fx.GraphModule(nn.Module(), graph), *(torch.tensor([float(index)]) for index in range(1000)))


def test_thousand_arguments_of_one_call(assert_exact):
    graph = fx.Graph()
    x = graph.placeholder("x")
    graph.output(graph.call_function(max, (x, *range(1000))))
    assert_exact(fx.GraphModule(nn.Module(), graph), 7)


def test_very_long_names(assert_exact):
    name = "a" * 2000
    assert_exact(identity_with(name), torch.ones(2))


def test_names_beyond_ascii(assert_exact):
    graph = fx.Graph()
    value = graph.create_node("placeholder", "größe", name="größe")
    graph.output(graph.create_node("call_function", torch.add, (value, 1), name="変数"))
    assert_exact(fx.GraphModule(nn.Module(), graph), torch.ones(2))


HOSTILE_TEXTS = [
    "x\nimport os; os.abort()",
    'x"""; import os; os.abort()',
    "x\rimport os",
    "x  import os",
    "# fmt: off",
    "# type: ignore",
    "x\x00y",
    "x\\",
    "'''",
    "-*- coding: utf-7 -*-",
]


@pytest.mark.parametrize("text", HOSTILE_TEXTS)
def test_comments_from_the_graph_stay_comments(assert_exact, text):
    graph = fx.Graph()
    x = graph.placeholder("x")
    node = graph.call_function(torch.add, (x, 1))
    node.meta["stack_trace"] = f'  File "{text}.py", line 3, in forward\n    {text}\n'
    node.meta["nn_module_stack"] = {"L": (f"layers.{text}", nn.Linear), text: (text, text)}
    node.meta["source_fn_stack"] = [(text, text)]
    x.meta["stack_trace"] = text
    graph.output(node)
    gm = module_of(graph)
    gm.__class__.__doc__ = text
    assert_exact(gm, torch.ones(2), through=["fx2py"])
