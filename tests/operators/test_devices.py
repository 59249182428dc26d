"""Every way in which a call names a device becomes one kind of value, which moves."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from fx2py.graph.data import Node
from fx2py.graph.values import DeviceType, Name, OpName, Ref
from fx2py.operators.devices import explicit_devices, retarget

X = Ref("x")
CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def method(name: str, *args: Any, **kwargs: Any) -> Node:
    return Node("n", "call_method", name, (X, *args), tuple(kwargs.items()))


def function(target: Any, *args: Any, **kwargs: Any) -> Node:
    return Node("n", "call_function", target, args, tuple(kwargs.items()))


ENTER = Name("torch.amp.autocast_mode", "_enter_autocast")
CASES = [
    (method("to", "cuda"), method("to", CUDA)),
    (method("to", "cuda:1", torch.float16), method("to", torch.device("cuda:1"), torch.float16)),
    (method("to", 1), method("to", torch.device("cuda:1"))),
    (method("to", torch.float16), method("to", torch.float16)),
    (method("to", device="cpu"), method("to", device=CPU)),
    (method("cpu"), method("to", CPU)),
    (method("cuda"), method("to", CUDA)),
    (method("cuda", 2, non_blocking=True), method("to", torch.device("cuda:2"), non_blocking=True)),
    (method("cuda", None, True), method("to", CUDA, non_blocking=True)),
    (method("new_zeros", 3, device="cuda"), method("new_zeros", 3, device=CUDA)),
    (function(Name("torch", "zeros"), 3, device="cuda"), function(Name("torch", "zeros"), 3, device=CUDA)),
    (function(Name("torch", "device"), "cuda", 1), function(Name("torch", "device"), torch.device("cuda:1"))),
    (function(Name("torch", "Tensor.to"), X, "cpu"), function(Name("torch", "Tensor.to"), X, CPU)),
    (function(ENTER, "cuda", torch.float16), function(ENTER, DeviceType("cuda"), torch.float16)),
    (
        function(Name("torch", "autocast"), device_type="cpu"),
        function(Name("torch", "autocast"), device_type=DeviceType("cpu")),
    ),
]
UNCHANGED = [
    function(Name("my_models", "place"), X, device="cpu"),
    function(OpName("my_ops", "place", "default"), X, device="cpu"),
    function(Name("torch", "einsum"), "cpu", X),
    Node("n", "placeholder", "cuda"),
    method("add", 1),
    method("to", -1),
    function(Name("torch", "zeros"), 2, device=-1),
]


@pytest.mark.parametrize(("node", "explicit"), CASES, ids=str)
def test_device_of_a_call_becomes_a_device_value(node: Node, explicit: Node) -> None:
    assert explicit_devices(node) == explicit
    assert explicit_devices(explicit) == explicit


@pytest.mark.parametrize("node", UNCHANGED, ids=str)
def test_text_that_torch_does_not_read_as_a_device_is_left_alone(node: Node) -> None:
    assert explicit_devices(node) == node


def test_devices_move_and_nothing_else_does() -> None:
    assert retarget(CPU, CUDA) == CUDA
    assert retarget(CPU, None) == CPU
    assert retarget(DeviceType("cpu"), torch.device("cuda:1")) == "cuda"
    assert retarget(DeviceType("cpu"), None) == "cpu"
    assert retarget("cpu", CUDA) == "cpu"
