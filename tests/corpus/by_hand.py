"""Graphs put together node by node: what no tracer makes, but what a GraphModule may hold."""

import enum
import math
import operator
from functools import partial

import torch
from torch import fx, nn, randn

from tests.corpus.registry import graph

by_hand = partial(graph, "built")


def matrix():
    return (randn(3, 4),)


def single_call(function, *literals, **keywords):
    """A graph that calls ``function`` on its one input and the literals."""
    made = fx.Graph()
    x = made.placeholder("x")
    made.output(made.call_function(function, (x, *literals), keywords))
    return fx.GraphModule(nn.Module(), made)


@by_hand(args=lambda: (torch.arange(4.0),))
def power_of_a_negative_base(x):
    made = fx.Graph()
    made.output(made.call_function(operator.pow, (-2, made.placeholder("x"))))
    return fx.GraphModule(nn.Module(), made)


@by_hand(args=lambda: (2,), needs={"functions": ("torch.Tensor.format", "torch.Tensor.join")})
def methods_of_text(n):
    made = fx.Graph()
    n = made.placeholder("n")
    text = made.call_method("format", ("{}-{}", n, 1))
    made.output((text, made.call_method("join", (", ", [text, "end"]))))
    return fx.GraphModule(nn.Module(), made)


@by_hand(args=matrix)
def written_items(x):
    made = fx.Graph()
    copy = made.call_method("clone", (made.placeholder("x"),))
    made.call_function(operator.setitem, (copy, (slice(None), 0), 7.0))
    made.call_function(operator.setitem, (copy, 1, made.call_function(operator.getitem, (copy, 0))))
    made.output(copy)
    return fx.GraphModule(nn.Module(), made)


@by_hand(args=lambda: (randn(2), 3))
def in_place_add_of_a_number_used_later(x, n):
    made = fx.Graph()
    x, n = made.placeholder("x"), made.placeholder("n")
    more = made.call_function(operator.iadd, (n, 1))
    made.output((made.call_function(operator.mul, (x, more)), n))
    return fx.GraphModule(nn.Module(), made)


@by_hand(args=lambda: ([1, 2],))
def in_place_add_of_a_list(items):
    made = fx.Graph()
    items = made.placeholder("items")
    more = made.call_function(operator.iadd, (items, [3]))
    made.output((more, items))
    return fx.GraphModule(nn.Module(), made)


@by_hand(args=lambda: (4.0,))
def math_and_builtins(x):
    made = fx.Graph()
    x = made.placeholder("x")
    root = made.call_function(math.sqrt, (x,))
    number = made.call_function(int, (root,))
    total = made.call_function(sum, ([x, number, made.call_function(max, (x, 1))],))
    made.output(
        (root, number, total, made.call_function(math.ceil, (2.5,)), made.call_function(float, ("nan",)))
    )
    return fx.GraphModule(nn.Module(), made)


@by_hand(args=matrix, not_savable_as=["package"])
def method_descriptors(x):
    made = fx.Graph()
    x = made.placeholder("x")
    total = made.call_function(torch.Tensor.add, (x, x))
    made.output(made.call_function(torch.Tensor.relu, (total,)))
    return fx.GraphModule(nn.Module(), made)


@by_hand(args=matrix)
def awkward_node_names(x):
    made = fx.Graph()
    value = made.placeholder("x")
    for name in ("if", "class", "getattr", "torch", "None", "weights", "consts", "submods", "self", "print"):
        value = made.create_node("call_function", torch.add, (value, 1), name=name)
    made.output(value)
    return fx.GraphModule(nn.Module(), made)


@by_hand(args=lambda: (torch.zeros(2),))
def exact_literals(x):
    made = fx.Graph()
    made.placeholder("x")
    numbers = [
        0.1,
        -0.0,
        5e-324,
        1.7976931348623157e308,
        math.inf,
        -math.inf,
        math.nan,
        2**64,
        -(2**70),
        True,
    ]
    made.output(
        (numbers, [1j, complex(0.5, -2)], ["", "it's", "é\u2028\\n\n\x00", "# fmt: off"], b"\x00'\xff")
    )
    return fx.GraphModule(nn.Module(), made)


@by_hand(args=matrix)
def unusual_containers(x):
    made = fx.Graph()
    x = made.placeholder("x")
    keyed = {1: x, None: (x,), ("a", 2): [x], False: {}}
    made.output((keyed, range(2, 9, 3), slice(None, 2, None), torch.Size([2, 3]), ..., {"a b": x}))
    return fx.GraphModule(nn.Module(), made)


