"""The functions of a generated file become one callable: the tables that they take are bound to them."""

from __future__ import annotations

import functools
import inspect
import struct
import types
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

import torch

from fx2py.runtime.modules import Missing, ModuleCalls, graph_module, with_later_hooks
from fx2py.runtime.once import kept_results
from fx2py.runtime.records import fields_of

Function: TypeAlias = Callable[..., Any]


def live(name: str, description: str) -> object:
    """A live object that has no importable name; the process that generated the code replaces this function."""
    raise RuntimeError(f"{name!r} is bound to {description}, which only the generating process has")


def retarget(device: str | torch.device | None, recorded: str | None) -> torch.device | None:
    """The device in place of a recorded one (None: the default device): the recorded one unless ``device`` is given."""
    chosen = recorded if device is None else device
    return None if chosen is None else torch.device(chosen)


def from_bits(layout: str, digits: str) -> object:
    """A number from the hexadecimal digits of its bits."""
    values = struct.unpack(layout, bytes.fromhex(digits))
    return values[0] if len(values) == 1 else complex(*values)


def assemble(
    code: Any,
    modules: Mapping[str, Function],
    weights: list[torch.Tensor],
    consts: list[object],
    names: Mapping[str, object],
    submods: Mapping[str, Function] | None,
    renamed: Mapping[str, str],
    whole: Iterable[str] = (),
) -> Function:
    """The function ``execution_fn`` of ``code`` with all of its parameters bound but its inputs.

    ``modules`` is the table of submodules, by name, and ``submods`` replaces some; those named in ``whole`` are used as
    objects, not only called. ``names`` has what the code takes under names of its own: classes of records, the check of
    its inputs. ``renamed`` has the parameters of keyword arguments that the code names otherwise. Raises RuntimeError
    when the submodules do not fit.
    """
    given = dict(submods or {})
    placed = {name: given.get(name, module) for name, module in modules.items()}
    refuse_misfits(modules, given, placed)
    table = list(placed.values())
    called = {
        index: module
        for index, (name, module) in enumerate(placed.items())
        if name not in whole and isinstance(module, torch.nn.Module)
    }
    calls = ModuleCalls(table, called)
    bound: dict[str, object] = {
        "submods": table,
        "weights": weights,
        "consts": consts,
        "fields_of": fields_of,
        "graph_module": graph_module,
        **names,
    }
    entry = code.execution_fn
    if "compute_once" in keyword_only(entry):
        bound["compute_once"] = kept_results(bind_function(code.compute_once, bound), weights)
    for index, (name, module) in enumerate(modules.items()):
        if name not in given and isinstance(module, types.FunctionType):
            table[index] = bind_function(module, bound)
    execute = bind_function(entry, bound)
    execute.__signature__ = signature_of_inputs(entry, bound, renamed)
    named = with_names(execute, renamed)
    return with_later_hooks(named, calls) if called else named


def refuse_misfits(
    modules: Mapping[str, object], given: Mapping[str, object], placed: Mapping[str, object]
) -> None:
    """Raise RuntimeError that lists all submodules that are surplus, missing or not callable."""
    surplus = [name for name in given if name not in modules]
    missing = [str(module) for module in placed.values() if isinstance(module, Missing)]
    idle = [name for name, value in given.items() if not callable(value)]
    if surplus or missing or idle:
        known = ", ".join(modules) or "none"
        problems = [
            *(f"{name!r} is no submodule (known: {known})" for name in surplus),
            *(f"{name!r} is given a {type(given[name]).__name__}, which cannot be called" for name in idle),
            *missing,
        ]
        raise RuntimeError("the submodules do not fit: " + "; ".join(problems))


def keyword_only(function: Function) -> tuple[str, ...]:
    """The names of a function's keyword-only parameters."""
    code = function.__code__
    names: tuple[str, ...] = code.co_varnames[code.co_argcount :][: code.co_kwonlyargcount]
    return names


def bind_function(function: Any, tables: Mapping[str, object]) -> Any:
    """``function`` with its tables bound as defaults of keyword-only parameters, which costs a call nothing."""
    bound = types.FunctionType(
        function.__code__,
        function.__globals__,
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
    own = {name: tables[name] for name in keyword_only(function) if name in tables}
    bound.__kwdefaults__ = {**(function.__kwdefaults__ or {}), **own}
    bound.__doc__ = function.__doc__
    return bound


def signature_of_inputs(
    function: Function, bound: Iterable[str], renamed: Mapping[str, str]
) -> inspect.Signature:
    """The signature of the parameters that are not bound, under the names that callers use where Python allows them."""
    public = {own: name for name, own in renamed.items()}
    signature = inspect.signature(function)
    inputs = [parameter for name, parameter in signature.parameters.items() if name not in bound]
    try:
        return signature.replace(
            parameters=[each.replace(name=public.get(each.name, each.name)) for each in inputs]
        )
    except ValueError:  # a name that is not an identifier, or that another parameter has in the code
        return signature.replace(parameters=inputs)


def with_names(function: Function, renamed: Mapping[str, str]) -> Function:
    """``function`` that takes keyword arguments by the names that callers use, where the code needed another name."""
    if not renamed:
        return function

    @functools.wraps(function)
    def call(*args: object, **kwargs: object) -> object:
        return function(*args, **{renamed.get(name, name): value for name, value in kwargs.items()})

    return call
