"""Compiled pieces in place of generated functions: called where their guards hold, the generated function elsewhere."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch._C._dynamo.guards import GlobalStateGuard, TensorGuards
from torch.autograd import forward_ad

from fx2py.artifact.compiled import Compiled, CompiledPiece, TensorSpec
from fx2py.artifact.kernels import Boxed, load
from fx2py.errors import ArtifactError

_log = logging.getLogger(__name__)
_SOME_SIZE = 2
"""The size in an example tensor of a dimension that may vary: ``TensorGuards`` is told beside the example which sizes to check."""

Piece = Callable[..., object]


def state_fault() -> str:
    """Why no compiled piece can be bound in the state that torch is in, or ''."""
    with ordinary_state():
        return "" if is_ordinary() else "torch is set to another default dtype or to deterministic algorithms"


def replacements(
    compiled: Compiled,
    files: Mapping[str, bytes],
    tensors: Mapping[str, torch.Tensor],
    generated: Mapping[str, Piece],
) -> tuple[dict[str, Piece], dict[str, str]]:
    """By name, the function that replaces each generated piece that was compiled, and the faults of the others.

    A fault of one piece does not keep the others from being used.
    """
    with ordinary_state():
        state = GlobalStateGuard()
    faults = {name: fault for name, fault in compiled.faults(files, tensors).items() if name in generated}
    functions = _Functions(files)
    made: dict[str, Piece] = {}
    notice = _Notice()
    for piece in compiled.pieces:
        if piece.name not in generated or piece.name in faults:
            continue
        try:
            function = functions.of(piece)
        except ArtifactError as error:
            faults[piece.name] = error.message
            continue
        weights = tuple([tensors[name] for name, _ in piece.weights])
        call = _BoundFunction(function, weights, piece.is_single)
        otherwise = notice.before(piece.name, generated[piece.name])
        made[piece.name] = call.guarded(_Guard(piece, weights, compiled.device, state), otherwise)
    return made, faults


class _Functions:
    """The compiled functions of a folder, each loaded at most once, also where that fails."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._files = files
        self._loaded: dict[tuple[str, bool], Boxed | ArtifactError] = {}

    def of(self, piece: CompiledPiece) -> Boxed:
        """The function of a piece; raises ArtifactError when it cannot be loaded."""
        key = piece.sha256, piece.is_direct
        if key not in self._loaded:
            try:
                self._loaded[key] = load(self._files[piece.file], direct=piece.is_direct)
            except ArtifactError as error:
                self._loaded[key] = error
        found = self._loaded[key]
        if isinstance(found, ArtifactError):
            raise found
        return found


def is_compiled(bound: object) -> bool:
    """Whether a bound submodule calls compiled code."""
    return getattr(bound, "__module__", "") == __name__


class _Guard:
    """Whether a call is one that a piece was compiled for: ``exactly`` is fast but rejects some, ``fits`` decides.

    Both check the arguments and, after them, the weights: assigning to ``weight.data`` changes a weight's dtype or shape.
    """

    def __init__(
        self, piece: CompiledPiece, weights: tuple[torch.Tensor, ...], device: str, state: GlobalStateGuard
    ) -> None:
        self._inputs = (*piece.inputs, *[spec for _, spec in piece.weights])
        self._device = device
        self.state = state.check
        with ordinary_state():
            self.exactly = _tensor_check(self._inputs, weights, device)
        with torch.inference_mode():
            self.exactly_in_inference = _tensor_check(self._inputs, weights, device)

    def fits(self, args: Sequence[object]) -> bool:
        return (
            len(args) == len(self._inputs)
            and is_ordinary()
            and all(
                type(arg) is int if spec is None else spec.fits(arg, self._device)
                for arg, spec in zip(args, self._inputs, strict=True)
            )
        )


