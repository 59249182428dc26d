"""Tensors from what a pickle says of them; every view is checked against the bytes of its storage."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from fx2py.read.pickled.records import Built, Global, Mapping, PickleFault
from fx2py.read.storages import Storages

_REBUILD = "torch._utils._rebuild_"
_FAULTS = (RuntimeError, TypeError, ValueError, OverflowError, IndexError, AttributeError)
_METADATA = frozenset({"conj", "neg"})
_TENSOR_CLASSES = frozenset({"torch._tensor.Tensor", "torch.Tensor", "torch.nn.parameter.Buffer"})
DTYPES: dict[str, torch.dtype] = {
    f"torch.{name}": v for name, v in vars(torch).items() if type(v) is torch.dtype
}
LAYOUTS: dict[str, torch.layout] = {str(v): v for v in vars(torch).values() if type(v) is torch.layout}
_QSCHEMES: dict[str, torch.qscheme] = {str(v): v for v in vars(torch).values() if type(v) is torch.qscheme}


def is_tensor(obj: Any) -> bool:
    """Whether a pickled object is a tensor of some kind."""
    return type(obj) is Built and (obj.path in _BUILDERS or obj.path.startswith(_REBUILD))


class Tensors:
    """The tensors of one pickle; what the pickle shares is one tensor."""

    def __init__(self, storages: Storages) -> None:
        self._storages = storages
        self._made: dict[int, tuple[Built, torch.Tensor]] = {}

    def tensor(self, obj: Any) -> torch.Tensor:
        """The tensor that a pickled object describes; PickleFault when it is none, or reaches beyond its storage."""
        if type(obj) is not Built or obj.path not in _BUILDERS:
            what = obj.path if type(obj) is Built else type(obj).__name__
            raise PickleFault(f"a tensor is of an unknown kind ({what})")
        if id(obj) not in self._made:
            try:
                made = _BUILDERS[obj.path](self, *obj.args)
            except PickleFault:
                raise
            except _FAULTS as error:
                raise PickleFault(f"a tensor is damaged: {str(error).splitlines()[0]}") from None
            self._made[id(obj)] = (obj, made)
        return self._made[id(obj)][1]

    def strided(
        self,
        storage: Any,
        offset: Any,
        size: Any,
        stride: Any,
        gradient: Any,
        hooks: Any,
        metadata: Any = None,
    ) -> torch.Tensor:
        found = self._storages.find(storage)
        tensor = _view(found.data, found.dtype, offset, size, stride)
        return _finished(tensor, gradient, metadata)

    def strided_of_dtype(
        self,
        storage: Any,
        offset: Any,
        size: Any,
        stride: Any,
        gradient: Any,
        hooks: Any,
        dtype: Any,
        metadata: Any = None,
    ) -> torch.Tensor:
        data = self._storages.find(storage).data
        return _finished(_view(data, _dtype(dtype), offset, size, stride), gradient, metadata)

    def parameter(self, data: Any, gradient: Any, hooks: Any, state: Any = None) -> torch.Tensor:
        return torch.nn.Parameter(self.tensor(data), requires_grad=gradient is True)

    def of_class(self, function: Any, cls: Any, args: Any, state: Any) -> torch.Tensor:
        if type(cls) is not Global or cls.path not in _TENSOR_CLASSES:
            raise PickleFault(f"a tensor is of a class of its own ({getattr(cls, 'path', 'unnamed')})")
        return self.tensor(Built(function, args))

    def meta(self, dtype: Any, size: Any, stride: Any, gradient: Any) -> torch.Tensor:
        tensor = torch.empty_strided(_counts(size), _counts(stride), dtype=_dtype(dtype), device="meta")
        return tensor.requires_grad_(gradient is True)

    def sparse(self, layout: Any, data: Any) -> torch.Tensor:
        kind = LAYOUTS.get(str(layout.args[0]))
        if kind is torch.sparse_coo:
            indices, values, size, *coalesced = data
            return torch.sparse_coo_tensor(
                self.tensor(indices),
                self.tensor(values),
                _counts(size),
                check_invariants=True,
                is_coalesced=coalesced[0] if coalesced and type(coalesced[0]) is bool else None,
            )
        compressed, plain, values, size = data
        parts = (self.tensor(compressed), self.tensor(plain), self.tensor(values))
        return torch.sparse_compressed_tensor(*parts, _counts(size), layout=kind, check_invariants=True)

    def quantized(
        self, storage: Any, offset: Any, size: Any, stride: Any, quantizer: Any, gradient: Any, hooks: Any
    ) -> torch.Tensor:
        found = self._storages.find(storage)
        if found.dtype not in _INTEGERS:
            raise PickleFault(f"a quantized tensor has elements of {found.dtype}")
        integers = _view(found.data, _INTEGERS[found.dtype], offset, size, stride)
        if integers.nbytes > found.data.nbytes():
            raise PickleFault("a quantized tensor has more elements than its storage")
        scheme, scale, zero, *axis = quantizer
        kind = _QSCHEMES.get(scheme.path)
        if kind is torch.per_tensor_affine:
            return torch._make_per_tensor_quantized_tensor(integers, float(scale), int(zero))
        if kind is torch.per_channel_affine:
            scales, zeros = self.tensor(scale), self.tensor(zero)
            return torch._make_per_channel_quantized_tensor(integers, scales, zeros, int(axis[0]))
        raise PickleFault(f"a quantized tensor is of an unknown scheme ({scheme.path})")


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
    storage: torch.UntypedStorage, dtype: torch.dtype, offset: Any, size: Any, stride: Any
) -> torch.Tensor:
    sizes, strides = _counts(size), _counts(stride)
    if type(offset) is not int or offset < 0 or len(sizes) != len(strides):
        raise PickleFault("a tensor has an impossible shape")
    if 0 not in sizes:
        last = offset + sum((length - 1) * step for length, step in zip(sizes, strides, strict=True))
        if (last + 1) * dtype.itemsize > storage.nbytes():
            raise PickleFault(f"a tensor of shape {list(sizes)} reaches beyond its {storage.nbytes()} bytes")
    return torch.empty(0, dtype=dtype).set_(storage, offset if 0 not in sizes else 0, sizes, strides)


def _counts(sizes: Any) -> tuple[int, ...]:
    """Sizes or strides as non-negative ints."""
    items = sizes.args[0] if type(sizes) is Built and sizes.path == "torch.Size" else sizes
    if type(items) not in (tuple, list) or not all(type(item) is int and item >= 0 for item in items):
        raise PickleFault("a tensor has a shape that is no tuple of sizes")
    return tuple(items)


def _dtype(obj: Any) -> torch.dtype:
    dtype = DTYPES.get(obj.path) if type(obj) is Global else None
    if dtype is None:
        raise PickleFault("a tensor has an unknown dtype")
    return dtype


def _finished(tensor: torch.Tensor, gradient: Any, metadata: Any) -> torch.Tensor:
    marks = metadata.by_name() if type(metadata) is Mapping else {}
    if not marks.keys() <= _METADATA or not all(type(mark) is bool for mark in marks.values()):
        raise PickleFault("a tensor carries unknown marks")
    if marks:
        torch._C._set_tensor_metadata(tensor, marks)  # type: ignore[attr-defined]
    return tensor.requires_grad_(True) if gradient is True else tensor
