"""The module tree in the manifest: every module that the graph recorded, its function, its calls and shapes."""

from __future__ import annotations

import torch
from torch import nn

import fx2py
from fx2py.artifact.manifest import ModuleRow
from fx2py.program.options import GenerateOptions
from tests.program.structure.test_structured import Shared, Stack


def modules(model: nn.Module, *, flat: bool = False) -> dict[str, ModuleRow]:
    program = torch.export.export(model.eval(), (torch.randn(2, 4, 8),))
    artifact = fx2py.generate(program, options=GenerateOptions(flat=flat))
    return {each.path: each for each in artifact.manifest.modules}


def test_each_instance_has_a_path_and_equal_ones_share_a_function() -> None:
    found = modules(Stack(depth=3))
    assert [path for path in found if path.count(".") < 2] == ["", "layers.0", "layers.1", "layers.2", "norm"]
    assert {each.function for each in found.values() if each.cls.endswith(".Attention")} == {"attention"}
    assert found["layers.1.attention.qkv"].function == ""
    assert found[""].function == "execution_fn"


def test_operators_parameters_and_shapes_are_those_of_the_module() -> None:
    found = modules(Stack(depth=3))
    block, attention = found["layers.2"], found["layers.2.attention"]
    assert attention.inputs == ("f32[2, 4, 8]", "f32[4, 4]")
    assert attention.outputs == ("f32[2, 4, 8]",)
    assert (found["layers.2.attention.qkv"].operators, found["layers.2.attention.qkv"].parameters) == (
        1,
        24 * 9,
    )
    inner = [each.operators for path, each in found.items() if path.count(".") == 2 and "layers.2." in path]
    assert block.operators == sum(inner) + 2
    assert found[""].operators > 3 * block.operators


def test_a_module_that_is_called_again_stands_once() -> None:
    found = modules(Shared())
    assert [path for path in found if path.count(".") == 0] == ["", "layer"]
    assert (found["layer"].calls, found["layer"].operators) == (3, 3 * 22)


def test_flat_code_has_the_same_modules_without_functions() -> None:
    flat, structured = modules(Stack(), flat=True), modules(Stack())
    assert list(flat) == list(structured)
    assert {each.function for path, each in flat.items() if path} == {""}


def test_a_graph_that_recorded_no_modules_has_none() -> None:
    artifact = fx2py.generate(torch.fx.symbolic_trace(lambda x: x.relu()))
    assert artifact.manifest.modules == ()
