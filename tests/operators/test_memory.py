"""The fact ``memory`` is proven on the installed torch."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from fx2py.operators.facts import facts_named, table
from tests.operators.memory_survey import Refuted, observe, survey

STORED = {name: memory for name in table() if (memory := facts_named(name).memory) is not None}
COMMON = """add.Tensor mul.Tensor linear.default matmul.default view.default transpose.int reshape.default
split.Tensor layer_norm.default softmax.int gelu.default relu_.default add_.Tensor embedding.default cat.default
einsum.default index.Tensor dropout.default to.dtype contiguous.default max_pool2d.default topk.default"""
aten = torch.ops.aten
X = torch.arange(6.0).view(2, 3)


@pytest.fixture(autouse=True)
def _no_gradients() -> Any:
    with torch.no_grad():
        yield


def test_common_operators_have_the_facts_that_are_proven() -> None:
    names = frozenset(COMMON.split())
    assert survey(names).table() == {name: STORED[name] for name in names}


@pytest.mark.slow
def test_the_whole_table_is_what_is_proven() -> None:
    assert survey().table() == STORED


def test_a_result_that_is_made_of_an_operand_is_a_view_of_it() -> None:
    assert observe(aten.einsum.default, (("ij->ji", [X]), {})) == "view"
    assert observe(aten.contiguous.default, ((X,), {})) == "view"
    assert observe(aten.neg.default, ((X,), {})) == "fresh"


def test_what_is_made_of_operators_may_be_a_view_where_no_sample_is() -> None:
    assert observe(aten.einsum.default, (("ij,ij->i", [X, X]), {})) == "view"


REFUTED: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "writes to its statistics": (
        aten.native_batch_norm.default,
        (X, None, None, torch.zeros(3), torch.ones(3), True, 0.1, 1e-5),
    ),
    "changes the shape of its operand": (aten.unsqueeze_.default, (X, 0)),
    "returns numbers that are yet to be conjugated": (aten._conj.default, (X.to(torch.complex64),)),
    "writes to an operand that it does not return": (
        aten._foreach_add_.Scalar,
        ([X], 1),
    ),
}


@pytest.mark.parametrize("name", REFUTED)
def test_an_operator_is_in_no_table_that(name: str) -> None:
    op, args = REFUTED[name]
    with pytest.raises(Refuted):
        observe(op, (args, {}))
