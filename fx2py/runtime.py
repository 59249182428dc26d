"""What every generated file carries along, so that it runs with torch alone: loading, binding, rebuilding modules.

The imports of other packages and everything below the marker are copied into each ``execution_fn.py`` as they stand;
fx2py itself uses the same functions.
"""

from __future__ import annotations

import collections
import functools
import importlib
import pathlib
import struct
import sys
import types
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
import torch.fx
from torch.utils import _pytree as pytree

from fx2py.runtime_once import kept_results

# --- what is copied starts here ---


class Missing:
    """Stands where a submodule could not be rebuilt; ``str`` says what is needed."""

    def __init__(self, path: str, reason: str) -> None:
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path!r} {self.reason}"


LIVE: dict[str, Any] = {}


def live(name: str, description: str) -> Any:
    """A live object that no text leads to: only the process that generated the code has it, and puts it into LIVE."""
    if name not in LIVE:
        raise RuntimeError(
            f"{name!r} is bound to {description}, which only the generating process has"
        )
    return LIVE[name]


def find_class(path: str) -> Any:
    """The class at a dotted path; None when its package is not installed."""
    module, _, name = path.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name, None)
    except ImportError:
        return None


def hides_code(cls: type, name: str) -> bool:
    """Whether an attribute of this name would replace a method, a property or what a module keeps of itself."""
    found = getattr(cls, name, None)
    own = name.startswith("__") or name in vars(torch.nn.Module())
    return own or callable(found) or isinstance(found, property)


def build(
    path: str,
    cls_path: str,
    training: bool,
    attributes: Mapping[str, Any],
    parameters: Mapping[str, Any],
    buffers: Mapping[str, Any],
    non_persistent: Iterable[str] = (),
    children: Mapping[str, Any] = types.MappingProxyType({}),
) -> Any:
    """A module in the state it was saved in, without running its constructor."""
    cls = find_class(cls_path)
    if not (isinstance(cls, type) and issubclass(cls, torch.nn.Module)):
        return Missing(
            path,
            f"is a {cls_path}, which is not installed or not admitted: "
            f"pass submods={{{path!r}: a callable}}",
        )
    hiding = [
        name
        for name in (*attributes, *parameters, *buffers, *children)
        if hides_code(cls, name)
    ]
    if hiding:
        return Missing(
            path, f"has an attribute {hiding[0]!r} that hides code of {cls_path}"
        )
    broken = [str(child) for child in children.values() if isinstance(child, Missing)]
    if broken:
        return Missing(path, "cannot be rebuilt: " + "; ".join(broken))
    module = cls.__new__(cls)
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


def loaded_class(path: str) -> Any:
    """The class at a dotted path, or registered as a container under that name, when its module is loaded; else None."""
    registered = pytree.SERIALIZED_TYPE_TO_PYTHON_TYPE.get(path)
    if registered is not None:
        return registered
    module, _, name = path.rpartition(".")
    names = [name]
    while module and module not in sys.modules:
        module, _, name = module.rpartition(".")
        names.append(name)
    found: Any = sys.modules.get(module)
    for name in reversed(names):
        is_home = isinstance(found, (types.ModuleType, type))
        found = vars(found).get(name) if is_home else None
    return found


class Body(torch.nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, args: tuple[Any, ...]) -> Any:
        return self.function(*args)


@functools.lru_cache(maxsize=64)
def graph_module(function: Callable[..., Any]) -> torch.fx.GraphModule:
    """``function`` as the GraphModule that some higher-order operators demand; its graph is always the same two nodes."""
    graph = torch.fx.Graph()
    operands = graph.placeholder("*args")
    graph.output(graph.call_module("body", (operands,)))
    return torch.fx.GraphModule({"body": Body(function)}, graph)


