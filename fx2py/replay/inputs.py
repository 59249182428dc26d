"""The inputs of a run: from a file, from what is stored beside the graph, or made from what is recorded of them."""

from __future__ import annotations

import math
import pickle
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch.utils import _pytree as pytree

from fx2py.errors import Argument, Hint, ReplayError, with_article
from fx2py.graph.data import GraphData, Node, NumberKind, SampleInputs, SymMeta, TensorMeta
from fx2py.graph.tensors import TensorCopies, is_strided_view, is_wrapper
from fx2py.replay.domains import ANY, Domain, input_domains
from fx2py.replay.objects import ObjectBuilder
from fx2py.replay.signature import unflatten
from fx2py.replay.sizes import symbol_sizes
from fx2py.runtime.sizes import SizeExpression
from fx2py.trust import Policy
from fx2py.trust.data import code_in

Arguments = tuple[tuple[object, ...], dict[str, object]]
Number = TypeVar("Number")
"""What a size is: a number, or a symbolic one."""
PASS_INPUTS = Hint("Pass ", Argument.INPUTS, ".")


@dataclass(frozen=True, slots=True, eq=False)
class Inputs:
    """A call's arguments, a sentence that says where they come from, and a name for them."""

    args: tuple[object, ...]
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""
    name: str = "inputs"

    def on(self, device: torch.device | str | None) -> Inputs:
        """These inputs on a device; None is where they are."""
        if device is None:
            return self
        move = TensorCopies(torch.device(device))
        return replace(self, args=move.of(self.args), kwargs=move.of(dict(self.kwargs)))


def find_inputs(
    data: GraphData,
    *,
    seed: int = 0,
    device: torch.device | str | None = None,
    policy: Policy | None = None,
) -> Inputs:
    """The inputs stored beside the graph, else made ones; on ``device`` when it is given.

    Raises ReplayError when they hold code, or when nothing is recorded to make them from.
    """
    gate = policy or Policy()
    found = recorded_inputs(data.sample_inputs) or made_inputs(data, seed=seed, policy=gate)
    return admitted(found, gate).on(device)


def recorded_inputs(stored: SampleInputs | None) -> Inputs | None:
    """Those stored beside the graph, if any."""
    if stored is None:
        return None
    return Inputs(
        stored.args, stored.kwargs, "The inputs are those stored beside the graph.", "recorded inputs"
    )


def made_inputs(
    data: GraphData,
    *,
    seed: int,
    policy: Policy,
    sizes: Mapping[str, int] | None = None,
    spread: float = 1.0,
) -> Inputs:
    """Random numbers that the graph can use, in tensors as it records them; ``sizes`` has the size of each symbol.

    ``spread`` scales the numbers that may be any. Raises ReplayError when nothing is recorded to make them from.
    """
    chosen = symbol_sizes(data) if sizes is None else sizes
    args, kwargs = _RandomInputs(data, seed, policy, chosen, spread).arguments()
    source = f"The inputs are made from the recorded shapes and types, with seed {seed}."
    return Inputs(args, kwargs, source, f"made with seed {seed}")


def shuffled_inputs(inputs: Inputs, seed: int) -> Inputs:
    """The same inputs with the numbers of each tensor in another order: what may stand in one place may in another.

    Whole numbers in ascending order keep it: they are positions or offsets.
    """
    generator = torch.Generator().manual_seed(seed)

    def shuffled(tensor: torch.Tensor) -> torch.Tensor:
        if not is_strided_view(tensor) or is_wrapper(tensor) or tensor.device.type == "meta":
            return tensor
        copy = TensorCopies()(tensor)
        numbers = copy.detach().flatten().cpu()
        if tensor.dtype.is_floating_point or not _ascends(numbers):
            order = torch.randperm(numbers.numel(), generator=generator)
            copy.detach().copy_(numbers[order].view(tensor.shape))
        return copy

    args, kwargs = pytree.tree_map_only(torch.Tensor, shuffled, (inputs.args, dict(inputs.kwargs)))
    return Inputs(args, kwargs, inputs.source, f"{inputs.name}, shuffled")


def _ascends(numbers: torch.Tensor) -> bool:
    return numbers.dtype != torch.bool and bool((numbers[1:] >= numbers[:-1]).all())


