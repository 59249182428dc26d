"""The table of operators, ``table.txt``, read into one record for each overload, operator and function.

The README of this folder says what each fact means, who may rely on it, and how it is proven.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal, NamedTuple, cast, get_args

from fx2py.graph.values import Name, OpName

METHOD = "Tensor"
"""What a form names as the module of a method, which is called on the first argument."""


@dataclass(frozen=True, slots=True)
class NativeParameter:
    """One parameter of a native call, with its schema type.

    ``given``: the form is proven only where it is passed and not None. ``spread``: its items are passed one by one.
    """

    name: str
    type: str
    given: bool = False
    spread: bool = False


@dataclass(frozen=True, slots=True)
class NativeForm:
    """A proven way to write the calls of an overload; the callee's module is ``METHOD`` where it is a method.

    ``positional`` may be passed by position, ``by_name`` by keyword; those in ``needed`` must be passed.
    """

    callee: Name
    positional: tuple[NativeParameter, ...]
    by_name: dict[str, NativeParameter]
    needed: frozenset[str]


Returns = Literal["Tensor", "named tuple", "container"]
Memory = Literal["fresh", "view", "write"]
Device = Literal["first", "default"]


@dataclass(frozen=True, slots=True)
class IndexBound:
    """One argument holds indices into another; both are given by their positions in a call.

    ``dimension`` is the one that is indexed, or the last one where there are fewer; with ``by_argument``, the position
    of the argument that says which. None: the indices are a subscript, each part of which indexes the dimension at its
    position. ``table`` is None where argument ``dimension`` is the bound itself.
    """

    indices: int
    table: int | None
    dimension: int | None
    by_argument: bool = False


class Offsets(NamedTuple):
    """One argument holds ascending positions in another, the first of them 0; both by their positions in a call."""

    offsets: int
    indices: int


class Interval(NamedTuple):
    """The argument at a position gives finite results for the numbers strictly between ``low`` and ``high``."""

    argument: int
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Condition:
    """What one argument must be: False itself, or a number from ``low`` to ``high``."""

    argument: str
    low: float | None = None
    high: float | None = None

    def holds(self, value: object) -> bool:
        if self.low is None or self.high is None:
            return value is False
        return type(value) in (int, float) and self.low <= cast(float, value) <= self.high


@dataclass(frozen=True, slots=True)
class Identity:
    """The operand that is returned, the same object, where all conditions hold; ``reason`` is their text."""

    operand: str
    conditions: tuple[Condition, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of one overload, operator or function; a field at its default says nothing.

    ``native`` holds the forms of its calls, ``dtype`` the name of a rule of ``dtypes``.
    """

    native: tuple[NativeForm, ...] = ()
    returns: Returns | None = None
    memory: Memory | None = None
    dtype: str = ""
    device: Device | None = None
    is_deterministic: bool = False
    identity: Identity | None = None
    index: IndexBound | None = None
    offsets: Offsets | None = None
    domains: tuple[Interval, ...] = ()
    elements: tuple[int, ...] = ()


NOTHING = Facts()


def facts_of(op: OpName) -> Facts:
    """What is known of an ATen overload; nothing is known of other operators."""
    return facts_named(f"{op.name}.{op.overload}") if op.namespace == "aten" else NOTHING


@cache
def facts_named(name: str) -> Facts:
    """What is known of ``add.Tensor``, of every overload of ``add``, or of ``torch.nn.functional.embedding``."""
    lines = table().get(name)
    return NOTHING if lines is None else parse_facts(name, lines)


def parse_facts(name: str, lines: tuple[str, ...]) -> Facts:
    """The record that these lines of the table are; raises ValueError for an unknown fact."""
    fields: dict[str, Any] = {}
    for line in lines:
        keyword, _, text = line.partition(" ")
        if keyword not in _READERS:
            raise ValueError(f"the record of {name} in the table of operators has a fact {line!r} of no kind")
        field, value = _READERS[keyword](text)
        fields[field] = fields.get(field, ()) + value if field in _REPEATED else value
    return Facts(**fields)


@cache
def table() -> Mapping[str, tuple[str, ...]]:
    """The lines of every record, by the name of what it is of, in the order of the file."""
    return read_table(files(__package__).joinpath("table.txt").read_text("utf-8"))


