"""Names from a file become objects only through torch's own public lists, or because the user said so."""

from __future__ import annotations

import operator
import sys
from pathlib import Path

import pytest
import torch
import torch.overrides

from fx2py.errors import ReplayError, UntrustedTargetError
from fx2py.graph.values import EnumMember, Name, OpName
from fx2py.trust import Policy
from fx2py.trust.functions import WITHHELD
from tests.trust.survey import REFUSED

DENY = Policy()

DANGEROUS_FUNCTIONS = (Path(__file__).parent / "dangerous_names.txt").read_text().split()

DANGEROUS_OPS = [
    OpName("aten", "from_file", "default"),
    OpName("aten", "from_file", "out"),
    OpName("aten", "from_file"),
    OpName("aten", "save", "default"),
    OpName("aten", "set_", "source_Storage_storage_offset"),
    OpName("aten", "resize_", "default"),
    OpName("aten", "_resize_output_", "default"),
    OpName("inductor", "_reinterpret_tensor", "default"),
    OpName("inductor", "_alloc_from_pool", "default"),
    OpName("debugprims", "load_tensor", "default"),
    OpName("mkldnn", "data_ptr", "default"),
    OpName("aten", "_reshape_alias", "default"),
    OpName("aten", "_sparse_coo_tensor_with_dims_and_tensors", "default"),
    OpName("aten", "_convert_indices_from_coo_to_csr", "default"),
    OpName("aten", "_print", "default"),
    OpName("higher_order", "aoti_call_delegate"),
    OpName("higher_order", "executorch_call_delegate"),
    OpName("higher_order", "call_torchbind"),
    OpName("higher_order", "triton_kernel_wrapper_mutation"),
    OpName("aten", "__class__"),
    OpName("load_library", "evil"),
    OpName("aten", "add", "__class__"),
    OpName("__class__", "__init__"),
    OpName("aten::add(Tensor a", "b"),
]


def split(path: str) -> Name:
    module, _, name = path.rpartition(".")
    return Name(module, name)


@pytest.mark.parametrize("path", DANGEROUS_FUNCTIONS)
def test_dangerous_function_is_refused_and_the_hint_admits_exactly_it(path: str) -> None:
    for use in ("call", "value", "module"):
        with pytest.raises(UntrustedTargetError) as caught:
            DENY.resolve(split(path), use)
        assert caught.value.admit.entry == path


@pytest.mark.parametrize("op", DANGEROUS_OPS, ids=str)
def test_dangerous_operator_is_refused(op: OpName) -> None:
    with pytest.raises(UntrustedTargetError) as caught:
        DENY.resolve(op)
    assert caught.value.admit.entry.partition("=")[0] == op.namespace


def test_every_function_that_torch_lets_override_is_admitted() -> None:
    listed = [each for group in torch.overrides.get_overridable_functions().values() for each in group]
    listed += torch.overrides.get_testing_overrides()
    paths = {torch.overrides.resolve_name(each) for each in listed} - {None}
    refused = {path for path in paths if WITHHELD.intersection(path.split(".")) or path in REFUSED}
    assert [path for path in sorted(paths - refused) if not is_admitted(path)] == []


def is_admitted(path: str) -> bool:
    try:
        DENY.check(split(path))
    except UntrustedTargetError:
        return False
    return True


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (Name("torch", "add"), torch.add),
        (Name("torch.nn.functional", "relu"), torch.nn.functional.relu),
        (Name("torch._C._nn", "linear"), torch._C._nn.linear),
        (Name("torch", "zeros"), torch.zeros),
        (Name("torch", "Tensor.add"), torch.Tensor.add),
        (Name("operator", "iadd"), operator.iadd),
        (Name("_operator", "getitem"), operator.getitem),
        (Name("builtins", "len"), len),
        (OpName("aten", "add", "Tensor"), torch.ops.aten.add.Tensor),
        (OpName("aten", "sym_size", "int"), torch.ops.aten.sym_size.int),
        (OpName("aten", "add"), torch.ops.aten.add),
        (OpName("higher_order", "cond"), torch.ops.higher_order.cond),
        (EnumMember(Name("torch.nn.attention", "SDPBackend"), "MATH"), torch.nn.attention.SDPBackend.MATH),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_admitted_name_resolves_to_torchs_own_object(
    target: Name | OpName | EnumMember, expected: object
) -> None:
    resolved = DENY.resolve(target)
    assert resolved is expected or resolved == expected


