"""The three tables that are bound to generated code, while they are being filled."""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import Any

import torch

from fx2py.graph.data import ModuleRecord, ValueMeta
from fx2py.graph.values import Live, TensorValue
from fx2py.program.ir import Constant, Slot, Submodule, Weight
from fx2py.program.scope import Scope


def exact_key(value: Any) -> Any:
    """A key that is equal only for values of the same type and bits (0.0 is not -0.0, True is not 1)."""
    kind = type(value)
    if kind is float:
        return (kind, struct.pack("<d", value))
    if kind is complex:
        return (kind, struct.pack("<dd", value.real, value.imag))
    return (kind, value)


class Tables:
    """Slots by identity of tensor, module record or exact constant; each thing gets one slot."""

    def __init__(self) -> None:
        self.weights: list[Weight] = []
        self.submods: list[Submodule] = []
        self.consts: list[Constant] = []
        self._index: dict[Any, Slot] = {}
        self._const_names = Scope()

    def weight(self, path: str, tensor: torch.Tensor) -> Slot:
        key = ("weight", id(tensor))
        if key not in self._index:
            self._index[key] = Slot("weights", len(self.weights))
            self.weights.append(Weight(path, tensor))
        return self._index[key]

    def submodule(self, path: str, record: ModuleRecord | None, function: str | None = None) -> Slot:
        key = ("submod", path if record is None else id(record))
        if key not in self._index:
            self._index[key] = Slot("submods", len(self.submods))
            self.submods.append(Submodule(path, record, 0, function))
        return self._index[key]

    def module(self, path: str, record: ModuleRecord) -> Slot:
        """The slot of a submodule that is used as an object, not only called."""
        slot = self.submodule(path, record)
        self.submods[slot.index] = replace(self.submods[slot.index], whole=True)
        return slot

    def record_call(self, slot: Slot, inputs: tuple[ValueMeta, ...], output: ValueMeta) -> None:
        """Count a call site; the first one says what goes in and comes out."""
        entry = self.submods[slot.index]
        if not entry.calls:
            entry = replace(entry, inputs=inputs, output=output)
        self.submods[slot.index] = replace(entry, calls=entry.calls + 1)

    def attribute(self, path: str, value: Any) -> Slot:
        """The slot of a mutable attribute: one object for every read and every call, as on the module."""
        key = ("attribute", path)
        if key not in self._index:
            self._index[key] = Slot("consts", len(self.consts))
            self.consts.append(Constant(self._const_names.fresh(path.replace(".", "_")), value))
        return self._index[key]

    def constant(self, wish: str, value: Any) -> Slot:
        key = ("const", value if isinstance(value, Live | TensorValue) else exact_key(value))
        if key not in self._index:
            self._index[key] = Slot("consts", len(self.consts))
            self.consts.append(Constant(self._const_names.fresh(wish), value))
        return self._index[key]
