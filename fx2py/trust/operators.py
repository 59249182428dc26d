"""The operators of ``torch.ops`` that a graph from a file may call: torch's own, without those that reach outside."""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from functools import lru_cache
from importlib import import_module
from typing import Any

import torch
import torch._higher_order_ops

from fx2py.graph.values import OpName
from fx2py.operators.schema import schemas_of
from fx2py.trust.admitted import OPERATORS

NAMESPACES = frozenset(
    {
        *("aten", "prims", "quantized", "_quantized", "quantization", "mkl", "mkldnn", "mkldnn_prepacked"),
        *("onednn", "sparse", "inductor", "inductor_prims", "rngprims", "profiler", "export", "_native"),
        *("_dtensor", "_c10d_functional", "_c10d_functional_autograd", "debug_mode_ops"),
    }
)
HOMES: Mapping[str, str] = {
    "quantized_decomposed": "torch.ao.quantization.fx._decomposed",
    "torchao": "torchao.quantization",
    "torchvision": "torchvision",
    "tensorrt": "torch_tensorrt",
}
"""The modules that register the operators of known libraries when they are imported."""
INDICES_UNCHECKED = frozenset(
    {
        *("_compute_linear_combination", "_ctc_loss_backward", "_cummax_helper", "_cummin_helper"),
        *("_index_put_impl", "_index_put_impl_", "_pad_packed_sequence", "_segment_reduce_backward"),
        *("_sobol_engine_draw", "_sobol_engine_ff", "_sobol_engine_ff_", "_sobol_engine_initialize_state"),
        *("_sobol_engine_initialize_state_", "_sobol_engine_scramble", "_sobol_engine_scramble_"),
        *("_sparse_mm_reduce_impl_backward", "segment_reduce", "_segment_reduce"),
    }
)
"""ATen operators that read or write beyond their tensors for indices out of range, and that no model needs by name.

Found by ``tests/security/index_survey.py``; those that models need have ``checked_kernels.py``.
"""

_WITHHELD = frozenset(
    {
        *(f"aten::{name}" for name in INDICES_UNCHECKED),
        *("aten::save", "aten::set_", "aten::set", "aten::set_data", "aten::resize", "aten::resize_"),
        *("aten::resize_as", "aten::resize_as_", "aten::resize_as_sparse", "aten::resize_as_sparse_"),
        *("aten::sparse_resize", "aten::sparse_resize_", "aten::sparse_resize_and_clear"),
        *("aten::sparse_resize_and_clear_", "aten::_resize_output", "aten::_resize_output_"),
        *("aten::_sparse_coo_tensor_unsafe", "aten::_sparse_compressed_tensor_unsafe"),
        *("aten::_sparse_csr_tensor_unsafe", "aten::_sparse_csc_tensor_unsafe"),
        *("aten::_sparse_bsr_tensor_unsafe", "aten::_sparse_bsc_tensor_unsafe", "mkldnn::data_ptr"),
        *("inductor::_reinterpret_tensor", "inductor::_alloc_from_pool", "inductor::resize_storage_bytes_"),
        *("prims::resize", "prims::_backward_call", "aten::_copy_from_and_resize"),
        *("aten::_reshape_alias", "aten::_sparse_coo_tensor_with_dims_and_tensors"),
        *("aten::_convert_indices_from_coo_to_csr", "aten::_convert_indices_from_csr_to_coo"),
        "quantized::embedding_bag_2bit_unpack",  # reads beyond the last row, whatever it is given
        *("aten::_print", "aten::warn", "profiler::_call_end_callbacks_on_jit_fut"),
    }
)
_ADMITTED_ELSEWHERE = frozenset({"prim::device", "prim::dtype", "prim::layout"})
_HIGHER_ORDER: Mapping[str, tuple[int, ...]] = {
    **dict.fromkeys(("_export_tracepoint", "print"), ()),
    **dict.fromkeys(("associative_scan", "flat_apply", "foreach_map", "hints_wrapper", "invoke_quant"), (0,)),
    **dict.fromkeys(
        ("invoke_quant_packed", "invoke_subgraph", "local_map_hop", "map_impl", "out_dtype"), (0,)
    ),
    **dict.fromkeys(("run_and_save_rng_state", "run_const_graph", "run_dtensor_rng_op", "scan"), (0,)),
    **dict.fromkeys(("strict_mode", "tag_activation_checkpoint", "wrap"), (0,)),
    **dict.fromkeys(("auto_functionalized", "auto_functionalized_v2", "graphsafe_run_with_rng_state"), (0,)),
    **dict.fromkeys(("autograd_function_apply", "while_loop", "while_loop_stack_output"), (0, 1)),
    **dict.fromkeys(
        ("register_hook", "run_with_rng_state", "with_effects", "wrap_with_set_grad_enabled"), (1,)
    ),
    "wrap_activation_checkpoint": (0,),
    "cond": (1, 2),
    "flex_attention": (3, 4),
    "flex_attention_backward": (7, 8, 9),
    "wrap_with_autocast": (4,),
}
"""The admitted higher-order operators, each with the positions of the operands that it calls; of a tuple, the last item.

Others run compiled binaries, kernels by number, scripted objects or any Python callable.
"""


def is_registered(op: OpName) -> bool:
    """Whether the process knows the operator; imports nothing outside torch."""
    if op.is_higher_order:
        return op.overload is None and op.name in higher_order()
    overloads = {schema.overload_name or "default" for schema in schemas_of(op)}
    return bool(overloads) if op.overload is None else op.overload in overloads


def admits(op: OpName) -> bool:
    """Whether torch itself registered the operator and no form of it reaches files, raw memory or foreign code."""
    if not is_registered(op):
        return False
    if op.is_higher_order:
        return op.name in _HIGHER_ORDER
    name = f"{op.namespace}::{op.name}"
    if (
        name in _WITHHELD
        or name not in OPERATORS
        or (op.namespace not in NAMESPACES and name not in _ADMITTED_ELSEWHERE)
    ):
        return False
    return not any("file" in argument.name for schema in schemas_of(op) for argument in schema.arguments)


def called_places(op: OpName) -> tuple[int, ...]:
    """The positions of the arguments that the operator calls."""
    return _HIGHER_ORDER.get(op.name, ()) if op.is_higher_order else ()


def find(op: OpName) -> Any:
    """The registered operator, packet or overload; the caller has checked ``is_registered``."""
    if op.is_higher_order:
        return higher_order()[op.name]
    packet = getattr(getattr(torch.ops, op.namespace), op.name)
    return packet if op.overload is None else getattr(packet, op.overload)


@lru_cache(maxsize=1)
def higher_order() -> Mapping[str, object]:
    """Every higher-order operator that torch defines, by name."""
    for module in pkgutil.iter_modules(torch._higher_order_ops.__path__):
        if module.name not in {"triton_kernel_wrap", "cudagraph_conditional_nodes"}:
            import_module(f"torch._higher_order_ops.{module.name}")
    return torch._ops._higher_order_ops
