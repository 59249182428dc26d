"""The options that change what is generated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class GenerateOptions:
    """How the code of a graph is generated.

    ``comments`` lead back to the model; ``exact_ops`` keeps every overload; ``keep_submodules`` keeps nested graphs as
    functions; ``optimize`` leaves out, or computes once, what provably changes nothing. ``split_at`` names operators or
    modules at which the graph is first cut into pieces; ``compile`` is the compiler of the pieces, of which a graph that
    is cut nowhere is one. Pieces are kept as functions.
    """

    comments: bool = True
    exact_ops: bool = False
    keep_submodules: bool = False
    optimize: bool = False
    split_at: tuple[str, ...] = ()
    compile: Literal["inductor"] | None = None


DEFAULT = GenerateOptions()


@dataclass(frozen=True, slots=True)
class Embedding:
    """For code that becomes part of an engine's own, which binds it: it never moves to another device.

    Devices and live objects stand where they are used, as they are in the graph. ``entry`` is the name of the last
    function; no variable has a name of ``reserved``, any may have one of ``free``, which nothing else is called.
    """

    entry: str
    reserved: frozenset[str] = frozenset()
    free: frozenset[str] = frozenset()
