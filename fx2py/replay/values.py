"""Values become Python objects: the one place where the reference run turns data into what a call receives."""

from __future__ import annotations

import collections
from collections.abc import Callable, Mapping
from typing import Any

import torch

from fx2py.errors import ReplayError
from fx2py.graph.values import (
    PLAIN,
    Attribute,
    DefaultDevice,
    DeviceType,
    Dict,
    EnumMember,
    List,
    Live,
    Name,
    Opaque,
    OpName,
    Range,
    Record,
    Ref,
    Set,
    Size,
    Slice,
    SymExpr,
    TensorValue,
)
from fx2py.operators.devices import retarget
from fx2py.replay.containers import make_record
from fx2py.trust import Policy

Tensors = Callable[[torch.Tensor], torch.Tensor]
Attributes = Callable[[str], Any]


class Values:
    """Builds the Python objects of values, anew each time: a container is never shared between two uses.

    ``tensors`` gives the bound tensor of a recorded one; ``attributes`` what a dotted path leads to.
    """

    def __init__(
        self, policy: Policy, device: torch.device | None, tensors: Tensors, attributes: Attributes
    ) -> None:
        self._policy = policy
        self._device = device
        self._tensors = tensors
        self._attributes = attributes

    def __call__(self, value: Any, env: Mapping[str, Any]) -> Any:
        """The object of ``value``, with each ``Ref`` looked up in ``env``."""
        build = _BUILDERS.get(type(value))
        if build is None:
            raise ReplayError(f"a value of type {type(value).__qualname__} cannot be built.")
        return build(self, value, env)

    def constant(self, value: Any) -> Any:
        """The object of a value that holds no node."""
        return self(value, {})

    def _all(self, values: tuple[Any, ...], env: Mapping[str, Any]) -> list[Any]:
        return [self(value, env) for value in values]

    def _leaf(self, value: Any, env: Mapping[str, Any]) -> Any:
        return retarget(value, self._device)

    def _ref(self, value: Ref, env: Mapping[str, Any]) -> Any:
        return env[value.name]

    def _name(self, value: Name | OpName | EnumMember, env: Mapping[str, Any]) -> Any:
        return self._policy.resolve(value, "value")

    def _attribute(self, value: Attribute, env: Mapping[str, Any]) -> Any:
        return self._attributes(value.path)

    def _tensor(self, value: TensorValue, env: Mapping[str, Any]) -> Any:
        return self._tensors(value.tensor)

    def _dict(self, value: Dict, env: Mapping[str, Any]) -> Any:
        pairs = [(self(key, env), self(item, env)) for key, item in value.items]
        if value.cls is None:
            return dict(pairs)
        if value.cls.qualname == "OrderedDict":
            return collections.OrderedDict(pairs)
        return collections.defaultdict(None, pairs)

    def _set(self, value: Set, env: Mapping[str, Any]) -> Any:
        return (frozenset if value.frozen else set)(self._all(value.items, env))

    def _record(self, value: Record, env: Mapping[str, Any]) -> Any:
        return make_record(value.cls, {name: self(item, env) for name, item in value.fields})

    def _opaque(self, value: Opaque, env: Mapping[str, Any]) -> Any:
        raise ReplayError(
            f"the graph holds an object of class {value.cls} that is no data {value.description}".rstrip()
            + "."
        )

    def _symbol(self, value: SymExpr, env: Mapping[str, Any]) -> Any:
        raise ReplayError(
            f"the graph holds the symbolic size {value.text!r} without saying where its value comes from.",
            "Export the graph again with the size as an input or with static shapes.",
        )


_BUILDERS: dict[type, Callable[[Values, Any, Mapping[str, Any]], Any]] = {
    **dict.fromkeys((*PLAIN, DefaultDevice, DeviceType), Values._leaf),
    **dict.fromkeys((Name, OpName, EnumMember), Values._name),
    Ref: Values._ref,
    Attribute: Values._attribute,
    TensorValue: Values._tensor,
    Live: lambda self, value, env: value.value,
    Opaque: Values._opaque,
    SymExpr: Values._symbol,
    tuple: lambda self, value, env: tuple(self._all(value, env)),
    List: lambda self, value, env: self._all(value.items, env),
    Size: lambda self, value, env: torch.Size(self._all(value.items, env)),
    Slice: lambda self, value, env: slice(*self._all((value.start, value.stop, value.step), env)),
    Range: lambda self, value, env: range(*self._all((value.start, value.stop, value.step), env)),
    Set: Values._set,
    Dict: Values._dict,
    Record: Values._record,
}
