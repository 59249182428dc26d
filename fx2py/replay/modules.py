"""Leaf modules from their records: the class's own code over the recorded state, without its constructor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from fx2py.errors import Hint, ReplayError, Supply, UntrustedTargetError
from fx2py.graph.data import MEND_LOST, ModuleRecord
from fx2py.graph.tensors import TensorCopies
from fx2py.graph.values import Name
from fx2py.program.module_use import GRAPH_AS_MODULE
from fx2py.replay.values import Tensors, Values
from fx2py.runtime import Missing, build
from fx2py.trust import Policy


class Modules:
    """The modules of records; a record that is reached twice gives one module, a tensor one tensor."""

    def __init__(self, policy: Policy, device: torch.device | None, tensors: Tensors) -> None:
        self._policy = policy
        self._device = device
        self._tensors = tensors
        self._values = Values(policy, device, tensors, _no_attribute)
        self._modules: dict[int, torch.nn.Module] = {}

    def __call__(self, record: ModuleRecord, path: str = "") -> torch.nn.Module:
        """The module of ``record``: the live one as it is (moved copies on another device), else one rebuilt.

        Raises ReplayError or UntrustedTargetError that names the module and what is needed.
        """
        if id(record) not in self._modules:
            module = self._live(record.live) if record.live else self._rebuilt(record, path)
            for below, each in record.walk():
                self._modules.setdefault(id(each), module.get_submodule(below))
        return self._modules[id(record)]

    def _live(self, module: torch.nn.Module) -> torch.nn.Module:
        return self._tensors.of_module(module) if isinstance(self._tensors, TensorCopies) else module

    def _rebuilt(self, record: ModuleRecord, path: str) -> torch.nn.Module:
        if record.lost:
            raise ReplayError(f"the submodule {path!r} {record.lost}.", f"{MEND_LOST.capitalize()}.")
        if record.graph is not None:
            raise ReplayError(f"the submodule {path!r} {GRAPH_AS_MODULE}.", "Open the live graph instead.")
        try:
            self._policy.resolve(record.cls, "module")
        except UntrustedTargetError as error:
            raise ReplayError(
                f"the submodule {path!r} is of class {record.cls}, which is not part of torch.nn.",
                Hint("Pass ", Supply(path), ", or ", error.admit, " to build it from that class."),
            ) from error
        children = {name: child and self(child, f"{path}.{name}") for name, child in record.children.items()}
        module = build(
            path,
            record.cls.path,
            record.training,
            {name: self._attribute(value) for name, value in record.attributes.items()},
            self._bound(record.parameters),
            self._bound(record.buffers),
            record.non_persistent,
            children,
        )
        if isinstance(module, Missing):
            raise ReplayError(f"the submodule {module}.")
        return module  # type: ignore[no-any-return]

    def _attribute(self, value: Any) -> Any:
        """An attribute's object; a module may hold an admitted function, as an activation, where a graph may not."""
        return self._policy.resolve(value) if isinstance(value, Name) else self._values.constant(value)

    def _bound(self, tensors: Mapping[str, torch.Tensor | None]) -> dict[str, torch.Tensor | None]:
        return {name: None if tensor is None else self._tensors(tensor) for name, tensor in tensors.items()}


def _no_attribute(path: str) -> Any:
    raise ReplayError(f"a module's attribute refers to {path!r}, which only a graph can do.")
