"""The parameters, buffers and constants of an exported program, back in the modules that held them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from fx2py.graph.data import ModuleRecord
from fx2py.graph.values import Name, TensorValue, Value
from fx2py.read.exported.program import LiftedInput, LiftedProgram

MODULE = Name("torch.nn.modules.module", "Module")


@dataclass(slots=True)
class _Module:
    """A module being filled; ``record`` is set where the exported program already has one at this path."""

    record: ModuleRecord = field(default_factory=lambda: ModuleRecord(MODULE))
    children: dict[str, _Module] = field(default_factory=dict)
    parameters: dict[str, torch.Tensor | None] = field(default_factory=dict)
    buffers: dict[str, torch.Tensor | None] = field(default_factory=dict)
    non_persistent: set[str] = field(default_factory=set)
    attributes: dict[str, Value] = field(default_factory=dict)

    @property
    def has_parts(self) -> bool:
        return bool(self.children or self.parameters or self.buffers or self.attributes)

    def finished(self) -> ModuleRecord:
        if not self.has_parts:
            return self.record
        nested = {name: child.finished() for name, child in self.children.items()}
        return replace(
            self.record,
            children={**self.record.children, **nested},
            parameters={**self.record.parameters, **self.parameters},
            buffers={**self.record.buffers, **self.buffers},
            non_persistent=self.record.non_persistent | self.non_persistent,
            attributes={**self.record.attributes, **self.attributes},
        )


def with_state(root: ModuleRecord, program: LiftedProgram) -> ModuleRecord:
    """``root`` with the program's state at its dotted paths; ValueError where the state does not fit the signature.

    Constants never require gradients, as ``ep.module()`` has them; equal tensor objects stay one object.
    """
    filled = _Module(root)
    detached: dict[int, torch.Tensor] = {}
    placed: set[str] = set()
    for entry in program.inputs:
        if entry.path is not None and entry.path not in placed:
            placed.add(entry.path)
            _place(filled, entry, _stored(program, entry), detached)
    for path, value in program.constants.items():
        if path not in placed:
            _place(filled, LiftedInput("object", path), value, detached)
    return filled.finished()


def _stored(program: LiftedProgram, entry: LiftedInput) -> Any:
    in_state = entry.kind == "parameter" or (entry.kind == "buffer" and entry.persistent)
    table: Mapping[str, Any] = program.state if in_state else program.constants
    if entry.path is None or entry.path not in table:
        raise ValueError(f"the {entry.kind} {entry.path!r} of the signature is not stored")
    return table[entry.path]


def _place(root: _Module, entry: LiftedInput, value: Any, detached: dict[int, torch.Tensor]) -> None:
    *prefix, name = (entry.path or "").split(".")
    module = root
    for step in prefix:
        module = _child(module, step, entry)
    if not name or name in (*module.children, *module.record.children):
        raise ValueError(f"the {entry.kind} {entry.path!r} of the signature has the path of a module")
    if isinstance(value, torch.Tensor) and entry.kind == "parameter":
        module.parameters[name] = value
    elif isinstance(value, torch.Tensor) and entry.kind == "buffer":
        module.buffers[name] = value
        module.non_persistent.update(() if entry.persistent else (name,))
    elif isinstance(value, torch.Tensor):
        constant = value.detach() if value.requires_grad else value
        module.attributes[name] = TensorValue(detached.setdefault(id(value), constant))
    else:
        module.attributes[name] = value


def _child(module: _Module, step: str, entry: LiftedInput) -> _Module:
    if step in module.children:
        return module.children[step]
    if not step or any(step in table for table in _tensor_tables(module)):
        raise ValueError(f"the {entry.kind} {entry.path!r} of the signature lies inside a tensor")
    existing = module.record.children.get(step)
    child = _Module() if existing is None else _Module(existing)
    module.children[step] = child
    return child


def _tensor_tables(module: _Module) -> Iterator[Mapping[str, Any]]:
    yield from (module.parameters, module.buffers, module.attributes)
