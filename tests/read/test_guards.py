"""The guards of ``ep.module()``, which torch keeps as a compiled function, stay checks wherever the graph goes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import fx
from torch.export import Dim, export
from torch.export._unlift import GuardsFn

import fx2py
from fx2py.errors import ReplayError
from fx2py.read.live.guards import graph_of_guards
from tests.checking import assert_same_behaviour, outcome

X = torch.ones(6, 4)
Call = tuple[Any, ...]


@dataclasses.dataclass
class Batch:
    ids: Any
    mask: Any


torch.export.register_dataclass(Batch)


class Guarded(torch.nn.Module):
    """Adds up all its tensors; ``condition`` is what tracing observes of them."""

    def __init__(self, condition: Callable[..., bool]) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(4, 4)
        self.condition = condition

    def forward(self, x: torch.Tensor, more: Any = None) -> torch.Tensor:
        total = self.linear(x).sum() + (1 if self.condition(x) else 2)
        for leaf in torch.utils._pytree.tree_leaves(more):
            total = total + (leaf.sum() if isinstance(leaf, torch.Tensor) else len(str(leaf)))
        return total


DYNAMIC = Dim.DYNAMIC
CASES: dict[str, tuple[Callable[..., bool], Call, Any, list[Call]]] = {
    "sizes": (lambda x: True, (X,), None, [(X[:3],), (X[:, :3],), (X[0],), (X.int(),)]),
    "range": (
        lambda x: True,
        (X,),
        ({0: Dim("b", min=3, max=8)},),
        [(X[:3],), (X[:2],), (torch.ones(9, 4),), (torch.ones(8, 4),)],
    ),
    "remainder": (lambda x: x.shape[0] % 3 == 0, (X,), ({0: DYNAMIC},), [(X[:3],), (X[:4],)]),
    "comparison": (lambda x: x.shape[0] > x.shape[1] + 1, (X,), ({0: DYNAMIC},), [(X[:3],), (X[:5],)]),
    "equal sizes": (
        lambda x: True,
        (X, X),
        ({0: Dim("b")}, {0: Dim("b")}),
        [(X, X), (X[:4], X[:4]), (X[:4], X)],
    ),
    "derived sizes": (
        lambda x: True,
        (X, torch.ones(13)),
        ({0: (b := Dim("b"))}, {0: 2 * b + 1}),
        [(X[:4], torch.ones(9)), (X[:4], torch.ones(8))],
    ),
    "containers": (
        lambda x: True,
        (X, {"k": [X, (X, 3.5)]}),
        None,
        [(X, {"k": [X, (X[:2], 3.5)]}), (X, {"k": [X, (X, 2.5)]}), (X, {"k": [X[:, :2], (X, 3.5)]})],
    ),
    "dataclass": (lambda x: True, (X, Batch(X, X)), None, [(X, Batch(X, X[:2])), (X, Batch(X[:2], X))]),
    "constants": (
        lambda x: True,
        (X, [3, 2.5, "fast", True, None, float("inf")]),
        None,
        [
            (X, [4, 2.5, "fast", True, None, float("inf")]),
            (X, [3, 2.0, "fast", True, None, float("inf")]),
            (X, [3, 2.5, "other", True, None, float("inf")]),
            (X, [3, 2.5, "fast", False, None, float("inf")]),
            (X, [3, 2.5, "fast", True, None, 1.0]),
        ],
    ),
}


def guarded(name: str) -> tuple[fx.GraphModule, Call, list[Call]]:
    condition, args, shapes, calls = CASES[name]
    program = export(Guarded(condition), args, dynamic_shapes=shapes)
    module = program.module()
    assert isinstance(module._guards_fn, GuardsFn)
    for hooks in (module._forward_pre_hooks, module._forward_pre_hooks_with_kwargs, module._forward_hooks):
        hooks.clear()  # they are no part of the graph
    return module, args, calls


def saved(module: fx.GraphModule, tmp_path: Any, **options: Any) -> Callable[..., Any]:
    fx2py.save_graph(module, tmp_path / "graph.fx2py")
    artifact = fx2py.generate(tmp_path / "graph.fx2py", options=fx2py.GenerateOptions(**options))
    artifact.write(tmp_path / "out")
    return fx2py.open_artifact(tmp_path / "out").bind()


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("options", [{}, {"keep_submodules": True}, {"optimize": True}], ids=str)
def test_guards_of_a_split_module_are_those_of_the_module(name, options, tmp_path) -> None:
    module, args, calls = guarded(name)
    split = fx2py.split(module, ["aten::linear"])
    for run in (saved(module, tmp_path, **options), saved(split, tmp_path, **options)):
        for call in (args, *calls):
            assert_same_behaviour(run, module, call)


@pytest.mark.parametrize("name", CASES)
def test_guards_refuse_with_the_message_of_torch(name, tmp_path) -> None:
    module, _, calls = guarded(name)
    run = saved(module, tmp_path)
    refused = [call for call in calls if outcome(module, call, {}, seed=0).error is AssertionError]
    assert refused
    for call in refused:
        with pytest.raises(AssertionError) as wanted:
            module(*call)
        with pytest.raises(AssertionError) as got:
            run(*call)
        assert str(got.value) == str(wanted.value)


def test_reference_makes_the_same_checks(tmp_path) -> None:
    module, args, calls = guarded("range")
    fx2py.save_graph(module, tmp_path / "graph.fx2py")
    artifact = fx2py.generate(tmp_path / "graph.fx2py")
    for call in (args, *calls):
        assert fx2py.diff(tmp_path / "graph.fx2py", artifact, call).equal


def test_guards_of_a_module_that_was_changed_afterwards(tmp_path) -> None:
    """As a quantizer changes it: nodes are put in between and replaced, and the module is copied."""
    module, args, calls = guarded("containers")
    node = next(node for node in module.graph.nodes if node.target is torch.ops.aten.linear.default)
    with module.graph.inserting_after(node):
        scaled = module.graph.call_function(torch.ops.aten.mul.Tensor, (node, 2.0))
    node.replace_all_uses_with(scaled, delete_user_cb=lambda user: user is not scaled)
    module.recompile()
    run = saved(fx2py.split(module, ["aten::mul"]), tmp_path)
    for call in (args, *calls):
        assert_same_behaviour(run, module, call)


def other_guards(**replaced: Any) -> GuardsFn:
    """A module of torch's class whose function is not the one that torch writes."""
    module = GuardsFn()
    module.forward = replaced["forward"]
    return module


