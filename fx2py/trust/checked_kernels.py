"""Kernels that do not check the indices they are given, checked from outside while an untrusted file runs.

torch's CPU kernels check most indices. Those listed here do not: an index out of range makes them read or write beyond
their tensors. They are those that models need; ``operators.py`` withholds the others that
``tests/security/index_survey.py`` found. Sparse tensors are checked whenever one is made.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from itertools import groupby
from typing import Any, TypeAlias

import torch

Given: TypeAlias = Mapping[str, Any]
"""An operator's arguments, by the names of its schema."""
Check = Callable[[Given], None]
"""Raises IndexError for impossible arguments."""


def checked_kernels(*, trusted: bool = False) -> AbstractContextManager[None]:
    """While the block runs, operators raise IndexError and sparse tensors RuntimeError for indices out of range.

    That holds for the whole process. For what is ``trusted`` nothing is checked.
    """
    return nullcontext() if trusted else _checked()


@contextmanager
def _checked() -> Iterator[None]:
    invariants: Any = torch.sparse.check_sparse_tensor_invariants
    override: Any = torch.library.Library
    with ExitStack() as stack:
        stack.enter_context(invariants())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns of every kernel that is overridden
            for namespace, checks in _CHECKS.items():
                library = override(namespace, "IMPL")
                stack.callback(
                    library._destroy
                )  # restores the kernels at once, not when the library is collected
                for (name, key), check in checks.items():
                    _override(library, f"{namespace}::{name}", key, check)
        yield


def _override(library: Any, name: str, key: str, check: Check) -> None:
    if not torch._C._dispatch_has_kernel_for_dispatch_key(name, key):
        return  # another version of torch
    kernel = torch.library.get_kernel(name, key)
    base, _, overload = name.partition(".")
    schema = torch._C._get_schema(base, overload)
    names = [argument.name for argument in schema.arguments]
    defaults = {each.name: each.default_value for each in schema.arguments if each.has_default_value()}

    def checked(keys: torch._C.DispatchKeySet, *args: object, **kwargs: object) -> object:
        check({**defaults, **dict(zip(names, args, strict=False)), **kwargs})
        return kernel.call_boxed(keys, *args, **kwargs)

    # The kernel must be called with the keys of the call: it may dispatch further, below its own key.
    library.impl(name.partition("::")[2], checked, key, with_keyset=True)


# -- the checks


def _within(what: str, indices: torch.Tensor, low: int, high: int, besides: int | None = None) -> None:
    """Raise IndexError unless each index is at least ``low`` and below ``high``, or equals ``besides``."""
    if besides is not None:
        indices = indices[indices != besides]
    if indices.numel() == 0:
        return
    least, most = (int(number) for number in indices.aminmax())
    if least < low or most >= high:
        wrong = least if least < low else most
        raise IndexError(f"{what} {wrong} is out of range: from {low} to {high - 1}")


def _bags(given: Given, rows: int) -> None:
    indices, offsets = given["indices"], given["offsets"]
    if indices.dim() != 1 or offsets.dim() != 1:
        raise IndexError("indices and offsets of bags have one dimension")
    _within("index", indices, 0, rows)
    _offsets(offsets, indices)


def _offsets(offsets: torch.Tensor, indices: torch.Tensor) -> None:
    _within("offset", offsets, 0, indices.numel() + 1)
    if bool((offsets[:1] != 0).any() or (offsets[1:] < offsets[:-1]).any()):
        raise IndexError("offsets of bags begin with 0 and do not decrease")


def _embedding_bag(given: Given) -> None:
    _bags(given, given["weight"].size(0))


def _packed_embedding_bag(given: Given) -> None:
    """Packed tables: fbgemm checks rows, but neither offsets nor the rows that a pruned table maps to."""
    offsets, mapping, weight = given["offsets"], given["compressed_indices_mapping"], given["weight"]
    if offsets is not None:
        _offsets(offsets, given["indices"])
    if mapping is not None:
        _within("index", given["indices"], 0, mapping.numel())
        if isinstance(weight, torch.Tensor):
            _within("row", mapping, -1, weight.size(0))


def _embedding_bag_backward(given: Given) -> None:
    _bags(given, int(given["num_weights"]))
    _within("bag", given["offset2bag"], 0, given["grad"].size(0))


