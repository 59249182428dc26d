"""Modules of torch.nn run from their records as the modules themselves do; nothing in a record can replace code."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from fx2py.errors import ReplayError, UntrustedTargetError
from fx2py.graph.data import ModuleRecord
from fx2py.graph.tensors import TensorCopies
from fx2py.graph.values import Name, TensorValue
from fx2py.read import open_graph
from fx2py.replay.objects import ModuleBuilder
from fx2py.trust import Policy

X, IMAGE, SEQUENCE = torch.randn(4, 6), torch.randn(2, 4, 8, 8), torch.randn(3, 5, 6)

MODULES: list[tuple[nn.Module, torch.Tensor]] = [
    (nn.Linear(6, 3), X),
    (nn.Bilinear(6, 6, 2, bias=False), X),
    (nn.Embedding(9, 4, padding_idx=0), torch.tensor([[1, 0, 8]])),
    (nn.EmbeddingBag(9, 4, mode="max"), torch.tensor([[1, 0, 8]])),
    (nn.Conv2d(4, 6, 3, padding="same", padding_mode="reflect"), IMAGE),
    (nn.ConvTranspose2d(4, 2, 2, stride=2), IMAGE),
    (nn.BatchNorm2d(4), IMAGE),
    (nn.GroupNorm(2, 4), IMAGE),
    (nn.InstanceNorm2d(4, affine=True), IMAGE),
    (nn.LayerNorm(6), X),
    (nn.RMSNorm(6), X),
    (nn.Dropout(0.5), X),
    (nn.AdaptiveAvgPool2d((2, None)), IMAGE),
    (nn.MaxPool2d(2, ceil_mode=True), IMAGE),
    (nn.FractionalMaxPool2d(2, output_size=3), IMAGE),
    (nn.Upsample(scale_factor=2, mode="bilinear"), IMAGE),
    (nn.GELU("tanh"), X),
    (nn.PReLU(4), IMAGE),
    (nn.Softmax(dim=1), X),
    (nn.Hardtanh(-0.5, 0.5), X),
    (nn.Flatten(), IMAGE),
    (nn.LSTM(6, 4, num_layers=2, bidirectional=True, batch_first=True), SEQUENCE),
    (nn.GRU(6, 4), SEQUENCE),
    (nn.LSTMCell(6, 4), X),
    (nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 1)), X),
    (nn.TransformerEncoderLayer(6, 2, 8, batch_first=True), SEQUENCE),
    (nn.TransformerEncoderLayer(6, 2, 8, activation=torch.nn.functional.gelu), SEQUENCE),
]


def rebuild_module(record: ModuleRecord, policy: Policy, device: torch.device | None = None) -> nn.Module:
    tensors = TensorCopies(device) if device else lambda tensor: tensor
    return ModuleBuilder(policy, device, tensors)(record)


def recorded(module: nn.Module) -> ModuleRecord:
    """The record of a module as a file would give it: without the live module."""
    graph = torch.fx.Graph()
    graph.output(graph.call_module("leaf", (graph.placeholder("x"),)))
    root = open_graph(torch.fx.GraphModule({"leaf": module}, graph)).root
    return without_live(root.children["leaf"])


def without_live(record: ModuleRecord | None) -> Any:
    if record is None:
        return None
    children = {name: without_live(child) for name, child in record.children.items()}
    return replace(record, original=None, children=children)


@pytest.mark.parametrize(("module", "x"), MODULES, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_rebuilt_module_does_what_the_module_does(module: nn.Module, x: torch.Tensor, training: bool) -> None:
    module.train(training)
    args = (x, x) if isinstance(module, nn.Bilinear) else (x,)
    rebuilt = rebuild_module(recorded(module), Policy())
    assert rebuilt is not module
    state = {name: value.clone() for name, value in module.state_dict().items()}
    torch.manual_seed(0)
    expected = module(*args)
    after = {name: value.clone() for name, value in module.state_dict().items()}
    module.load_state_dict(state)
    torch.manual_seed(0)
    torch.testing.assert_close(rebuilt(*args), expected, rtol=0, atol=0)
    torch.testing.assert_close(dict(rebuilt.state_dict()), after, rtol=0, atol=0)


def test_rebuilt_module_holds_the_recorded_tensors_and_shares_what_they_share() -> None:
    tied = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    tied[1].weight = tied[0].weight
    rebuilt: Any = rebuild_module(recorded(tied), Policy())
    assert rebuilt[0].weight is rebuilt[1].weight is tied[0].weight
    moved: Any = rebuild_module(recorded(tied), Policy(), torch.device("meta"))
    assert moved[0].weight is moved[1].weight
    assert moved[0].weight.device.type == "meta"
    assert isinstance(moved[0].weight, nn.Parameter)


def test_live_module_is_used_as_it_is() -> None:
    module = nn.Linear(2, 2)
    assert rebuild_module(ModuleRecord(Name("torch.nn", "Linear"), original=module), Policy()) is module


@pytest.mark.parametrize(
    ("table", "name"),
    [
        ("attributes", "forward"),
        ("attributes", "_call_impl"),
        ("attributes", "_parameters"),
        ("attributes", "_forward_hooks"),
        ("attributes", "__class__"),
        ("attributes", "__dict__"),
        ("parameters", "forward"),
        ("buffers", "extra_repr"),
        ("children", "forward"),
    ],
)
def test_state_that_hides_code_is_refused(table: str, name: str) -> None:
    record = recorded(nn.Linear(2, 2))
    hostile: Any = {
        "attributes": TensorValue(torch.ones(1)),
        "children": recorded(nn.ReLU()),
    }.get(table, torch.ones(1))
    hostile_record = replace(record, **{table: {**getattr(record, table), name: hostile}})
    with pytest.raises(ReplayError, match=f"attribute '{name}' that hides code"):
        rebuild_module(hostile_record, Policy())


def test_attribute_that_names_a_dangerous_function_is_refused() -> None:
    record = recorded(nn.TransformerEncoderLayer(6, 2, 8))
    hostile = replace(record, attributes={**record.attributes, "activation": Name("os", "system")})
    with pytest.raises(UntrustedTargetError, match=r"functions=\{\'os\.system\'\}"):
        rebuild_module(hostile, Policy())


def test_unknown_class_says_what_is_needed() -> None:
    with pytest.raises(ReplayError, match=r"classes=\{\'my_models\.Block\'\}"):
        rebuild_module(ModuleRecord(Name("my_models", "Block")), Policy())
    with pytest.raises(ReplayError, match="my_models"):
        rebuild_module(
            ModuleRecord(Name("my_models", "Block")), Policy(classes=frozenset({"my_models.Block"}))
        )


def test_admitted_class_that_is_no_module_is_refused() -> None:
    policy = Policy(classes=frozenset({"collections.OrderedDict"}))
    with pytest.raises(ReplayError):
        rebuild_module(ModuleRecord(Name("collections", "OrderedDict")), policy)
