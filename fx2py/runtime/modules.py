"""Modules rebuilt from the state that they were saved in, and functions that stand for modules."""

from __future__ import annotations

import functools
import importlib
import types
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
import torch.fx


class Missing:
    """Takes the place of a submodule that could not be rebuilt; ``str`` says what is needed."""

    def __init__(self, path: str, reason: str) -> None:
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path!r} {self.reason}"


def find_class(path: str) -> Any:
    """The class at a dotted path; None when its package is not installed."""
    module, _, name = path.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name, None)
    except ImportError:
        return None


def hides_code(cls: type, name: str) -> bool:
    """Whether an attribute of this name would replace a method, a property or a table of the module itself."""
    found = getattr(cls, name, None)
    own = name.startswith("__") or name in vars(torch.nn.Module())
    return own or callable(found) or isinstance(found, property)


def build(
    path: str,
    cls_path: str,
    training: bool,
    attributes: Mapping[str, object],
    parameters: Mapping[str, Any],
    buffers: Mapping[str, Any],
    non_persistent: Iterable[str] = (),
    children: Mapping[str, Any] = types.MappingProxyType({}),
    find_class: Callable[[str], Any] = find_class,
) -> torch.nn.Module | Missing:
    """A module in the state it was saved in, without running its constructor.

    ``find_class`` gives the class at a path, or None for one that is not there.
    """
    cls = find_class(cls_path)
    if not (isinstance(cls, type) and issubclass(cls, torch.nn.Module)):
        return Missing(
            path,
            f"is a {cls_path}, which is not installed or not admitted: "
            f"pass submods={{{path!r}: a callable}}",
        )
    hiding = [name for name in (*attributes, *parameters, *buffers, *children) if hides_code(cls, name)]
    if hiding:
        return Missing(path, f"has an attribute {hiding[0]!r} that hides code of {cls_path}")
    broken = [str(child) for child in children.values() if isinstance(child, Missing)]
    if broken:
        return Missing(path, "cannot be rebuilt: " + "; ".join(broken))
    module: torch.nn.Module = cls.__new__(cls)
    torch.nn.Module.__init__(module)
    module.__dict__.update(attributes)
    module.training = training
    module._parameters.update(parameters)
    module._buffers.update(buffers)
    module._non_persistent_buffers_set.update(non_persistent)
    module._modules.update(children)
    if isinstance(module, torch.nn.RNNBase):
        module._init_flat_weights()
    return module


class Body(torch.nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[..., object]) -> None:
        super().__init__()
        self.function = function

    def forward(self, args: tuple[object, ...]) -> object:
        return self.function(*args)


@functools.lru_cache(maxsize=64)
def graph_module(function: Callable[..., object]) -> torch.fx.GraphModule:
    """``function`` as the GraphModule that some higher-order operators require, ``torch.cond`` for one.

    Its graph is a single call of ``Body``, whatever the function.
    """
    graph = torch.fx.Graph()
    operands = graph.placeholder("*args")
    graph.output(graph.call_module("body", (operands,)))
    return torch.fx.GraphModule({"body": Body(function)}, graph)


def fast_call(module: Callable[..., object]) -> Callable[..., object]:
    """The cheapest callable that does what a call of ``module`` does: its ``forward`` when no hook or wrapper would run.

    The conditions are those of ``_wrapped_call_impl`` and ``_call_impl`` in torch/nn/modules/module.py. A module with a
    ``forward`` of its own, and not of its class, is called itself: that attribute may be set again.
    """
    if (
        not isinstance(module, torch.nn.Module)
        or type(module).__call__ is not torch.nn.Module.__call__
        or "forward" in vars(module)
    ):
        return module
    hooks = (
        *(
            module._forward_hooks,
            module._forward_pre_hooks,
            module._backward_hooks,
            module._backward_pre_hooks,
        ),
        *(torch.nn.modules.module._global_forward_hooks, torch.nn.modules.module._global_forward_pre_hooks),
        *(torch.nn.modules.module._global_backward_hooks, torch.nn.modules.module._global_backward_pre_hooks),
    )
    return module if any(hooks) or module._compiled_call_impl is not None else module.forward


class ModuleCalls:
    """The entries of a table that are modules, each replaced by its ``fast_call``, anew when a hook was registered."""

    def __init__(self, table: list[Any], modules: Mapping[int, torch.nn.Module]) -> None:
        self.table = table
        self.modules = modules
        self.found: dict[int, Callable[..., object]] = {}
        self.look()

    def look(self) -> None:
        # Every hook that is registered, for one module or for all, takes the next id for its RemovableHandle.
        self.handles = torch.utils.hooks.RemovableHandle.next_id
        for index, module in self.modules.items():
            if self.table[index] is self.found.get(index, module):
                self.table[index] = self.found[index] = fast_call(module)


def with_later_hooks(function: Callable[..., Any], calls: ModuleCalls) -> Callable[..., Any]:
    """``function``, in which modules also run the hooks that are registered between two calls."""
    handles = torch.utils.hooks.RemovableHandle
    is_traced = torch.compiler.is_dynamo_compiling

    @functools.wraps(function)
    def call(*args: object, **kwargs: object) -> object:
        # Under torch.compile, which does not guard hooks either, each new handle would be a recompilation.
        if is_traced() or calls.handles == handles.next_id:
            return function(*args, **kwargs)
        calls.look()
        return function(*args, **kwargs)

    return call