def container(path: str, fields: tuple[str, ...]) -> Callable[..., Any]:
    """A maker of records: of the class at ``path`` when its module is loaded, else plain ones with the same fields."""
    cls = loaded_class(path)
    if cls is collections.deque or (
        isinstance(cls, type) and issubclass(cls, tuple) and hasattr(cls, "_fields")
    ):
        return cls
    if (
        isinstance(cls, type)
        and issubclass(cls, tuple)
        and hasattr(cls, "n_sequence_fields")
    ):
        return lambda *items, **named: cls((*items, *named.values()))
    if cls in pytree.SUPPORTED_NODES and hasattr(cls, "__dataclass_fields__"):
        absent = {name: None for name in cls.__dataclass_fields__ if name not in fields}
        return lambda **items: cls(**items, **absent)
    if cls in pytree.SUPPORTED_NODES:
        unflatten = pytree.SUPPORTED_NODES[cls].unflatten_fn
        return lambda *items, **named: unflatten(
            [*items, *named.values()], list(fields)
        )
    named_tuple: Any = collections.namedtuple
    plain = named_tuple(path.rpartition(".")[2], fields, rename=True)
    return lambda *items, **named: plain(*items, *named.values())


BUILTIN_CONTAINERS = frozenset(
    {
        tuple,
        list,
        dict,
        collections.OrderedDict,
        collections.defaultdict,
        collections.deque,
    }
)


def field_names(context: Any, count: int) -> tuple[str, ...]:
    """Field names where a container class recorded them, as ``[names]`` or ``[names, more]``; else ordinals."""
    for names in (
        context,
        context[0] if isinstance(context, (list, tuple)) and context else None,
    ):
        if (
            isinstance(names, (list, tuple))
            and len(names) == count
            and all(type(n) is str for n in names)
        ):
            return tuple(names)
    return tuple([str(index) for index in range(count)])


def fields_of(value: Any, fields: tuple[str, ...]) -> list[Any]:
    """The fields of a record that a caller passes, in order; any other field that it has must be None."""
    kind = type(value)
    if kind in pytree.SUPPORTED_NODES and kind not in BUILTIN_CONTAINERS:
        held, context = pytree.SUPPORTED_NODES[kind].flatten_fn(value)
        if field_names(context, len(held)) == fields:
            return list(held)
    elif isinstance(value, Mapping):
        if value.keys() == set(fields):
            return [value[name] for name in fields]
    else:
        own = getattr(kind, "_fields", getattr(kind, "__dataclass_fields__", ()))
        others = [name for name in own if name not in fields]
        if set(fields) <= set(own) and all(
            getattr(value, name) is None for name in others
        ):
            return [getattr(value, name) for name in fields]
    raise AttributeError(
        f"a {kind.__name__} has not the fields {fields}, or others too"
    )


def retarget(device: Any, recorded: str | None) -> Any:
    """The device that stands for a recorded one (None: the default device): itself, unless another was asked for."""
    chosen = recorded if device is None else device
    return None if chosen is None else torch.device(chosen)


def from_bits(layout: str, digits: str) -> Any:
    """A number from the hexadecimal digits of its bits."""
    values = struct.unpack(layout, bytes.fromhex(digits))
    return values[0] if len(values) == 1 else complex(*values)