def _embedding_bag_dense_backward(given: Given) -> None:
    indices, bags, grad = given["indices"], given["offset2bag"], given["grad"]
    _within("index", indices, 0, int(given["num_weights"]))
    _within("bag", bags, 0, grad.size(0))
    if bags.shape != indices.shape or given["bag_size"].shape != grad.shape[:1]:
        raise IndexError("there is one bag for each index, and one size for each bag")


def _embedding_bag_per_sample_weights_backward(given: Given) -> None:
    _bags(given, given["weight"].size(0))
    _within("bag", given["offset2bag"], 0, given["grad"].size(0))
    if given["offset2bag"].numel() not in (0, given["indices"].numel()):
        raise IndexError("there is one bag for each index")


def _embedding_dense_backward(given: Given) -> None:
    _within("index", given["indices"], 0, int(given["num_weights"]))


def _nll_loss_backward(given: Given) -> None:
    classes = given["self"].size(0 if given["self"].dim() == 1 else 1)
    _within("target", given["target"], 0, classes, besides=int(given["ignore_index"]))


def _pool_backward(dimensions: int) -> Check:
    def check(given: Given) -> None:
        _within("index", given["indices"], 0, given["self"].shape[-dimensions:].numel())
        if given["indices"].shape != given["grad_output"].shape:
            raise IndexError("there is one index for each gradient")

    return check


def _repeat_interleave(given: Given) -> None:
    repeats, size = given["repeats"], given["output_size"]
    _within("number of repeats", repeats, 0, 2**62 // max(repeats.numel(), 1))
    if size is not None and int(size) != int(repeats.sum()):
        raise IndexError(f"the repeats are {int(repeats.sum())}, not {int(size)}")


def _ctc_loss(given: Given) -> None:
    _within("target", given["targets"], 0, given["log_probs"].size(2))


def _linalg_ldl_solve(given: Given) -> None:
    """LAPACK's sytrs takes negative pivots, those of 2x2 blocks, to come in pairs, and does not check that they do."""
    pivots = given["pivots"]
    _within("pivot", pivots.abs(), 1, given["LD"].size(-1) + 1)
    for row in pivots.reshape(-1, max(pivots.size(-1), 1)).tolist():
        for is_negative, block in groupby(row, lambda pivot: bool(pivot < 0)):
            if is_negative and len(list(block)) % 2:
                raise IndexError(f"the pivots {row} are not those of a factorization")


def _sparse_coo(given: Given) -> None:
    if given["indices"] is None:
        return
    for dimension, row in enumerate(given["indices"]):
        _within(f"index of dimension {dimension}", row, 0, int(given["size"][dimension]))


_ON_CPU: tuple[tuple[Check, str], ...] = (
    (_embedding_bag, "_embedding_bag _embedding_bag_forward_only"),
    (_embedding_bag_backward, "_embedding_bag_backward"),
    (_embedding_bag_dense_backward, "_embedding_bag_dense_backward"),
    (_embedding_bag_per_sample_weights_backward, "_embedding_bag_per_sample_weights_backward"),
    (_embedding_dense_backward, "embedding_dense_backward"),
    (_nll_loss_backward, "nll_loss_backward nll_loss_backward.grad_input"),
    *[
        (_pool_backward(dimensions), f"{pool}_backward {pool}_backward.grad_input")
        for dimensions in (2, 3)
        for pool in (f"max_pool{dimensions}d_with_indices", f"adaptive_max_pool{dimensions}d")
    ],
    (_repeat_interleave, "repeat_interleave.Tensor"),
    (_ctc_loss, "_ctc_loss _ctc_loss.Tensor"),
    (_linalg_ldl_solve, "linalg_ldl_solve linalg_ldl_solve.out"),
)
"""Each check with the operators of ATen whose kernels it stands before."""
_CHECKS: Mapping[str, Mapping[tuple[str, str], Check]] = {
    "aten": {
        **{(name, "CPU"): check for check, names in _ON_CPU for name in names.split()},
        ("_sparse_coo_tensor_with_dims_and_tensors", "SparseCPU"): _sparse_coo,
    },
    "quantized": {
        (f"embedding_bag_{name}", "CPU"): _packed_embedding_bag
        for name in ("byte", "4bit", "byte_rowwise_offsets", "4bit_rowwise_offsets", "2bit_rowwise_offsets")
    },
}
"""Each kernel by the library, the operator and the dispatch key."""
