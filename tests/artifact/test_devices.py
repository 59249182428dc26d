"""A graph that was traced on one device, bound on another: nothing stays behind.

A fake device stands for the accelerator, so that these tests need none.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import fx, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import fx2py
from fx2py import Artifact


class Model(nn.Module):
    """Weights, buffers, constants, factories with and without a device, conversions that name one."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.norm = nn.BatchNorm1d(4)
        self.register_buffer("offset", torch.ones(4))
        self.constant = torch.arange(4.0)

    def forward(self, x):
        mask = torch.zeros(x.shape[0], 4, device="cpu") + torch.arange(4)
        noise = torch.full((4,), 2.0, device=torch.device("cpu"))
        moved = self.norm(self.linear(x)).to("cpu")
        return (
            moved + mask + noise + self.offset + self.constant,
            torch.ones_like(x),
            mask.to(torch.device("cpu")),
        )


class Devices(TorchDispatchMode):
    """Records the device of every tensor that an operator makes."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        self.seen.update(str(leaf.device) for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor))
        return result


def live(tmp_path: Path) -> Artifact:
    model = Model().eval()
    graph = fx.Graph()
    x = graph.placeholder("x")
    ones = graph.call_function(torch.ones, (4,), {"device": "cpu"})
    linear = graph.call_module("linear", (graph.call_method("cpu", (x,)),))
    mask = graph.call_function(torch.arange, (4,))
    total = graph.call_function(torch.add, (graph.call_module("norm", (linear,)), graph.get_attr("offset")))
    total = graph.call_function(torch.add, (total, graph.call_function(torch.mul, (mask, ones))))
    graph.output((total, graph.call_method("to", (total, torch.device("cpu"), torch.float16))))
    return fx2py.generate(fx.GraphModule(model, graph))


def written(tmp_path: Path) -> Artifact:
    return fx2py.open_artifact(live(tmp_path).write(tmp_path / "out").folder)


def from_file(tmp_path: Path) -> Artifact:
    torch.save(
        fx.symbolic_trace(nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4).eval())), tmp_path / "saved.pt"
    )
    return fx2py.generate(tmp_path / "saved.pt")


def exported(tmp_path: Path) -> Artifact:
    rows = torch.export.Dim("rows", min=2, max=64)
    program = torch.export.export(Model().eval(), (torch.ones(3, 4),), dynamic_shapes=({0: rows},))
    return fx2py.generate(program)


def archived(tmp_path: Path) -> Artifact:
    rows = torch.export.Dim("rows", min=2, max=64)
    program = torch.export.export(Model().eval(), (torch.ones(3, 4),), dynamic_shapes=({0: rows},))
    torch.export.save(program, tmp_path / "model.pt2")
    return fx2py.generate(tmp_path / "model.pt2")


@pytest.mark.parametrize("make", [live, written, from_file, exported, archived])
def test_nothing_stays_on_the_device_of_tracing(make: Callable[[Path], Artifact], tmp_path: Path) -> None:
    artifact = make(tmp_path)
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        bound = artifact.bind(device="cuda:0")
        x = torch.empty(5, 4, device="cuda:0")
        with Devices() as devices:
            results = bound(x)
    assert {str(leaf.device) for leaf in tree_leaves(results)} == {"cuda:0"}
    assert devices.seen == {"cuda:0"}


@pytest.mark.parametrize("make", [live, exported])
def test_binding_elsewhere_leaves_the_artifact_where_it_is(
    make: Callable[[Path], Artifact], tmp_path: Path
) -> None:
    artifact = make(tmp_path)
    with FakeTensorMode(allow_non_fake_inputs=True):
        artifact.bind(device="cuda:0")
    results = artifact.bind()(torch.ones(5, 4))
    assert {str(leaf.device) for leaf in tree_leaves(results)} == {"cpu"}


@pytest.mark.gpu
@pytest.mark.parametrize("make", [live, written, from_file, exported, archived])
def test_results_on_the_accelerator_are_those_of_the_graph(
    make: Callable[[Path], Artifact], tmp_path: Path
) -> None:
    artifact = make(tmp_path)
    x = torch.randn(5, 4)
    results, expected = artifact.bind(device="cuda")(x.cuda()), artifact.bind()(x)
    for one, other in zip(tree_leaves(results), tree_leaves(expected), strict=True):
        assert one.device.type == "cuda"
        torch.testing.assert_close(one.cpu(), other)