def fast_call(module: Any) -> Any:
    """The cheapest callable that is the same as calling ``module``: its ``forward`` when no hook or wrapper would run.

    A ``forward`` that was set on the module itself, and not on its class, may be set again.
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
        *(
            torch.nn.modules.module._global_forward_hooks,
            torch.nn.modules.module._global_forward_pre_hooks,
        ),
        *(
            torch.nn.modules.module._global_backward_hooks,
            torch.nn.modules.module._global_backward_pre_hooks,
        ),
    )
    return (
        module
        if any(hooks) or module._compiled_call_impl is not None
        else module.forward
    )


class ModuleCalls:
    """The places of a table that call modules: what ``fast_call`` finds of each, looked for anew where a hook may be new."""

    def __init__(
        self, table: list[Any], modules: Mapping[int, torch.nn.Module]
    ) -> None:
        self.table = table
        self.modules = modules
        self.found: dict[int, Any] = {}
        self.look()

    def look(self) -> None:
        # Whatever registers a hook, for one module or for all, takes the next number for its handle.
        self.handles = torch.utils.hooks.RemovableHandle.next_id
        for index, module in self.modules.items():
            if self.table[index] is self.found.get(index, module):
                self.table[index] = self.found[index] = fast_call(module)


def with_later_hooks(function: Any, calls: ModuleCalls) -> Any:
    """``function``, whose modules run the hooks too that are registered between two calls."""
    handles = torch.utils.hooks.RemovableHandle
    is_traced = torch.compiler.is_dynamo_compiling

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        # torch.compile does not look for hooks either, and would compile anew for every handle.
        if is_traced() or calls.handles == handles.next_id:
            return function(*args, **kwargs)
        calls.look()
        return function(*args, **kwargs)

    return call


def bind_function(function: Any, tables: Mapping[str, Any]) -> Any:
    """``function`` with its tables bound as defaults: a call costs nothing more than a call of plain Python."""
    bound = types.FunctionType(
        function.__code__,
        function.__globals__,
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
    names = function.__code__.co_varnames[function.__code__.co_argcount :][
        : function.__code__.co_kwonlyargcount
    ]
    defaults = function.__kwdefaults__ or {}
    bound.__kwdefaults__ = {
        **defaults,
        **{name: tables[name] for name in names if name in tables},
    }
    bound.__doc__ = function.__doc__
    return bound


def assemble(
    entry: Any,
    modules: Mapping[str, Any],
    weights: list[torch.Tensor],
    consts: list[Any],
    submods: Mapping[str, Any] | None,
    renamed: Mapping[str, str],
    whole: Iterable[str] = (),
) -> Any:
    """The entry function with its tables bound; ``submods`` replaces modules by name.

    The modules named in ``whole`` are used as objects, not only called.
    """
    given = dict(submods or {})
    placed = {name: given.get(name, module) for name, module in modules.items()}
    surplus = [name for name in given if name not in modules]
    missing = [str(module) for module in placed.values() if isinstance(module, Missing)]
    idle = [name for name, value in given.items() if not callable(value)]
    if surplus or missing or idle:
        known = ", ".join(modules) or "none"
        problems = [
            *(f"{name!r} is no submodule (known: {known})" for name in surplus),
            *(
                f"{name!r} is given a {type(given[name]).__name__}, which cannot be called"
                for name in idle
            ),
            *missing,
        ]
        raise RuntimeError("the submodules do not fit: " + "; ".join(problems))
    table = list(placed.values())
    called = {
        index: module
        for index, (name, module) in enumerate(placed.items())
        if name not in whole and isinstance(module, torch.nn.Module)
    }
    calls = ModuleCalls(table, called)
    tables: dict[str, Any] = {"submods": table, "weights": weights, "consts": consts}
    if "compute_once" in entry.__code__.co_varnames:
        once = bind_function(entry.__globals__["compute_once"], tables)
        tables["compute_once"] = kept_results(once, weights)
    for index, (name, module) in enumerate(modules.items()):
        if name not in given and isinstance(module, types.FunctionType):
            table[index] = bind_function(module, tables)
    bound = with_names(bind_function(entry, tables), renamed)
    return with_later_hooks(bound, calls) if called else bound


def with_names(function: Any, renamed: Mapping[str, str]) -> Any:
    """``function`` under the keyword names that its callers use, where Python or the file needed another name."""
    if not renamed:
        return function

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        return function(
            *args, **{renamed.get(name, name): value for name, value in kwargs.items()}
        )

    return call


def read_weights(file: str, device: Any) -> dict[str, torch.Tensor]:
    """The tensors of ``weights.pt`` beside a generated file, by name; opening them executes nothing."""
    path = pathlib.Path(file).with_name("weights.pt")
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise RuntimeError(f"the device {str(device)!r} is not there") from error
    tensors: dict[str, torch.Tensor] = torch.load(
        path, map_location=device, weights_only=True, mmap=True
    )
    return tensors
