"""An exported program as it is stored, before its state and mutations move into the graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import torch

from fx2py.graph.data import ModuleRecord, Tree
from fx2py.graph.values import Value

TRAINING = "TRAINING"
"""The dialect whose programs keep their effect tokens.

Source: ``_unlift_exported_program_lifted_states`` of torch/export/_unlift.py.
"""
InputRole: TypeAlias = Literal["user", "constant", "parameter", "buffer", "tensor", "object", "token"]
Mutated: TypeAlias = Literal["state", "input"]


@dataclass(frozen=True, slots=True)
class LiftedInput:
    """What one placeholder stands for; ``path`` is where the module holds it, None for an input of the caller.

    ``value`` is what a constant input of the caller must equal.
    """

    kind: InputRole
    path: str | None = None
    persistent: bool = True
    value: Value = None


@dataclass(frozen=True, slots=True)
class LiftedOutput:
    """What one result stands for: the caller's result, a token, or what is written to ``target`` afterwards.

    ``target`` is the path of mutated state, or the placeholder of a mutated input.
    """

    is_token: bool = False
    mutates: Mutated | None = None
    target: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class LiftedProgram:
    """An exported program as it is stored: a pure graph, its signature, and the state beside it.

    ``root`` holds the lifted graph and its nested graphs; ``inputs`` and ``outputs`` describe its placeholders and
    results, in order. ``state`` and ``constants`` are by dotted path. ``keeps_tokens`` is set for training programs.
    """

    root: ModuleRecord
    inputs: tuple[LiftedInput, ...]
    outputs: tuple[LiftedOutput, ...]
    in_tree: Tree
    out_tree: Tree | None
    state: Mapping[str, torch.Tensor] = field(default_factory=dict)
    constants: Mapping[str, Value | torch.Tensor] = field(default_factory=dict)
    argument_names: tuple[str, ...] = ()
    ranges: tuple[tuple[str, int | None, int | None], ...] = ()
    guards: tuple[str, ...] = ()
    keeps_tokens: bool = False
