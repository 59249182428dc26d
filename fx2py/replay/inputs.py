"""The inputs of a run: from a file, from what is stored beside the graph, or made from what is recorded."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from fx2py.errors import ReplayError
from fx2py.graph.data import GraphData
from fx2py.graph.tensors import TensorCopies
from fx2py.replay.synthesis import PASS_INPUTS, synthesize
from fx2py.trust import Policy
from fx2py.trust.data import code_in


@dataclass(frozen=True, slots=True, eq=False)
class Inputs:
    """A call's arguments, and a sentence that says where they come from."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""


def find_inputs(
    data: GraphData,
    *,
    file: Path | None = None,
    seed: int = 0,
    device: torch.device | str | None = None,
    policy: Policy | None = None,
) -> Inputs:
    """The inputs of ``file``, else those stored beside the graph, else made ones; on ``device`` when it is given.

    Raises ReplayError when the file holds no inputs, or code among them, or when nothing is recorded to make them from.
    """
    if file is not None:
        found = load_inputs(file)
    elif data.sample_inputs is not None:
        stored = data.sample_inputs
        found = Inputs(stored.args, stored.kwargs, "The inputs are those stored beside the graph.")
    else:
        args, kwargs = synthesize(data, seed, policy or Policy())
        found = Inputs(
            args, kwargs, f"The inputs are made from the recorded shapes and types, with seed {seed}."
        )
    code = None if policy is not None and policy.trust_all else code_in((found.args, dict(found.kwargs)))
    if code is not None:
        raise ReplayError(
            f"the inputs hold {_described(code)}, which is no data.",
            "Pass tensors, numbers, text and containers of them.",
        )
    if device is None:
        return found
    move = TensorCopies(torch.device(device))
    return replace(found, args=move.of(found.args), kwargs=move.of(dict(found.kwargs)))


_UNREADABLE = (
    *(pickle.UnpicklingError, zipfile.BadZipFile, RuntimeError, OSError, EOFError, ValueError, TypeError),
    *(LookupError, AttributeError, MemoryError),
)
"""What torch's restricted unpickler raises on bytes that are no such file; it does not check them first."""


def load_inputs(path: Path) -> Inputs:
    """The inputs in a file that ``torch.save`` wrote; only tensors and plain containers are read.

    ``(args, kwargs)`` is both, a dict with text keys is keyword arguments, a tuple or list is positional ones, and
    anything else is the only argument. Raises ReplayError that names the file.
    """
    try:
        value = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise ReplayError(f"the inputs file {path} does not exist.", PASS_INPUTS) from error
    except _UNREADABLE as error:
        raise ReplayError(
            f"{path} does not hold inputs that can be read as plain data.", PASS_INPUTS
        ) from error
    args, kwargs = _arguments(value)
    return Inputs(args, kwargs, f"The inputs are those of {path}.")


def _described(code: Any) -> str:
    name = getattr(code, "__qualname__", None)
    return f"a {type(code).__qualname__}" + (f" {name!r}" if isinstance(name, str) else "")


def _arguments(value: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if isinstance(value, (tuple, list)):
        if len(value) == 2 and isinstance(value[0], (tuple, list)) and _is_keywords(value[1]):
            return tuple(value[0]), dict(value[1])
        return tuple(value), {}
    return ((), dict(value)) if _is_keywords(value) else ((value,), {})


def _is_keywords(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(key, str) for key in value)
