"""Arguments that are objects: types, tensors, operators, symbolic numbers, and what is no data at all."""

import math
from typing import NamedTuple

import pytest
import torch
from torch import nn
from torch.fx.experimental.symbolic_shapes import ShapeEnv

import fx2py
from fx2py.errors import UnsupportedGraphError
from fx2py.trust import Policy
from tests.corpus.formats import FORMATS
from tests.edge_cases.building import X, lazily
from tests.edge_cases.test_literals import Answer, Bits

TYPES = Policy(functions=frozenset({"torch.nn.modules.linear.Linear", "builtins.type"}))


@pytest.mark.parametrize(
    "kind", [int, float, str, list, type(None), torch.Tensor, nn.Linear, torch.Size, type, slice]
)
def test_type_as_an_argument(assert_exact, kind):
    through = ["fx2py"] if kind is not type(None) else []
    assert_exact(lazily(isinstance, X, kind), 3, through=through, policy=TYPES)


def test_tuple_of_types_as_an_argument(assert_exact):
    assert_exact(lazily(isinstance, X, (int, torch.Tensor)), torch.ones(2), through=["fx2py"])


def test_tensor_directly_in_the_arguments(assert_exact):
    """pytorch/pytorch 73992."""
    weight = torch.tensor([0.1, math.nan, -0.0])
    assert_exact(lazily(torch.add, X, weight), torch.ones(3), through=["fx2py"])
    assert_exact(lazily(torch.cat, [X, weight]), torch.ones(3), through=["fx2py"])


def test_parameter_directly_in_the_arguments_keeps_its_gradient(assert_exact):
    weight = nn.Parameter(torch.ones(3))
    assert_exact(lazily(torch.mul, X, weight), torch.ones(3), through=["fx2py"])


def applied(operation, x):
    return operation(x)


APPLIED = Policy(functions=frozenset({f"{__name__}.applied", "torch.sin", "math.sqrt"}))


@pytest.mark.parametrize(
    "operation",
    [torch.ops.aten.sin.default, torch.ops.aten.sin, torch.sin, math.sqrt],
    ids=["overload", "packet", "function", "builtin"],
)
def test_operator_as_an_argument(assert_exact, operation):
    """pytorch/pytorch 102547."""
    value = 4.0 if operation is math.sqrt else torch.ones(2)
    assert_exact(lazily(applied, operation, X), value, through=["fx2py"], policy=APPLIED)


def test_higher_order_operator_as_an_argument(assert_exact):
    assert_exact(
        lazily(getattr, torch.ops.higher_order.cond, "__name__"),
        0,
        through=["fx2py"],
        policy=Policy(functions=frozenset({"builtins.getattr"})),
    )


def symbolic_number(kind):
    environment = ShapeEnv()
    from torch._dynamo.source import ConstantSource

    size = environment.create_symintnode(
        environment.create_symbol(3, source=ConstantSource("s")), hint=3, source=ConstantSource("s")
    )
    return {"int": size, "float": torch.sym_float(size), "bool": size > 2}[kind]


@pytest.mark.parametrize("kind", ["int", "float", "bool"])
def test_symbolic_number_that_no_input_gives_is_refused(kind):
    """pytorch/pytorch 183664."""
    gm = lazily(torch.mul, X, 1)
    call = gm.graph.find_nodes(op="call_function", target=torch.mul)[0]
    call.args = (call.args[0], symbolic_number(kind))
    with pytest.raises(UnsupportedGraphError, match=call.name):
        fx2py.generate(gm)


class Unknown:
    """An object of no kind that a graph can hold."""


def test_every_unprintable_argument_is_bound_or_refused_with_its_node():
    unknown = Unknown()
    artifact = fx2py.generate(lazily(getattr, unknown, "__class__"))
    assert artifact.bind()(0) is Unknown


def test_object_that_is_no_data_is_refused_with_its_node(tmp_path):
    placements = pytest.importorskip("torch.distributed.tensor")
    for value in (Bits.READ | Bits.WRITE, placements.Shard(1), Answer(torch.ones(1))):
        gm = lazily(getattr, value, "__class__")
        with pytest.raises(UnsupportedGraphError, match=r"getattr_1: holds an? "):
            FORMATS["fx2py"](gm, tmp_path)
        with pytest.raises(UnsupportedGraphError, match="getattr_1: an argument is an object of "):
            fx2py.generate(FORMATS["graph_pickler"](gm, tmp_path))


class Placed(NamedTuple):
    value: object
    device: object


def test_a_record_with_a_device_is_data_to_the_audit_too(assert_exact):
    assert_exact(lazily(len, Placed(X, torch.device("cpu"))), 3, through=["fx2py"])
