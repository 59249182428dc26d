"""The file of weights is what ``torch.save`` would write; bytes of the graph file get there without being in memory."""

from __future__ import annotations

import hashlib
import os
import zipfile
from pathlib import Path

import pytest
import torch
from torch import nn

import fx2py
from fx2py.artifact import weights
from fx2py.artifact.weights import places_in_files, write_weights
from fx2py.errors import ArtifactError
from fx2py.mapped import place_of

DTYPES = (
    *(torch.float32, torch.bfloat16, torch.float16, torch.float64, torch.float8_e4m3fn, torch.float8_e5m2),
    *(torch.int8, torch.uint8, torch.uint16, torch.int32, torch.bool, torch.complex64),
)


def read(path: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = torch.load(path, weights_only=True, mmap=True)
    return found


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_dtype_is_read_back_by_torch(dtype: torch.dtype, tmp_path: Path) -> None:
    tensors = {
        "plain": torch.arange(24).reshape(4, 6).to(dtype),
        "transposed": torch.arange(24).reshape(4, 6).to(dtype).t(),
        "empty": torch.empty(0, 3, dtype=dtype),
        "scalar": torch.ones((), dtype=dtype),
    }
    sha256 = write_weights(tensors, tmp_path / "w.pt")
    assert sha256 == hashlib.sha256((tmp_path / "w.pt").read_bytes()).hexdigest()
    found = read(tmp_path / "w.pt")
    assert list(found) == list(tensors)
    for name, tensor in tensors.items():
        assert (found[name].dtype, found[name].stride()) == (dtype, tensor.stride())
        assert found[name].shape == tensor.shape
        bits = [each.contiguous().view(torch.uint8) for each in (found[name].reshape(-1), tensor.reshape(-1))]
        assert torch.equal(*bits)
        assert found[name].data_ptr() % 64 == 0


def test_parameters_sharing_and_other_layouts_are_kept(tmp_path: Path) -> None:
    base = torch.arange(12.0)
    tensors = {
        "base": base,
        "part": base[3:7],
        "parameter": nn.Parameter(torch.ones(2)),
        "frozen": nn.Parameter(torch.ones(2), requires_grad=False),
        "sparse": torch.eye(3).to_sparse(),
        "quantized": torch.quantize_per_tensor(torch.tensor([0.5, -1.5]), 0.1, 2, torch.qint8),
        "conjugate": torch.tensor([1 + 2j]).conj(),
        "meta": torch.empty(2, 3, device="meta"),
    }
    write_weights(tensors, tmp_path / "w.pt")
    found = read(tmp_path / "w.pt")
    assert found["part"].untyped_storage()._cdata == found["base"].untyped_storage()._cdata
    assert found["part"].storage_offset() == 3
    assert type(found["parameter"]) is nn.Parameter
    assert (found["parameter"].requires_grad, found["frozen"].requires_grad) == (True, False)
    assert torch.equal(found["sparse"].to_dense(), torch.eye(3))
    assert torch.equal(found["quantized"].int_repr(), tensors["quantized"].int_repr())
    assert found["conjugate"].resolve_conj().tolist() == [1 - 2j]
    assert found["meta"].is_meta


def test_the_file_is_a_sound_archive_and_the_same_each_time(tmp_path: Path) -> None:
    tensors = {"a": torch.randn(100, 100), "b": torch.randn(3)}
    write_weights(tensors, tmp_path / "one.pt")
    write_weights(tensors, tmp_path / "two.pt")
    assert (tmp_path / "one.pt").read_bytes() == (tmp_path / "two.pt").read_bytes()
    with zipfile.ZipFile(tmp_path / "one.pt") as archive:
        assert archive.testzip() is None


def test_one_storage_of_two_dtypes_is_refused_as_torch_refuses_it(tmp_path: Path) -> None:
    whole = torch.arange(4.0)
    with pytest.raises(RuntimeError, match="several dtypes"):
        write_weights({"whole": whole, "bits": whole.view(torch.int32)}, tmp_path / "w.pt")


# -- from file to file


class Wide(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(600, 600)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    torch.export.save(torch.export.export(Wide(), (torch.ones(1, 600),)), tmp_path / "wide.pt2")
    return tmp_path / "wide.pt2"


def test_weights_of_an_archive_lie_in_it(saved: Path) -> None:
    tensors = fx2py.generate(saved).tensors
    for tensor in tensors.values():
        place = place_of(tensor.untyped_storage())
        assert place is not None
        assert place.file.path == saved.resolve()
        with saved.open("rb") as file:
            content = os.pread(file.fileno(), place.size, place.offset)
        assert content == bytes(tensor.untyped_storage())


def test_what_is_written_of_an_archive_is_what_is_in_it(saved: Path, tmp_path: Path) -> None:
    artifact = fx2py.generate(saved)
    artifact.write(tmp_path / "out")
    found = read(tmp_path / "out" / "weights.pt")
    assert all(torch.equal(found[name], tensor) for name, tensor in artifact.tensors.items())


def test_large_storages_can_share_blocks_with_the_file_they_are_from(saved: Path, tmp_path: Path) -> None:
    artifact = fx2py.generate(saved)
    artifact.write(tmp_path / "out")
    (weight,) = [each for each in places_in_files(artifact.tensors).values() if each.size >= 2**20]
    start = (
        (tmp_path / "out" / "weights.pt")
        .read_bytes()
        .index(bytes(artifact.tensors["linear.weight"].untyped_storage()))
    )
    assert start % weights._BLOCK == weight.offset % weights._BLOCK


def test_weights_that_were_written_to_are_saved_as_they_are_now(saved: Path, tmp_path: Path) -> None:
    artifact = fx2py.generate(saved)
    with torch.no_grad():
        artifact.tensors["linear.bias"].zero_()
    artifact.write(tmp_path / "out")
    assert not read(tmp_path / "out" / "weights.pt")["linear.bias"].any()


@pytest.mark.parametrize("change", [Path.unlink, lambda path: os.utime(path)])
def test_a_graph_file_that_changed_meanwhile_is_not_copied_from(change, saved: Path, tmp_path: Path) -> None:
    artifact = fx2py.generate(saved)
    change(saved)
    with pytest.raises(ArtifactError, match=r"wide.pt2"):
        artifact.write(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_damaged_storage_is_refused_by_name(saved: Path) -> None:
    content = bytearray(saved.read_bytes())
    place = place_of(fx2py.generate(saved).tensors["linear.weight"].untyped_storage())
    assert place is not None
    content[place.offset + 5] ^= 1
    saved.write_bytes(content)
    with pytest.raises(fx2py.Fx2pyError, match="its checksum does not match"):
        fx2py.generate(saved)
