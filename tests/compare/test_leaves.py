"""Two results are equal only if no caller could tell them apart."""

from __future__ import annotations

import collections
import math
from typing import Any

import pytest
import torch

from fx2py.compare.leaves import compare_leaves

Point = collections.namedtuple("Point", "x y")
Other = collections.namedtuple("Other", "x y")


def aspects(expected: Any, actual: Any) -> set[str]:
    return {aspect for leaf in compare_leaves("output", expected, actual) for aspect in leaf.differences}


def nan_of(bits: int) -> torch.Tensor:
    return torch.tensor([bits], dtype=torch.int32).view(torch.float32)


EQUAL = [
    (torch.tensor([1.0, math.nan]), torch.tensor([1.0, math.nan])),
    (nan_of(0x7FC00000), nan_of(0x7FC00001)),
    (math.nan, -math.nan),
    ({"a": [1, (2.0, None)]}, {"a": [1, (2.0, None)]}),
    (Point(1, 2), collections.namedtuple("Point", "x y")(1, 2)),
    (torch.fx.immutable_collections.immutable_list([1]), [1]),
    (torch.eye(3).to_sparse(), torch.eye(3).to_sparse()),
    (torch.zeros(0), torch.zeros(0)),
    (torch.ones(2, dtype=torch.complex64).conj(), torch.ones(2, dtype=torch.complex64).conj()),
    (torch.float32, torch.float32),
    (slice(1, 2), slice(1, 2)),
]
DIFFERENT = [
    (torch.tensor([0.0]), torch.tensor([-0.0]), {"values"}),
    (torch.tensor([1.0]), torch.tensor([1.0 + 2**-23]), {"values"}),
    (torch.tensor([1 + 0j]), torch.tensor([1 + 0j]).conj().resolve_conj(), {"values"}),
    (torch.ones(2), torch.ones(2, dtype=torch.float64), {"dtype"}),
    (torch.ones(2), torch.ones(1, 2), {"shape"}),
    (torch.ones(2, 2), torch.ones(2, 2).t(), {"stride"}),
    (torch.ones(2), torch.ones(2, requires_grad=True), {"requires_grad"}),
    (torch.ones(2), torch.ones(2, device="meta"), {"device"}),
    (torch.ones(2), torch.nn.Parameter(torch.ones(2), False), {"type"}),
    (torch.eye(2), torch.eye(2).to_sparse(), {"layout"}),
    (torch.eye(3).to_sparse(), (2 * torch.eye(3)).to_sparse(), {"values"}),
    (0.0, -0.0, {"values"}),
    (1, True, {"type"}),
    (1, 1.0, {"type"}),
    (complex(0.0, -0.0), complex(0.0, 0.0), {"values"}),
    ([1], (1,), {"structure"}),
    ([1], [1, 2], {"structure"}),
    ({"a": 1, "b": 2}, {"b": 2, "a": 1}, {"structure"}),
    (Point(1, 2), Other(1, 2), {"structure"}),
    (Point(1, 2), (1, 2), {"structure"}),
    (torch.Size([1]), (1,), {"structure"}),
    (None, torch.ones(1), {"type"}),
]


@pytest.mark.parametrize(("expected", "actual"), EQUAL)
def test_equal_results_have_no_differences(expected: Any, actual: Any) -> None:
    assert aspects(expected, actual) == set()


@pytest.mark.parametrize(("expected", "actual", "found"), DIFFERENT)
def test_each_difference_is_named(expected: Any, actual: Any, found: set[str]) -> None:
    assert aspects(expected, actual) == found


def test_outcome_leads_to_the_leaf_and_measures_the_difference() -> None:
    expected = {"a": [torch.tensor([1.0, 2.0, 3.0])], "b": Point(1, 2)}
    actual = {"a": [torch.tensor([1.0, 2.5, 3.25])], "b": Point(1, 2)}
    first, *rest = compare_leaves("output", expected, actual)
    assert (first.path, first.differing, first.max_difference) == ("output['a'][0]", 2, 0.5)
    assert first.expected == "float32[3] cpu"
    assert [leaf.path for leaf in rest] == ["output['b'].x", "output['b'].y"]
    assert all(leaf.equal for leaf in rest)


@pytest.mark.parametrize(
    "dtype",
    [
        *(
            torch.float16,
            torch.bfloat16,
            torch.float64,
            torch.float8_e4m3fn,
            torch.complex64,
            torch.complex128,
        ),
        *(torch.int8, torch.uint8, torch.int64, torch.bool),
    ],
)
def test_every_dtype_is_compared_by_bits(dtype: torch.dtype) -> None:
    ones = torch.ones(3).to(dtype)
    other = torch.tensor([1.0, 0.0, 1.0]).to(dtype)
    assert aspects(ones, ones.clone()) == set()
    (leaf,) = compare_leaves("output", ones, other)
    assert (leaf.differences, leaf.differing, leaf.max_difference) == (("values",), 1, 1.0)


def test_quantized_tensors_differ_by_scale_and_by_value() -> None:
    def quantized(value: float, scale: float) -> torch.Tensor:
        return torch.quantize_per_tensor(torch.tensor([value]), scale, 0, torch.qint8)

    assert aspects(quantized(1.0, 0.5), quantized(1.0, 0.5)) == set()
    assert aspects(quantized(1.0, 0.5), quantized(2.0, 1.0)) == {"quantizer"}
    assert aspects(quantized(1.0, 0.5), quantized(2.0, 0.5)) == {"values"}
