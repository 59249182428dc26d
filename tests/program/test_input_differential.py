"""Many signatures, many calls: generated code and the reference accept and refuse what ``ep.module()`` does.

``ep.module()`` has two ways to check its inputs, guards and a hook; where these disagree, either will do. Where the code
deliberately is not as strict, the README of artifact/ says so ("For an ``ExportedProgram``").
"""

from __future__ import annotations

import collections
import dataclasses
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
import torch
from torch import nn
from torch.export import export
from torch.utils import _pytree as pytree

import fx2py
from fx2py.read import open_graph
from fx2py.replay.interpreter import Reference
from tests.program.test_input_contract import total

pytestmark = pytest.mark.filterwarnings("ignore")
Call = tuple[tuple[Any, ...], dict[str, Any]]


class Point(NamedTuple):
    x: Any
    y: Any


class Plain(NamedTuple):
    x: Any
    y: Any


class Outer:
    class Inner(NamedTuple):
        x: Any
        y: Any


@dataclasses.dataclass
class Pair:
    a: Any
    b: Any = None


@dataclasses.dataclass
class Other:
    a: Any
    b: Any = None


pytree._register_namedtuple(Point, serialized_type_name="elsewhere.Point")
torch.export.register_dataclass(Pair, serialized_type_name="elsewhere.Pair")
torch.export.register_dataclass(Other)

X, Y = torch.ones(2), torch.ones(3)
CONTAINERS: list[Any] = [
    *([X, Y], (X, Y), (X,), [], (), [[X], (X, {"k": X})], [None, X], [3, "s", X, None, True]),
    *({"a": X, "b": Y}, {1: X, 2: Y}, {"a": None}, {}, OrderedDict(a=X, b=Y)),
    *(defaultdict(list, {"a": X}), defaultdict(None, {"a": X}), deque([X, Y]), deque([X], 3)),
    *(Point(X, Y), Plain(X, Y), Outer.Inner(X, Y), Pair(X), Pair(X, Y), Pair(None, X), Other(X, Y)),
    torch.Size([2, 3]),
]


class Text(str):
    """A str that is not exactly one."""


class Mapped(dict[str, Any]):
    """A dict that is not exactly one."""


VALUES: list[Any] = [
    *CONTAINERS,
    *(X, Y, torch.ones(2, 2), X.int(), nn.Parameter(X), torch.tensor(3), X.numpy(), None, 3, 4, 3.0, 2.5),
    *(
        True,
        False,
        1,
        1j,
        float("nan"),
        "a",
        "b",
        Text("a"),
        b"a",
        torch.float32,
        object(),
        range(2),
        slice(1),
    ),
    *([X], {"b": Y, "a": X}, {"a": X}, {"a": X, "b": Y, "c": X}, OrderedDict(b=Y, a=X), {"a": 3}, [X, X]),
    *(defaultdict(dict, {"a": X}), defaultdict(list, {"a": X, "b": Y}), deque([X]), deque([X, Y], 9)),
    *(
        Mapped(a=X, b=Y),
        collections.UserList([X, Y]),
        torch.Size([3, 2]),
        Other(X),
        {X},
        [(X,), (X, {"k": X})],
    ),
    *(collections.namedtuple("Point", "x y")(X, Y), {"x": X, "y": Y}),
]


def module(signature: str) -> nn.Module:
    """A module whose ``forward`` has this signature and adds up its tensors."""
    names = [part.split("=")[0].strip(" *") for part in signature.split(",")]
    text = f"def forward(self, {signature}):\n    return total({', '.join(filter(None, names))})\n"
    namespace: dict[str, Any] = {"total": total}
    exec(text, namespace)
    return type("Signature", (nn.Module,), {"forward": namespace["forward"]})()


SIGNATURES: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("x", (X,), {}),
    ("x, y", (X, Y), {}),
    ("x, *, y", (X,), {"y": Y}),
    ("x, y=None", (X,), {}),
    ("x, y=None", (X, None), {}),
    ("x, y=None", (X,), {"y": None}),
    ("*xs", (X, Y), {}),
    ("x, **more", (X,), {"a": Y, "b": X}),
    *[("x, y", (X, value), {}) for value in (3, 2.5, True, "a", *CONTAINERS)],
    *[("x, y", (X,), {"y": value}) for value in (3, {"a": X, "b": Y}, Point(X, Y), Pair(X))],
]


def calls(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[Call]:
    """Calls with other values, with too few and too many arguments, and in another order."""
    yield args, kwargs
    yield args[:-1], kwargs
    yield (*args, X), kwargs
    yield args, dict(reversed(kwargs.items()))
    yield args, {**kwargs, "surplus": X}
    for left_out in kwargs:
        yield args, {name: value for name, value in kwargs.items() if name != left_out}
    for value in VALUES:
        yield from (((*args[:i], value, *args[i + 1 :]), kwargs) for i in range(len(args)))
        yield from ((args, {**kwargs, name: value}) for name in kwargs)


def result(function: Callable[..., Any], call: Call) -> torch.Tensor | None:
    """What a call gives, None where it is refused."""
    try:
        return function(*call[0], **call[1])  # type: ignore[no-any-return]
    except Exception:
        return None


def assert_agree(wanted: list[Any], code: Any, reference: Any, call: Call) -> None:
    assert (code is None) == (reference is None), call
    accepts = {value is not None for value in wanted}
    assert (
        code is not None
    ) in accepts, f"{call}: ep.module() {'accepts' if True in accepts else 'refuses'} it"
    for value in wanted:
        assert value is None or code is None or torch.equal(value, code), call


@pytest.mark.parametrize(
    ("signature", "args", "kwargs"), SIGNATURES, ids=[repr(s[1:])[:60] for s in SIGNATURES]
)
def test_code_accepts_what_torch_accepts(signature, args, kwargs) -> None:
    program = export(module(signature), args, kwargs)
    modules = [program.module(check_guards=guards) for guards in (True, False)]
    code, reference = fx2py.generate(program).bind(), Reference(open_graph(program))
    for call in calls(args, kwargs):
        wanted = [result(each, call) for each in modules]
        assert_agree(wanted, result(code, call), result(reference, call), call)


def test_arguments_are_taken_by_place_or_by_name_whatever_the_export_did() -> None:
    for args, kwargs in (((X, Y), {}), ((X,), {"y": Y})):
        program = export(module("x, y"), args, kwargs)
        for run in (fx2py.generate(program).bind(), Reference(open_graph(program))):
            for call in (((X, Y), {}), ((X,), {"y": Y}), ((), {"y": Y, "x": X})):
                assert torch.equal(run(*call[0], **call[1]), torch.tensor(5.0))


def test_stand_ins_for_a_class_that_cannot_be_found() -> None:
    class Local(NamedTuple):
        x: Any
        y: Any

    program = export(module("x, y"), (X, Local(X, Y)))
    for run in (fx2py.generate(program).bind(), Reference(open_graph(program))):
        for accepted in (Local(X, Y), Plain(X, Y)):
            assert result(run, ((X, accepted), {})) is not None
        for refused in ((X, Y), [X, Y], {"x": X, "y": Y}, deque([X, Y]), Pair(X, Y), Local(X, X)):
            assert result(run, ((X, refused), {})) is None
