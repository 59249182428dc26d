"""Validation of the tables: what ``bind`` fills, read back, must be what the Program is bound to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch

from fx2py.emit.read_tail import Absent, Bits, BuiltModule, LiveConstant, StoredTensor, Tail
from fx2py.emit.same import same
from fx2py.graph.data import ModuleRecord
from fx2py.graph.values import Live, TensorValue, children, rebuild
from fx2py.program.bound import bound_tensors
from fx2py.program.ir import Constant, Program, Submodule
from fx2py.program.literals import bits_of, needs_slot


def tail_differences(program: Program, tail: Tail) -> Iterator[str]:
    """What differs between a Program's tables and what was read back; nothing when they are the same."""
    tensors = bound_tensors(program)
    names = {id(tensor): name for name, tensor in tensors.items()}
    first = list(tensors.values())[: tail.weight_count]
    if len(first) != len(program.weights) or any(
        w.tensor is not t for w, t in zip(program.weights, first, strict=True)
    ):
        yield "the weights"
    meant = tuple(_marked_constant(constant, names) for constant in program.consts)
    if not same(meant, tail.consts):
        yield f"the constants are {tail.consts} for {meant}"
    if tail.entry != program.entry.name:
        yield f"the entry is {tail.entry}"
    renamed = tuple((p.public_name, p.name) for p in program.entry.parameters if p.public_name != p.name)
    if tail.renamed != renamed:
        yield f"the renamed parameters are {tail.renamed}"
    if [entry.path for entry in program.submods] != [path for path, _ in tail.modules]:
        yield "the paths of the submodules"
        return
    for entry, (_, read) in zip(program.submods, tail.modules, strict=True):
        if not _same_submodule(entry, read, names):
            yield f"the submodule {entry.path!r}"


def _same_submodule(entry: Submodule, read: Any, names: Mapping[int, str]) -> bool:
    if entry.function is not None:
        return bool(read == entry.function)
    return isinstance(read, Absent) if entry.record is None else _same_module(entry.record, read, names)


def _same_module(record: ModuleRecord, read: Any, names: Mapping[int, str]) -> bool:
    """Whether a module was written as its record has it; one that was declared missing is never silently wrong."""
    if isinstance(read, Absent):
        return True
    if not isinstance(read, BuiltModule) or (read.cls, read.training) != (record.cls.path, record.training):
        return False
    attributes = tuple((name, _marked(value, names)) for name, value in record.attributes.items())
    below = dict(read.children)
    return (
        [name for name, _ in read.attributes] == [name for name, _ in attributes]
        and all(
            same(ours, theirs) for (_, ours), (_, theirs) in zip(attributes, read.attributes, strict=True)
        )
        and dict(read.parameters) == _stored(record.parameters, names)
        and dict(read.buffers) == _stored(record.buffers, names)
        and (not (record.non_persistent or record.children) or read.non_persistent == record.non_persistent)
        and list(below) == list(record.children)
        and all(_same_child(child, below[name], names) for name, child in record.children.items())
    )


def _same_child(child: ModuleRecord | None, read: Any, names: Mapping[int, str]) -> bool:
    return read is None if child is None else _same_module(child, read, names)


def _stored(
    tensors: Mapping[str, torch.Tensor | None], names: Mapping[int, str]
) -> dict[str, StoredTensor | None]:
    return {name: None if t is None else StoredTensor(names[id(t)]) for name, t in tensors.items()}


def _marked_constant(constant: Constant, names: Mapping[int, str]) -> Any:
    if isinstance(constant.value, Live):
        return LiveConstant(constant.name, "")
    return _marked(constant.value, names)


def _marked(value: Any, names: Mapping[int, str]) -> Any:
    """A bound value as reading gives it: tensors by name, numbers without text by their bits."""
    if isinstance(value, TensorValue):
        return StoredTensor(names[id(value.tensor)])
    if isinstance(value, float | complex) and needs_slot(value):
        return Bits(*bits_of(value))
    inner = children(value)
    return rebuild(value, tuple([_marked(part, names) for part in inner])) if inner else value
