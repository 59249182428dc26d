"""The options that change what is generated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class GenerateOptions:
    """``comments``: lead back to the model. ``exact_ops``: keep every overload. ``keep_submodules``: do not flatten.

    ``optimize``: leave out what provably changes nothing.
    ``split_at``: operators or modules at which the graph is first cut into pieces, which are then kept as functions.
    ``compile``: the compiler of the pieces, ``"inductor"``; they are kept as functions then, too.
    """

    comments: bool = True
    exact_ops: bool = False
    keep_submodules: bool = False
    optimize: bool = False
    split_at: tuple[str, ...] = ()
    compile: Literal["inductor"] | None = None


DEFAULT = GenerateOptions()
