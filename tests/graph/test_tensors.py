"""Copies keep sharing, strides and kind; writing back restores bits."""

from __future__ import annotations

import pytest
import torch

from fx2py.graph.tensors import TensorCopies, write_back


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
