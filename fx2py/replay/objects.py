"""Values and module records become Python objects: the one place where the reference run turns data into them."""

from __future__ import annotations

import collections
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from fx2py.errors import Hint, ReplayError, Supply, UntrustedTargetError
from fx2py.graph import values as language
from fx2py.graph.data import MEND_LOST, ModuleRecord
from fx2py.graph.tensors import TensorCopies
from fx2py.runtime import Missing, build, container
from fx2py.trust import Policy

Tensors = Callable[[torch.Tensor], torch.Tensor]
"""Gives the bound tensor of a recorded one: itself, or its copy on another device."""
Env = Mapping[str, object]
"""What each node gave so far, by its name."""


class ObjectBuilder:
    """Builds the Python objects of values, anew each time: a container is never shared between two uses.

    ``attributes`` gives what a dotted path leads to.
    """

    def __init__(
        self,
        policy: Policy,
        device: torch.device | None,
        tensors: Tensors,
        attributes: Callable[[str], object],
    ) -> None:
        self._policy = policy
        self._device = device
        self._tensors = tensors
        self._attributes = attributes

    def __call__(self, value: language.Value, env: Env) -> object:
        """The object of ``value``, with each ``Ref`` looked up in ``env``."""
        build = _BUILDERS.get(type(value))
        if build is None:
            raise ReplayError(f"a value of type {type(value).__qualname__} cannot be built.")
        return build(self, value, env)

    def constant(self, value: language.Value) -> object:
        """The object of a value that holds no node."""
        return self(value, {})

    def each(self, values: Sequence[language.Value], env: Env) -> list[Any]:
        """The object of each value."""
        return [self(value, env) for value in values]

    def _leaf(self, value: object, env: Env) -> object:
        return value

    def _place(self, value: Any, env: Env) -> object:
        """A device, or the type of one, which moves with the graph."""
        if isinstance(value, language.DeviceType):
            return value.type if self._device is None else self._device.type
        return value if self._device is None and isinstance(value, torch.device) else self._device

    def _ref(self, value: language.Ref, env: Env) -> object:
        return env[value.name]

    def _name(self, value: language.Name | language.OpName | language.EnumMember, env: Env) -> object:
        return self._policy.resolve(value, "value")

    def _attribute(self, value: language.Attribute, env: Env) -> object:
        return self._attributes(value.path)

    def _tensor(self, value: language.TensorValue, env: Env) -> object:
        return self._tensors(value.tensor)

    def _dict(self, value: language.Dict, env: Env) -> object:
        pairs = [(self(key, env), self(item, env)) for key, item in value.items]
        if value.cls is None:
            return dict(pairs)
        if value.cls.qualname == "OrderedDict":
            return collections.OrderedDict(pairs)
        return collections.defaultdict(None, pairs)

    def _set(self, value: language.Set, env: Env) -> object:
        return (frozenset if value.frozen else set)(self.each(value.items, env))

    def _record(self, value: language.Record, env: Env) -> object:
        return make_record(value.cls, {name: self(item, env) for name, item in value.fields})

    def _opaque(self, value: language.Opaque, env: Env) -> object:
        held = f"an object of class {value.cls} that is no data {value.description}".rstrip()
        raise ReplayError(f"the graph holds {held}.")

    def _symbol(self, value: language.SymExpr, env: Env) -> object:
        raise ReplayError(
            f"the graph holds the symbolic size {value.text!r} without saying where its value comes from.",
            "Export the graph again with the size as an input or with static shapes.",
        )


_BUILDERS: dict[type, Callable[[ObjectBuilder, Any, Env], object]] = {
    **dict.fromkeys(language.PRIMITIVES, ObjectBuilder._leaf),
    **dict.fromkeys((torch.device, language.DefaultDevice, language.DeviceType), ObjectBuilder._place),
    **dict.fromkeys((language.Name, language.OpName, language.EnumMember), ObjectBuilder._name),
    language.Ref: ObjectBuilder._ref,
    language.Attribute: ObjectBuilder._attribute,
    language.TensorValue: ObjectBuilder._tensor,
    language.Live: lambda self, value, env: value.value,
    language.Opaque: ObjectBuilder._opaque,
    language.SymExpr: ObjectBuilder._symbol,
    tuple: lambda self, value, env: tuple(self.each(value, env)),
    language.List: lambda self, value, env: self.each(value.items, env),
    language.Size: lambda self, value, env: torch.Size(self.each(value.items, env)),
    language.Slice: lambda self, value, env: slice(*self.each((value.start, value.stop, value.step), env)),
    language.Range: lambda self, value, env: range(*self.each((value.start, value.stop, value.step), env)),
    language.Set: ObjectBuilder._set,
    language.Dict: ObjectBuilder._dict,
    language.Record: ObjectBuilder._record,
}
"""By exact type, as the value language has it: a subclass of a type is none of its values."""


def make_record(cls: language.Name, fields: Mapping[str, object]) -> object:
    """A container of class ``cls`` where it is loaded and a registered container, else a plain record."""
    make = container(cls.path, tuple(fields))
    return make(**fields) if all(name.isidentifier() for name in fields) else make(*fields.values())


class ModuleBuilder:
    """Leaf modules from their records: the class's own code over the recorded state, without its constructor.

    A record that is reached twice gives one module, a tensor one tensor.
    """

    def __init__(self, policy: Policy, device: torch.device | None, tensors: Tensors) -> None:
        self._policy = policy
        self._tensors = tensors
        self._values = ObjectBuilder(policy, device, tensors, _no_attribute)
        self._modules: dict[int, torch.nn.Module] = {}

    def __call__(self, record: ModuleRecord, path: str = "") -> torch.nn.Module:
        """The module of ``record``: the live one as it is (moved copies on another device), else one rebuilt.

        Raises ReplayError or UntrustedTargetError that names the module and what is needed.
        """
        if id(record) not in self._modules:
            module = self._live(record.original) if record.original else self._rebuilt(record, path)
            for below, each in record.walk():
                self._modules.setdefault(id(each), module.get_submodule(below))
        return self._modules[id(record)]

    def _live(self, module: torch.nn.Module) -> torch.nn.Module:
        return self._tensors.of_module(module) if isinstance(self._tensors, TensorCopies) else module

    def _rebuilt(self, record: ModuleRecord, path: str) -> torch.nn.Module:
        if record.lost:
            raise ReplayError(f"the submodule {path!r} {record.lost}.", f"{MEND_LOST.capitalize()}.")
        if record.graph is not None:
            needed = f"the submodule {path!r} is a graph that is needed as a module, which no file can hold."
            raise ReplayError(needed, "Open the live graph instead.")
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
        return module

    def _attribute(self, value: language.Value) -> object:
        """An attribute's object; a module may hold an admitted function, as an activation, where a graph may not."""
        return (
            self._policy.resolve(value) if isinstance(value, language.Name) else self._values.constant(value)
        )

    def _bound(self, tensors: Mapping[str, torch.Tensor | None]) -> dict[str, torch.Tensor | None]:
        return {name: None if tensor is None else self._tensors(tensor) for name, tensor in tensors.items()}


def _no_attribute(path: str) -> object:
    raise ReplayError(f"a module's attribute refers to {path!r}, which only a graph can do.")
