"""Calls of operators, builtins, methods and callables whose names mislead."""

import functools
import math
import operator

import pytest
import torch
from torch import fx, nn

import fx2py
from fx2py.errors import Fx2pyError
from fx2py.trust import Policy
from tests.edge_cases.building import X, call_graph, module_of


def test_negative_base_of_a_power_keeps_its_parentheses(assert_exact):
    """pytorch/pytorch 197894."""
    assert_exact(call_graph(operator.pow, -2, X), torch.arange(4.0))


def test_negative_literals_on_the_left_of_operators_keep_their_parentheses(assert_exact):
    graph = fx.Graph()
    x = graph.placeholder("x")
    functions = (operator.pow, operator.mul, operator.sub, operator.floordiv, operator.mod)
    graph.output([graph.call_function(function, (-3, x)) for function in functions])
    assert_exact(module_of(graph), 2)


def test_in_place_add_of_a_number_leaves_other_uses_of_it_alone(assert_exact):
    graph = fx.Graph()
    n = graph.placeholder("n")
    more = graph.call_function(operator.iadd, (n, 1))
    graph.output((more, n))
    assert_exact(fx.GraphModule(nn.Module(), graph), 5)


def test_in_place_add_of_a_tensor_changes_the_tensor(assert_exact):
    """pytorch/pytorch 198077."""
    graph = fx.Graph()
    x = graph.placeholder("x")
    graph.call_function(operator.iadd, (x, 1))
    graph.output(graph.call_function(torch.mul, (x, 2)))
    assert_exact(fx.GraphModule(nn.Module(), graph), torch.zeros(3))


@pytest.mark.parametrize(
    "function",
    [operator.iadd, operator.isub, operator.imul, operator.itruediv, operator.ifloordiv, operator.ipow],
    ids=lambda function: function.__name__,
)
def test_in_place_operators_change_their_operand(assert_exact, function):
    assert_exact(call_graph(function, X, 2), torch.arange(1.0, 5.0))


def test_in_place_add_of_a_view_of_a_weight_changes_the_weight(assert_exact):
    root = nn.Module()
    root.register_buffer("total", torch.zeros(2, 2))
    graph = fx.Graph()
    total = graph.get_attr("total")
    row = graph.call_function(operator.getitem, (total, 0))
    graph.call_function(operator.iadd, (row, graph.placeholder("x")))
    graph.output(graph.call_method("clone", (total,)))
    assert_exact(fx.GraphModule(root, graph), torch.ones(2))


def test_set_item_without_users_runs(assert_exact):
    graph = fx.Graph()
    x = graph.placeholder("x")
    graph.call_function(operator.setitem, (x, slice(0, 1), 9.0))
    graph.output(x)
    assert_exact(fx.GraphModule(nn.Module(), graph), torch.zeros(3))


def test_value_of_set_item_is_none(assert_exact):
    assert_exact(call_graph(operator.setitem, X, 0, 9.0), torch.zeros(3))


def test_delete_item_of_a_list_runs(assert_exact):
    graph = fx.Graph()
    items = graph.placeholder("items")
    graph.call_function(operator.delitem, (items, 0))
    graph.output(items)
    assert_exact(fx.GraphModule(nn.Module(), graph), [1, 2, 3])


