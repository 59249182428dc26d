"""Live GraphModules: nodes are read as they are, and what no name leads to is kept alive."""

import enum

import pytest
import torch
from torch import fx
from torch.fx.experimental.proxy_tensor import make_fx

from fx2py.errors import UnknownFormatError, UnsupportedGraphError
from fx2py.graph.data import SymMeta, Tree
from fx2py.graph.objects import value_of
from fx2py.graph.values import (
    EnumMember,
    List,
    Live,
    Name,
    Range,
    Record,
    Set,
    Size,
    Slice,
    SymExpr,
    TensorValue,
)
from fx2py.read import open_graph
from tests.read.graphs import Pair, added, calling, nested, traced_block


class Level(enum.IntEnum):
    LOW = 1


TENSOR = torch.ones(2)
PAIR = Name("tests.read.graphs", "Pair")


@pytest.mark.parametrize(
    ("obj", "value"),
    [
        (fx.immutable_collections.immutable_list([1, (2,)]), List((1, (2,)))),
        (slice(1, None), Slice(1, None, None)),
        (range(0, 4, 2), Range(0, 4, 2)),
        ({3, 1, 2}, Set((1, 2, 3))),
        (frozenset({"b", "a"}), Set(("a", "b"), frozen=True)),
        (torch.Size([1, 2]), Size((1, 2))),
        (Level.LOW, EnumMember(Name(__name__, "Level"), "LOW")),
        (Pair(1, [2]), Record(PAIR, (("first", 1), ("second", List((2,)))))),
        (TENSOR, TensorValue(TENSOR)),
        (torch.nn.functional.relu, Name("torch.nn.functional", "relu")),
        (int, Name("builtins", "int")),
        (True, True),
        (torch.float16, torch.float16),
    ],
    ids=lambda value: type(value).__name__,
)
def test_arguments_become_values(obj, value):
    assert value_of(obj) == value
    assert type(value_of(obj)) is type(value)


def test_objects_without_a_name_stay_alive():
    def local(x):
        return x

    gm = calling(local, "x")
    assert open_graph(gm).graph.nodes[1].target == Live(local, "")
    assert "local" in open_graph(gm).graph.nodes[1].target.description


def test_symbolic_numbers_are_expressions_and_constants_are_numbers():
    gm = make_fx(lambda x: x.new_zeros(x.shape[0] * 2, 3), tracing_mode="symbolic")(torch.ones(4, 3))
    nodes = {node.name: node for node in open_graph(gm).graph.nodes}
    assert isinstance(nodes["mul"].meta.value, SymMeta)
    size = next(node.meta["val"] for node in gm.graph.nodes if node.name == "mul")
    assert value_of(size) == SymExpr(nodes["mul"].meta.value.expression)
    assert nodes["new_zeros"].meta.value.shape == (nodes["mul"].meta.value.expression, 3)


def test_modules_are_shared_and_keep_their_live_object():
    gm = traced_block()
    root = open_graph(gm).root
    assert root.children["again"] is root.children["layers"].children["0"]
    assert root.children["again"].original is gm.again
    assert root.parameters["scale"] is gm.scale
    assert root.children["again"].attributes == {"in_features": 4, "out_features": 4}
    assert open_graph(nested()).root.children["inner"].graph is not None


def test_source_lines_and_module_paths_lead_back_to_the_model():
    class Outer(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.block = torch.nn.Sequential(torch.nn.Linear(2, 2))

        def forward(self, x):
            return self.block(x)

    program = torch.export.export(Outer(), (torch.ones(1, 2),))
    linear = next(node for node in open_graph(program.module()).graph.nodes if node.name == "linear")
    assert linear.meta.module == "block.0"
    assert linear.meta.source.file == __file__
    assert linear.meta.source.code == "return self.block(x)"
    assert linear.meta.value.shape == (1, 2)


def test_a_boxed_graph_takes_one_list():
    gm = added()
    gm.graph.set_codegen(torch.fx.graph._BoxedCodeGen())
    gm.recompile()
    assert open_graph(gm).convention.args == (("args_list", Tree("list", (Tree("leaf"),))),)


def test_code_generators_of_their_own_are_refused():
    class Own(torch.fx.graph.CodeGen):
        pass

    gm = added()
    gm.graph.set_codegen(Own())
    with pytest.raises(UnsupportedGraphError, match="Own has a calling convention of its own"):
        open_graph(gm)


def test_a_module_that_contains_itself_is_refused():
    gm = traced_block()
    gm.layers.add_module("loop", gm.layers)
    with pytest.raises(UnsupportedGraphError, match="contains itself"):
        open_graph(gm)


def test_a_live_graph_holds_no_other_by_name():
    with pytest.raises(UnknownFormatError, match="a live GraphModule is one graph and holds no 'other'"):
        open_graph(added(), model="other")
