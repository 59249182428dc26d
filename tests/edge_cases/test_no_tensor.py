"""Code that is given something else than a tensor where the graph's operators take one."""

import numpy
import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

import fx2py
from fx2py import GenerateOptions
from tests.checking import outcome, reference

GRAPHS = {
    "view": lambda x: x.view(4),
    "slice": lambda x: x[1:],
    "add": lambda x: torch.ones(2) + x,
    "copy_": lambda x: x.copy_(torch.ones(2, 2)),
    "item of a list": lambda x: x.unbind()[0].view(2),
    "sin": torch.sin,
}
VALUES = {
    "int": 3,
    "list": [1.0, 2.0],
    "text": "ab",
    "array": numpy.ones((2, 2)),
    "none": None,
    "list of tensors": [torch.ones(2)],
}


def traced(name):
    return make_fx(GRAPHS[name])(torch.ones(2, 2))


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
@pytest.mark.parametrize("name", GRAPHS)
def test_code_raises_where_the_graph_does(name, value):
    gm = traced(name)
    want = outcome(reference(gm), (value,), {}, seed=0)
    got = outcome(fx2py.generate(gm).bind(), (value,), {}, seed=0)
    assert (got.error is None) == (want.error is None)


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
@pytest.mark.parametrize("name", GRAPHS)
def test_overloads_raise_the_same_exception_as_the_graph(name, value):
    gm = traced(name)
    exact = fx2py.generate(gm, options=GenerateOptions(exact_ops=True)).bind()
    want, got = (outcome(run, (value,), {}, seed=0) for run in (reference(gm), exact))
    assert got.error is want.error
