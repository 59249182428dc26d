"""The functions, methods and attributes that a graph from a file may use, built from torch's own public lists.

A name that is not a key of a table here is refused; no name from a file is followed attribute by attribute.
"""

from __future__ import annotations

import builtins
import collections
import importlib
import inspect
import math
import operator
from collections.abc import Iterable, Mapping
from functools import lru_cache
from types import ModuleType

import torch
import torch.overrides
from torch.nn.attention import SDPBackend

from fx2py.errors import UntrustedTargetError
from fx2py.graph.names import callable_name
from fx2py.graph.values import Name
from fx2py.trust.admitted import ATTRIBUTES, FUNCTIONS, METHODS, Rule
from fx2py.trust.operators import INDICES_UNCHECKED

WITHHELD = frozenset(
    {
        *("apply_", "as_subclass", "const_data_ptr", "data_ptr", "from_file", "frombuffer", "map_", "map2_"),
        *("module_load", "register_hook", "register_post_accumulate_grad_hook", "resize"),
        *("resize_", "resize_as", "resize_as_", "resize_as_sparse_", "set_", "share_memory_"),
        *("sparse_resize_", "sparse_resize_and_clear_", "storage", "storage_type"),
        *("untyped_storage", "_make_subclass", "_make_wrapper_subclass", "_reduce_ex_internal"),
        *("_from_blob", "new", "_cdata", "_reshape_alias", "_copy_from_and_resize"),
        "__cuda_array_interface__",
        *("_sparse_coo_tensor_with_dims_and_tensors", "_convert_indices_from_coo_to_csr", "_print"),
        *("_convert_indices_from_csr_to_coo", "_backward_hooks", "_post_accumulate_grad_hooks"),
        *("as_sparse_gradcheck", "_make_deprecate"),
        *("_resize_output_", "_sparse_bsc_tensor_unsafe", "_sparse_bsr_tensor_unsafe"),
        *("_sparse_compressed_tensor_unsafe", "_sparse_coo_tensor_unsafe", "_sparse_csc_tensor_unsafe"),
        *("_sparse_csr_tensor_unsafe", "_typed_storage", "__class__", "__deepcopy__", "__dir__"),
        "__dlpack__",
        *("__format__", "__hash__", "__reduce_ex__", "__repr__", "__setstate__", "__torch_function__"),
        *INDICES_UNCHECKED,
    }
)
"""Torch names that reach files, raw memory, storages without bounds, pickling, or that take a callback."""

_UNCHECKED = "check_invariants"
"""The keyword that makes a sparse tensor of unchecked indices."""

BACKEND = Name("torch.nn.attention", "_backend_from_string")
_EXTENSIONS = ("_nn", "_linalg", "_fft", "_special", "_sparse", "_nested")
_PUBLIC_MODULES: tuple[ModuleType, ...] = (
    *(torch, torch.functional, torch.nn.functional, torch.nn.init, torch.linalg, torch.fft),
    *(torch.special, torch.sparse, torch.nested, torch._VF),
)