def read_table(text: str) -> dict[str, tuple[str, ...]]:
    """The records of a table: a name at the margin, its facts indented below it; ``#`` begins a comment."""
    records: dict[str, list[str]] = {}
    current: list[str] = []
    for line in text.splitlines():
        if line.startswith("  "):
            current.append(line[2:])
        elif line and not line.startswith("#"):
            current = records.setdefault(line, [])
    return {name: tuple(lines) for name, lines in records.items()}


def returns_tensor(op: OpName) -> bool:
    """Whether each call of ``op`` is known to give one tensor."""
    return facts_of(op).returns == "Tensor"


def _form(text: str) -> NativeForm:
    """Reads ``torch.add(Tensor self, /, Tensor other, *, Scalar alpha)``.

    As in a Python signature, what stands before the slash is positional, what stands after the star by keyword, the rest
    either. ``!`` marks a parameter that must be passed, ``*`` before a type one whose items are spread.
    """
    path, _, inside = text.removesuffix(")").partition("(")
    module, _, name = path.rpartition(".")
    marks = inside.split(", ")
    places = marks[: marks.index("*")] if "*" in marks else marks
    positional = [_native_parameter(mark) for mark in places if mark != "/"]
    named = marks[marks.index("/") + 1 :] if "/" in marks else marks
    by_name = {item.name: item for item in (_native_parameter(mark) for mark in named if mark != "*")}
    needed = frozenset(item.name for item in (*positional, *by_name.values()) if item.given)
    return NativeForm(Name(module, name), tuple(positional), by_name, needed)


def _native_parameter(text: str) -> NativeParameter:
    kind, _, name = text.partition(" ")
    return NativeParameter(
        name.removesuffix("!"), kind.removeprefix("*"), name.endswith("!"), kind.startswith("*")
    )


def _choice(field: str, choices: object) -> Callable[[str], tuple[str, object]]:
    def read(text: str) -> tuple[str, object]:
        if text not in get_args(choices):
            raise ValueError(f"{field} is one of {', '.join(get_args(choices))}, not {text!r}")
        return field, text

    return read


def _identity(text: str) -> tuple[str, object]:
    """Reads ``input when train=False and p=0..1``."""
    operand, _, reason = text.partition(" when ")
    return "identity", Identity(operand, tuple(map(_condition, reason.split(" and "))), reason)


def _condition(text: str) -> Condition:
    argument, _, wanted = text.partition("=")
    if wanted == "False":
        return Condition(argument)
    low, _, high = wanted.partition("..")
    return Condition(argument, float(low), float(high))


def _index(text: str) -> tuple[str, object]:
    """Reads ``1 into 0 along 0``, ``2 into 0 along argument 1``, ``1 into 0 as subscript`` and ``0 below argument 1``."""
    indices, _, table, *dimension = text.split()
    if table == "argument":
        return "index", IndexBound(int(indices), None, int(dimension[-1]), by_argument=True)
    if dimension == ["as", "subscript"]:
        return "index", IndexBound(int(indices), int(table), None)
    return "index", IndexBound(int(indices), int(table), int(dimension[-1]), "argument" in dimension)


def _offsets(text: str) -> tuple[str, object]:
    """Reads ``2 into 1``."""
    offsets, _, indices = text.split()
    return "offsets", Offsets(int(offsets), int(indices))


def _domain(text: str) -> tuple[str, object]:
    """Reads ``0 (-1, inf)``."""
    argument, _, interval = text.partition(" ")
    low, high = interval.removeprefix("(").removesuffix(")").split(", ")
    return "domains", (Interval(int(argument), float(low), float(high)),)


_REPEATED = frozenset({"native", "domains"})
_READERS: Mapping[str, Callable[[str], tuple[str, object]]] = {
    "native": lambda text: ("native", (_form(text),)),
    "returns": _choice("returns", Returns),
    "memory": _choice("memory", Memory),
    "dtype": lambda text: ("dtype", text),
    "device": _choice("device", Device),
    "deterministic": lambda text: ("is_deterministic", True),
    "identity": _identity,
    "index": _index,
    "offsets": _offsets,
    "domain": _domain,
    "elements": lambda text: ("elements", tuple(map(int, text.removeprefix("of ").split()))),
}
