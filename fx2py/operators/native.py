"""Native forms: how Python may write the call of an overload so that it reaches that overload with the same arguments."""

from __future__ import annotations

from dataclasses import dataclass

from fx2py.graph.values import Name

METHOD = "Tensor"
"""The module that a form names for a method, which is looked up on the first argument."""


@dataclass(frozen=True, slots=True)
class NativeParameter:
    """One parameter of a native call, with its schema type.

    ``given``: the proof holds only where it is passed and not None. ``spread``: its items stand in place of it.
    """

    name: str
    type: str
    given: bool = False
    spread: bool = False


@dataclass(frozen=True, slots=True)
class NativeForm:
    """A proven way to write the calls of an overload; the callee's module is ``METHOD`` where it is a method.

    ``positional`` may stand in place, ``by_name`` by keyword; those in ``needed`` are always passed.
    """

    callee: Name
    positional: tuple[NativeParameter, ...]
    by_name: dict[str, NativeParameter]
    needed: frozenset[str]


def parse_form(text: str) -> NativeForm:
    """Reads ``torch.add(Tensor self, /, Tensor other, *, Scalar alpha)``.

    What stands before the slash goes by place, what stands behind the star by keyword, the rest either way. ``!`` marks
    a parameter that must be given, ``*`` before a type one that is spread.
    """
    path, _, inside = text.removesuffix(")").partition("(")
    module, _, name = path.rpartition(".")
    marks = inside.split(", ")
    places = marks[: marks.index("*")] if "*" in marks else marks
    positional = [_parameter(mark) for mark in places if mark != "/"]
    named = marks[marks.index("/") + 1 :] if "/" in marks else marks
    by_name = {item.name: item for item in (_parameter(mark) for mark in named if mark != "*")}
    needed = frozenset(item.name for item in (*positional, *by_name.values()) if item.given)
    return NativeForm(Name(module, name), tuple(positional), by_name, needed)


def _parameter(text: str) -> NativeParameter:
    kind, _, name = text.partition(" ")
    return NativeParameter(
        name.removesuffix("!"), kind.removeprefix("*"), name.endswith("!"), kind.startswith("*")
    )