_LISTED: Mapping[str, tuple[str, ...]] = {
    "torch": (
        *("Generator", "Size", "as_tensor", "asarray", "broadcast_shapes", "can_cast"),
        *("cond", "device", "enable_grad", "finfo", "get_autocast_dtype", "get_default_device"),
        *("get_default_dtype", "get_device_module", "iinfo", "inference_mode", "is_autocast_enabled"),
        *("is_grad_enabled", "is_inference_mode_enabled", "is_storage", "is_tensor", "no_grad"),
        "result_type",
        *("set_grad_enabled", "sym_fresh_size", "sym_float", "sym_int", "sym_ite", "sym_max", "sym_min"),
        *("sym_not", "sym_sqrt", "sym_sum", "tensor", "typename", "while_loop", "_assert", "_check"),
        *("_check_index", "_check_is_size", "_check_not_implemented", "_check_tensor_all", "_check_type"),
        *("_check_value", "_sym_acos", "_sym_asin", "_sym_atan", "_sym_cos", "_sym_cosh", "_sym_log2"),
        *("_sym_sin", "_sym_sinh", "_sym_sqrt", "_sym_tan", "_sym_tanh"),
    ),
    "torch._C": (
        *("_enter_dual_level", "_exit_dual_level", "_set_fwd_grad_enabled", "_set_grad_enabled"),
        *("_is_fwd_grad_enabled", "is_grad_enabled"),
    ),
    "torch._C._autograd": ("_saved_tensors_hooks_disable", "_saved_tensors_hooks_enable"),
    "torch._C._functorch": (
        *("_add_batch_dim", "_assert_wrapped_functional"),
        *("_func_decrement_nesting", "_func_increment_nesting"),
        *("_grad_decrement_nesting", "_grad_increment_nesting", "_jvp_decrement_nesting"),
        *("_jvp_increment_nesting", "_remove_batch_dim", "_unwrap_batched", "_unwrap_for_grad"),
        *("_vmap_decrement_nesting", "_vmap_increment_nesting", "_wrap_for_grad", "_wrap_functional_tensor"),
        *("get_unwrapped", "is_batchedtensor", "maybe_get_bdim", "maybe_get_level"),
        *("set_inplace_requires_grad_allowed", "get_inplace_requires_grad_allowed"),
    ),
    "torch._functorch.eager_transforms": (
        "_autograd_grad",
        "_set_tensor_requires_grad",
        "_create_differentiable",
    ),
    "torch._functorch.predispatch": (
        *("_add_batch_dim", "_enter_dual_level", "_exit_dual_level", "_jvp_decrement_nesting"),
        *("_jvp_increment_nesting", "_make_dual", "_remove_batch_dim", "_unpack_dual", "_unwrap_for_grad"),
        *("_vmap_decrement_nesting", "_vmap_increment_nesting", "lazy_load_decompositions"),
    ),
    "torch._functorch.vmap": ("_add_batch_dim", "_remove_batch_dim", "lazy_load_decompositions"),
    "torch.amp.autocast_mode": ("_enter_autocast", "_exit_autocast", "autocast"),
    "torch.autograd": ("grad",),
    "torch.autograd.forward_ad": ("_maybe_load_decompositions", "enter_dual_level", "exit_dual_level"),
    "torch.autograd.grad_mode": (
        *("_enter_inference_mode", "_exit_inference_mode", "enable_grad", "inference_mode", "no_grad"),
        "set_grad_enabled",
    ),
    "torch.fx._symbolic_trace": ("_assert_is_none",),
    "torch.nn.attention": ("_backend_from_string", "_sdpa_kernel"),
}
_BUILTINS = (
    *("abs", "all", "any", "bool", "bytes", "complex", "dict", "divmod", "enumerate", "float", "frozenset"),
    *("int", "isinstance", "iter", "len", "list", "max", "min", "next", "pow", "range", "reversed", "round"),
    *("set", "slice", "sorted", "str", "sum", "tuple", "zip"),
)
_CALLS_ANYTHING = frozenset({"attrgetter", "call", "itemgetter", "methodcaller"})
_CONTAINER_METHODS = frozenset(
    {
        *("append", "clear", "copy", "count", "extend", "get", "index", "insert", "items", "keys", "pop"),
        *("popitem", "remove", "reverse", "setdefault", "sort", "update", "values"),
        *("add", "discard", "union"),
        *("intersection", "difference", "bit_length", "conjugate", "is_integer", "numel", "__getitem__"),
        *("__len__", "__setitem__", "__contains__", "__round__", "__ceil__", "__floor__", "__trunc__"),
    }
)
_OTHER_ATTRIBUTES = frozenset({"start", "stop", "step", "type", "index", "eps", "max", "min", "tiny", "bits"})


@lru_cache(maxsize=1)
def functions() -> Mapping[str, object]:
    """Every admitted function, by each dotted path that leads to it through a listed module."""
    known = rules()
    return {path: value for path, value in candidates().items() if path in known}


@lru_cache(maxsize=1)
def rules() -> Mapping[str, tuple[str, Rule]]:
    """The rule of each admitted function by each of its paths, with the path that the table of rules has."""
    found = candidates()
    by_object = {found[path]: (path, rule) for path, rule in FUNCTIONS.items() if path in found}
    return {path: by_object[value] for path, value in found.items() if value in by_object}


@lru_cache(maxsize=1)
def candidates() -> Mapping[str, object]:
    """The functions of torch's public lists and of Python that the table of rules is about."""
    table = {**_overridable(), **_native(), **_own_functions(), **_listed()}
    table.update({f"builtins.{name}": getattr(builtins, name) for name in _BUILTINS})
    table.update({f"math.{name}": value for name, value in vars(math).items() if callable(value)})
    for name in set(operator.__all__) - _CALLS_ANYTHING:
        table[f"operator.{name}"] = table[f"_operator.{name}"] = getattr(operator, name)
    table["collections.OrderedDict"] = collections.OrderedDict
    names = [(callable_name(each), each) for each in table.values()]
    table.update({name.path: each for name, each in names if isinstance(name, Name)})
    table["builtins.getattr"] = read_attribute
    table[BACKEND.path] = read_backend
    return {path: value for path, value in table.items() if not WITHHELD.intersection(path.split("."))}


