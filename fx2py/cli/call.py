"""One call of bound code: its inputs, its time, and what the graph raises as a fault of the input."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from types import FunctionType
from typing import Any

import torch

from fx2py.artifact import Artifact, submodule_table
from fx2py.errors import Fx2pyError, ReplayError
from fx2py.graph.data import GraphData
from fx2py.graph.tensors import TensorCopies
from fx2py.replay.inputs import Inputs, find_inputs, load_inputs
from fx2py.runtime.checks import InputError
from fx2py.trust import Policy


def choose_inputs(
    graph: Callable[[], GraphData], file: Path | None, seed: int, device: str | None, policy: Policy
) -> Inputs:
    """The inputs in ``file``, else the graph's own, else made ones; the graph is read only when it is needed."""
    if file is None:
        return find_inputs(graph(), seed=seed, device=device, policy=policy)
    found = load_inputs(file)
    move = TensorCopies(None if device is None else torch.device(device))
    return replace(found, args=move.of(found.args), kwargs=move.of(dict(found.kwargs)))


def refusing(execute: Callable[..., Any], inputs: Inputs) -> Callable[..., Any]:
    """``execute``, which raises ReplayError for whatever the graph raises on these inputs."""

    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            result = execute(*args, **kwargs)
            if torch.accelerator.is_available():
                torch.accelerator.synchronize()
        except Fx2pyError:
            raise
        except Exception as error:  # whatever a graph raises on these inputs is no fault of fx2py
            hint = f"{inputs.source} Pass others with --inputs FILE."
            raise ReplayError(_reason(error, execute), hint) from error
        return result

    return call


def timed(execute: Callable[..., Any], inputs: Inputs) -> tuple[Any, float]:
    """The result of a call and its seconds, work on the device included; ReplayError when the graph raises."""
    call = refusing(execute, inputs)
    start = perf_counter()
    result = call(*inputs.args, **inputs.kwargs)
    return result, perf_counter() - start


def _reason(error: Exception, execute: Callable[..., Any]) -> str:
    """Whether the code refused the inputs, or the graph raised while it ran."""
    refused = type(error).__name__ == InputError.__name__
    if refused or (isinstance(error, TypeError) and not _entered(error, execute)):
        return f"the inputs do not fit the graph: {error}"
    return f"the graph raised {type(error).__name__}: {error}"


def _entered(error: Exception, execute: Callable[..., Any]) -> bool:
    """Whether the error came from inside the code, not from the call of it."""
    code = getattr(inspect.unwrap(execute), "__code__", None)
    return any(frame.f_code is code for frame, _ in traceback.walk_tb(error.__traceback__))


def bindings(artifact: Artifact, execute: Callable[..., Any]) -> tuple[tuple[str, str], ...]:
    """Each submodule with the way that it is called."""
    table = submodule_table(execute)
    manners = [_manner(bound) for bound in table]
    if artifact.manifest.compiled is not None:
        from fx2py.artifact.compiled_calls import is_compiled

        pairs = zip(table, manners, strict=True)
        manners = ["compiled code" if is_compiled(bound) else manner for bound, manner in pairs]
    return tuple(zip(artifact.manifest.slots, manners, strict=False))


def _manner(bound: Any) -> str:
    if isinstance(bound, FunctionType):
        return "generated function"
    if inspect.ismethod(bound) and isinstance(bound.__self__, torch.nn.Module):
        return f"{type(bound.__self__).__name__}.forward, without hooks"
    return f"{type(bound).__name__}, called in full"