def admitted(found: Inputs, policy: Policy) -> Inputs:
    """These inputs; raises ReplayError when they hold code."""
    code = None if policy.trust_all else code_in((found.args, dict(found.kwargs)))
    if code is not None:
        raise ReplayError(
            f"the inputs hold {_described(code)}, which is no data.",
            "Pass tensors, numbers, text and containers of them.",
        )
    return found


def _described(code: object) -> str:
    name = getattr(code, "__qualname__", None)
    return f"{with_article(type(code).__qualname__)}" + (f" {name!r}" if isinstance(name, str) else "")


# -- from a file


_UNREADABLE = (
    *(pickle.UnpicklingError, zipfile.BadZipFile, RuntimeError, OSError, EOFError, ValueError, TypeError),
    *(LookupError, AttributeError, MemoryError),
)
"""What torch's restricted unpickler raises on bytes that are no such file; it does not check them first."""


def load_inputs(path: Path) -> Inputs:
    """The inputs in a file that ``torch.save`` wrote; only tensors and plain containers are read.

    ``(args, kwargs)`` is both, a dict with text keys is keyword arguments, a tuple or list is positional ones, and
    anything else is the only argument. Raises ReplayError that names the file.
    """
    value = load_plain(path, "inputs", PASS_INPUTS)
    args, kwargs = _arguments(value)
    return Inputs(args, kwargs, f"The inputs are those of {path}.", path.name)


