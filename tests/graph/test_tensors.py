"""Copies keep sharing, strides and kind; writing back restores bits."""

from __future__ import annotations

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from fx2py.errors import ReplayError
from fx2py.graph.tensors import TensorCopies, bytes_of, shape_of, storages_of, write_back
from tests.graph.wrappers import Cloned, Flattened, Quantized, quantized


def test_views_of_one_storage_stay_views_of_one_storage() -> None:
    base = torch.arange(12.0)
    views = {"rows": base.view(3, 4), "column": base.view(3, 4)[:, 1], "wide": base[:1].expand(5)}
    copied = TensorCopies().of(views)
    for name, view in views.items():
        assert torch.equal(copied[name], view)
        assert copied[name].stride() == view.stride()
        assert copied[name].storage_offset() == view.storage_offset()
    copied["rows"][0, 0] = 7
    assert copied["wide"].tolist() == [7] * 5
    assert base[0] == 0


def test_one_tensor_stays_one_tensor() -> None:
    tensor = torch.ones(2)
    first, second = TensorCopies().of([tensor, tensor])
    assert first is second is not tensor


@pytest.mark.parametrize(
    "tensor",
    [
        torch.nn.Parameter(torch.ones(2)),
        torch.ones(2, requires_grad=True) * 2,
        torch.eye(2).to_sparse(),
        torch.quantize_per_tensor(torch.ones(2), 0.5, 0, torch.qint8),
        torch.ones(2, dtype=torch.complex64).conj(),
        torch.ones(0, 3),
        torch.ones(2, device="meta"),
    ],
    ids=["parameter", "non_leaf", "sparse", "quantized", "conjugated", "empty", "meta"],
)
def test_copy_is_of_the_same_kind(tensor: torch.Tensor) -> None:
    copy = TensorCopies()(tensor)
    for aspect in ("dtype", "shape", "layout", "device", "requires_grad", "is_quantized"):
        assert getattr(copy, aspect) == getattr(tensor, aspect)
    assert type(copy) is type(tensor)
    assert copy.is_conj() == tensor.is_conj()


def test_move_keeps_sharing() -> None:
    base = torch.arange(4.0)
    whole, part = TensorCopies(torch.device("meta")).of([base, base[1:]])
    assert whole.device.type == part.device.type == "meta"
    assert whole.untyped_storage()._cdata == part.untyped_storage()._cdata


def test_write_back_restores_what_changed_through_expanded_views_too() -> None:
    base = torch.arange(4.0)
    tensors = {"expanded": base[:1].expand(3), "rest": base[1:]}
    saved = TensorCopies().of(tensors)
    base.mul_(-1)
    write_back(tensors, saved)
    assert base.tolist() == [0, 1, 2, 3]
    assert not torch.signbit(base[0])


@pytest.mark.parametrize("cls", [Flattened, Cloned])
def test_copy_of_a_wrapper_has_numbers_of_its_own(cls: type[Quantized]) -> None:
    weight = torch.nn.Parameter(quantized(cls, "int8"), requires_grad=False)
    tensors = {"weight": weight}
    copied = TensorCopies().of(tensors)
    assert isinstance(copied["weight"], torch.nn.Parameter)
    assert type(copied["weight"]) is cls
    assert copied["weight"].note == "int8"
    weight.numbers.zero_()
    assert not torch.equal(copied["weight"].dense(), weight.dense())
    write_back(tensors, copied)
    assert torch.equal(copied["weight"].dense(), weight.dense())


def test_parts_of_wrappers_stay_shared() -> None:
    weight = quantized(Flattened)
    copied = TensorCopies().of([weight, weight.scale, Flattened(weight.numbers, torch.ones(3, 1))])
    assert copied[0].scale is copied[1]
    assert copied[0].numbers is copied[2].numbers


def test_wrapper_that_cannot_be_copied_is_refused_by_its_class() -> None:
    with pytest.raises(ReplayError, match="Quantized cannot be copied: Quantized does not implement"):
        TensorCopies()(quantized(Quantized))


DENSE = torch.eye(4)
TENSORS = {
    "dense": (DENSE, 1),
    "fake": (FakeTensorMode().from_tensor(DENSE), 1),
    "meta": (DENSE.to("meta"), 1),
    "quantized": (torch.quantize_per_tensor(DENSE, 0.5, 0, torch.qint8), 1),
    "conjugated": (DENSE.to(torch.complex64).conj(), 1),
    "coo": (DENSE.to_sparse(), 2),
    "csr": (DENSE.to_sparse_csr(), 3),
    "csc": (DENSE.to_sparse_csc(), 3),
    "bsr": (DENSE.to_sparse_bsr((2, 2)), 3),
    "bsc": (DENSE.to_sparse_bsc((2, 2)), 3),
    "mkldnn": (DENSE.to_mkldnn(), None),
    "nested": (torch.nested.nested_tensor([DENSE[0], DENSE[1, :2]]), 1),
    "functional": (torch._to_functional_tensor(DENSE), None),
    "flattened wrapper": (quantized(Flattened), 2),
    "wrapper of attributes": (quantized(Cloned), 2),
}


@pytest.mark.parametrize(("tensor", "count"), TENSORS.values(), ids=TENSORS)
def test_storages_of_every_kind_of_tensor(tensor: torch.Tensor, count: int | None) -> None:
    found = storages_of(tensor)
    assert found == storages_of(tensor)
    assert (None if found is None else len(found)) == count


def test_storage_inside_a_transform_is_not_known() -> None:
    seen: list[object] = []
    torch.vmap(lambda x: seen.append(storages_of(x)) or x)(DENSE)
    torch.func.grad(lambda x: seen.append(storages_of(x)) or x.sum())(DENSE)
    assert seen == [None, None]


def test_sparse_tensor_and_its_own_values_share_a_storage() -> None:
    sparse = DENSE.to_sparse_csr()
    assert storages_of(sparse.values()) < storages_of(sparse)


def test_shape_and_size_of_tensors_that_are_made_of_others() -> None:
    nested = TENSORS["nested"][0]
    assert shape_of(nested) == (2, 4)
    assert bytes_of(nested) == 6 * 4
    assert bytes_of(DENSE.to_sparse()) == 4 * 2 * 8 + 4 * 4
    assert bytes_of(quantized(Flattened)) == 12 + 3 * 4
