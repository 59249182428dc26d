"""Every argument of every public function: a value of another kind is refused in one sentence that names it."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import fx, nn

import fx2py
from fx2py import Artifact, Fx2pyError, GenerateOptions, Policy
from fx2py.errors import OptionError, SplitError
from fx2py.integrations.dynamo import BackendOptions, fx2py_backend

X = torch.ones(2, 4)


def graph() -> fx.GraphModule:
    return fx.symbolic_trace(nn.Sequential(nn.Linear(4, 4), nn.ReLU()))


class Anything:
    """A value of no kind that any argument has."""


WRONG: dict[str, list[Any]] = {
    "source": [Anything(), 3, None, [1]],
    "gm": [Anything(), "graph.pt", None, nn.Linear(2, 2)],
    "ops": [Anything(), 3, None, [3], ["aten::relu", None], b"aten::relu", {"aten::relu": 1}, "nonsense("],
    "model": [Anything(), 3, ["a"]],
    "options": [Anything(), {"optimize": True}, "-O", None],
    "inputs": [Anything(), X, (X,), (X, {}), ((X,), {1: X}), {"x": X}, ((X,), {}, ())],
    "policy": [Anything(), {}, True, "torch.relu", {"functions": {"a.b"}}],
    "artifact": [Anything(), "folder", {}, 0],
    "args": [X, 3, "ab", {"x": X}, Anything(), None],
    "kwargs": [X, 3, [("x", X)], {1: X}, Anything(), ()],
    "device": [Anything(), 3.5, ["cpu"], b"cpu", "toaster", "", True],
    "cases": [Anything(), "3", 1.5, True],
    "close": [Anything(), 1e-5, True, {"rtol": 1e-5}],
    "seed": [Anything(), "0", 1.5, None, True],
    "path": [Anything(), 3, None, b"x", ["x"]],
    "folder": [Anything(), 3, None, b"x", ["x"]],
    "weights": [Anything(), "linked", 3, ["copy"]],
    "force": [Anything(), 1, "yes", None],
    "observing": [Anything(), 3, "x", True],
    "submods": [Anything(), [torch.relu], {"0": 3}, {1: torch.relu}, "0", {"0": None}],
}
"""Values that are none of an argument's kind, by the name that the argument has everywhere."""


@pytest.fixture
def good(tmp_path: Path) -> dict[str, Any]:
    """A value for each argument that has no default."""
    return {
        "source": graph(),
        "gm": graph(),
        "ops": "aten::relu",
        "path": tmp_path / "graph.fx2py",
        "folder": tmp_path / "folder",
        "artifact": fx2py.generate(graph()),
        "device": "cpu",
    }


def entries() -> dict[str, Callable[..., Any]]:
    """The public functions and methods, each as a function of ``good`` that gives the bound one."""
    functions = {name: getattr(fx2py, name) for name in fx2py.__all__}
    found = {name: (lambda good, f=f: f) for name, f in functions.items() if inspect.isfunction(f)}
    found["RecordedGroups"] = lambda good: fx2py.RecordedGroups
    for name, method in vars(Artifact).items():
        if inspect.isfunction(method) and not name.startswith("_"):
            found[f"Artifact.{name}"] = lambda good, name=name: getattr(good["artifact"], name)
    return found


def parameters(entry: str) -> list[str]:
    function = Artifact.__dict__[entry.partition(".")[2]] if "." in entry else getattr(fx2py, entry)
    return [name for name in inspect.signature(function).parameters if name != "self"]


CASES = [
    pytest.param(entry, name, value, id=f"{entry}-{name}-{number}")
    for entry in entries()
    for name in parameters(entry)
    for number, value in enumerate(WRONG[name])
]


@pytest.mark.parametrize(("entry", "name", "value"), CASES)
def test_an_argument_of_another_kind_is_refused(
    entry: str, name: str, value: Any, good: dict[str, Any]
) -> None:
    function = entries()[entry](good)
    needed = {
        each: good[each]
        for each, parameter in inspect.signature(function).parameters.items()
        if parameter.default is inspect.Parameter.empty
    }
    with pytest.raises(Fx2pyError) as refused:
        function(**{**needed, name: value})
    assert_one_sentence(refused.value)


def assert_one_sentence(fault: Fx2pyError) -> None:
    assert fault.exit_code == 2
    assert "\n" not in fault.message
    assert "object at 0x" not in str(fault)


# -- options ----------------------------------------------------------------------------------------------------------

FIELDS: dict[type, dict[str, list[Any]]] = {
    GenerateOptions: {
        "comments": [1, 0, "yes", None, Anything()],
        "exact_ops": [1, 0, "yes", None, Anything()],
        "keep_submodules": [1, 0, "yes", None, Anything()],
        "optimize": [1, 0, "yes", None, Anything()],
        "flat": [1, 0, "yes", None, Anything()],
        "split_at": [3, None, [3], (torch.relu,), torch.relu, Anything(), b"x", "nonsense(", {"aten::relu"}],
        "compile": [True, "", "gcc", 3, Anything(), ["inductor"]],
    },
    Policy: {
        "functions": ["mypkg.gelu", 3, None, {3}, Anything(), b"x"],
        "ops": ["mylib", 3, None, {3}, Anything(), b"x"],
        "classes": ["mypkg.Layer", 3, None, {3}, Anything(), b"x"],
        "trust_all": ["no", 1, None, Anything()],
    },
    BackendOptions: {
        "split_at": [3, None, [3], Anything(), "nonsense(", ["aten::relu", "nonsense("]],
        "inner": [3, None, "no such backend", "", Anything(), ["eager"]],
        "dump": [3, Anything(), b"x", True],
    },
}


