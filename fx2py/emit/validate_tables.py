"""Validation of the tables: what ``bind`` fills, read back, must be what the Program is bound to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch

from fx2py.emit.read_tables import Absent, Bits, BuiltModule, CodeFunction, LiveConstant, StoredTensor, Tables
from fx2py.emit.same import same
from fx2py.emit.tables import NOT_IN_FILE, why_unwritable
from fx2py.emit.text import comment
from fx2py.graph.data import ModuleRecord
from fx2py.graph.values import Dict, Live, TensorValue, children, rebuild
from fx2py.program.exact_text import bits_of, needs_slot
from fx2py.program.ir import Constant, Program, Submodule, bound_tensors, modules_to_rebuild


def table_differences(program: Program, tables: Tables) -> Iterator[str]:
    """What differs between a Program's tables and what was read back; nothing when they are the same."""
    stored = bound_tensors(program)
    expected = _Expected(program, {id(tensor): name for name, tensor in stored.items()})
    first = list(stored.values())[: tables.weight_count]
    if tables.weight_count != len(program.weights) or any(
        w.tensor is not t for w, t in zip(program.weights, first, strict=True)
    ):
        yield "the weights"
    constants = tuple(expected.constant(constant) for constant in program.consts)
    if not same(constants, tables.consts):
        yield f"the constants are {tables.consts} for {constants}"
    renamed = tuple((p.public_name, p.name) for p in program.entry.parameters if p.public_name != p.name)
    if tables.renamed != renamed:
        yield f"the renamed parameters are {tables.renamed}"
    if tables.whole != tuple(entry.path for entry in program.submods if entry.whole):
        yield f"the modules that are used as objects are {tables.whole}"
    if tables.below_autograd != program.below_autograd:
        yield f"whether it may run below autograd is {tables.below_autograd}"
    if [module.path for module in tables.built] != [path for path, _ in modules_to_rebuild(program)]:
        yield "the order of the modules"
    if [entry.path for entry in program.submods] != [path for path, _ in tables.modules]:
        yield "the paths of the submodules"
        return
    for entry, (_, read) in zip(program.submods, tables.modules, strict=True):
        if not _same_module(expected.submodule(entry), read):
            yield f"the submodule {entry.path!r}"


class _Expected:
    """What reading must find for a Program: modules, constants and values in the forms of ``read_tables``."""

    def __init__(self, program: Program, names: Mapping[int, str]) -> None:
        self.names = names
        self.modules: dict[int, BuiltModule | Absent] = {}
        for path, record in modules_to_rebuild(program):
            self.modules[id(record)] = self._module(path, record)

    def submodule(self, entry: Submodule) -> Any:
        if entry.function is not None:
            return CodeFunction(entry.function)
        return self.modules.get(id(entry.record)) or Absent(entry.path, NOT_IN_FILE)

    def constant(self, constant: Constant) -> Any:
        if isinstance(constant.value, Live):
            return LiveConstant(constant.name, comment(constant.value.description))
        return self._value(constant.value)

    def _module(self, path: str, record: ModuleRecord) -> BuiltModule | Absent:
        reason = why_unwritable(record)
        if reason:
            return Absent(path, comment(reason))
        return BuiltModule(
            path,
            record.cls.path,
            record.training,
            tuple((name, self._value(value)) for name, value in record.attributes.items()),
            self._stored(record.parameters),
            self._stored(record.buffers),
            record.non_persistent,
            tuple(
                (name, None if child is None else self.modules[id(child)])
                for name, child in record.children.items()
            ),
        )

    def _stored(self, tensors: Mapping[str, torch.Tensor | None]) -> tuple[tuple[str, Any], ...]:
        return tuple(
            (name, None if t is None else StoredTensor(self.names[id(t)])) for name, t in tensors.items()
        )

    def _value(self, value: Any) -> Any:
        """A bound value as reading gives it: tensors by name, numbers without text by their bits."""
        if isinstance(value, TensorValue):
            return StoredTensor(self.names[id(value.tensor)])
        if isinstance(value, float | complex) and needs_slot(value):
            return Bits(*bits_of(value))
        inner = children(value)
        return rebuild(value, tuple([self._value(part) for part in inner])) if inner else value


def _same_module(meant: Any, read: Any) -> bool:
    """Whether a module reads as it was meant; attributes to the last bit, children by what they are."""
    if not isinstance(meant, BuiltModule) or not isinstance(read, BuiltModule):
        return bool(meant == read)
    bare = replace(meant, attributes=(), children=())
    return (
        bare == replace(read, attributes=(), children=())
        and same(_pairs(meant.attributes), _pairs(read.attributes))
        and [name for name, _ in meant.children] == [name for name, _ in read.children]
        and all(
            _same_module(ours, theirs)
            for (_, ours), (_, theirs) in zip(meant.children, read.children, strict=True)
        )
    )


def _pairs(table: tuple[tuple[str, Any], ...]) -> Dict:
    return Dict(tuple(table))