@pytest.mark.parametrize(
    "path",
    [
        "torch.amp.autocast_mode._enter_autocast",
        "torch.amp.autocast_mode._exit_autocast",
        "torch._C._set_grad_enabled",
        "torch._functorch.predispatch._add_batch_dim",
        "torch._C._functorch._vmap_increment_nesting",
        "torch.fx._symbolic_trace._assert_is_none",
        "torch._check_is_size",
        "torch._assert",
        "torch.sym_max",
        "torch.functional.einsum",
    ],
)
def test_functions_that_torch_captures_itself_are_admitted(path: str) -> None:
    assert callable(DENY.resolve(split(path)))


def test_function_of_a_file_is_never_a_value() -> None:
    with pytest.raises(UntrustedTargetError):
        DENY.check(Name("torch", "add"), "value")
    assert DENY.resolve(Name("builtins", "int"), "value") is int
    assert DENY.resolve(Name("torch", "float32"), "value") is torch.float32
    assert DENY.resolve(Name("torch", "channels_last"), "value") is torch.channels_last
    assert DENY.resolve(Name("math", "inf"), "value") == float("inf")


def test_module_classes_are_those_of_torch_nn() -> None:
    assert DENY.resolve(Name("torch.nn.modules.linear", "Linear"), "module") is torch.nn.Linear
    with pytest.raises(UntrustedTargetError, match=r"classes=\{\'my_models\.Block\'\}"):
        DENY.check(Name("my_models", "Block"), "module")


def test_getattr_reads_public_tensor_data_and_nothing_else() -> None:
    read = DENY.resolve(Name("builtins", "getattr"))
    assert read(torch.ones(2, 3), "shape") == (2, 3)
    for name in ("__class__", "__globals__", "register_hook", "untyped_storage", "_backward_hooks", 3):
        with pytest.raises(UntrustedTargetError):
            read(torch.ones(2), name)
        with pytest.raises(UntrustedTargetError, match=r"builtins\.getattr"):
            DENY.check_attribute(name)
    DENY.check_attribute("shape")


def test_methods_are_those_of_tensors_and_containers() -> None:
    for name in ("add_", "__getitem__", "view", "item", "keys", "append"):
        DENY.check_method(name)
    for name in ("set_", "__class__", "__reduce_ex__", "register_hook", "format", "tofile", "numpy_secret"):
        with pytest.raises(UntrustedTargetError, match=f"functions=.'torch.Tensor.{name}'"):
            DENY.check_method(name)


def test_allow_admits_and_only_then_imports() -> None:
    target = Name("colorsys", "rgb_to_hsv")
    sys.modules.pop("colorsys", None)
    with pytest.raises(UntrustedTargetError):
        DENY.resolve(target)
    assert "colorsys" not in sys.modules
    assert Policy(functions=frozenset({"colorsys.rgb_to_hsv"})).resolve(target)(0, 0, 0) == (0.0, 0.0, 0)


def test_allowed_name_that_leads_nowhere_says_what_to_install() -> None:
    with pytest.raises(ReplayError, match="package of no_such_package"):
        Policy(trust_all=True).resolve(Name("no_such_package", "f"))


def test_operator_of_a_library_that_is_not_loaded_names_the_library() -> None:
    op = OpName("no_such_library", "fused", "default")
    with pytest.raises(UntrustedTargetError, match="operator library 'no_such_library'"):
        DENY.check(op)
    with pytest.raises(ReplayError, match="Name the module that does"):
        Policy(ops=frozenset({"no_such_library"})).resolve(op)


def test_the_module_of_a_known_library_is_named() -> None:
    with pytest.raises(UntrustedTargetError) as refused:
        DENY.check(OpName("torchao", "choose_qparams_affine", "default"))
    assert refused.value.admit.entry == "torchao=torchao.quantization"


def test_an_operator_that_the_installed_torch_lacks_is_told_as_such() -> None:
    with pytest.raises(
        UntrustedTargetError, match=r"aten\.gone\.default is not an operator of torch"
    ) as refused:
        DENY.resolve(OpName("aten", "gone", "default"))
    assert "the release of torch that wrote it" in refused.value.hint
    assert "--allow" not in refused.value.hint


def test_trust_all_turns_the_gate_off() -> None:
    assert Policy(trust_all=True).resolve(Name("os.path", "join")) is __import__("os").path.join
