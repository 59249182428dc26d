"""Operators of ExecuTorch's dialects are the operators of ``torch.ops`` that they call.

The classes below stand for those of executorch 1.5 (exir/dialects/edge/_ops.py): same module, same names, same attributes,
and, as there, the module that such an operator says it lives in does not exist.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import fx

import fx2py
from fx2py.errors import UntrustedTargetError
from fx2py.graph.names import callable_name, dotted_name
from fx2py.graph.values import Name, OpName
from fx2py.trust import Policy
from tests.checking import assert_same_behaviour
from tests.edge_cases.building import module_of

EDGE, BACKEND = (f"executorch.exir.dialects.{dialect}._ops" for dialect in ("edge", "backend"))
aten = torch.ops.aten
X = torch.tensor([-1.0, 2.0])


class EdgeOpOverload:
    __module__ = EDGE

    def __init__(self, op: Any) -> None:
        self._op = op
        self.__name__ = f"{op.namespace}.{op.__name__}"

    def __getattr__(self, name: str) -> Any:
        return getattr(self._op, name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._op(*args, **kwargs)


class BackendOpOverload(EdgeOpOverload):
    __module__ = BACKEND


class EdgeOpOverloadPacket:
    __module__ = EDGE

    def __init__(self, packet: Any) -> None:
        self._parent_overload_packet = packet
        self.__name__ = packet._qualified_op_name.replace("::", ".")
        self.__module__ = f"{EDGE}.aten"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._parent_overload_packet(*args, **kwargs)


def edge_graph(*operators: Any) -> fx.GraphModule:
    """The sum of a value with itself, through operators of one operand."""
    graph = fx.Graph()
    value = graph.placeholder("x")
    for operator in operators:
        value = graph.call_function(operator, (value,))
    graph.output(graph.call_function(EdgeOpOverload(aten.add.Tensor), (value, value), {"alpha": 2}))
    return module_of(graph)


def test_every_form_is_the_operator_that_it_calls() -> None:
    assert callable_name(EdgeOpOverload(aten.add.Tensor)) == OpName("aten", "add", "Tensor")
    assert callable_name(BackendOpOverload(aten.relu.default)) == OpName("aten", "relu", "default")
    assert callable_name(EdgeOpOverloadPacket(aten.relu)) == OpName("aten", "relu")
    for dialect in (EDGE, BACKEND):
        assert dotted_name(f"{dialect}.aten.add.Tensor") == OpName("aten", "add", "Tensor")
        assert dotted_name(f"{dialect}.quantized_decomposed.add") == OpName("quantized_decomposed", "add")
    assert dotted_name(f"{EDGE}.EdgeOpOverload") == Name(EDGE, "EdgeOpOverload")
    assert dotted_name("executorch.exir.memory.view") == Name("executorch.exir.memory", "view")


def test_graph_of_the_edge_dialect_is_generated_split_and_saved(tmp_path) -> None:
    gm = edge_graph(
        EdgeOpOverload(aten.neg.default), BackendOpOverload(aten.relu.default), EdgeOpOverloadPacket(aten.abs)
    )
    artifact = fx2py.generate(gm)
    assert "executorch" not in artifact.source
    assert_same_behaviour(artifact.bind(), fx.Interpreter(gm).run, (X,))
    assert fx2py.diff(gm, artifact, (X,)).equal
    fx2py.save_graph(fx2py.split(gm, ["aten::relu"]), tmp_path / "graph.fx2py")
    for options in ({}, {"exact_ops": True}, {"keep_submodules": True}, {"optimize": True}):
        saved = fx2py.generate(tmp_path / "graph.fx2py", options=fx2py.GenerateOptions(**options))
        saved.write(tmp_path / "out")
        run = fx2py.open_artifact(tmp_path / "out").bind()
        assert_same_behaviour(run, fx.Interpreter(gm).run, (X,))


TEXT = """
class GraphModule(torch.nn.Module):
    def forward(self, x):
        aten_sum_dim_int_list = executorch_exir_dialects_edge__ops_aten_sum_dim_IntList(x, [-1]);  x = None
        aten_relu_default = executorch_exir_dialects_backend__ops_aten_relu_default(aten_sum_dim_int_list);  aten_sum_dim_int_list = None
        return (aten_relu_default,)
"""


def test_operators_in_readable_text_are_found_by_their_words(tmp_path) -> None:
    (tmp_path / "graph.txt").write_text(TEXT)
    assert fx2py.generate(tmp_path / "graph.txt").bind()(X)[0].tolist() == 1.0


@torch.library.custom_op("edge_library::double", mutates_args=())
def double(x: torch.Tensor) -> torch.Tensor:
    return x * 2


def test_operator_of_a_library_is_refused_with_the_option_that_admits_it(tmp_path) -> None:
    gm = edge_graph(EdgeOpOverload(torch.ops.edge_library.double.default))
    fx2py.save_graph(gm, tmp_path / "graph.fx2py")
    artifact = fx2py.generate(tmp_path / "graph.fx2py")
    with pytest.raises(UntrustedTargetError, match=r"torch\.ops\.edge_library\.double\.default") as refusal:
        artifact.bind()
    assert "ops={'edge_library'}" in str(refusal.value)
    run = artifact.bind(policy=Policy(ops=frozenset({"edge_library"})))
    assert_same_behaviour(run, fx.Interpreter(gm).run, (X,))
