"""Writes the table of what is admitted: ``python -m tests.trust.survey > fx2py/trust/admitted.txt``.

Every function, method, attribute and operator of torch's public lists is decided here: those with a schema by the types
in it, those written in Python by their parameters, and the others by hand, with the reason. What nobody decided gets no
line, and is refused.
"""

from __future__ import annotations

import collections
import importlib
import inspect
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import torch

from fx2py.trust import functions, operators

VALUES = frozenset(
    {
        *("Tensor", "int", "bool", "float", "number", "str", "complex", "Device", "Generator", "QScheme"),
        *("t", "t1", "t2", "tVal", "Any", "AnyEnumType"),
    }
)
"""The types of a schema that are data; a letter stands for what a list or dict holds."""

REGISTER = (
    "torch.distributed._functional_collectives",
    "torch.distributed.tensor",
    "torch._inductor.inductor_prims",
)
"""The modules of torch that register operators in its own namespaces when they are first imported."""

HANDLES = re.compile(r"__torch__\.torch\.classes\.(mkldnn|profiler|quantized|rnn|sparse)\.")
"""Packed weights and the like: made by one operator, and read by others alone."""

REFUSED: Mapping[str, str] = {
    "torch.cond": "compiles what it is given; the operator of that name runs graphs",
    "torch.while_loop": "compiles what it is given; the operator of that name runs graphs",
    "torch.get_device_module": "gives a module of torch",
    "torch.enable_grad": "decorates a function",
    "torch.no_grad": "makes a decorator",
    "torch.inference_mode": "decorates what is no bool",
    "torch.autocast": "makes a decorator; _enter_autocast is what a graph records",
    "torch.Tensor.grad_fn.__get__": "gives a node of autograd, which can be called",
    "torch.Tensor._grad_fn.__get__": "gives a node of autograd, which can be called",
    "torch.Tensor.__array__": "gives an array, whose methods nobody listed",
    "torch.Tensor.__array_wrap__": "takes and gives an array",
    "torch.Tensor.numpy": "gives an array, whose methods nobody listed",
    "torch.from_numpy": "takes an array, which no graph holds",
    "torch.Tensor.record_stream": "takes a stream, which no graph holds",
}
METHODS_REFUSED = frozenset({"numpy", "__array__", "__array_wrap__", "record_stream"})
ATTRIBUTES_REFUSED = frozenset({"grad_fn"})

LIMITED: Mapping[str, str] = {
    "builtins.sorted": "without=key",
    "builtins.max": "without=key",
    "builtins.min": "without=key",
    "builtins.iter": "most=1",
    "torch.lobpcg": "without=tracker most=10",
    "torch.nn.functional.triplet_margin_with_distance_loss": "without=distance_function",
    **{
        f"torch.{name}": "without=message most=1"
        for name in ("_check", "_check_index", "_check_is_size", "_check_not_implemented")
    },
    **{
        f"torch.{name}": "without=message most=1"
        for name in ("_check_type", "_check_value", "_check_tensor_all")
    },
}
"""What calls an argument is admitted without it."""

CONTEXTS: Mapping[str, str] = {
    "torch.amp.autocast_mode._enter_autocast": "context",
    "torch.amp.autocast_mode._exit_autocast": "data takes=context",
    "torch.autograd.grad_mode._enter_inference_mode": "context",
    "torch.autograd.grad_mode._exit_inference_mode": "data takes=context",
    "torch.autograd.grad_mode.set_grad_enabled": "context",
}
"""A context can be called as a decorator too, so it is no data: only its exit takes it."""

LOADS: Mapping[str, str] = {
    "torch._functorch.predispatch.lazy_load_decompositions": "loads torch's own decompositions, whatever it is given",
    "torch.autograd.forward_ad._maybe_load_decompositions": "loads torch's own decompositions, whatever it is given",
}
"""What loads or registers something all the same, and why that is no more than torch does by itself."""

RESULTS = frozenset({"cummax", "cummin", "kthvalue", "mode", "slogdet", "sort", "topk", "aminmax"})
RESULTS_BY_DIM = frozenset({"max", "median", "min", "nanmedian"})
OF_RESULTS = frozenset({"indices", "inverse", "logsumexp", "sign", "values"})
"""The fields of results that are methods of tensors, dicts or slices."""

CALLED = re.compile(
    r"\b(fn|func|function|callable|Callable|hook|callback|closure|tracker|orig_func|backend|file|filename|path|cls)\b"
)
"""Parameters, by name or annotation, of functions that call, load or write."""