@pytest.mark.parametrize(
    ("function", "args"),
    [
        (operator.add, (X, 1)),
        (operator.neg, (X,)),
        (operator.pos, (X,)),
        (operator.invert, (X,)),
        (operator.not_, (X,)),
        (operator.truth, (X,)),
        (operator.index, (X,)),
        (operator.lshift, (X, 2)),
        (operator.and_, (X, 6)),
        (operator.contains, ([1, 2, 3], X)),
        (operator.is_, (X, X)),
        (operator.is_not, (X, None)),
        (operator.concat, ([1], [X])),
        (operator.abs, (X,)),
        (operator.lt, (X, 4)),
        (operator.countOf, ([3, 3], X)),
        (operator.length_hint, ([X],)),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_functions_of_operator_are_imported(assert_exact, function, args):
    assert_exact(call_graph(function, *args), 3)


@pytest.mark.parametrize(
    ("function", "args"),
    [
        (math.sqrt, (X,)),
        (math.floor, (X,)),
        (math.isclose, (X, 4.0)),
        (math.prod, ([X, 2],)),
        (math.hypot, (X, 3.0)),
        (round, (X, 1)),
        (abs, (X,)),
        (min, (X, 3)),
        (sum, ([X, X],)),
        (int, (X,)),
        (bool, (X,)),
        (complex, (X, 1.0)),
        (str, (X,)),
        (divmod, (X, 3)),
        (len, ([X, X],)),
        (sorted, ([X, 1.0],)),
        (tuple, ([X],)),
        (list, ((X,),)),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_functions_of_math_and_builtins_are_imported(assert_exact, function, args):
    assert_exact(call_graph(function, *args), 4.0)


def doubled(x):
    return x * 2


def test_imported_function_of_the_user_is_called(assert_exact):
    policy = Policy(functions=frozenset({f"{__name__}.doubled"}))
    assert_exact(call_graph(doubled, X), torch.ones(2), policy=policy)


@functools.wraps(torch.relu)
def not_relu(x):
    return x - 1


def misleading_lambda():
    function = lambda x: x + 41  # noqa: E731
    function.__name__ = "relu"
    function.__module__ = "torch"
    function.__qualname__ = "relu"
    return function


LIVE_CALLABLES = {
    "a partial": functools.partial(torch.add, alpha=3),
    "a lambda": lambda x, y: x - y,
    "a bound method": torch.ones(2).add,
    "a function that borrowed a name": not_relu,
    "a lambda that claims a name": misleading_lambda(),
    "a method of a class instance": nn.ReLU().forward,
}


@pytest.mark.parametrize("function", LIVE_CALLABLES.values(), ids=LIVE_CALLABLES)
def test_callable_that_no_name_leads_to_is_called_itself(assert_exact, function):
    takes_two = isinstance(function, functools.partial) or function is LIVE_CALLABLES["a lambda"]
    gm = lazily_called(function, 2 if takes_two else 1)
    assert_exact(gm, torch.tensor([-1.0, 2.0]), through=[])


def lazily_called(function, operands):
    graph = fx.Graph()
    x = graph.placeholder("x")
    graph.output(graph.create_node("call_function", function, (x,) * operands, name="live"))
    return module_of(graph)


def test_callable_that_no_name_leads_to_cannot_be_written(tmp_path):
    artifact = fx2py.generate(lazily_called(LIVE_CALLABLES["a lambda"], 2))
    with pytest.raises(Fx2pyError, match="live"):
        artifact.write(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_function_whose_module_is_private_is_called(assert_exact):
    """pytorch/pytorch 79177."""
    policy = Policy(functions=frozenset({"torch._refs.abs"}))
    assert_exact(call_graph(torch._refs.abs, X), torch.tensor([-1.0, 2.0]), policy=policy)


@pytest.mark.parametrize("descriptor", [torch.Tensor.add, torch.Tensor.__add__, torch.Tensor.sub])
def test_method_descriptor_is_called(assert_exact, descriptor):
    assert_exact(lazily_called(descriptor, 2), torch.ones(2), through=["fx2py"])


def test_method_of_a_literal_is_called(assert_exact):
    graph = fx.Graph()
    graph.placeholder("x")
    literals = [(5, "bit_length"), (-2.5, "is_integer"), ("a b", "split"), ((1, 1), "count")]
    extra = {"count": (1,)}
    graph.output([graph.call_method(name, (literal, *extra.get(name, ()))) for literal, name in literals])
    assert_exact(module_of(graph), 0, through=["fx2py"])


def test_attribute_of_a_literal_is_read(assert_exact):
    graph = fx.Graph()
    graph.placeholder("x")
    graph.output([graph.call_function(getattr, (literal, "real")) for literal in (5, -5, 2.5, 1j)])
    assert_exact(module_of(graph), 0, through=["fx2py"])


def test_attribute_of_a_tensor_is_read(assert_exact):
    graph = fx.Graph()
    x = graph.placeholder("x")
    graph.output(
        [graph.call_function(getattr, (x, name)) for name in ("shape", "dtype", "T", "device", "ndim")]
    )
    assert_exact(fx.GraphModule(nn.Module(), graph), torch.ones(2, 3))


def test_operator_packet_and_overload_are_called(assert_exact):
    graph = fx.Graph()
    x = graph.placeholder("x")
    functions = (torch.ops.aten.add, torch.ops.aten.add.Tensor, torch.ops.aten.mul.Tensor)
    graph.output([graph.call_function(function, (x, x)) for function in functions])
    assert_exact(fx.GraphModule(nn.Module(), graph), torch.ones(2))


@pytest.mark.parametrize(
    "value", [torch.tensor([1, 2]), torch.tensor([1.5, -2.5]), torch.tensor([True, False])]
)
def test_overload_is_called_with_keyword_and_positional_form_alike(assert_exact, value):
    """pytorch/pytorch 144686."""
    graph = fx.Graph()
    x = graph.placeholder("x")
    positional = graph.call_function(torch.ops.aten.sum.dim_IntList, (x, [0], True))
    named = graph.call_function(torch.ops.aten.sum.dim_IntList, (), {"self": x, "dim": [0], "keepdim": True})
    typed = graph.call_function(torch.ops.aten.sum.dim_IntList, (x, [0]), {"dtype": torch.float64})
    graph.output((positional, named, typed))
    assert_exact(fx.GraphModule(nn.Module(), graph), value)


def test_exception_of_a_call_comes_through(assert_exact):
    assert_exact(call_graph(torch.matmul, X, X), torch.ones(2, 3), raises=RuntimeError)


def test_exception_of_an_index_comes_through(assert_exact):
    assert_exact(call_graph(operator.getitem, X, 7), torch.ones(2), raises=IndexError)


def test_exception_of_a_missing_key_comes_through(assert_exact):
    assert_exact(call_graph(operator.getitem, X, "missing"), {"present": 1}, raises=KeyError)
