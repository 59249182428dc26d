"""Higher-order operators as decompositions and torch.compile leave them: values, strides, refusals."""

import operator
from functools import partial

import pytest
import torch
from torch import fx, nn, randn
from torch._higher_order_ops.associative_scan import associative_scan
from torch._higher_order_ops.auto_functionalize import auto_functionalized, auto_functionalized_v2
from torch._higher_order_ops.run_const_graph import run_const_graph
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts

import fx2py
from fx2py.errors import UnsupportedGraphError
from fx2py.trust import Policy
from tests.corpus.captures import CAPTURES
from tests.corpus.formats import FORMATS

OWN = Policy(ops=frozenset({"fx2py_edge_bump"}))


@torch.library.custom_op("fx2py_edge_bump::bump", mutates_args=("x", "ys"))
def bump(x: torch.Tensor, ys: list[torch.Tensor], n: float = 1.5) -> torch.Tensor:
    x.add_(n)
    for y in ys:
        y.mul_(2)
    return x.sum().clone()


@bump.register_fake
def _(x, ys, n=1.5):
    return x.new_empty(())


def items(graph, results, count):
    return [graph.call_function(operator.getitem, (results, index)) for index in range(count)]


def functionalized():
    graph = fx.Graph()
    x, y = graph.placeholder("x"), graph.placeholder("y")
    arguments = {"x": x, "ys": [y], "n": 2.0}
    results = graph.call_function(auto_functionalized, (torch.ops.fx2py_edge_bump.bump.default,), arguments)
    graph.output((items(graph, results, 3), x, y))
    return fx.GraphModule(nn.Module(), graph)


def functionalized_with_bases():
    graph = fx.Graph()
    x, y = graph.placeholder("x"), graph.placeholder("y")
    first_row = {"_x_base_index": 0, "_x_slice_dim": 0, "_x_slice_start": 0, "_x_slice_end": 1}
    others = {"_ys_length": 1, "_ys_0_base_index": 1, "_ys_0_alias": True, "n": 0.25, "_all_bases": [x, y]}
    overload = torch.ops.fx2py_edge_bump.bump.default
    results = graph.call_function(auto_functionalized_v2, (overload,), {**first_row, **others})
    graph.output((items(graph, results, 3), x, y))
    return fx.GraphModule(nn.Module(), graph)


@pytest.mark.parametrize("make", [functionalized, functionalized_with_bases])
def test_functionalized_operator_changes_copies_of_its_arguments(assert_exact, make):
    assert_exact(make(), torch.ones(2, 3), torch.ones(3, 2).t(), through=["fx2py", "pt"], policy=OWN)


def test_constant_graph_is_run(assert_exact):
    graph = fx.Graph()
    results = graph.call_function(run_const_graph, (graph.get_attr("_const"), (graph.placeholder("x"),)))
    graph.output(items(graph, results, 2))
    gm = fx.GraphModule({"_const": fx.symbolic_trace(lambda x: (x * 2, x.t()))}, graph)
    assert_exact(gm, torch.ones(2, 3), through=["fx2py", "pt", "graph_pickler"])


def test_scripted_object_is_bound_live_and_refused_from_a_file(assert_exact, tmp_path):
    weight = torch.quantize_per_tensor(torch.ones(2, 3), 0.1, 0, torch.qint8)
    root = nn.Module()
    root.packed = torch.ops.quantized.linear_prepack(weight, None)
    graph = fx.Graph()
    x, packed = graph.placeholder("x"), graph.get_attr("packed")
    graph.output(graph.call_function(torch.ops.quantized.linear_dynamic.default, (x, packed)))
    gm = fx.GraphModule(root, graph)
    artifact = assert_exact(gm, torch.ones(2, 3), through=[])
    with pytest.raises(UnsupportedGraphError, match="LinearPackedParamsBase, a live object"):
        artifact.write(tmp_path / "out")
    for format_ in ("fx2py", "pt", "graph_pickler"):
        with pytest.raises(UnsupportedGraphError, match=r"packed: .*torch\.ScriptObject"):
            fx2py.generate(FORMATS[format_](gm, tmp_path)).bind()


class Recomputed(nn.Module):
    """Two checkpoints whose modules draw random numbers, one of them with an argument that is no tensor."""

    def __init__(self):
        super().__init__()
        self.first = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5))
        self.second = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.25))

    def forward(self, x):
        x = checkpoint(self.first, x, use_reentrant=False)
        return checkpoint(lambda x, scale: self.second(x) * scale, x, 2.0, use_reentrant=False)


def saved_or_not(context, op, *args, **kwargs):
    return (
        CheckpointPolicy.MUST_SAVE if op is torch.ops.aten.mm.default else CheckpointPolicy.PREFER_RECOMPUTE
    )


def selectively_recomputed(x, w):
    contexts = partial(create_selective_checkpoint_contexts, saved_or_not)
    return checkpoint(lambda x: (x @ w).sigmoid().sum(0), x, use_reentrant=False, context_fn=contexts)


def region_called_twice(x):
    region = torch.compiler.nested_compile_region(lambda x: (x.sin(), x.t() * 2))
    first, other = region(x)
    second, again = region(first)
    return second + other + again


def paired(one, other):
    return {"sum": one["sum"] + other["sum"], "most": torch.maximum(one["most"], other["most"])}


def scanned_backwards(sums, most):
    return associative_scan(paired, {"sum": sums, "most": most}, dim=1, reverse=True, combine_mode="generic")


def mapped(x, y):
    return torch.func.vmap(lambda x, y: (x @ y, x.t()), in_dims=(2, 0), out_dims=(1, 2))(x, y)


def mapped_at_random(x):
    return torch.func.vmap(lambda row: row + torch.rand_like(row), randomness="different")(x)


def with_value(x):
    return torch.func.grad_and_value(lambda x: ((x**3).sum(), x.cos()), has_aux=True)(x)


def trained(*sizes):
    return randn(*sizes, requires_grad=True)


CAPTURED = {
    "checkpoint": ("compile", Recomputed, (trained(2, 4),)),
    "checkpoint, backward": ("aot_backward", Recomputed, (trained(2, 4),)),
    "selective checkpoint": ("aot_backward", selectively_recomputed, (trained(3, 4), trained(4, 5))),
    "region": ("compile", region_called_twice, (trained(3, 3),)),
    "region, backward": ("aot_backward", region_called_twice, (trained(3, 3),)),
    "scan of a dict, backwards": ("compile", scanned_backwards, (randn(2, 5, 3), randn(2, 5, 3))),
    "vmap over other dimensions": ("compile", mapped, (randn(3, 4, 5), randn(5, 4))),
    "vmap of random numbers": ("compile", mapped_at_random, (randn(5, 4),)),
    "grad with a value beside it": ("compile", with_value, (randn(5),)),
    "hessian": ("compile", torch.func.hessian(lambda x: (x**3).sum()), (randn(3),)),
}


@pytest.mark.parametrize("name", CAPTURED)
def test_captured_region_does_what_the_graph_does(assert_exact, name):
    kind, model, args = CAPTURED[name]
    torch._dynamo.reset()
    captured = CAPTURES[kind](model, args, {})
    assert_exact(captured.graph, *captured.args, **captured.kwargs, through=["fx2py"])
