"""Graphs that hypothesis makes up: structure, literals of every kind, nested modules, in-place calls, dead nodes.

Nested graphs take and return containers, of which the caller uses all, some or nothing, once or several times.
"""

from __future__ import annotations

import operator
import random
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import hypothesis
import torch
import torch.nn.functional as F
from hypothesis import strategies as st
from torch import fx, nn

from tests.checking import seed_generator
from tests.conformance.cases import Case, Row, Trial
from tests.edge_cases.building import module_of

GROUPS, GRAPHS, DEEPEST = 24, 25, 3


class Pair(NamedTuple):
    first: Any
    second: Any


def anything(*args: Any, **kwargs: Any) -> tuple[Any, ...]:
    """Takes every argument there is and returns it."""
    return args, kwargs


def number() -> st.SearchStrategy[Any]:
    return st.one_of(
        st.booleans(),
        st.integers(),
        st.floats(),
        st.complex_numbers(),
        st.sampled_from(
            [0.0, -0.0, float("inf"), float("-inf"), float("nan"), 2**70, complex(-0.0, float("nan"))]
        ),
    )


def literal() -> st.SearchStrategy[Any]:
    """Values of every kind that may stand as an argument, nested in each other."""
    leaf = st.one_of(
        st.none(),
        number(),
        st.text(max_size=8),
        st.binary(max_size=4),
        st.sampled_from(
            [torch.float16, torch.int64, torch.strided, torch.channels_last, torch.per_tensor_affine]
        ),
        st.sampled_from(
            [torch.device("cpu"), torch.Size([2, 3]), ..., range(1, 9, 3), slice(None, -1), int, F.relu]
        ),
        st.frozensets(st.integers() | st.text(max_size=3), max_size=3),
    )
    return st.recursive(leaf, containers, max_leaves=6)


def containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    keys = st.text(max_size=4) | st.integers() | st.booleans()
    return st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(keys, inner, max_size=3),
        st.dictionaries(keys, inner, max_size=3).map(OrderedDict),
        st.builds(Pair, inner, inner),
    )


SCALAR = st.sampled_from([0, 1, -1, 3, 0.5, -0.0, 1e-30, True, float("inf")])
UNARY = (
    torch.sin,
    torch.relu,
    F.gelu,
    torch.neg,
    torch.clone,
    torch.rand_like,
    operator.neg,
    F.dropout,
    torch.detach,
)
BINARY = (
    torch.add,
    torch.mul,
    torch.maximum,
    operator.add,
    operator.sub,
    operator.iadd,
    operator.imul,
    torch.where,
)
METHODS = (
    "exp",
    "add_",
    "mul_",
    "t",
    "contiguous",
    "zero_",
    "view_as",
    "sum",
    "size",
    "dim",
    "no_such_method",
)
ATEN = (torch.ops.aten.add.Tensor, torch.ops.aten.mul_.Tensor, torch.ops.aten.sub.Scalar, torch.ops.aten.div)
LEAVES: tuple[Callable[[], nn.Module], ...] = (
    partial(nn.Linear, 3, 3),
    partial(nn.Dropout, 0.5),
    partial(nn.BatchNorm1d, 3),
    nn.ReLU,
)
NAMES = ("x", "weight", "torch", "self", "inf", "lambda_", "consts", "a1", "getattr", "execution_fn")