SCOPE: dict[str, Any] = {"torch": torch}
exec("def _(*args):\n  torch._assert(args[0] > 1, 'Guard failed: x > 1')\n  return\n", SCOPE)
exec("def lying(*args):\n  torch._assert(args[0] > 2, 'Guard failed: x > 1')\n  return\n", SCOPE)
exec("def skipping(*args):\n  torch._assert(args[0] > 1 or args[1].size()[0] > 1, 'Guard failed: x > 1 or y.size()[0] > 1')\n  return\n", SCOPE)  # fmt: skip
exec("def printing(*args):\n  print(args[0])\n  return\n", SCOPE)


def test_only_what_the_text_says_becomes_nodes() -> None:
    assert graph_of_guards(SCOPE["_"]) is not None
    for name in ("lying", "skipping", "printing"):
        function = SCOPE[name]
        function.__code__ = function.__code__.replace(co_name="_")
        assert graph_of_guards(function) is None, name
    hidden = dict(SCOPE, torch=None)
    exec("def _(*args):\n  torch._assert(args[0] > 1, 'Guard failed: x > 1')\n  return\n", hidden)
    assert graph_of_guards(hidden["_"]) is None
    assert graph_of_guards(None) is None
    assert graph_of_guards(print) is None


def test_guards_that_are_no_text_are_refused_with_a_step_that_helps(tmp_path) -> None:
    root, graph = torch.nn.Module(), fx.Graph()
    root.checks = other_guards(forward=SCOPE["lying"])
    x = graph.placeholder("x")
    graph.call_module("checks", (x,))
    graph.output(x)
    fx2py.save_graph(fx.GraphModule(root, graph), tmp_path / "graph.fx2py")
    artifact = fx2py.generate(tmp_path / "graph.fx2py")
    with pytest.raises(ReplayError, match=r"'checks' is a torch.*GuardsFn") as refusal:
        artifact.bind()
    assert "submods" in str(refusal.value)
    assert "classes" not in str(refusal.value)
    assert artifact.bind(submods={"checks": lambda *args: None})(3) == 3


def test_module_of_an_exported_program_is_saved_as_it_stands(tmp_path) -> None:
    """Its hooks are no part of the graph, which checks the sizes itself; a note says so."""
    program = export(torch.nn.Linear(4, 4), (X,))
    fx2py.save_graph(program.module(), tmp_path / "graph.fx2py")
    artifact = fx2py.generate(tmp_path / "graph.fx2py")
    assert any("hooks of the graph itself" in note for note in artifact.manifest.notes)
    assert_same_behaviour(artifact.bind(), program.module(), (X,))
    assert fx2py.diff(tmp_path / "graph.fx2py", artifact, (X,)).equal
    with pytest.raises(AssertionError, match="Guard failed"):
        artifact.bind()(X[:2])
