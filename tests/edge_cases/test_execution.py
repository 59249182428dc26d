"""Order, side effects, random state, regions, higher-order and custom operators, exported programs."""

import operator

import pytest
import torch
import torch.nn.functional as F
from torch import fx, nn
from torch._higher_order_ops.while_loop import while_loop
from torch.export import Dim

import fx2py
from fx2py.errors import Fx2pyError
from fx2py.trust import Policy
from tests.checking import assert_same_behaviour
from tests.corpus import CASES
from tests.corpus.captures import Recorder, run_compiled
from tests.edge_cases.building import X, call_graph, module_of

pytestmark = pytest.mark.filterwarnings("ignore")


def test_dead_nodes_with_side_effects_run(assert_exact):
    graph = fx.Graph()
    x = graph.placeholder("x")
    graph.call_method("add_", (x, 1))
    graph.call_function(torch.rand, (3,))
    graph.call_function(torch.ops.aten.mul_.Tensor, (x, 3))
    graph.output(graph.call_function(torch.rand_like, (x,)))
    assert_exact(fx.GraphModule(nn.Module(), graph), torch.ones(2))


def test_dead_node_that_raises_still_raises(assert_exact):
    graph = fx.Graph()
    x = graph.placeholder("x")
    graph.call_function(torch.matmul, (x, x))
    graph.output(x)
    assert_exact(fx.GraphModule(nn.Module(), graph), torch.ones(2, 3), raises=RuntimeError)


def test_failed_assertion_of_the_graph_comes_through(assert_exact):
    graph = fx.Graph()
    x = graph.placeholder("x")
    graph.call_function(torch._assert, (graph.call_function(operator.gt, (x, 2)), "x is too small"))
    graph.output(x)
    assert_exact(fx.GraphModule(nn.Module(), graph), 1, raises=AssertionError)
    assert_exact(fx.GraphModule(nn.Module(), graph), 3)


def test_random_operations_consume_the_generator_in_order(assert_exact):
    def noisy(x):
        first = torch.rand_like(x)
        torch.bernoulli(x)
        return first, F.dropout(x, 0.5), torch.randn_like(x), x.clone().uniform_(), torch.multinomial(x, 1)

    assert_exact(fx.symbolic_trace(noisy), torch.full((4,), 0.5))


def test_order_of_a_read_and_a_later_write_is_kept(assert_exact):
    graph = fx.Graph()
    x = graph.placeholder("x")
    before = graph.call_method("clone", (x,))
    view = graph.call_function(operator.getitem, (x, 0))
    graph.call_method("zero_", (x,))
    graph.output((before, view))
    assert_exact(fx.GraphModule(nn.Module(), graph), torch.ones(2, 2))


def test_grad_mode_is_switched_for_the_calls_between(assert_exact):
    graph = fx.Graph()
    x = graph.placeholder("x")
    graph.call_function(torch._C._set_grad_enabled, (False,))
    frozen = graph.call_function(torch.mul, (x, 2))
    graph.call_function(torch._C._set_grad_enabled, (True,))
    graph.output((frozen, graph.call_function(torch.mul, (x, 2))))
    assert_exact(fx.GraphModule(nn.Module(), graph), torch.ones(2, requires_grad=True))


def test_autocast_covers_the_calls_between(assert_exact):
    graph = fx.Graph()
    x = graph.placeholder("x")
    mode = graph.call_function(torch.amp.autocast_mode._enter_autocast, ("cpu", torch.bfloat16, True, None))
    low = graph.call_function(torch.matmul, (x, x))
    graph.call_function(torch.amp.autocast_mode._exit_autocast, (mode,))
    graph.output((low, graph.call_function(torch.matmul, (x, x))))
    assert_exact(fx.GraphModule(nn.Module(), graph), torch.ones(2, 2))


HIGHER_ORDER = [
    *("compile-branches", "compile-nested_branches", "compile-loop", "compile-mapped", "compile-scanned"),
    *("compile-cumulative", "compile-NestedCompileRegions", "compile-checkpointed", "compile-vmapped"),
    *("compile-gradient", "compile-Autocast", "compile-NoGrad", "compile-inference_mode"),
    *("compile-attention_with_a_score", "export_non_strict-Loop", "export-Branches", "aot_backward-branches"),
]


@pytest.mark.parametrize("name", HIGHER_ORDER)
def test_higher_order_operator_runs_its_subgraphs(assert_exact, name):
    """pytorch/pytorch 195916 and 150062."""
    captured = CASES[name].capture()
    assert_exact(captured.graph, *captured.args, **captured.kwargs)