@lru_cache(maxsize=1)
def methods() -> frozenset[str]:
    """The methods that ``call_method`` may name."""
    return frozenset(METHODS) & candidate_methods()


@lru_cache(maxsize=1)
def candidate_methods() -> frozenset[str]:
    """Public methods of tensors, arithmetic, and those of plain containers."""
    public = {
        name for name in dir(torch.Tensor) if not name.startswith("_") and name not in candidate_attributes()
    }
    overridable = {path.rpartition(".")[2] for path in _overridable() if path.startswith("torch.Tensor.")}
    return frozenset((public | overridable | _CONTAINER_METHODS) - WITHHELD - {"__get__"})


@lru_cache(maxsize=1)
def attributes() -> frozenset[str]:
    """The attributes that ``getattr`` may read."""
    return frozenset(ATTRIBUTES) & candidate_attributes()


@lru_cache(maxsize=1)
def candidate_attributes() -> frozenset[str]:
    """The public data of tensors, of torch's result tuples, of numbers."""
    data = {name for name, value in vars(torch.Tensor).items() if isinstance(value, property)}
    data |= {name for name, value in vars(torch._C.TensorBase).items() if inspect.isgetsetdescriptor(value)}
    fields = {
        field
        for result in vars(torch.return_types).values()
        if isinstance(result, type)
        for field in vars(result)
        if inspect.ismemberdescriptor(vars(result)[field])
    }
    public = {name for name in data | fields if not name.startswith("_")}
    return frozenset((public | _OTHER_ATTRIBUTES) - WITHHELD)


def read_attribute(value: object, name: str, *default: object) -> object:
    """``getattr`` for a graph from a file: reads an admitted attribute and nothing else.

    Raises UntrustedTargetError for any other name.
    """
    if type(name) is not str or name not in attributes():
        raise UntrustedTargetError(f"getattr(..., {name!r})", "functions", "builtins.getattr")
    return getattr(value, name, *default)


def read_backend(name: object) -> object:
    """A member of ``SDPBackend`` by its name; torch's own function would read any attribute of the class.

    Raises UntrustedTargetError for any other name.
    """
    members = SDPBackend.__members__
    if type(name) is not str or name not in members:
        raise UntrustedTargetError(f"{BACKEND}({name!r})", "trust_all")
    return members[name]


def leaves_unchecked(keyword: str, value: object) -> bool:
    """Whether a keyword argument switches off torch's check of the other arguments."""
    return keyword == _UNCHECKED and value is not True and value is not None


def _overridable() -> dict[str, object]:
    """The functions that ``__torch_function__`` may override, by their own path and by that in each public module."""
    listed = [each for group in torch.overrides.get_overridable_functions().values() for each in group]
    listed += torch.overrides.get_testing_overrides()
    table: dict[str, object] = {
        path: each for each in listed if (path := torch.overrides.resolve_name(each)) is not None
    }
    known = {id(each) for each in listed}
    for module in _PUBLIC_MODULES:
        table.update(
            {f"{module.__name__}.{name}": value for name, value in vars(module).items() if id(value) in known}
        )
    return table


def _native() -> dict[str, object]:
    """The functions of torch's extension modules, among them factories, which ``__torch_function__`` cannot override."""
    table: dict[str, object] = {}
    variable = torch._C._VariableFunctions
    for prefix in ("torch", "torch._VF", "torch._C._VariableFunctions"):
        table.update({f"{prefix}.{name}": getattr(variable, name) for name in _public(dir(variable))})
    for name in _EXTENSIONS:
        module = getattr(torch._C, name)
        table.update({f"torch._C.{name}.{each}": getattr(module, each) for each in _public(vars(module))})
    return table


def _own_functions() -> dict[str, object]:
    """The Python functions that the public modules define themselves."""
    return {
        f"{module.__name__}.{name}": value
        for module in _PUBLIC_MODULES
        if module is not torch
        for name, value in vars(module).items()
        if inspect.isfunction(value) and value.__module__ == module.__name__
    }


def _listed() -> dict[str, object]:
    table: dict[str, object] = {}
    for path, names in _LISTED.items():
        module = importlib.import_module(path)
        table.update({f"{path}.{name}": getattr(module, name) for name in names if hasattr(module, name)})
    return table


def _public(names: Iterable[str]) -> list[str]:
    return [name for name in names if not name.startswith("__")]
