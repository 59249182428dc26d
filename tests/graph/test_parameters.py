"""Arguments bound to placeholders: as Python binds them to the parameters of a function, and refused where it refuses."""

from __future__ import annotations

import inspect

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fx2py.graph.data import Node
from fx2py.graph.parameters import Unbound, bind_arguments

NAMES = ("a", "b", "c", "d")


@st.composite
def signatures(draw: st.DrawFn) -> list[str]:
    """The targets of placeholders, in an order that Python allows; one that ends in ``=`` has a default."""
    required = draw(st.integers(0, 2))
    optional = draw(st.integers(0, 2))
    targets = [*NAMES[:required], *[f"{name}=" for name in NAMES[required : required + optional]]]
    more = draw(st.sampled_from([[], ["*rest"], ["*rest", "only"], ["*rest", "only="]]))
    return [*targets, *more, *draw(st.sampled_from([[], ["**named"]]))]


def placeholders(targets: list[str]) -> list[Node]:
    return [
        Node(f"node_{target.strip('*=')}", "placeholder", target.rstrip("="), (7,) if "=" in target else ())
        for target in targets
    ]


def function(targets: list[str]) -> inspect.Signature:
    source = ", ".join(target.replace("=", "=7") for target in targets)
    return inspect.signature(eval(f"lambda {source}: None"))


@given(
    signatures(),
    st.lists(st.integers(0, 9), max_size=5),
    st.dictionaries(st.sampled_from([*NAMES, "only", "other"]), st.integers(0, 9), max_size=3),
)
def test_arguments_are_bound_as_python_binds_them(targets, args, kwargs):
    def bind() -> dict[str, object]:
        return bind_arguments(placeholders(targets), args, kwargs, default=lambda value: value, keywords=dict)

    try:
        expected = function(targets).bind(*args, **kwargs)
    except TypeError:
        with pytest.raises(Unbound):
            bind()
        return
    expected.apply_defaults()
    assert bind() == {f"node_{name}": value for name, value in expected.arguments.items()}


@pytest.mark.parametrize(
    ("args", "kwargs", "reason"),
    [
        ((), {}, "the argument 'x' is missing"),
        ((1, 2), {}, "2 positional arguments are too many"),
        ((1,), {"x": 2}, "the argument 'x' is given twice"),
        ((1,), {"y": 2}, "there is no parameter for 'y'"),
    ],
)
def test_the_argument_that_does_not_fit_is_named(args, kwargs, reason):
    with pytest.raises(Unbound, match=f"^{reason}$"):
        bind_arguments(placeholders(["x"]), args, kwargs, default=lambda value: value, keywords=dict)
