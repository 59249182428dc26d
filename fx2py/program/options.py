"""The options that change what is generated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fx2py.arguments import FLAG, Kind, require
from fx2py.operators.spelling import each_of


@dataclass(frozen=True, slots=True)
class GenerateOptions:
    """How the code of a graph is generated.

    ``comments``: link the code to the model. ``exact_ops``: call every operator by its overload and keep its dispatch
    keys. ``keep_submodules``: keep nested graphs as functions. ``optimize``: run the passes of ``-O``. ``flat``: write one
    straight-line function, not one for each distinct module of the model. ``split_at``: the operators or modules at which
    the graph is first cut into pieces, which stay functions. ``compile``: the compiler of the pieces; a graph that is not
    cut is one piece. Raises OptionError for a value that a field does not take.
    """

    comments: bool = True
    exact_ops: bool = False
    keep_submodules: bool = False
    optimize: bool = False
    flat: bool = False
    split_at: tuple[str, ...] = ()
    compile: Literal["inductor"] | None = None

    def __post_init__(self) -> None:
        for name in ("comments", "exact_ops", "keep_submodules", "optimize", "flat"):
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
    """For code that an engine makes a part of its own code and binds itself, on the device of the graph.

    Devices and live objects stay where the graph uses them instead of in a table. ``entry`` names the last function. No
    variable gets a name in ``reserved``; a variable may get one in ``free``, a module-level name may not.
    """

    entry: str
    reserved: frozenset[str] = frozenset()
    free: frozenset[str] = frozenset()