def test_higher_order_operator_with_a_lifted_weight(assert_exact):
    class Loop(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(3, 3)

        def forward(self, n, x):
            return while_loop(lambda n, x: n > 0, lambda n, x: (n - 1, self.linear(x).tanh()), (n, x))

    model, args = Loop(), (torch.tensor(3), torch.ones(2, 3))
    assert_exact(torch.export.export(model, args, strict=False), *args)


LIBRARY = "fx2py_absent"


def graph_of_an_absent_operator():
    """A saved text that names an operator library which nothing registers any more."""
    library = torch.library.Library(LIBRARY, "FRAGMENT")
    library.define("twice(Tensor x) -> Tensor")
    library.impl("twice", lambda x: x * 2, "CompositeExplicitAutograd")
    gm = call_graph(getattr(torch.ops, LIBRARY).twice.default, X)
    return gm, library


def test_custom_operator_is_named_in_the_manifest_and_in_the_error(tmp_path):
    gm, library = graph_of_an_absent_operator()
    path = tmp_path / "graph.pt"
    torch.save(gm, path)
    library._destroy()
    artifact = fx2py.generate(path)
    assert LIBRARY in str(artifact.manifest)
    with pytest.raises(Fx2pyError, match=LIBRARY):
        artifact.bind()
    with pytest.raises(Fx2pyError, match=LIBRARY):
        artifact.bind(policy=Policy(ops=frozenset({LIBRARY})))


class Stateful(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("total", torch.zeros(2))
        self.register_buffer("scratch", torch.ones(2), persistent=False)

    def forward(self, x, cache):
        self.total.add_(x)
        cache.mul_(2)
        return cache, x.view(2, 1), x, self.total + self.scratch, x + 1


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("decomposed", [False, True])
def test_exported_program_mutates_buffers_and_inputs_and_aliases_outputs(assert_exact, strict, decomposed):
    args = (torch.ones(2), torch.ones(2))
    program = torch.export.export(Stateful(), args, strict=strict)
    assert_exact(program.run_decompositions() if decomposed else program, *args)


def test_exported_program_keeps_the_callers_structure(assert_exact):
    class Model(nn.Module):
        def forward(self, batch, pair=None, *, scale):
            return {"total": batch["a"] * scale, "pair": (pair[0], [batch["b"]])}

    args = ({"a": torch.ones(2), "b": torch.ones(3)}, (torch.ones(1), torch.ones(1)))
    kwargs = {"scale": torch.tensor(2.0)}
    program = torch.export.export(Model(), args, kwargs, strict=False)
    assert_exact(program, *args, **kwargs)


def dynamic_program():
    class Model(nn.Module):
        def forward(self, x):
            return x.sum(0) + x.shape[0]

    return torch.export.export(
        Model(), (torch.ones(3, 2),), dynamic_shapes={"x": {0: Dim("rows", min=2, max=8)}}
    )


@pytest.mark.parametrize("rows", [2, 5, 8])
def test_exported_program_serves_every_admitted_size(assert_exact, rows):
    assert_exact(dynamic_program(), torch.ones(rows, 2))


def raises(call, *args):
    try:
        call(*args)
    except (AssertionError, RuntimeError, TypeError, ValueError, IndexError):
        return True
    return False


@pytest.mark.parametrize("shape", [(1, 2), (9, 2), (3, 3), (3,)], ids=str)
def test_exported_program_refuses_the_inputs_that_torch_refuses(shape):
    wrong = torch.ones(*shape)
    refused = raises(dynamic_program().module(), wrong)
    assert refused == (shape != (1, 2))
    assert raises(fx2py.generate(dynamic_program()).bind(), wrong) == refused


def test_exported_program_refuses_another_structure_of_inputs():
    class Model(nn.Module):
        def forward(self, batch):
            return batch["a"] + 1

    program = torch.export.export(Model(), ({"a": torch.ones(2)},))
    for wrong in ({"b": torch.ones(2)}, [torch.ones(2)], torch.ones(2)):
        with pytest.raises((ValueError, TypeError, AssertionError, RuntimeError)):
            program.module()(wrong)
        with pytest.raises((ValueError, TypeError, AssertionError, RuntimeError, Fx2pyError)):
            fx2py.generate(program).bind()(wrong)


def stateful_module():
    return torch.export.export(Stateful(), (torch.ones(2), torch.ones(2))).module()


def test_exported_module_is_itself_a_graph_that_generates():
    """``ep.module()`` holds the input guards and the flattening of inputs in its code generator."""
    run = fx2py.generate(stateful_module()).bind()
    assert_same_behaviour(run, stateful_module(), (torch.ones(2), torch.ones(2)))


@torch.library.custom_op("fx2py_edge::shout", mutates_args=())
def shout(x: torch.Tensor) -> torch.Tensor:
    return x * 3


@shout.register_fake
def _(x):
    return torch.empty_like(x)


def test_effect_tokens_are_threaded(assert_exact):
    from torch._higher_order_ops.effects import _EffectType, _register_effectful_op

    handle = _register_effectful_op(torch.ops.fx2py_edge.shout.default, _EffectType.ORDERED)
    try:

        class Model(nn.Module):
            def forward(self, x):
                return torch.ops.fx2py_edge.shout(torch.ops.fx2py_edge.shout(x)) + 1

        program = torch.export.export(Model(), (torch.ones(2),), strict=False).run_decompositions()
        assert_exact(program, torch.ones(2), policy=Policy(ops=frozenset({"fx2py_edge"})))
    finally:
        handle.destroy()


def test_boxed_arguments_are_not_kept_alive(assert_exact):
    """pytorch/pytorch 187186: a list of arguments unpacked by the graph, as compiled backward graphs have it."""
    graph = fx.Graph()
    boxed = graph.placeholder("args")
    first = graph.call_function(operator.getitem, (boxed, 0))
    second = graph.call_function(operator.getitem, (boxed, 1))
    graph.call_method("clear", (boxed,))
    graph.output(graph.call_function(torch.add, (first, second)))
    assert_exact(module_of(graph), [torch.ones(2), torch.ones(2)])


class Tripled(torch.autograd.Function):
    """Doubles, and has a gradient of its own."""

    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, gradient):
        return gradient * 3


def test_gradient_of_an_autograd_function_is_the_functions_own(assert_exact):
    class Model(nn.Module):
        def forward(self, x):
            return Tripled.apply(x) + 1

    recorder = Recorder()
    x = torch.ones(2, requires_grad=True)
    run_compiled(Model(), (x,), {}, recorder, train=True)
    run = assert_exact(recorder.captured[0].graph, *recorder.captured[0].args).bind()
    run(x)[0].sum().backward()
    assert x.grad.tolist() == [3.0, 3.0]
