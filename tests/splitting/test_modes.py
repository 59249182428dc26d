"""Where a graph must not be cut for a compiler: from the begin of a mode to its end, whatever switches it."""

import itertools
import re
import time

import pytest
import torch
import torch._dynamo
import torch.autograd.forward_ad as forward_ad
from torch import fx
from torch._dynamo import trace_rules
from torch._dynamo.variables import TorchInGraphFunctionVariable
from torch.nn.attention import SDPBackend, sdpa_kernel

from fx2py.graph.data import Node
from fx2py.graph.values import Name, Ref
from fx2py.splitting import modes
from fx2py.splitting.live import split_module
from fx2py.splitting.modes import mode_ranges
from tests.checking import assert_same_behaviour

RELU = "torch.relu"


def relu(x):
    return torch.relu(x)


def within(context):
    """Relus in a mode, twice, with one between."""

    def model(x):
        with context():
            x = relu(x.sin() + 1).cos()
        x = relu(x)
        with context():
            x = relu(x.sin() + 1).cos()
        return relu(x)

    return model


def while_set(switch, on, off):
    """A relu between two calls that set something, one before and one after."""

    def model(x):
        x = relu(x)
        switch(on)
        x = relu(x.sin()).cos()
        switch(off)
        return relu(x)

    return model


def transformed(transform):
    """Relus in a function that is transformed, and around it."""
    return lambda x: relu(transform(lambda v: relu(v.sin()).cos(), relu(x) + 1))


def gradients_later(function, x):
    result, gradients = torch.func.vjp(function, x)
    return gradients(relu(result + 1))[0]


MODELS = {
    "no_grad": (within(torch.no_grad), 2),
    "inference_mode": (within(torch.inference_mode), 2),
    "autocast": (within(lambda: torch.autocast("cpu", torch.bfloat16)), 2),
    "no saved tensor hooks": (within(lambda: torch.autograd.graph.disable_saved_tensors_hooks("no")), 2),
    "dual level": (within(forward_ad.dual_level), 2),
    "forward gradients off": (within(lambda: forward_ad._set_fwd_grad_enabled(False)), 1),
    "sdpa kernel": (within(lambda: sdpa_kernel(SDPBackend.MATH)), 1),
    "grad mode set": (while_set(torch.set_grad_enabled, False, True), 2),
    "deterministic": (while_set(torch.use_deterministic_algorithms, True, False), 2),
    "default dtype": (while_set(torch.set_default_dtype, torch.float64, torch.float32), 2),
    "autocast set": (while_set(lambda on: torch.set_autocast_enabled("cpu", on), True, False), 2),
    "flash attention": (while_set(torch.backends.cuda.enable_flash_sdp, False, True), 2),
    "vmap": (transformed(lambda f, x: torch.vmap(f)(x)), 2),
    "vmap in vmap": (transformed(lambda f, x: torch.vmap(torch.vmap(f))(x)), 2),
    "grad": (transformed(lambda f, x: torch.func.grad(lambda v: f(v).sum())(x)), 2),
    "vjp": (transformed(gradients_later), 2),
    "jvp": (transformed(lambda f, x: torch.func.jvp(f, (x,), (x,))[1]), 2),
    "jacfwd": (transformed(lambda f, x: torch.func.jacfwd(f)(x[0])), 2),
    "jacrev": (transformed(lambda f, x: torch.func.jacrev(f)(x[0])), 2),
    "hessian": (transformed(lambda f, x: torch.func.hessian(lambda v: f(v).sum())(x[0])), 2),
}
"""Models, and how many of their relus are in no mode; settings are changed from the first to the last call."""


@pytest.fixture(autouse=True)
def fresh():
    torch._dynamo.reset()
    torch.manual_seed(0)
    yield
    torch._dynamo.reset()


def captured(model) -> fx.GraphModule:
    graphs = []

    def keep(gm, inputs):
        graphs.append(gm)
        return gm

    torch.compile(model, backend=keep, fullgraph=True)(torch.randn(4, 4, requires_grad=True))
    return graphs[0]


@pytest.mark.parametrize("mode", MODELS)
def test_a_graph_is_cut_around_the_ranges_of_a_mode_and_not_in_them(mode):
    model, outside = MODELS[mode]
    _, pieces = split_module(captured(model), RELU, for_compilers=True, whole_modes_from=True)
    assert sum(piece.is_named for piece in pieces) == outside