def _tensor_check(
    inputs: Sequence[TensorSpec | None], weights: tuple[torch.Tensor, ...], device: str
) -> Callable[..., bool]:
    """torch.compile's own guard (``TensorGuards``): types, dtypes, devices, sizes, strides and dispatch keys in one call.

    It reads the dispatch keys of this thread when it is made, inference mode among them.
    """
    tensors = [spec for spec in inputs if spec is not None]
    arguments = tensors[: len(tensors) - len(weights)]
    examples = [*[_example(spec, device) for spec in arguments], *weights]
    sizes: list[Any] = [list(spec.shape) for spec in tensors]  # torch's stub has one list too few
    strides: list[Any] = [list(spec.stride) for spec in tensors]
    check = TensorGuards(*examples, dynamic_dims_sizes=sizes, dynamic_dims_strides=strides).check
    if len(tensors) == len(inputs):
        return check
    places = [place for place, spec in enumerate(inputs) if spec is not None]
    integers = [place for place, spec in enumerate(inputs) if spec is None]

    def check_both(*args: object) -> bool:
        return all(type(args[place]) is int for place in integers) and check(
            *[args[place] for place in places]
        )

    return check_both


def _example(spec: TensorSpec, device: str) -> torch.Tensor:
    shape, stride = (
        [_SOME_SIZE if size is None else size for size in sizes] for sizes in (spec.shape, spec.stride)
    )
    return torch.empty_strided(shape, stride, dtype=getattr(torch, spec.dtype), device=device)


class _BoundFunction:
    """A compiled function with its weights bound."""

    def __init__(self, function: Boxed, weights: tuple[torch.Tensor, ...], is_single: bool) -> None:
        self._function, self._weights, self._is_single = function, weights, is_single

    def guarded(self, guard: _Guard, otherwise: Piece) -> Piece:
        """The function where ``guard`` holds for the call, else ``otherwise``; closures, since a call of one costs least.

        ``_current_level`` is forward mode's, which ``GlobalStateGuard`` does not check.
        """
        function, weights = self._function, self._weights
        state, exactly, inference, fits = guard.state, guard.exactly, guard.exactly_in_inference, guard.fits

        def compiled_single(*args: object) -> object:
            given = [*args, *weights]
            is_known = exactly(*given) or inference(*given)
            if (is_known and state() and forward_ad._current_level < 0) or fits(given):
                return function(given)[0]
            return otherwise(*args)

        def compiled_several(*args: object) -> object:
            given = [*args, *weights]
            is_known = exactly(*given) or inference(*given)
            if (is_known and state() and forward_ad._current_level < 0) or fits(given):
                return function(given)
            return otherwise(*args)

        return compiled_single if self._is_single else compiled_several


class _Notice:
    """Logs once that a piece runs as generated code, and why: a program that always falls back would not show it."""

    def __init__(self) -> None:
        self._said = False

    def before(self, name: str, generated: Piece) -> Piece:
        def call(*args: object) -> object:
            if not self._said:
                self._said = True
                _log.warning("%s runs as generated code: %s.", name, self._reason())
            return generated(*args)

        return call

    @staticmethod
    def _reason() -> str:
        if torch.is_grad_enabled():
            return "compiled pieces give no gradients; call it under torch.no_grad()"
        return (
            "it was compiled for other inputs or weights"
            if is_ordinary()
            else "a mode is on that it was not compiled for"
        )


@contextmanager
def ordinary_state() -> Iterator[None]:
    """Neither gradients, nor inference mode, nor autocast: the state in which pieces are compiled."""
    with torch.inference_mode(False), torch.no_grad(), torch._C._DisableAutocast():
        yield


def is_ordinary() -> bool:
    """Whether torch is in ``ordinary_state`` and in no other mode that compiled code, which calls kernels, would miss."""
    return not (
        torch.is_grad_enabled()
        or torch._C._is_any_autocast_enabled()
        or torch.are_deterministic_algorithms_enabled()
        or torch.get_default_dtype() is not torch.float32
        or torch._C._len_torch_dispatch_stack()
        or torch._C._functorch.peek_interpreter_stack() is not None
        or forward_ad._current_level >= 0
    )
