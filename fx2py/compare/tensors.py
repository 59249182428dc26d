"""Two tensors compared in every property that a caller can see; values bit for bit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

import torch
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from fx2py.compare.tolerance import Tolerance
from fx2py.errors import ReplayError, with_article
from fx2py.graph.tensors import PACKED, inner_tensors, is_wrapper, shape_of, sparse_parts, without_repetition
from fx2py.graph.values import PRIMITIVES

EqualBits: TypeAlias = Callable[[torch.Tensor, torch.Tensor], bool]
"""Whether two tensors are known to hold the same bits; False where only their elements can tell."""

PIECE = 1 << 22
"""How many elements of a large tensor are looked at at once."""
_INTEGERS_OF_SIZE = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
_WITH_NAN = frozenset(
    {torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64, torch.complex128}
)
_SPARSE = frozenset(
    {torch.sparse_coo, torch.sparse_csr, torch.sparse_csc, torch.sparse_bsr, torch.sparse_bsc}
)


def describe(tensor: torch.Tensor) -> str:
    """Dtype, shape and device: ``float32[2, 3] cpu``."""
    dtype = str(tensor.dtype).removeprefix("torch.")
    return f"{dtype}{list(shape_of(tensor))} {tensor.device}"


def differences(expected: torch.Tensor, actual: torch.Tensor) -> tuple[str, ...]:
    """The names of the aspects, other than values, in which two tensors differ."""
    found = [
        aspect
        for aspect in ("dtype", "device", "layout", "requires_grad", "is_quantized", "is_nested")
        if getattr(expected, aspect) != getattr(actual, aspect)
    ]
    if expected.is_nested == actual.is_nested and shape_of(expected) != shape_of(actual):
        found.append("shape")
    if type(expected) is not type(actual):
        found.insert(0, "type")
    if not found and _has_strides(expected):
        found += [] if expected.stride() == actual.stride() else ["stride"]
        found += [] if expected.is_conj() == actual.is_conj() else ["conjugation"]
        found += [] if expected.is_neg() == actual.is_neg() else ["negation"]
    if not found and is_wrapper(expected) and _context(expected) != _context(actual):
        found.append("context")
    if not found and expected.is_quantized and quantizer(expected) != quantizer(actual):
        found.append("quantizer")
    return tuple(found)


def compare_values(
    expected: torch.Tensor,
    actual: torch.Tensor,
    have_equal_bits: EqualBits | None = None,
    close: Tolerance | None = None,
) -> tuple[int, float | None]:
    """How many elements differ, and by how much at most; for tensors of equal type, dtype, shape and layout.

    ``have_equal_bits`` answers first, without looking at each element. A nan equals a nan of any payload; 0.0 and -0.0
    differ. Where the tensors are made of parts that differ in number, dtype or shape, every element counts as different.
    """
    if have_equal_bits is not None and have_equal_bits(expected, actual):
        return 0, None
    count, largest = 0, None
    parts, others = list(dense_parts(expected)), list(dense_parts(actual))
    if [(part.dtype, part.shape) for part in parts] != [(part.dtype, part.shape) for part in others]:
        return max(*[part.numel() for part in (*parts, *others)], 1), None
    for one, other in zip(parts, others, strict=True):
        one, other, times = _without_repetition(one, other)
        for piece, its in zip(in_pieces(one), in_pieces(other), strict=True):
            here, distance = _compare_piece(piece, its.to(piece.device), close)
            count += here * times
            largest = max([each for each in (largest, distance) if each is not None], default=None)
    return count, largest


def in_pieces(tensor: torch.Tensor) -> Iterator[torch.Tensor]:
    """A dense tensor as flat tensors of at most ``PIECE`` elements, in the order of its elements; they may be copies."""
    if tensor.numel() <= PIECE:
        yield tensor.reshape(-1)
        return
    first = next(place for place, size in enumerate(tensor.shape) if size > 1)
    rows = max(1, PIECE * tensor.shape[first] // tensor.numel())
    for start in range(0, tensor.shape[first], rows):
        yield from in_pieces(tensor.narrow(first, start, min(rows, tensor.shape[first] - start)))


def _compare_piece(
    one: torch.Tensor, other: torch.Tensor, close: Tolerance | None
) -> tuple[int, float | None]:
    differ = ~same_bits(one, other)
    if close is not None and bool(differ.any()):
        differ &= close.exceeded(one, other)
    count = int(differ.sum())
    return count, _distance(one, other, differ) if count else None


def _without_repetition(one: torch.Tensor, other: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, int]:
    """Both with each element once where both repeat it: an expanded tensor may have more elements than fit in memory."""
    fewer, times = without_repetition(one)
    others, other_times = without_repetition(other)
    alike = times > 1 and times == other_times and fewer.shape == others.shape
    return (fewer, others, times) if alike else (one, other, 1)


def same_bits(expected: torch.Tensor, actual: torch.Tensor) -> torch.Tensor:
    """Where two dense tensors of one dtype and shape hold the same bits, or both hold a nan."""
    if expected.is_complex():
        return same_bits(torch.view_as_real(expected), torch.view_as_real(actual)).all(dim=-1)
    integers = _INTEGERS_OF_SIZE[expected.element_size()]
    same = expected.contiguous().view(integers) == actual.contiguous().view(integers)
    if not expected.dtype.is_floating_point or bool(same.all()):
        return same
    both_nan = expected.to(torch.float64).isnan() & actual.to(torch.float64).isnan()
    return same | both_nan


def is_all_nan(tensor: torch.Tensor) -> bool:
    """Whether a tensor of one of the common dtypes has elements, and all of them are nan."""
    parts = [part for part in dense_parts(tensor) if part.numel()]
    if not parts or not all(part.dtype in _WITH_NAN for part in parts):
        return False
    firsts = [
        part[(0,) * part.dim()] for part in parts
    ]  # nearly always says no, without a pass over the tensor
    return all(bool(first.isnan()) for first in firsts) and all(
        bool(without_repetition(part)[0].isnan().all()) for part in parts
    )


def _distance(expected: torch.Tensor, actual: torch.Tensor, where: torch.Tensor) -> float | None:
    """The largest distance of numbers that are finite on both sides; None where there are none."""
    wide = torch.complex128 if expected.is_complex() else torch.float64
    distance = (expected[where].to(wide) - actual[where].to(wide)).abs()
    finite = distance[distance.isfinite()]
    return float(finite.max()) if finite.numel() else None


def dense_parts(tensor: torch.Tensor) -> Iterator[torch.Tensor]:
    """The dense tensors that together hold the values, as bytes where torch converts their dtype to no other.

    None on the device meta, where there are no values.
    """
    if is_wrapper(tensor):
        yield from _parts_of_wrapper(tensor)
        return
    tensor = tensor.detach()
    if tensor.device.type == "meta":
        return
    if tensor.is_nested:
        for part in tensor.unbind():
            yield from dense_parts(part)
    elif tensor.is_quantized:
        yield tensor.int_repr()
    elif tensor.layout in _SPARSE:
        yield from sparse_parts(tensor)
    elif tensor.layout != torch.strided:
        yield tensor.to_dense()  # mkldnn's opaque layout, and jagged: neither has elements that can be compared in place
    elif tensor.dtype in PACKED:
        yield tensor.view(torch.uint8)
    else:
        yield tensor.resolve_conj().resolve_neg()


def _parts_of_wrapper(tensor: torch.Tensor) -> Iterator[torch.Tensor]:
    inner = inner_tensors(tensor)
    if not inner:
        raise ReplayError(
            f"the values of {with_article(type(tensor).__qualname__)} cannot be compared: it keeps no tensors as its attributes.",
            "Its class must implement __tensor_flatten__.",
        )
    for part in inner.values():
        yield from dense_parts(part)


def _context(tensor: torch.Tensor) -> object:
    """What a wrapper subclass holds beside tensors: its names and context as ``__tensor_flatten__`` gives them, else
    those of its attributes that are plain data."""
    if is_traceable_wrapper_subclass(tensor):
        return tensor.__tensor_flatten__()
    return {name: value for name, value in vars(tensor).items() if type(value) in PRIMITIVES}


def _has_strides(tensor: torch.Tensor) -> bool:
    return tensor.layout == torch.strided and not tensor.is_nested


def quantizer(tensor: torch.Tensor) -> tuple[object, ...]:
    """How the integers of a quantized tensor stand for numbers."""
    if tensor.qscheme() in (torch.per_tensor_affine, torch.per_tensor_symmetric):
        return (tensor.qscheme(), tensor.q_scale(), tensor.q_zero_point())
    scales, zeros = tensor.q_per_channel_scales(), tensor.q_per_channel_zero_points()
    return (tensor.qscheme(), scales.tolist(), zeros.tolist(), tensor.q_per_channel_axis())
