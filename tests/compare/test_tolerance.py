"""Numbers within a tolerance count as equal, where one was asked for; what else a caller can see still counts."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from fx2py.compare import Tolerance
from fx2py.compare.leaves import compare_leaves
from fx2py.compare.tolerance import manner_of
from fx2py.errors import OptionError

ONE = torch.tensor([1.0, -2.0, 0.0])
DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64, torch.complex128]


def equal(expected: Any, actual: Any, close: Tolerance) -> bool:
    return all(leaf.equal for leaf in compare_leaves("output", expected, actual, manner=manner_of(close)))


def is_close(expected: torch.Tensor, actual: torch.Tensor, **limits: Any) -> bool:
    try:
        torch.testing.assert_close(actual, expected, equal_nan=True, **limits)
    except AssertionError:
        return False
    return True


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("limits", [{}, {"rtol": 1e-3, "atol": 0.0}, {"rtol": 0.0, "atol": 1e-2}])
def test_tolerances_are_those_of_torch_testing(dtype: torch.dtype, limits: dict[str, float]) -> None:
    generator = torch.Generator().manual_seed(0)
    for exponent in range(-8, 1):
        expected = torch.randn(50, generator=generator, dtype=torch.float64).to(dtype)
        noise = torch.randn(50, generator=generator, dtype=torch.float64) * 10.0**exponent
        actual = (expected + noise).to(dtype)
        for one, other in zip(expected.split(1), actual.split(1), strict=True):
            assert equal(one, other, Tolerance(**limits)) == is_close(one, other, **limits)


def test_whole_numbers_are_exact_unless_a_tolerance_says_more() -> None:
    large = torch.tensor([2**60, 2**60 + 1])
    assert not equal(large, large + 1, Tolerance())
    assert equal(torch.tensor([5, 6]), torch.tensor([6, 6]), Tolerance(0.0, 1.0))


def test_nan_equals_nan_infinity_equals_itself_and_nothing_else_does() -> None:
    special = torch.tensor([math.nan, math.inf, -math.inf])
    for close in (Tolerance(), Tolerance(ulps=3), Tolerance(0.0, 0.0), Tolerance(0.5, 0.5)):
        assert equal(special, special.clone(), close)
        assert not equal(special, special.flip(0), close)
        assert not equal(special, torch.zeros(3), close)
        assert equal(torch.tensor([0.0]), torch.tensor([-0.0]), close)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("start", [1.0, -1.0, 0.0, 65000.0])
def test_ulps_count_representable_numbers(dtype: torch.dtype, start: float) -> None:
    here = torch.tensor([start], dtype=dtype)
    there = here.clone()
    for _ in range(3):
        there = torch.nextafter(there, torch.tensor([math.inf], dtype=dtype))
    assert equal(here, there, Tolerance(ulps=3))
    assert not equal(here, there, Tolerance(ulps=2))
    assert not equal(-here - 1, there + 1, Tolerance(ulps=2))


def test_numbers_on_both_sides_of_zero_are_a_few_ulps_apart() -> None:
    tiny = torch.nextafter(torch.zeros(1), torch.ones(1))
    assert equal(tiny, -tiny, Tolerance(ulps=2))
    assert not equal(tiny, -tiny, Tolerance(ulps=1))


def test_complex_and_python_numbers_are_compared_so_too() -> None:
    assert equal(torch.tensor([1 + 1j]), torch.tensor([1 + 1j + 1e-7]), Tolerance(ulps=4))
    assert equal([1.0, 2j], [1.0 + 1e-9, 2j + 1e-9], Tolerance())
    assert not equal([1.0], [1.1], Tolerance())
    assert not equal([1], [2], Tolerance())


def test_only_what_exceeds_is_counted() -> None:
    (leaf,) = compare_leaves(
        "output", ONE, ONE + torch.tensor([1e-7, 0.5, 0.0]), manner=manner_of(Tolerance())
    )
    assert leaf.differing == 1
    assert leaf.max_difference == 0.5


def test_shape_dtype_and_aliasing_count_and_strides_do_not() -> None:
    matrix = torch.ones(2, 3)
    assert equal(matrix, matrix.t().contiguous().t(), Tolerance())
    assert not equal(matrix, matrix.double(), Tolerance())
    assert not equal(matrix, matrix[:1], Tolerance())


@pytest.mark.parametrize(
    "wrong",
    [
        *({"rtol": 1.0}, {"atol": 1.0}, {"rtol": -1.0, "atol": 0.0}, {"rtol": math.nan, "atol": 0.0}),
        *({"rtol": "1", "atol": 0}, {"ulps": -1}, {"ulps": True}, {"ulps": 1, "rtol": 0.0, "atol": 0.0}),
    ],
)
def test_a_tolerance_that_means_nothing_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        Tolerance(**wrong)
