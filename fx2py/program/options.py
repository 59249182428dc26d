"""The options that change what is generated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fx2py.arguments import FLAG, Kind, require
from fx2py.operators.spelling import each_of


@dataclass(frozen=True, slots=True)
class GenerateOptions:
    """How the code of a graph is generated.

    ``comments`` lead back to the model; ``exact_ops`` keeps every overload; ``keep_submodules`` keeps nested graphs as
    functions; ``optimize`` leaves out, or computes once, what provably changes nothing. ``split_at`` names operators or
    modules at which the graph is first cut into pieces; ``compile`` is the compiler of the pieces, of which a graph that
    is cut nowhere is one. Pieces are kept as functions. Raises OptionError for a value that a field does not take.
    """

    comments: bool = True
    exact_ops: bool = False
    keep_submodules: bool = False
    optimize: bool = False
    split_at: tuple[str, ...] = ()
    compile: Literal["inductor"] | None = None

    def __post_init__(self) -> None:
        for name in ("comments", "exact_ops", "keep_submodules", "optimize"):
            require(name, getattr(self, name), FLAG)
        require("compile", self.compile, _COMPILER)
        require("split_at", self.split_at, _OPERATORS)
        object.__setattr__(self, "split_at", each_of(self.split_at, "split_at"))


_COMPILER = Kind("'inductor' or None", lambda value: value is None or value == "inductor")
_OPERATORS = Kind(
    "the names of operators, as text",
    lambda value: isinstance(value, str)
    or (isinstance(value, list | tuple) and all(isinstance(each, str) for each in value)),
)


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