@by_hand(args=matrix)
def literals_of_torch(x):
    made = fx.Graph()
    made.placeholder("x")
    layouts = [torch.strided, torch.sparse_coo, torch.channels_last, torch.preserve_format]
    made.output(
        ([torch.float32, torch.bool, torch.quint8], layouts, torch.device("cpu"), torch.per_tensor_affine)
    )
    return fx.GraphModule(nn.Module(), made)


class Colour(enum.Enum):
    RED = "red"
    GREEN = "green"


def painted(x, colour):
    return x * 2 if colour is Colour.GREEN else x


@by_hand(
    args=matrix,
    not_savable_as=["graph_pickler", "to_folder"],
    needs={
        "functions": ("tests.corpus.by_hand.painted",),
        "classes": ("tests.corpus.by_hand.Colour",),
    },
)
def enum_argument(x):
    return single_call(painted, Colour.GREEN)


@by_hand(args=lambda: ({"a": randn(2), "b": randn(2)}, "b"))
def items_picked_by_string_and_by_node(batch, key):
    made = fx.Graph()
    batch, key = made.placeholder("batch"), made.placeholder("key")
    first = made.call_function(operator.getitem, (batch, "a"))
    second = made.call_function(operator.getitem, (batch, key))
    made.output(made.call_function(torch.add, (first, second)))
    return fx.GraphModule(nn.Module(), made)


@by_hand(args=matrix)
def operators_of_aten(x):
    made = fx.Graph()
    x = made.placeholder("x")
    total = made.call_function(torch.ops.aten.add.Tensor, (x, x), {"alpha": 2})
    best = made.call_function(torch.ops.aten.max.dim, (total, 1))
    packet = made.call_function(torch.ops.aten.relu, (x,))
    made.output((made.call_function(operator.getitem, (best, 1)), packet))
    return fx.GraphModule(nn.Module(), made)


@by_hand(args=matrix)
def keywords_for_positional_parameters(x):
    made = fx.Graph()
    x = made.placeholder("x")
    made.output(made.call_function(torch.add, (), {"input": x, "alpha": 2, "other": x}))
    return fx.GraphModule(nn.Module(), made)


@by_hand(args=matrix)
def nested_graph_modules(x):
    inner = fx.symbolic_trace(nn.Sequential(nn.Linear(4, 4), nn.ReLU()))
    middle_graph = fx.Graph()
    hidden = middle_graph.call_module("inner", (middle_graph.placeholder("x"),))
    middle_graph.output((hidden, middle_graph.call_method("sum", (hidden,))))
    middle = fx.GraphModule({"inner": inner}, middle_graph)
    outer = fx.Graph()
    pair = outer.call_module("middle", (outer.placeholder("x"),))
    outer.output(outer.call_function(operator.getitem, (pair, 0)))
    return fx.GraphModule({"middle": middle}, outer)


@by_hand(args=matrix)
def awkward_attribute_names(x):
    root = nn.Module()
    root.add_module("torch", nn.Linear(4, 4))
    root.add_module("0", nn.Sequential(nn.ReLU()))
    root.register_buffer("weights", randn(4))
    made = fx.Graph()
    hidden = made.call_module("torch", (made.placeholder("x"),))
    hidden = made.call_module("0.0", (hidden,))
    made.output(made.call_function(torch.add, (hidden, made.get_attr("weights"))))
    return fx.GraphModule(root, made)


@by_hand(args=lambda: tuple(randn(1) for _ in range(300)))
def three_hundred_parameters(*tensors):
    made = fx.Graph()
    inputs = [made.placeholder(f"argument_{index}") for index in range(300)]
    made.output(made.call_function(torch.cat, (inputs,)))
    return fx.GraphModule(nn.Module(), made)


@by_hand(args=matrix)
def placeholder_after_a_call(x):
    made = fx.Graph()
    ones = made.call_function(torch.ones, (4,))
    made.output(made.call_function(torch.add, (made.placeholder("x"), ones)))
    return fx.GraphModule(nn.Module(), made)


@by_hand(args=matrix)
def names_beyond_ascii(x):
    made = fx.Graph()
    value = made.create_node("placeholder", "größe", name="größe")
    made.output(made.create_node("call_function", torch.add, (value, 1), name="變數"))
    return fx.GraphModule(nn.Module(), made)
