"""The options that change what is generated."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class GenerateOptions:
    """``comments``: lead back to the model. ``exact_ops``: keep every overload. ``keep_submodules``: do not flatten."""

    comments: bool = True
    exact_ops: bool = False
    keep_submodules: bool = False


DEFAULT = GenerateOptions()
