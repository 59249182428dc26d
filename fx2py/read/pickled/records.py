"""What a pickle says, as records: names, calls and containers, none of them resolved, called or hashed.

Most containers of a graph are empty: the items and pairs of a record share one empty tuple until the stream sets some.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


class PickleFault(ValueError):
    """The stream is not a pickle of protocol 2 to 5, is damaged, or asks for what no graph needs."""


@dataclass(slots=True, eq=False)
class Global:
    """A name that the stream refers to; never looked up."""

    module: str
    qualname: str
    path: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.path = f"{self.module}.{self.qualname}"


@dataclass(slots=True, eq=False)
class Mapping:
    """A dict of the stream, as its pairs in order."""

    pairs: Sequence[tuple[Any, Any]] = ()

    def by_name(self) -> dict[str, Any]:
        """The entries whose keys are strings; a later one replaces an earlier one."""
        return {key: value for key, value in self.pairs if type(key) is str}


@dataclass(slots=True, eq=False)
class Members:
    """A set of the stream, as its members in order."""

    items: Sequence[Any] = ()
    frozen: bool = False


@dataclass(slots=True, eq=False)
class Persistent:
    """A reference to something stored beside the stream."""

    key: Any


@dataclass(slots=True, eq=False)
class Built:
    """What calling or constructing ``function`` would give, with the state and items set on it afterwards."""

    function: Any
    args: Any = ()
    kwargs: Any = None
    state: Any = None
    items: Sequence[Any] = ()
    pairs: Sequence[tuple[Any, Any]] = ()

    @property
    def path(self) -> str:
        """The dotted path of the function; empty when the stream builds even that."""
        return self.function.path if type(self.function) is Global else ""
