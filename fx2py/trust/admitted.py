"""What is admitted by name: the table ``admitted.txt``, written by ``python -m tests.trust.survey``.

Each line is for one function, method, attribute or operator, with the kind of its result for data. What has no line is
refused, as is everything that a newer torch adds.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files


class ValueKind(enum.Enum):
    """What a value is, as far as calls care.

    DATA is a number, text, tensor, dtype or another value of the closed list of types in tests/trust/survey.py, or a
    container of them; DEVICE, LIMITS (of a dtype) and RESULT (a tuple of torch with named fields) are data of one type.
    """

    DATA = "data"
    DEVICE = "device"
    LIMITS = "limits"
    RESULT = "result"
    CONTEXT = "context"
    GRAPH = "graph"
    TYPE = "type"
    CODE = "code"

    @property
    def is_data(self) -> bool:
        return self in _DATA


_DATA = frozenset({ValueKind.DATA, ValueKind.DEVICE, ValueKind.LIMITS, ValueKind.RESULT})


@dataclass(frozen=True, slots=True)
class Rule:
    """The kind of a function's ``result``, and which arguments it must not be given.

    ``without`` names keyword arguments that it would call; ``most`` is the number of positional arguments before one that
    it would call. ``takes``: its only argument is of that kind. ``needs_dim``: the result is of that kind only if the
    call has a dimension, as ``max`` does, and else data.
    """

    result: ValueKind
    without: frozenset[str] = frozenset()
    most: int | None = None
    takes: ValueKind | None = None
    needs_dim: bool = False


def _lines(what: str) -> dict[str, list[str]]:
    text = files("fx2py.trust").joinpath("admitted.txt").read_text(encoding="utf-8")
    rows = (line.split(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name: rest for kind, name, *rest in rows if kind == what}


def _rule(words: list[str]) -> Rule:
    kind, _, condition = words[0].partition(":")
    marks = dict(word.split("=") for word in words[1:])
    return Rule(
        ValueKind(kind),
        frozenset(marks["without"].split(",")) if "without" in marks else frozenset(),
        int(marks["most"]) if "most" in marks else None,
        ValueKind(marks["takes"]) if "takes" in marks else None,
        condition == "dim",
    )


FUNCTIONS: Mapping[str, Rule] = {name: _rule(words) for name, words in _lines("function").items()}
METHODS: Mapping[str, Rule] = {name: _rule(words) for name, words in _lines("method").items()}
ATTRIBUTES: Mapping[str, tuple[frozenset[ValueKind], ValueKind]] = {
    name: (frozenset(ValueKind(each) for each in of.split(",") if each != "any"), ValueKind(result))
    for name, (of, result) in _lines("attribute").items()
}
OPERATORS = frozenset(_lines("operator"))
