"""One object has one name, whether it is met alive or as text."""

import functools
import math
import operator

import pytest
import torch
import torch.nn.functional as F
from torch.fx.node import _get_qualified_name

from fx2py.graph.names import callable_name, dotted_name, imported_name, underscored_names
from fx2py.graph.values import Name, OpName


@pytest.mark.parametrize(
    ("obj", "name"),
    [
        (torch.add, Name("torch", "add")),
        (F.gelu, Name("torch.nn.functional", "gelu")),
        (F.relu, Name("torch.nn.functional", "relu")),
        (F.max_pool2d, Name("torch.nn.functional", "max_pool2d")),
        (torch.Tensor.add, Name("torch", "Tensor.add")),
        (torch.Tensor.split, Name("torch", "Tensor.split")),
        (torch.linalg.norm, Name("torch.linalg", "norm")),
        (torch.einsum, Name("torch", "einsum")),
        (torch._C._set_grad_enabled, Name("torch._C", "_set_grad_enabled")),
        (torch.amp._enter_autocast, Name("torch.amp", "_enter_autocast")),
        (operator.add, Name("operator", "add")),
        (math.sqrt, Name("math", "sqrt")),
        (len, Name("builtins", "len")),
        (torch.device, Name("torch", "device")),
        (torch.nn.Linear, Name("torch.nn.modules.linear", "Linear")),
        (torch.ops.aten.add.Tensor, OpName("aten", "add", "Tensor")),
        (torch.ops.aten.add, OpName("aten", "add")),
        (torch.ops.higher_order.cond, OpName("higher_order", "cond")),
    ],
    ids=lambda value: str(value) if isinstance(value, (Name, OpName)) else "",
)
def test_live_object_and_text_give_the_same_name(obj, name):
    assert callable_name(obj) == name
    assert dotted_name(_get_qualified_name(obj)) == name


def lying():
    pass


def test_objects_that_no_name_leads_to_have_none():
    def closure():
        return lying

    renamed = functools.wraps(torch.add)(lambda: None)
    for obj in (lambda x: x, functools.partial(len), closure, [].append, torch.nn.Linear(1, 1), renamed, 3):
        assert callable_name(obj) is None


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("no_such_package.module.fn", Name("no_such_package.module", "fn")),
        ("no_such_package.Class.method", Name("no_such_package", "Class.method")),
        (
            "torch._C._functorch._vmap_increment_nesting",
            Name("torch._C._functorch", "_vmap_increment_nesting"),
        ),
        ("torch.ops.mylib.op.default", OpName("mylib", "op", "default")),
        ("torch.ops.mylib", Name("torch.ops", "mylib")),
        ("os.system", Name("os", "system")),
    ],
)
def test_text_is_split_without_importing(text, name):
    assert dotted_name(text) == name


def test_an_import_gives_the_canonical_name():
    assert imported_name("torch._C", "TensorBase.add") == Name("torch", "Tensor.add")
    assert imported_name("_operator", "truth") == Name("operator", "truth")
    assert imported_name("pkg.mod", "fn") == Name("pkg.mod", "fn")


def test_names_with_underscores_for_dots_are_known_where_they_are_unambiguous():
    assert underscored_names("")["math_sqrt"] == Name("math", "sqrt")
    assert underscored_names("")["torch_Tensor_add"] == Name("torch", "Tensor.add")
