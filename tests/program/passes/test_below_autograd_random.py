"""Random graphs of views, writes and computations do below autograd what they do above it."""

from __future__ import annotations

from typing import Any

import hypothesis
import torch
from hypothesis import strategies as st
from torch import fx

import fx2py
from tests.checking import assert_same
from tests.conformance.judge import every_graph_below_autograd

aten = torch.ops.aten
SIZE = 4
ONE: list[tuple[Any, tuple[Any, ...]]] = [
    *((op, ()) for op in (aten.neg.default, aten.relu.default, aten.relu_.default, aten.clone.default)),
    *((op, ()) for op in (aten.contiguous.default, aten.alias.default, aten.detach.default)),
    (aten.transpose.int, (0, 1)),
    (aten.view.default, ([SIZE, SIZE],)),
    (aten.reshape.default, ([SIZE, SIZE],)),
    (aten.expand.default, ([SIZE, SIZE],)),
    (aten.slice.Tensor, (0, 0, SIZE)),
    (aten.softmax.int, (1,)),
    (aten.dropout.default, (0.5, False)),
    (aten.to.dtype, (torch.float32,)),
    (aten.add_.Scalar, (0.5,)),
    (aten.mul.Tensor, (0.75,)),
    (aten.layer_norm.default, ([SIZE],)),
    (aten.zero_.default, ()),
]
TWO = [
    *(aten.add.Tensor, aten.sub.Tensor, aten.add_.Tensor, aten.copy_.default),
    *(aten.matmul.default, aten.linear.default, aten.expand_as.default, aten.maximum.default),
]


@st.composite
def graphs(draw: st.DrawFn) -> fx.GraphModule:
    """Operators on square matrices: each reads any earlier value, and some values are returned."""
    graph = fx.Graph()
    values = [graph.placeholder("x"), graph.placeholder("y"), graph.get_attr("weight")]
    for _ in range(draw(st.integers(1, 12))):
        first = draw(st.sampled_from(values))
        if draw(st.booleans()):
            op, rest = draw(st.sampled_from(ONE))
        else:
            op, rest = draw(st.sampled_from(TWO)), (draw(st.sampled_from(values)),)
        values.append(graph.call_function(op, (first, *rest)))
    graph.output(tuple(draw(st.lists(st.sampled_from(values), min_size=1, max_size=3))))
    return fx.GraphModule({"weight": torch.linspace(-1, 1, SIZE * SIZE).view(SIZE, SIZE)}, graph)


def seen(artifact: fx2py.Artifact) -> list[Any]:
    """What two calls leave behind: results, inputs and weight, the writes that are counted, and who shares memory."""
    x = torch.linspace(-2, 2, SIZE * SIZE).view(SIZE, SIZE)
    tensors = {name: tensor.clone() for name, tensor in artifact.tensors.items()}
    execute = artifact.binder()(tensors, {})
    inputs = [x, x.flip(0), *tensors.values()]
    left: list[Any] = []
    for _ in range(2):
        try:
            results = execute(*inputs[:2])
        except RuntimeError as error:  # a write to memory that is read elsewhere in another order
            results = []
            left.append(str(error))
        places = [tensor.untyped_storage().data_ptr() for tensor in (*inputs, *results)]
        left += [tensor.clone() for tensor in (*results, *inputs)]
        left += [tensor._version for tensor in inputs]
        left += [tensor.stride() for tensor in results]
        left += [[one == other for other in places] for one in places]
        left += [[one is other for other in inputs] for one in results]
    return left


@hypothesis.settings(deadline=None, max_examples=200)
@hypothesis.given(graphs())
def test_a_random_graph_does_the_same_below_autograd(graph: fx.GraphModule) -> None:
    with every_graph_below_autograd(), torch.no_grad():
        expected = seen(fx2py.generate(graph, options=fx2py.GenerateOptions(exact_ops=True)))
        for optimize in (False, True):
            artifact = fx2py.generate(graph, options=fx2py.GenerateOptions(optimize=optimize))
            hypothesis.event(
                f"below autograd: {artifact.program is not None and artifact.program.below_autograd}"
            )
            assert_same(seen(artifact), expected, f"optimize={optimize}")