@pytest.mark.parametrize("mode", MODELS)
@pytest.mark.parametrize("requires_grad", [True, False], ids=["gradients", "none"])
def test_pieces_of_a_compiler_compute_what_the_model_does(mode, requires_grad):
    model, _ = MODELS[mode]
    compiled = torch.compile(
        model, backend="fx2py", options={"inner": "aot_eager", "split_at": RELU}, fullgraph=True
    )
    x = torch.randn(4, 4)
    ours, theirs = x.clone().requires_grad_(requires_grad), x.clone().requires_grad_(requires_grad)
    result, expected = compiled(ours), model(theirs)
    assert torch.equal(result, expected)
    assert result.requires_grad == expected.requires_grad
    if expected.requires_grad:
        result.sum().backward()
        expected.sum().backward()
        assert torch.equal(ours.grad, theirs.grad)


def test_a_mode_that_stays_on_is_on_to_the_end():
    def model(x):
        x = relu(x) + 1
        torch.set_grad_enabled(False)
        return relu(x.sin())

    try:
        gm = captured(model)
        torch.set_grad_enabled(True)
        _, pieces = split_module(gm, RELU, for_compilers=True, whole_modes_from=True)
        assert [piece.is_named for piece in pieces] == [True, False]
        _, pieces = split_module(gm, RELU, for_compilers=True, whole_modes_from=False)
        assert [piece.is_named for piece in pieces] == [True, False, True]
    finally:
        torch.set_grad_enabled(True)


def test_a_call_for_its_effect_that_switches_nothing_is_no_mode():
    for name in ("_log_api_usage_once", "manual_seed", "lazy_load_decompositions"):
        nodes = [Node("effect", "call_function", Name("torch", name), ("x",)), Node("x", "placeholder", "x")]
        assert mode_ranges(nodes, True) == []


def test_a_level_is_whole_for_pieces_that_no_compiler_gets_too():
    gm = captured(MODELS["vmap"][0])
    split, pieces = split_module(gm, RELU)
    assert sum(piece.is_named for piece in pieces) == 2
    assert_same_behaviour(split, gm, (torch.randn(4, 4),))


BEGINS = re.compile(r"(^|_)(increment_nesting|enter|push)(_|$)")


def test_each_function_that_begins_something_is_known_with_its_end():
    """Of those that torch's compiler leaves in a graph."""
    left = {
        path.rpartition(".")[2]
        for rules in trace_rules.torch_name_rule_map
        for path, rule in rules.items()
        if rule is TorchInGraphFunctionVariable
    }
    begins = {name for name in left if BEGINS.search(name)}
    assert len(begins) > 8
    assert begins - modes._ENDS.keys() - set(modes._ENDS.values()) == set()


def test_ranges_of_a_long_graph_are_found_in_proportion_to_it():
    def graph(length):
        nodes = [Node("x", "placeholder", "x")]
        for number in range(length):
            begin, end = Name("torch._C._functorch", "_grad_increment_nesting"), Name(
                "torch._C._functorch", "_grad_decrement_nesting"
            )
            nodes += [
                Node(f"begin{number}", "call_function", begin),
                Node(f"y{number}", "call_function", Name("torch", "sin"), (Ref("x"),)),
                Node(f"end{number}", "call_function", end),
                Node(f"z{number}", "call_function", Name("torch", "cos"), (Ref("x"),)),
            ]
        return nodes

    def seconds(nodes):
        start = time.process_time()
        mode_ranges(nodes, True)
        return time.process_time() - start

    assert len(mode_ranges(graph(100), True)) == 100
    short, long = (min(seconds(nodes) for _ in range(3)) for nodes in (graph(1_000), graph(10_000)))
    assert long < 40 * short


def test_ranges_are_in_order_and_apart():
    for names in itertools.permutations(("_enter_autocast", "_exit_autocast", "sin", "_set_grad_enabled"), 4):
        nodes = [
            Node(f"n{number}", "call_function", Name("torch", name), (False,))
            for number, name in enumerate(names)
        ]
        found = mode_ranges(nodes, True)
        assert all(one[1] + 1 < two[0] for one, two in itertools.pairwise(found))
        assert all(0 <= first <= last < len(nodes) for first, last in found)
