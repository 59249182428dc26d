"""Tensor subclasses as quantization libraries write them: their class decides what operators do to them."""

from __future__ import annotations

from typing import Any

import torch

aten = torch.ops.aten


class Quantized(torch.Tensor):
    """int8 numbers and a scale; knows how to be multiplied with, and nothing else (no view, clone or conversion)."""

    numbers: torch.Tensor
    scale: torch.Tensor
    note: str

    @staticmethod
    def __new__(cls, numbers: torch.Tensor, scale: torch.Tensor, note: str = "") -> Any:
        return torch.Tensor._make_wrapper_subclass(cls, numbers.shape, dtype=scale.dtype)

    def __init__(self, numbers: torch.Tensor, scale: torch.Tensor, note: str = "") -> None:
        self.numbers, self.scale, self.note = numbers, scale, note

    def __repr__(self) -> str:
        return type(self).__name__

    def dense(self) -> torch.Tensor:
        return self.numbers.to(self.scale.dtype) * self.scale

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is aten.linear.default:
            return func(args[0], args[1].dense(), *args[2:])
        if func is aten.t.default:
            return args[0].dense().t()
        if func in cls.known():
            self = args[0]
            change = torch.clone if func is aten.clone.default else torch.Tensor.detach
            return cls(change(self.numbers), change(self.scale), self.note)
        raise NotImplementedError(f"{cls.__name__} does not implement {func}")

    @classmethod
    def known(cls) -> frozenset[Any]:
        return frozenset({aten.detach.default})


class Flattened(Quantized):
    """Says what it is made of, as torch.compile wants it."""

    def __tensor_flatten__(self) -> tuple[list[str], Any]:
        return ["numbers", "scale"], self.note

    @classmethod
    def __tensor_unflatten__(cls, parts: dict[str, torch.Tensor], note: Any, *_: Any) -> Any:
        return cls(parts["numbers"], parts["scale"], note)


class Cloned(Quantized):
    """Can be cloned, and does not say what it is made of."""

    @classmethod
    def known(cls) -> frozenset[Any]:
        return frozenset({aten.detach.default, aten.clone.default})


def quantized(cls: type[Quantized], note: str = "") -> Quantized:
    numbers = torch.arange(-6, 6, dtype=torch.int8).view(3, 4)
    return cls(numbers, torch.tensor([[0.5], [1.0], [2.0]]), note)


class Layer(torch.nn.Module):
    """A linear layer with a weight of such a class."""

    def __init__(self, weight: torch.Tensor) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(weight, requires_grad=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.linear(x, self.weight)