def load_plain(path: Path, what: str, hint: Hint | str) -> object:
    """Tensors and plain containers that ``torch.save`` wrote; raises ReplayError that says ``what`` the file lacks."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise ReplayError(f"the {what} file {path} does not exist.", hint) from error
    except _UNREADABLE as error:
        raise ReplayError(f"{path} does not hold {what} that can be read as plain data.", hint) from error


def _arguments(value: object) -> Arguments:
    if isinstance(value, (tuple, list)):
        if len(value) == 2 and isinstance(value[0], (tuple, list)) and _is_keywords(value[1]):
            return tuple(value[0]), dict(value[1])
        return tuple(value), {}
    return ((), dict(value)) if isinstance(value, dict) and _is_keywords(value) else ((value,), {})


def _is_keywords(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(key, str) for key in value)


# -- from what is recorded


class InputMaker(ABC, Generic[Number]):
    """Makes a call's arguments from the recorded metadata of a graph's inputs; ``sizes`` has the size of each symbol.

    A subclass makes the tensors and numbers.
    """

    def __init__(self, data: GraphData, policy: Policy, sizes: Mapping[str, Number]) -> None:
        checks = data.contract.checks if data.contract is not None else ()
        self.data = data
        self._fixed = {check.placeholder: check.value for check in checks if check.constant}
        self._sizes = sizes
        self._constant = ObjectBuilder(policy, None, lambda tensor: tensor, _no_attribute).constant

    @abstractmethod
    def tensor(
        self,
        node: Node,
        meta: TensorMeta,
        shape: Sequence[int | Number],
        strides: Sequence[int | Number] | None,
    ) -> torch.Tensor:
        """The tensor for a placeholder."""

    def number(self, kind: NumberKind) -> object:
        """The float or bool for a placeholder; None where the subclass makes none."""
        return None

    def arguments(self) -> Arguments:
        """Positional and keyword arguments; raises ReplayError for an input of which nothing is recorded."""
        convention = self.data.convention
        placeholders = self.data.graph.placeholders
        if convention is None:
            needed = [node for node in placeholders if not (node.args or str(node.target).startswith("*"))]
            return (), {str(node.target): self._value(node) for node in needed}
        leaves = iter([self._value(node) for node in placeholders])
        args = tuple(unflatten(tree, leaves, self._constant) for _, tree in convention.args)
        return args, {name: unflatten(tree, leaves, self._constant) for name, tree in convention.kwargs}

    def _value(self, node: Node) -> object:
        meta = node.meta.value
        made: object = None
        if node.name in self._fixed:
            return self._constant(self._fixed[node.name])
        if isinstance(meta, TensorMeta):
            shape = [self._size(node, size) for size in meta.shape]
            strides = None if meta.stride is None else [self._size(node, size) for size in meta.stride]
            made = self.tensor(node, meta, shape, strides)
        elif isinstance(meta, SymMeta):
            made = self._size(node, meta.expression) if meta.kind == "int" else self.number(meta.kind)
        if made is None:
            raise ReplayError(
                f"nothing is recorded of the input {node.name!r} that a value could be made from.",
                PASS_INPUTS,
            )
        return made

    def _size(self, node: Node, size: int | str) -> int | Number:
        if isinstance(size, int):
            return size
        try:
            made = SizeExpression(size).value(self._sizes)
            return int(made) if isinstance(made, int | float) else made
        except (ValueError, ArithmeticError, KeyError):
            raise ReplayError(
                f"the size {size!r} of the input {node.name!r} cannot be chosen.", PASS_INPUTS
            ) from None


def _no_attribute(path: str) -> object:
    raise ReplayError(f"the inputs refer to {path!r}, which only a graph can do.")


class _RandomInputs(InputMaker[int]):
    """Inputs of random numbers that the graph can use, the same for the same seed."""

    def __init__(
        self, data: GraphData, seed: int, policy: Policy, sizes: Mapping[str, int], spread: float
    ) -> None:
        super().__init__(data, policy, sizes)
        self._spread = spread
        self._domains = input_domains(data.root, sizes)
        self._generator = torch.Generator().manual_seed(seed)

    def number(self, kind: NumberKind) -> object:
        return {"float": 0.5, "bool": True}[kind]

    def tensor(
        self, node: Node, meta: TensorMeta, shape: Sequence[int], strides: Sequence[int] | None
    ) -> torch.Tensor:
        value = self._elements(self._domains.get(node.name, ANY), meta.dtype, shape)
        if strides is not None and 0 not in strides:
            value = torch.empty_strided(shape, strides, dtype=meta.dtype).copy_(value)
        value = value if meta.device is None else value.to(meta.device)
        return value.requires_grad_(meta.requires_grad)

    def _elements(self, domain: Domain, dtype: torch.dtype, shape: Sequence[int]) -> torch.Tensor:
        if dtype == torch.bool:
            return torch.randint(0, 2, shape, generator=self._generator).to(dtype)
        if not (dtype.is_floating_point or dtype.is_complex):
            return self._integers(domain, dtype, shape)
        # torch.randn has no kernel for the narrow formats, float8 for example.
        wide = torch.complex64 if dtype.is_complex else torch.float32
        numbers = torch.randn(shape, generator=self._generator, dtype=wide)
        if dtype.is_complex or domain == ANY:
            return (numbers * self._spread).to(dtype)
        return _within(domain, numbers).to(dtype)

    def _integers(self, domain: Domain, dtype: torch.dtype, shape: Sequence[int]) -> torch.Tensor:
        """Whole numbers in a domain; 0 and 1 where it sets no bounds, which any lookup and any mask can take."""
        limits = torch.iinfo(dtype)
        high = limits.max if math.isinf(domain.high) else min(math.ceil(domain.high), limits.max)
        low = min(0, high - 2) if math.isinf(domain.low) else math.floor(domain.low) + 1
        low = max(low, limits.min)
        high = low + 2 if math.isinf(domain.high) else max(high, low + 1)
        made = torch.randint(low, high, shape, generator=self._generator)
        if domain.ascending and made.numel():
            made = made.sort().values
            made[..., 0] = 0
        return made.to(dtype)


_MARGIN = 0.02
"""The part of a bounded domain that is left free at both ends: numbers may be rounded to a narrow format."""


def _within(domain: Domain, numbers: torch.Tensor) -> torch.Tensor:
    """Normally distributed numbers moved into a domain."""
    if math.isinf(domain.low) and math.isinf(domain.high):
        return numbers
    if math.isinf(domain.high):
        return numbers.abs() + (domain.low + _MARGIN)
    if math.isinf(domain.low):
        return (domain.high - _MARGIN) - numbers.abs()
    uniform: torch.Tensor = torch.special.ndtr(numbers) * (1 - 2 * _MARGIN) + _MARGIN
    return uniform * (domain.high - domain.low) + domain.low
