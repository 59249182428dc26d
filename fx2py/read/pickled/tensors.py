"""Tensors from their description in a pickle; every view is checked against the size of its storage.

Source: the functions ``_rebuild_...`` of torch/_utils.py, by which torch pickles tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeGuard

import torch

from fx2py.graph.values import TORCH_DATA
from fx2py.read.pickled.storages import Storages
from fx2py.read.pickled.stream import Built, Global, Pairs, PickleFault

_REBUILD = "torch._utils._rebuild_"
_FAULTS = (RuntimeError, TypeError, ValueError, OverflowError, IndexError, AttributeError)
_METADATA = frozenset({"conj", "neg"})
"""The lazy bits of a tensor that torch keeps (``get_tensor_metadata`` of torch/_utils.py)."""
_TENSOR_CLASSES = frozenset({"torch._tensor.Tensor", "torch.Tensor", "torch.nn.parameter.Buffer"})
DTYPES = {path: value for path, value in TORCH_DATA.items() if isinstance(value, torch.dtype)}
LAYOUTS = {str(value): value for value in TORCH_DATA.values() if isinstance(value, torch.layout)}
_QSCHEMES = {path: value for path, value in TORCH_DATA.items() if isinstance(value, torch.qscheme)}


def is_tensor(obj: object) -> TypeGuard[Built]:
    """Whether a pickled object is a tensor of some kind."""
    return type(obj) is Built and (obj.path in _BUILDERS or obj.path.startswith(_REBUILD))


class Tensors:
    """The tensors of one pickle; a description that the pickle shares gives one tensor."""

    def __init__(self, storages: Storages) -> None:
        self._storages = storages
        self._made: dict[int, tuple[Built, torch.Tensor]] = {}

    def tensor(self, obj: object) -> torch.Tensor:
        """The tensor that a pickled object describes; PickleFault when it is something else, or reaches beyond its storage."""
        if type(obj) is not Built or obj.path not in _BUILDERS:
            what = obj.path if type(obj) is Built else type(obj).__name__
            raise PickleFault(f"a tensor is of an unknown kind ({what})")
        if id(obj) not in self._made:
            try:
                made = _BUILDERS[obj.path](self, *_sequence(obj.args))
            except PickleFault:
                raise
            except _FAULTS as error:
                raise PickleFault(f"a tensor is damaged: {str(error).splitlines()[0]}") from None
            self._made[id(obj)] = (obj, made)
        return self._made[id(obj)][1]

    # torch rebuilds a strided tensor from a storage, an offset, sizes, strides and what follows them here.

    def strided(self, *parts: object) -> torch.Tensor:
        storage, offset, size, stride, gradient, _hooks, *metadata = parts
        found = self._storages.find(storage)
        return _finished(_view(found.data, found.dtype, offset, size, stride), gradient, *metadata)

    def strided_of_dtype(self, *parts: object) -> torch.Tensor:
        storage, offset, size, stride, gradient, _hooks, dtype, *metadata = parts
        data = self._storages.find(storage).data
        return _finished(_view(data, _dtype(dtype), offset, size, stride), gradient, *metadata)

    def parameter(self, data: object, gradient: object, hooks: object, state: object = None) -> torch.Tensor:
        return torch.nn.Parameter(self.tensor(data), requires_grad=gradient is True)

    def of_class(self, function: object, cls: object, args: object, state: object) -> torch.Tensor:
        if type(cls) is not Global or cls.path not in _TENSOR_CLASSES:
            raise PickleFault(
                f"a tensor is of a class that is not torch's own ({getattr(cls, 'path', 'unnamed')})"
            )
        return self.tensor(Built(function, args))

    def meta(self, dtype: object, size: object, stride: object, gradient: object) -> torch.Tensor:
        tensor = torch.empty_strided(_counts(size), _counts(stride), dtype=_dtype(dtype), device="meta")
        return tensor.requires_grad_(gradient is True)

    def sparse(self, layout: object, data: object) -> torch.Tensor:
        name = _sequence(layout.args)[0] if type(layout) is Built else None
        kind = LAYOUTS.get(str(name))
        if kind is torch.sparse_coo:
            indices, values, size, *coalesced = _sequence(data)
            return torch.sparse_coo_tensor(
                self.tensor(indices),
                self.tensor(values),
                _counts(size),
                check_invariants=True,
                is_coalesced=coalesced[0] if coalesced and type(coalesced[0]) is bool else None,
            )
        compressed, plain, values, size = _sequence(data)
        parts = (self.tensor(compressed), self.tensor(plain), self.tensor(values))
        return torch.sparse_compressed_tensor(*parts, _counts(size), layout=kind, check_invariants=True)

    def quantized(self, *parts: object) -> torch.Tensor:
        storage, offset, size, stride, quantizer, _gradient, _hooks = parts
        found = self._storages.find(storage)
        if found.dtype not in _INTEGERS:
            raise PickleFault(f"a quantized tensor has elements of {found.dtype}")
        integers = _view(found.data, _INTEGERS[found.dtype], offset, size, stride)
        if integers.nbytes > found.data.nbytes():
            raise PickleFault("a quantized tensor has more elements than its storage")
        return self._quantized(integers, *_sequence(quantizer))

    def _quantized(
        self, integers: torch.Tensor, scheme: object, scale: object, zero: object, axis: object = None
    ) -> torch.Tensor:
        path = scheme.path if type(scheme) is Global else ""
        kind = _QSCHEMES.get(path)
        if kind is torch.per_tensor_affine and isinstance(scale, float | int) and type(zero) is int:
            return torch._make_per_tensor_quantized_tensor(integers, float(scale), zero)
        if kind is torch.per_channel_affine and type(axis) is int:
            scales, zeros = self.tensor(scale), self.tensor(zero)
            return torch._make_per_channel_quantized_tensor(integers, scales, zeros, axis)
        raise PickleFault(f"a quantized tensor is of an unknown scheme ({path})")


_INTEGERS = {torch.qint8: torch.int8, torch.quint8: torch.uint8, torch.qint32: torch.int32}
_BUILDERS: dict[str, Callable[..., torch.Tensor]] = {
    "torch._utils._rebuild_tensor_v2": Tensors.strided,
    "torch._utils._rebuild_tensor_v3": Tensors.strided_of_dtype,
    "torch._utils._rebuild_parameter": Tensors.parameter,
    "torch._utils._rebuild_parameter_with_state": Tensors.parameter,
    "torch._utils._rebuild_meta_tensor_no_storage": Tensors.meta,
    "torch._utils._rebuild_sparse_tensor": Tensors.sparse,
    "torch._utils._rebuild_qtensor": Tensors.quantized,
    "torch._tensor._rebuild_from_type_v2": Tensors.of_class,
}


def _view(
    storage: torch.UntypedStorage, dtype: torch.dtype, offset: object, size: object, stride: object
) -> torch.Tensor:
    sizes, strides = _counts(size), _counts(stride)
    if type(offset) is not int or offset < 0 or len(sizes) != len(strides):
        raise PickleFault("a tensor has an impossible shape")
    if 0 not in sizes:
        last = offset + sum((length - 1) * step for length, step in zip(sizes, strides, strict=True))
        if (last + 1) * dtype.itemsize > storage.nbytes():
            raise PickleFault(f"a tensor of shape {list(sizes)} reaches beyond its {storage.nbytes()} bytes")
    return torch.empty(0, dtype=dtype).set_(storage, offset if 0 not in sizes else 0, sizes, strides)


def _sequence(obj: object) -> Sequence[object]:
    """The parts of what must be a tuple or list."""
    if not isinstance(obj, tuple | list):
        raise PickleFault("a tensor is described by something other than a tuple")
    return obj


def _counts(sizes: object) -> tuple[int, ...]:
    """Sizes or strides as non-negative ints."""
    items = _sequence(sizes.args)[0] if type(sizes) is Built and sizes.path == "torch.Size" else sizes
    if not isinstance(items, tuple | list) or not all(type(item) is int and item >= 0 for item in items):
        raise PickleFault("a tensor has a shape that is not a tuple of sizes")
    return tuple(items)


def _dtype(obj: object) -> torch.dtype:
    dtype = DTYPES.get(obj.path) if type(obj) is Global else None
    if dtype is None:
        raise PickleFault("a tensor has an unknown dtype")
    return dtype


def _finished(tensor: torch.Tensor, gradient: object, metadata: object = None) -> torch.Tensor:
    marks = metadata.by_name() if type(metadata) is Pairs else {}
    if not marks.keys() <= _METADATA or not all(type(mark) is bool for mark in marks.values()):
        raise PickleFault("a tensor has unknown lazy bits")
    if marks:
        torch._C._set_tensor_metadata(tensor, marks)  # type: ignore[attr-defined]
    return tensor.requires_grad_(True) if gradient is True else tensor
