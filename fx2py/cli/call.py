"""One call of bound code: its inputs, its time, what came out, and what the graph raises as a fault of the input."""

from __future__ import annotations

import dataclasses
import inspect
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter
from types import FunctionType

import torch

from fx2py.artifact import Artifact, submodule_table
from fx2py.cli.results import Summary
from fx2py.emit.module import SOURCE
from fx2py.errors import Fx2pyError, ReplayError
from fx2py.graph.data import GraphData
from fx2py.graph.tensors import PACKED, is_wrapper, shape_of, without_repetition
from fx2py.replay.inputs import Inputs, admitted, find_inputs, load_inputs, recorded_inputs
from fx2py.runtime.checks import InputError
from fx2py.trust import Policy


def choose_inputs(
    graph: Callable[[], GraphData],
    artifact: Artifact | None,
    file: Path | None,
    seed: int,
    device: str | None,
    policy: Policy,
) -> Inputs:
    """The inputs in ``file``, else those that lie in the folder, else the graph's own, else made ones.

    The graph is read only when it is needed.
    """
    if file is not None:
        return admitted(load_inputs(file), policy).on(device)
    stored = None if artifact is None else recorded_inputs(artifact.sample_inputs)
    if stored is not None:
        return admitted(stored, policy).on(device)
    return find_inputs(graph(), seed=seed, device=device, policy=policy)


# -- the call ------------------------------------------------------------------------------------------------------


def refusing(execute: Callable[..., object], inputs: Inputs) -> Callable[..., object]:
    """``execute``, which raises ReplayError for whatever the graph raises on these inputs."""

    def call(*args: object, **kwargs: object) -> object:
        try:
            result = execute(*args, **kwargs)
            if torch.accelerator.is_available():
                torch.accelerator.synchronize()  # kernels of a device report their errors here, not at the call
        except Fx2pyError:
            raise
        except Exception as error:  # whatever a graph raises on these inputs is no fault of fx2py
            raise raised(error, _reason(error, execute), inputs) from error
        return result

    return call


def raised(error: Exception, reason: str, inputs: Inputs) -> ReplayError:
    """The fault of code that raised on these inputs; it ends with the line in a generated file, if that is known."""
    place = place_in_code(error)
    hint = f"{inputs.source} Pass others with --inputs FILE."
    return ReplayError(f"{reason} ({place})" if place else reason, hint)


def place_in_code(error: Exception) -> str:
    """The line of a generated file at which an error was raised; '' where none is known."""
    lines = [
        (frame.f_code.co_filename, line)
        for frame, line in traceback.walk_tb(error.__traceback__)
        if Path(frame.f_code.co_filename).name == SOURCE
    ]
    return "{}, line {}".format(*lines[-1]) if lines else ""


def timed(execute: Callable[..., object], inputs: Inputs) -> tuple[object, float]:
    """The result of a call and its seconds, work on the device included; ReplayError when the graph raises."""
    call = refusing(execute, inputs)
    start = perf_counter()
    result = call(*inputs.args, **inputs.kwargs)
    return result, perf_counter() - start


def _reason(error: Exception, execute: Callable[..., object]) -> str:
    """Whether the code refused the inputs, or the graph raised while it ran."""
    refused = type(error).__name__ == InputError.__name__  # each folder's runtime has a class of that name
    if refused or (isinstance(error, TypeError) and not _entered(error, execute)):
        return f"the inputs do not fit the graph: {error}"
    return f"the graph raised {type(error).__name__}: {error}"


def _entered(error: Exception, execute: Callable[..., object]) -> bool:
    """Whether the error was raised inside the code, not by calling it with arguments that its signature refuses."""
    code = getattr(inspect.unwrap(execute), "__code__", None)
    return any(frame.f_code is code for frame, _ in traceback.walk_tb(error.__traceback__))


def bindings(artifact: Artifact, execute: Callable[..., object]) -> tuple[tuple[str, str], ...]:
    """Each submodule with the way that it is called."""
    table = submodule_table(execute)
    manners = [_manner(bound) for bound in table]
    if artifact.manifest.compiled is not None:
        from fx2py.artifact.compiled_calls import is_compiled

        pairs = zip(table, manners, strict=True)
        manners = ["compiled code" if is_compiled(bound) else manner for bound, manner in pairs]
    return tuple(zip(artifact.manifest.slots, manners, strict=False))


def _manner(bound: object) -> str:
    if isinstance(bound, FunctionType):
        return "generated function"
    if inspect.ismethod(bound) and isinstance(bound.__self__, torch.nn.Module):
        return f"{type(bound.__self__).__name__}.forward, without hooks"
    return f"{type(bound).__name__}, called in full"


# -- what came out -------------------------------------------------------------------------------------------------


def summarize(result: object) -> Iterator[Summary]:
    """A row for each leaf of a result in such containers, in order; a tensor that occurs more than once is examined once."""
    return _rows(result, "", {})


def _rows(result: object, path: str, known: dict[int, Summary]) -> Iterator[Summary]:
    if isinstance(result, dict):
        for key, part in result.items():
            named = isinstance(key, str) and key.isidentifier()
            yield from _rows(part, f"{path}.{key}" if named else f"{path}[{key!r}]", known)
    elif isinstance(result, tuple | list) and type(result) in (tuple, list):
        for index, part in enumerate(result):
            yield from _rows(part, f"{path}[{index}]", known)
    else:
        where = path.removeprefix(".") or "result"
        if id(result) not in known:
            known[id(result)] = _summary(where, result)
        yield dataclasses.replace(known[id(result)], path=where)


def _summary(path: str, value: object) -> Summary:
    if not isinstance(value, torch.Tensor):
        return Summary(path, type(value).__name__, f"{value!r:.40}")
    dtype = str(value.dtype).removeprefix("torch.")
    place = (path, "Tensor", None, dtype, shape_of(value), str(value.device))
    each, times = without_repetition(value) if _has_strides(value) else (value, 1)
    numbers = _numbers(each)
    if numbers is None:
        return Summary(*place)
    present = numbers[~numbers.isnan()]
    nans = (numbers.numel() - present.numel()) * times
    if present.numel() == 0:
        return Summary(*place, nan=nans)
    low, high = present.aminmax()
    return Summary(*place, low.item(), present.mean().item(), high.item(), nans)


def _has_strides(value: torch.Tensor) -> bool:
    return value.layout == torch.strided and not value.is_nested and not is_wrapper(value)


def _numbers(value: torch.Tensor) -> torch.Tensor | None:
    """The values as float64 on the CPU; None for tensors that have no order or keep their numbers elsewhere."""
    is_without = (
        value.is_complex() or value.is_quantized or value.dtype in PACKED or value.device.type == "meta"
    )
    if is_without or not _has_strides(value):
        return None
    return value.detach().to("cpu", torch.float64).flatten()