BY_HAND: Mapping[str, tuple[str, ...]] = {
    "constructors of numbers, text and containers": (
        *(
            "builtins.abs",
            "builtins.all",
            "builtins.any",
            "builtins.bool",
            "builtins.bytes",
            "builtins.complex",
        ),
        *("builtins.dict", "builtins.divmod", "builtins.enumerate", "builtins.float", "builtins.frozenset"),
        *(
            "builtins.int",
            "builtins.isinstance",
            "builtins.iter",
            "builtins.len",
            "builtins.list",
            "builtins.max",
        ),
        *("builtins.min", "builtins.next", "builtins.pow", "builtins.range", "builtins.reversed"),
        *(
            "builtins.round",
            "builtins.set",
            "builtins.slice",
            "builtins.sorted",
            "builtins.str",
            "builtins.sum",
        ),
        *("builtins.tuple", "builtins.zip", "collections.OrderedDict"),
    ),
    "read by a rule of its own": ("builtins.getattr", "torch.nn.attention._backend_from_string"),
    "state of autograd and of functorch's levels, by numbers and flags": (
        *(
            "torch._C._autograd._saved_tensors_hooks_disable",
            "torch._C._autograd._saved_tensors_hooks_enable",
        ),
        *("torch._C._enter_dual_level", "torch._C._exit_dual_level", "torch._C._is_fwd_grad_enabled"),
        *("torch._C._set_fwd_grad_enabled", "torch._C._set_grad_enabled", "torch.is_grad_enabled"),
        *("torch._C._functorch._assert_wrapped_functional", "torch._C._functorch._func_decrement_nesting"),
        *("torch._C._functorch._func_increment_nesting", "torch._C._functorch._grad_decrement_nesting"),
        *("torch._C._functorch._grad_increment_nesting", "torch._C._functorch._jvp_decrement_nesting"),
        *("torch._C._functorch._jvp_increment_nesting", "torch._C._functorch._vmap_decrement_nesting"),
        *(
            "torch._C._functorch._vmap_increment_nesting",
            "torch._C._functorch.get_inplace_requires_grad_allowed",
        ),
        "torch._C._functorch.set_inplace_requires_grad_allowed",
    ),
    "wrappers of functorch, of one tensor and a level": (
        *("torch._C._functorch._unwrap_batched", "torch._C._functorch._unwrap_for_grad"),
        *("torch._C._functorch._wrap_for_grad", "torch._C._functorch._wrap_functional_tensor"),
        *("torch._C._functorch._add_batch_dim", "torch._C._functorch._remove_batch_dim"),
        *("torch._C._functorch.get_unwrapped", "torch._C._functorch.is_batchedtensor"),
        *("torch._C._functorch.maybe_get_bdim", "torch._C._functorch.maybe_get_level"),
    ),
    "factories of tensors and of torch's plain values": (
        *(
            "torch.Generator",
            "torch.Size",
            "torch.as_tensor",
            "torch.asarray",
            "torch.device",
            "torch.tensor",
        ),
        *("torch._C._nested.nested_tensor", "torch._C._nn._parse_to", "torch.can_cast", "torch.result_type"),
        *("torch.get_autocast_dtype", "torch.get_default_dtype", "torch.is_autocast_enabled"),
        *("torch.is_inference_mode_enabled", "torch.finfo", "torch.iinfo"),
    ),
}
GIVES: Mapping[str, str] = {"torch.finfo": "limits", "torch.iinfo": "limits", "torch.device": "device"}
ITEMS = ("operator.", "math.")
"""Modules of Python whose listed functions compute of what they are given: nothing of them calls an argument."""


@cache
def _schemas() -> Mapping[str, list[Any]]:
    for module in REGISTER:
        importlib.import_module(module)
    found = collections.defaultdict(list)
    for schema in torch._C._jit_get_all_schemas():
        found[schema.name].append(schema)
    return found


def names_data(kind: str) -> bool:
    """Whether the type of an argument or result in a schema is data."""
    bare = HANDLES.sub("handle.", kind)
    words = re.findall(r"[\w.]+", re.sub(r"\b(Optional|List|Dict|Tuple)\b", " ", bare))
    return all(word in VALUES or word.startswith("handle.") for word in words)


@cache
def is_typed(name: str) -> bool:
    """Whether every form of an operator takes and gives data alone, none of it a file."""
    schemas = _schemas().get(name, ())
    parts = [part for schema in schemas for part in (*schema.arguments, *schema.returns)]
    return bool(schemas) and all(names_data(str(part.type)) and "file" not in part.name for part in parts)


def functions_by_path() -> dict[str, Any]:
    """Every candidate once, under the shortest path that is no internal one."""
    found: dict[Any, str] = {}
    for path, value in sorted(functions.candidates().items(), key=lambda item: _order(item[0])):
        found.setdefault(value, path)
    return {path: value for value, path in found.items()}


def _order(path: str) -> tuple[bool, bool, int, str]:
    return path.startswith(("torch._C", "torch._VF", "_operator")), "._" in path, len(path), path


@cache
def _aliases() -> Mapping[Any, set[str]]:
    found = collections.defaultdict(set)
    for path, value in functions.candidates().items():
        found[value].add(path)
    return found