class Builder:
    """Draws one graph, node by node."""

    def __init__(self, draw: Callable[..., Any], depth: int = 0) -> None:
        self.draw = draw
        self.depth = depth
        self.root = nn.Module()
        self.graph = fx.Graph()
        self.values = [self.graph.placeholder("left"), self.graph.placeholder("right")]
        self.contents: dict[fx.Node, Any] = {}

    def build(self) -> fx.GraphModule:
        for step in self.draw(st.lists(st.sampled_from(STEPS), min_size=1, max_size=10)):
            made = step(self)
            if self.draw(st.integers(0, 3)):
                self.values.append(made)
        self.graph.output(self.draw(self.results()))
        return module_of(self.graph, self.root)

    def results(self) -> st.SearchStrategy[Any]:
        held = st.recursive(self.any_value(), containers, max_leaves=5)
        return self.any_value() | held if self.depth else held

    def any_value(self) -> st.SearchStrategy[fx.Node]:
        return st.sampled_from(self.values)

    def value(self) -> fx.Node:
        return self.draw(self.any_value())

    def name(self) -> str:
        return self.draw(st.sampled_from(NAMES))

    def call(self, target: Any, *args: Any) -> fx.Node:
        return self.graph.create_node("call_function", target, args, name=self.name())

    def unary(self) -> fx.Node:
        return self.call(self.draw(st.sampled_from(UNARY)), self.value())

    def binary(self) -> fx.Node:
        other = self.draw(self.any_value() | SCALAR)
        return self.call(self.draw(st.sampled_from(BINARY)), self.value(), other)

    def operator(self) -> fx.Node:
        """Of tensors only: given anything else a native call raises another exception than the operator."""
        other = self.draw(self.any_value().map(self.tensor) | SCALAR)
        return self.call(self.draw(st.sampled_from(ATEN)), self.tensor(self.value()), other)

    def tensor(self, value: fx.Node) -> fx.Node:
        return self.call(torch.clone, value)

    def item(self) -> fx.Node:
        index = self.draw(
            st.sampled_from([0, -1, 7, (slice(None), 1), (..., None), slice(None, None, 2), None])
        )
        return self.call(operator.getitem, self.value(), index)

    def part(self) -> fx.Node:
        """A part of a container that a nested graph returned."""
        if not self.contents:
            return self.item()
        container = self.draw(st.sampled_from(list(self.contents)))
        parts = parts_of(self.contents[container])
        key = self.draw(st.sampled_from(list(parts)))
        taken = self.call(operator.getitem, container, key)
        self._holds(taken, parts[key])
        return taken

    def grown(self) -> fx.Node:
        """Changes a list that a nested graph returned, which another part of the result may hold too."""
        lists = [node for node, held in self.contents.items() if isinstance(held, list)]
        if not lists:
            return self.unary()
        args = (self.draw(st.sampled_from(lists)), self.value())
        return self.graph.create_node("call_method", "append", args, name=self.name())

    def _holds(self, node: fx.Node, value: Any) -> None:
        if parts_of(value):
            self.contents[node] = value

    def written(self) -> fx.Node:
        return self.call(
            operator.setitem, self.value(), self.draw(st.sampled_from([0, (..., 1)])), self.draw(SCALAR)
        )

    def literals(self) -> fx.Node:
        argument = st.recursive(self.any_value() | literal(), containers, max_leaves=4)
        named = st.dictionaries(st.sampled_from(["from", "key", "self", "x"]), argument, max_size=2)
        args, kwargs = self.draw(st.lists(argument, max_size=3)), self.draw(named)
        return self.graph.create_node("call_function", anything, tuple(args), kwargs, name=self.name())

    def method(self) -> fx.Node:
        args = (self.value(), *self.draw(st.lists(self.any_value() | SCALAR, max_size=1)))
        return self.graph.create_node(
            "call_method", self.draw(st.sampled_from(METHODS)), args, name=self.name()
        )

    def state(self) -> fx.Node:
        name = self.name()
        if not hasattr(self.root, name):
            self.root.register_buffer(name, torch.full((3, 3), 2.0))
        return self.graph.create_node("get_attr", name, name=self.name())

    def leaf(self) -> fx.Node:
        return self.module(self.draw(st.sampled_from(LEAVES)))

    def nested(self) -> fx.Node:
        if self.depth == DEEPEST:
            return self.unary()
        node = self.module(Builder(self.draw, self.depth + 1).build)
        called = self.root.get_submodule(str(node.target))
        if isinstance(called, fx.GraphModule):
            self._holds(node, called.graph.output_node().args[0])
        return node

    def module(self, make: Callable[[], nn.Module]) -> fx.Node:
        """A call of a new module, or of one that was called before."""
        path = f"m{self.draw(st.integers(0, 2))}"
        if path not in self.root._modules:
            self.root.add_module(path, make())
        count = 2 if isinstance(self.root.get_submodule(path), fx.GraphModule) else 1
        argument = self.any_value() | st.recursive(self.any_value(), containers, max_leaves=3)
        args = tuple(self.draw(argument) if count == 2 else self.value() for _ in range(count))
        return self.graph.create_node("call_module", path, args, name=self.name())


STEPS = (
    *(Builder.unary, Builder.binary, Builder.operator, Builder.item, Builder.written, Builder.literals),
    *(Builder.method, Builder.state, Builder.leaf, Builder.part, Builder.grown),
    *(Builder.nested, Builder.nested, Builder.nested),
)


def parts_of(value: Any) -> dict[Any, Any]:
    """What a container holds, by the key with which an item is taken; nothing where it is none."""
    if isinstance(value, Mapping):
        return dict(value)
    return dict(enumerate(value)) if isinstance(value, list | tuple) else {}


@st.composite
def graphs(draw: Callable[..., Any]) -> fx.GraphModule:
    return Builder(draw).build()


def trial(graph: fx.GraphModule) -> Trial:
    left, right = torch.arange(9.0).view(3, 3), torch.ones(3, 3)
    return Trial(graph, (((left, right), {}), ((right, left), {}), ((left, right.int()), {})), text_too=True)


def made_up(seed: int) -> list[fx.GraphModule]:
    """The graphs that hypothesis draws from a seed, the same in every process."""
    found: list[fx.GraphModule] = []

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=GRAPHS, database=None, deadline=None, phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )  # fmt: skip
    @hypothesis.given(graphs())
    def collect(graph: fx.GraphModule) -> None:
        found.append(graph)

    collect()
    return found


def groups() -> dict[str, Callable[[], Iterator[Case]]]:
    return {f"seed {seed}": partial(cases, seed) for seed in range(GROUPS)}


def cases(seed: int) -> Iterator[Case]:
    random.seed(seed)
    seed_generator(seed)
    for number, graph in enumerate(made_up(seed)):
        yield Case(str(number), partial(trial, graph))


RANDOM = Row("random", "graphs that hypothesis makes up", seconds=3600, groups=groups)
