"""What a Program is bound to, in the order in which it is stored: tensors by name, modules to rebuild."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from fx2py.graph.data import ModuleRecord
from fx2py.graph.values import TensorValue, walk
from fx2py.program.ir import Program


def modules_to_rebuild(program: Program) -> list[tuple[str, ModuleRecord]]:
    """Every module below a called submodule, each once, children before parents."""
    ordered: dict[int, tuple[str, ModuleRecord]] = {}
    for entry in program.submods:
        if entry.record is not None and entry.function is None:
            for path, record in reversed(tuple(entry.record.walk(entry.path))):
                ordered.setdefault(id(record), (path, record))
    return list(ordered.values())


def _module_tensors(path: str, record: ModuleRecord) -> Iterator[tuple[str, torch.Tensor]]:
    for table in (record.parameters, record.buffers):
        for name, tensor in table.items():
            if tensor is not None:
                yield f"{path}.{name}" if path else name, tensor
    for name, value in record.attributes.items():
        for part in walk(value):
            if isinstance(part, TensorValue):
                yield f"{path}.{name}", part.tensor


def bound_tensors(program: Program) -> dict[str, torch.Tensor]:
    """Every tensor by name, each once: the weights table first, in its order, then what only modules hold."""
    found: dict[str, torch.Tensor] = {}
    seen: set[int] = set()
    own = ((weight.path, weight.tensor) for weight in program.weights)
    held = (item for path, record in modules_to_rebuild(program) for item in _module_tensors(path, record))
    for source in (own, held):
        for name, tensor in source:
            if id(tensor) not in seen:
                seen.add(id(tensor))
                found[_unused(name, found)] = tensor
    return found


def _unused(name: str, taken: dict[str, torch.Tensor]) -> str:
    number = 1
    unused = name
    while unused in taken:
        unused = f"{name}#{number}"
        number += 1
    return unused