@pytest.mark.parametrize(
    ("options", "field", "value"),
    [
        pytest.param(options, field.name, value, id=f"{options.__name__}-{field.name}-{number}")
        for options in FIELDS
        for field in dataclasses.fields(options)
        for number, value in enumerate(FIELDS[options][field.name])
    ],
)
def test_an_option_of_another_kind_is_refused_where_it_is_made(options: type, field: str, value: Any) -> None:
    with pytest.raises((OptionError, SplitError)) as refused:
        options(**{field: value})
    assert_one_sentence(refused.value)
    assert field in refused.value.message or "nonsense(" in refused.value.message


@pytest.mark.parametrize("options", [3, "eager", ["inner"], {"no_such": 1}, {1: 2}, {"inner": 3}])
def test_the_backend_refuses_options_that_it_does_not_have(options: Any) -> None:
    with pytest.raises(OptionError) as refused:
        fx2py_backend(graph(), [X], options=options)
    assert_one_sentence(refused.value)


def test_names_may_come_in_any_collection() -> None:
    assert Policy(functions=["a.b"]) == Policy(functions=frozenset({"a.b"}))  # type: ignore[arg-type]
    assert hash(Policy(ops={"mylib"})) == hash(Policy(ops=frozenset({"mylib"})))  # type: ignore[arg-type]
    assert GenerateOptions(split_at=["aten::relu"]).split_at == ("aten::relu",)  # type: ignore[arg-type]
    assert GenerateOptions(split_at="aten::relu").split_at == ("aten::relu",)  # type: ignore[arg-type]


def test_operators_that_can_be_counted_once_are_kept() -> None:
    assert BackendOptions(split_at=iter(["aten::relu"])).operators == ("aten::relu",)


def test_a_name_is_not_admitted_for_being_part_of_another() -> None:
    with pytest.raises(OptionError, match=r"functions must be a set of names, not 'mypkg\.gelu'"):
        Policy(functions="mypkg.gelu")  # type: ignore[arg-type]


# -- operators that name nothing --------------------------------------------------------------------------------------


def split(text: Any) -> object:
    return fx2py.split(graph(), [text])


def generated(text: str) -> object:
    return fx2py.generate(graph(), options=GenerateOptions(split_at=(text,)))


def captured(text: Any) -> object:
    return fx2py_backend(graph(), [X], options={"split_at": [text]})


@pytest.mark.parametrize(
    "text",
    [
        *(
            "nonsense(",
            "",
            " ",
            "aten::",
            "::relu",
            "aten::relu.",
            "a::b::c",
            "a..b",
            ".relu",
            "relu;",
            "a b",
        ),
        *(
            "aten::no_such_operator",
            "torch.ops.aten.no_such",
            "torch.nn.functional.no_such",
            "torch.nn.NoSuch",
        ),
        "operator.no_such",
    ],
)
@pytest.mark.parametrize("entry", [split, generated, captured])
def test_an_operator_that_names_nothing_is_refused_even_where_a_graph_need_not_hold_it(
    text: str, entry: Callable[[str], Any]
) -> None:
    with pytest.raises(SplitError) as refused:
        entry(text)
    assert text in refused.value.message
    assert_one_sentence(refused.value)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "aten::relu",
            "aten.relu.default",
            "torch.ops.aten.relu",
            "torch.nn.functional.relu",
            "torch.nn.ReLU",
        ),
        *("layers.0", "layers.*.mlp", "relu", "mylib::attention", "torch.ops.mylib.attention.default"),
        *(
            "operator.add",
            "aten::contiguous",
            "aten::__and__",
            "torch.Tensor.view",
            "aten::cuda",
            "mypkg.gelu",
        ),
        *("aten::add.Tensor", "aten::view", "torch.nn.functional.scaled_dot_product_attention"),
        *("torch.linalg.norm", "torch.add", "encoder.layer-1", "math.floor", "aten::floor_divide_"),
    ],
)
def test_an_operator_that_may_be_elsewhere_cuts_nothing(text: str) -> None:
    model = graph()
    assert torch.equal(fx2py_backend(model, [X], options={"split_at": [text]})(X), model(X))


def test_an_overload_that_torch_does_not_have_is_refused() -> None:
    with pytest.raises(SplitError, match=r"has no 'aten::relu\.no_such_overload'"):
        captured("aten::relu.no_such_overload")


@pytest.mark.parametrize("op", [lambda x: x, nn.Linear(2, 2), graph(), torch.ones(2).add])
@pytest.mark.parametrize("entry", [split, captured])
def test_a_callable_that_no_graph_could_name_is_refused(op: object, entry: Callable[[Any], Any]) -> None:
    with pytest.raises(SplitError, match="has no name that a graph could call it by") as refused:
        entry(op)
    assert_one_sentence(refused.value)


@pytest.mark.parametrize("op", [torch.relu, nn.ReLU, nn.functional.relu, torch.ops.aten.relu.default])
def test_a_function_or_class_is_an_operator(op: object) -> None:
    assert len(list(fx2py.split(graph(), op).children())) == 2  # type: ignore[arg-type]
