"""Modules that bound code calls: the cheapest way at each call, and never another result than a call of the module."""

import operator

import pytest
import torch
from torch import fx, nn
from torch.nn.modules import module as registry

import fx2py
from fx2py.integrations.vllm import compile_execution_fn, generate_execution_code
from tests.checking import assert_same_behaviour

X = torch.ones(2, 3)


class Piece(nn.Module):
    """Returns a tuple, as pieces of an engine do."""

    def __init__(self, factor=2.0):
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor))

    def forward(self, x):
        return (x * self.factor,)


class Counting(Piece):
    """A module whose call is more than its forward."""

    calls = 0

    def __call__(self, x):
        self.calls += 1
        return super().__call__(x)


def stitched(*pieces):
    """A graph that calls the modules one after the other."""
    graph = fx.Graph()
    x = graph.placeholder("x")
    for number in range(len(pieces)):
        results = graph.call_module(f"submod_{number}", (x,))
        x = graph.call_function(operator.getitem, (results, 0))
    graph.output(x)
    return fx.GraphModule({f"submod_{number}": piece for number, piece in enumerate(pieces)}, graph)


def dropped_in(gm):
    code, names, consts = generate_execution_code(gm)
    return compile_execution_fn(code, dict(gm._modules), names, consts)


KEPT = fx2py.GenerateOptions(keep_submodules=True)
BINDERS = {
    "drop-in": dropped_in,
    "bind": lambda gm: fx2py.generate(gm).bind(),
    "bind, given": lambda gm: fx2py.generate(gm, options=KEPT).bind(submods=dict(gm.named_children())),
}


@pytest.fixture(params=BINDERS.values(), ids=BINDERS)
def binder(request):
    return request.param


def doubled(module, args, result):
    return (result[0] * 2,)


def shifted(module, args):
    return (args[0] + 1,)


def shifted_gradient(module, grads_in, grads_out):
    return tuple(grad + 1 for grad in grads_in)


def tripled_gradient(module, grads_out):
    return tuple(grad * 3 for grad in grads_out)


def always(module, args, result):
    return (result[0] - 1,)


OWN_HOOKS = {
    "forward": lambda module: module.register_forward_hook(doubled),
    "forward first": lambda module: module.register_forward_hook(doubled, prepend=True),
    "always": lambda module: module.register_forward_hook(always, always_call=True),
    "pre": lambda module: module.register_forward_pre_hook(shifted),
    "backward": lambda module: module.register_full_backward_hook(shifted_gradient),
    "backward pre": lambda module: module.register_full_backward_pre_hook(tripled_gradient),
}
GLOBAL_HOOKS = {
    "of all, forward": lambda module: registry.register_module_forward_hook(doubled),
    "of all, pre": lambda module: registry.register_module_forward_pre_hook(shifted),
    "of all, backward": lambda module: registry.register_module_full_backward_hook(shifted_gradient),
    "of all, backward pre": lambda module: registry.register_module_full_backward_pre_hook(tripled_gradient),
}
HOOKS = {**OWN_HOOKS, **GLOBAL_HOOKS}


def result_and_gradient(function):
    x = X.clone().requires_grad_()
    result = function(x)
    return result.detach(), torch.autograd.grad(result.sum(), x)[0]


def called_one_by_one(pieces):
    def call(x):
        for piece in pieces:
            (x,) = piece(x)
        return x

    return call


def assert_like_modules(execute, pieces):
    expected = result_and_gradient(called_one_by_one(pieces))
    for found, meant in zip(result_and_gradient(execute), expected, strict=True):
        assert torch.equal(found, meant)


@pytest.mark.parametrize("register", HOOKS.values(), ids=HOOKS)
@pytest.mark.parametrize("when", ["before", "after", "after a call"])
def test_hooks_run_whenever_they_were_registered_and_until_they_are_removed(binder, register, when):
    pieces = [Piece(), Piece(3.0), Piece(-1.0)]
    gm = stitched(*pieces)
    plain = result_and_gradient(called_one_by_one(pieces))
    handle = register(pieces[1]) if when == "before" else None
    execute = binder(gm)
    if when == "after a call":
        assert_like_modules(execute, pieces)
    handle = handle or register(pieces[1])
    try:
        hooked = result_and_gradient(called_one_by_one(pieces))
        assert any(not torch.equal(one, other) for one, other in zip(hooked, plain, strict=True))
        assert_like_modules(execute, pieces)
    finally:
        handle.remove()
    assert_like_modules(execute, pieces)


