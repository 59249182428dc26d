"""Values as digests: the results of two runs are compared without keeping either of them."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch._functorch.pyfunctorch import temporarily_clear_interpreter_stack
from torch._subclasses.fake_tensor import FakeTensor

from fx2py.compare.leaves import leaves_with_paths
from fx2py.compare.tensors import dense_parts, in_pieces, quantizer
from fx2py.graph.tensors import shape_of, storage_of, without_repetition
from fx2py.graph.values import PRIMITIVES

_WITH_NAN = frozenset({torch.float16, torch.bfloat16, torch.float32, torch.float64})


class Digests:
    """Digests of the values of a run; those of tensors that outlive it are kept until a write changes them.

    Two values with equal digests have equal leaves: numbers by type and value, tensors by bits (any nan equals any other),
    dtype, shape, strides, device, layout and whether they require grad. Kinds of containers do not count.
    """

    def __init__(self, lasting: Mapping[str, torch.Tensor]) -> None:
        self._lasting = {storage for tensor in lasting.values() for storage in _storage(tensor)}
        self._known: dict[tuple[object, ...], bytes] = {}

    def __call__(self, value: object) -> bytes | None:
        """The digest; None where the value holds no data, as a module does, or is part of a trace."""
        with outside_transforms():
            return self._digest(value)

    def _digest(self, value: object) -> bytes | None:
        digest, has_data = hashlib.blake2b(digest_size=16), False
        for _, leaf in leaves_with_paths("", value):
            if isinstance(leaf, torch.Tensor):
                leaf = unwrapped(leaf)
                if not _is_concrete(leaf):
                    return None
                digest.update(self._tensor(leaf))
            elif type(leaf) in PRIMITIVES or isinstance(leaf, torch.Size):
                digest.update(repr((type(leaf).__name__, leaf)).encode())
            else:
                continue
            has_data = True
        return digest.digest() if has_data else None

    def tensors_in(self, values: Iterable[object]) -> tuple[bytes, ...]:
        """The digest of each tensor in some values, in order; without those that are part of a trace."""
        leaves = [leaf for value in values for _, leaf in leaves_with_paths("", value)]
        tensors = [unwrapped(leaf) for leaf in leaves if isinstance(leaf, torch.Tensor)]
        with outside_transforms():
            return tuple([self._tensor(tensor) for tensor in tensors if _is_concrete(tensor)])

    def _tensor(self, tensor: torch.Tensor) -> bytes:
        storage = _storage(tensor)
        if not storage or storage[0] not in self._lasting or tensor.is_inference():
            return digest_of(tensor)
        key = (*storage, tensor._version, *_form(tensor), tensor.storage_offset())
        if key not in self._known:
            self._known[key] = digest_of(tensor)
        return self._known[key]


def _storage(tensor: torch.Tensor) -> tuple[int, ...]:
    plain = type(tensor) in (torch.Tensor, torch.nn.Parameter) and tensor.layout is torch.strided
    return (storage_of(tensor),) if plain and not tensor.is_nested else ()


def unwrapped(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor that a transform of torch.func has wrapped, with its batch where there is one."""
    functorch: Any = torch._C._functorch
    while functorch.is_functorch_wrapped_tensor(tensor):
        tensor = functorch.get_unwrapped(tensor)
    return tensor


@contextlib.contextmanager
def outside_transforms() -> Iterator[None]:
    """Inside the block no ``torch.func`` transform is active, which would wrap every new tensor."""
    if torch._C._functorch.peek_interpreter_stack() is None:
        yield
        return
    with temporarily_clear_interpreter_stack():
        yield


def _is_concrete(tensor: torch.Tensor) -> bool:
    """Whether a tensor holds numbers; a tracer runs code on tensors that only stand for others."""
    return not (isinstance(tensor, FakeTensor) or torch._is_functional_tensor(tensor))


def _form(tensor: torch.Tensor) -> tuple[object, ...]:
    strides: Any = ()
    if tensor.layout is torch.strided and not tensor.is_nested:
        pairs = zip(tensor.shape, tensor.stride(), strict=True)
        strides = tuple([stride for size, stride in pairs if size > 1])
    return (tensor.dtype, tensor.device, tensor.layout, tensor.requires_grad, shape_of(tensor), strides)


def digest_of(tensor: torch.Tensor) -> bytes:
    """The digest of one tensor, made anew."""
    digest = hashlib.blake2b(repr(_form(tensor)).encode(), digest_size=16)
    if tensor.is_quantized:
        digest.update(repr(quantizer(tensor)).encode())
    with torch.no_grad():
        for part in dense_parts(tensor):
            once, _ = without_repetition(part)
            for piece in in_pieces(once):
                digest.update(_bytes(piece))
    return digest.digest()


def _bytes(piece: torch.Tensor) -> Any:
    if piece.dtype.is_complex:
        piece = torch.view_as_real(piece).reshape(-1)
    if piece.dtype in _WITH_NAN:
        nan = piece.isnan()
        piece = piece.masked_fill(nan, torch.nan) if bool(nan.any()) else piece
    whole = (
        piece.contiguous() if piece.stride() == (1,) else piece.clone(memory_format=torch.contiguous_format)
    )
    return whole.view(torch.uint8).cpu().numpy()
