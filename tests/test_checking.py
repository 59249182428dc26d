"""The tests' own comparison sees every difference it is trusted to see."""

import math
from collections import OrderedDict

import pytest
import torch

from tests.checking import assert_same, assert_same_behaviour

DIFFERENT = {
    "sign of zero": (torch.tensor([0.0]), torch.tensor([-0.0])),
    "last bit": (torch.tensor([1.0]), torch.tensor([1.0000001])),
    "dtype": (torch.tensor([1]), torch.tensor([1], dtype=torch.int32)),
    "shape": (torch.ones(1, 2), torch.ones(2)),
    "stride": (torch.ones(2, 2), torch.ones(2, 2).t()),
    "gradient flag": (torch.ones(1), torch.ones(1, requires_grad=True)),
    "complex part": (torch.tensor([1j]), torch.tensor([complex(-0.0, 1.0)])),
    "class of tensor": (torch.ones(1), torch.nn.Parameter(torch.ones(1), requires_grad=False)),
    "nan place": (torch.tensor([math.nan, 1.0]), torch.tensor([1.0, math.nan])),
    "float zero": (0.0, -0.0),
    "complex zero": (complex(0.0, 0.0), complex(0.0, -0.0)),
    "bool and int": (True, 1),
    "int and float": (1, 1.0),
    "list and tuple": ([1], (1,)),
    "kind of dict": ({"a": 1}, OrderedDict(a=1)),
    "order of dict": ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
    "type of key": ({1: 0}, {True: 0}),
    "length": ([1], [1, 2]),
    "text": ("a", "b"),
}


@pytest.mark.parametrize(("got", "want"), DIFFERENT.values(), ids=DIFFERENT)
def test_difference_is_seen(got, want):
    with pytest.raises(AssertionError):
        assert_same(got, want, "value")


def test_equal_values_are_equal():
    value = {
        "a": [torch.tensor([math.nan, -0.0, math.inf]), math.nan],
        1: (None, "x", 2**70, complex(math.nan, 1)),
    }
    assert_same(value, {"a": [value["a"][0].clone(), math.nan], 1: value[1]}, "value")


def test_mutated_argument_is_seen():
    with pytest.raises(AssertionError, match="arguments"):
        assert_same_behaviour(lambda x: x + 1, lambda x: x.add_(1).clone(), (torch.zeros(2),))


def test_aliasing_of_the_result_is_seen():
    with pytest.raises(AssertionError, match="aliasing"):
        assert_same_behaviour(lambda x: x.clone(), lambda x: x, (torch.zeros(2),))


def test_state_kept_for_the_next_call_is_seen():
    calls = []

    def counting(x):
        calls.append(None)
        return x + len(calls)

    with pytest.raises(AssertionError, match="result"):
        assert_same_behaviour(lambda x: x + 1, counting, (torch.zeros(2),))


def test_exception_is_seen():
    with pytest.raises(AssertionError, match="raised"):
        assert_same_behaviour(lambda x: x, lambda x: x[99], (torch.zeros(2),))


def test_use_of_the_random_generator_is_seen():
    with pytest.raises(AssertionError, match="random state"):
        assert_same_behaviour(lambda x: x.clone(), lambda x: x + torch.rand(2) * 0, (torch.zeros(2),))