@pytest.mark.parametrize("register", HOOKS.values(), ids=HOOKS)
def test_modules_are_called_fast_again_after_a_hook_was_removed_and_others_registered(binder, register):
    pieces = [Piece(), Piece()]
    execute = binder(stitched(*pieces))
    register(pieces[0]).remove()
    assert_like_modules(execute, pieces)
    with torch.no_grad():
        execute(X)
    pieces[1].register_forward_hook(doubled)
    assert_like_modules(execute, pieces)


def test_a_hook_of_one_module_leaves_no_other_result_in_code_bound_twice(binder):
    pieces = [Piece(), Piece()]
    gm = stitched(*pieces)
    first, second = binder(gm), binder(gm)
    pieces[0].register_forward_hook(doubled)
    assert_like_modules(first, pieces)
    assert_like_modules(second, pieces)


def test_a_call_of_its_own_class_is_made(binder):
    pieces = [Counting(), Piece()]
    execute = binder(stitched(*pieces))
    assert_like_modules(execute, pieces)
    execute(X)
    assert pieces[0].calls == 3


class Mode(nn.Module):
    def __init__(self):
        super().__init__()
        self.dropout = nn.Dropout(0.5)

    def forward(self, x):
        return (self.dropout(x) if self.training else x + 1,)


def test_the_mode_and_dtype_of_a_module_are_those_of_each_call(binder):
    pieces = [Mode(), Piece()]
    gm = stitched(*pieces)
    execute = binder(gm)
    gm.eval()
    assert torch.equal(execute(X), (X + 1) * 2)
    gm.train()
    torch.manual_seed(0)
    found = execute(X)
    torch.manual_seed(0)
    assert torch.equal(found, called_one_by_one(pieces)(X))
    gm.eval().to(torch.float64)
    assert execute(X.double()).dtype is torch.float64


@pytest.mark.parametrize("wrap", [lambda piece: torch.compile(piece, backend="eager"), fx.symbolic_trace])
def test_compiled_and_traced_modules_are_what_they_are(binder, wrap):
    pieces = [wrap(Piece()), Piece()]
    execute = binder(stitched(*pieces))
    assert_like_modules(execute, pieces)
    pieces[1].register_forward_hook(doubled)
    assert_like_modules(execute, pieces)


def test_a_forward_that_a_module_has_of_its_own_is_called(binder):
    pieces = [Piece(), Piece()]
    pieces[0].forward = lambda x: (x - 1,)
    assert_like_modules(binder(stitched(*pieces)), pieces)


def test_a_forward_that_is_set_later_is_called_by_the_engines_code():
    pieces = [Piece(), Piece()]
    pieces[0].forward = lambda x: (x - 1,)
    execute = dropped_in(stitched(*pieces))
    for number in range(2):
        for piece in pieces:
            piece.forward = lambda x, number=number: (x - number,)
            assert_like_modules(execute, pieces)
    for piece in pieces:
        del piece.forward
        assert_like_modules(execute, pieces)


def test_a_module_that_appears_twice_is_hooked_twice(binder):
    piece = Piece()
    execute = binder(stitched(piece, piece))
    piece.register_forward_hook(doubled)
    assert_like_modules(execute, [piece, piece])


def test_modules_that_are_called_inside_nested_functions_run_later_hooks():
    piece = Piece()
    gm = stitched(stitched_result(piece))
    execute = fx2py.generate(gm, options=KEPT).bind()
    piece.register_forward_hook(doubled)
    assert_same_behaviour(execute, gm, (X,))


def stitched_result(piece):
    """A nested graph that calls a module and returns its tuple."""
    graph = fx.Graph()
    graph.output(graph.call_module("inner", (graph.placeholder("x"),)))
    return fx.GraphModule({"inner": piece}, graph)


def test_torch_compile_of_bound_code_is_not_compiled_anew_for_every_hook_of_anything():
    compiled = []

    def backend(graph, inputs):
        compiled.append(graph)
        return graph

    torch._dynamo.reset()
    execute = torch.compile(fx2py.generate(stitched(Piece())).bind(), backend=backend, fullgraph=True)
    for _ in range(3):
        execute(X)
        X.clone().requires_grad_().register_hook(lambda grad: grad)
    assert len(compiled) == 1