def decide(path: str, value: Any) -> str:
    """The rule of a function; '' where it is refused."""
    by_hand = {name for names in BY_HAND.values() for name in names}
    paths = _aliases()[value]
    if paths & set(REFUSED):
        return ""
    for table in (CONTEXTS, GIVES):
        for each in paths & set(table):
            return table[each]
    limit = " ".join(LIMITED[each] for each in paths & set(LIMITED))
    name = path.rpartition(".")[2].removeprefix("linalg_")
    result = "result" if name in RESULTS else "result:dim" if name in RESULTS_BY_DIM else "data"
    result = "data" if path.startswith("builtins.") else result
    if not (
        paths & by_hand or path.startswith(ITEMS) or paths & set(LOADS) or limit or _is_harmless(paths, value)
    ):
        return ""
    return f"{result} {limit}".strip()


def _is_harmless(paths: set[str], value: Any) -> bool:
    """Whether the schema, or the signature of a function in Python, has data alone."""
    if inspect.isfunction(value) and (parameters := _parameters(value)) is not None:
        return not any(map(CALLED.search, parameters))
    if any(path.endswith(".__get__") for path in paths):
        return True
    return any(is_typed(f"aten::{name}") for path in paths for name in _operator_names(path))


def _parameters(function: Any) -> list[str] | None:
    """The parameters of a function in Python, of each of both for one that dispatches on a flag; None if it has none."""
    inner = inspect.getclosurevars(function).nonlocals
    if {"if_true", "if_false"} <= set(inner):
        return [name for each in ("if_true", "if_false") for name in _parameters(inner[each]) or ["function"]]
    try:
        found = [str(each) for each in inspect.signature(function).parameters.values()]
    except ValueError:
        return None
    return ["function"] if found == ["*args", "**kwargs"] else found


def _operator_names(path: str) -> Iterator[str]:
    """The operators that a native function or method of this path calls."""
    module, _, name = path.rpartition(".")
    yield name
    yield f"{module.rpartition('.')[2]}_{name}"
    yield _METHODS_OF_OPERATORS.get(name, name)


_METHODS_OF_OPERATORS: Mapping[str, str] = {
    **{f"__{name}__": name for name in ("add", "sub", "mul", "matmul", "eq", "ne", "lt", "le", "gt", "ge")},
    **{f"__i{name}__": f"{name}_" for name in ("add", "sub", "mul")},
    **{f"__r{name}__": name for name in ("add", "mul")},
    "__truediv__": "div",
    "__div__": "div",
    "__mod__": "remainder",
    "__invert__": "bitwise_not",
    "__itruediv__": "div_",
    "__ifloordiv__": "floor_divide_",
    "__imod__": "remainder_",
    "__rand__": "__and__",
    "__ror__": "__or__",
    "__rxor__": "__xor__",
    "__pow__": "pow",
    "__ipow__": "pow_",
    "dsmm": "mm",
    "hsmm": "hspmm",
    "spmm": "mm",
    "saddmm": "sspaddmm",
    "ndimension": "dim",
    "nelement": "numel",
    "logsigmoid": "log_sigmoid",
    "expit": "special_expit",
    **dict.fromkeys(
        ("bfloat16", "bool", "byte", "cdouble", "cfloat", "char", "double", "float", "half"), "to"
    ),
    **dict.fromkeys(("int", "ipu", "long", "mtia", "short", "type", "xpu"), "to"),
    **dict.fromkeys(("__bool__", "__complex__", "__float__", "__index__", "__int__", "__long__"), "item"),
    "__nonzero__": "item",
    "tolist": "item",
    "__setitem__": "index_put_",
    "_is_view": "is_leaf",
}
"""Methods of tensors that are written by hand in C++, by an operator that takes and gives the same kinds."""


def method(name: str) -> str:
    """The rule of a method; '' where it is refused."""
    if name in METHODS_REFUSED:
        return ""
    result = "result" if name in RESULTS else "result:dim" if name in RESULTS_BY_DIM else "data"
    return f"{result} without=key" if name == "sort" else result


def attribute(name: str) -> str:
    """Of what an attribute is read, and what it is; '' where it is refused."""
    if name in ATTRIBUTES_REFUSED:
        return ""
    if name in ("index", "type"):
        return "device data"
    if name in ("max", "min"):
        return "limits,result data"
    if name in OF_RESULTS:
        return "result data"
    return "any device" if name == "device" else "any data"


def operator_names() -> list[str]:
    """The operators whose schemas have data alone."""
    own = operators.NAMESPACES
    listed = [name for name in _schemas() if name.partition("::")[0] in own or name.startswith("prim::")]
    return sorted(name for name in listed if is_typed(name) and name not in operators._WITHHELD)


def lines() -> Iterator[str]:
    yield "# What is admitted, and what it gives for data: written by python -m tests.trust.survey."
    for path, value in sorted(functions_by_path().items()):
        if rule := decide(path, value):
            yield f"function {path} {rule}"
    for name in sorted(functions.candidate_methods()):
        if rule := method(name):
            yield f"method {name} {rule}"
    for name in sorted(functions.candidate_attributes()):
        if rule := attribute(name):
            yield f"attribute {name} {rule}"
    for name in operator_names():
        yield f"operator {name}"


if __name__ == "__main__":
    print("\n".join(lines()))
