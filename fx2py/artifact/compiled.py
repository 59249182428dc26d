"""Compiled pieces: what a manifest records of them, of the machine that they are for, and of who compiled them."""

from __future__ import annotations

import functools
import hashlib
import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import torch

from fx2py.artifact import signing
from fx2py.emit.module import Texts
from fx2py.errors import Admit, Hint

_NOT_AS_STORED = tuple(
    getattr(torch._C.DispatchKey, name)
    for name in (
        *("Conjugate", "Negative", "ZeroTensor", "Functionalize"),
        *("NestedTensor", "FuncTorchBatched", "FuncTorchGradWrapper", "Python"),
    )
)
"""The dispatch keys of tensors whose values are not the numbers in their storage, or that have no storage of their own."""
NOT_OURS = Hint("not compiled by this user; ", Admit("trust_all"), " loads them")


@dataclass(frozen=True, slots=True)
class Machine:
    """The machine that compiled code is for: machine code runs where everything it was made for is the same.

    ``torch`` with its commit, ``python``, the ``system`` with its architecture, a digest of the ``processor``'s
    features, and the ``accelerator`` ('' on the CPU).
    """

    torch: str
    python: str
    system: str
    processor: str
    accelerator: str = ""

    def difference(self, other: Machine) -> str:
        """The first thing in which another machine differs, as a sentence's end; '' when code of one runs on both."""
        for field in fields(self):
            ours, theirs = getattr(self, field.name), getattr(other, field.name)
            if ours != theirs:
                return f"compiled for {field.name} {ours or 'none'}, and this is {theirs or 'none'}"
        return ""


@functools.cache
def this_machine(device: str) -> Machine:
    """The machine of this process, as code for ``device`` sees it."""
    return Machine(
        torch=f"{torch.__version__} ({torch.version.git_version})",
        python=platform.python_version(),
        system=f"{platform.system()} {platform.machine()}",
        processor=_processor(),
        accelerator=torch.cuda.get_device_name(device) if device.startswith("cuda") else "",
    )


def _processor() -> str:
    """A digest of what the processor can do; where the system does not list it, of its name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    listed = next((line for line in lines if line.lower().startswith(("flags", "features"))), "")
    features = " ".join(sorted(listed.partition(":")[2].split())) or platform.processor()
    return hashlib.sha256(features.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """A tensor that compiled code was made for; a size or stride that may vary is None."""

    dtype: str
    shape: tuple[int | None, ...]
    stride: tuple[int | None, ...]

    @classmethod
    def of(cls, tensor: torch.Tensor) -> TensorSpec:
        """The spec of a tensor; symbolic sizes may vary."""
        shape, stride = (
            tuple(size if type(size) is int else None for size in sizes)
            for sizes in (tensor.shape, tensor.stride())
        )
        return cls(str(tensor.dtype).removeprefix("torch."), shape, stride)

    def fits(self, tensor: object, device: str) -> bool:
        """Whether code for this spec may be given a value."""
        return (
            isinstance(tensor, torch.Tensor)
            and type(tensor) in (torch.Tensor, torch.nn.Parameter)
            and str(tensor.device) == device
            and tensor.layout == torch.strided
            and not any(map(torch._C._dispatch_keys(tensor).has, _NOT_AS_STORED))
            and str(tensor.dtype) == f"torch.{self.dtype}"
            and _same_sizes(tensor.shape, self.shape)
            and _same_sizes(tensor.stride(), self.stride)
        )


def _same_sizes(sizes: tuple[int, ...], wanted: tuple[int | None, ...]) -> bool:
    return len(sizes) == len(wanted) and all(w is None or s == w for s, w in zip(sizes, wanted, strict=True))


@dataclass(frozen=True, slots=True)
class CompiledPiece:
    """The compiled code of one submodule: its ``file`` in the folder, which pieces that repeat each other share.

    ``inputs`` has a spec for each argument, None for an integer; ``weights`` are the tensors of ``weights.pt`` that
    the code takes after them. ``is_single``: it returns one value, not a tuple. ``is_direct``: no result is a view of
    an argument or weight.
    """

    name: str
    file: str
    sha256: str
    inputs: tuple[TensorSpec | None, ...]
    weights: tuple[tuple[str, TensorSpec], ...]
    is_single: bool
    is_direct: bool

    def fault(self, files: Mapping[str, bytes], tensors: Mapping[str, torch.Tensor], device: str) -> str:
        """Why this piece cannot be used with the ``files`` and ``tensors`` of a folder, or ''; loads no code."""
        if self.file not in files:
            return f"{self.file} is missing"
        if hashlib.sha256(files[self.file]).hexdigest() != self.sha256:
            return f"{self.file} is not the file that the manifest names"
        other = [name for name, spec in self.weights if not spec.fits(tensors.get(name), device)]
        return f"it was compiled for another {other[0]} than the folder holds" if other else ""


@dataclass(frozen=True, slots=True)
class GeneratedCode:
    """The code that compiled pieces belong to: its ``texts``, and the names of its submodules in the order of the table."""

    texts: Texts
    slots: tuple[str, ...]

    @property
    def digest(self) -> str:
        files = [hashlib.sha256(text.encode()).hexdigest() for text in self.texts if text is not None]
        return " ".join(files)


@dataclass(frozen=True, slots=True)
class Compiled:
    """The compiled pieces of a folder, what they were compiled by and for, and the signature of who did it."""

    backend: str
    device: str
    machine: Machine
    pieces: tuple[CompiledPiece, ...]
    signature: str = ""

    def __str__(self) -> str:
        files = {piece.file for piece in self.pieces}
        return f"{len(self.pieces)} pieces by {self.backend}, {len(files)} of them different"

    def signed(self, code: GeneratedCode) -> Compiled:
        """These pieces, signed by this user as those of ``code``; OSError when there is no place for a key."""
        return replace(self, signature=signing.sign(self._message(code)))

    def is_ours(self, code: GeneratedCode) -> bool:
        return signing.is_signed(self._message(code), self.signature)

    def _message(self, code: GeneratedCode) -> bytes:
        """What is signed: all that decides what is run and on what, so that no part of it can be exchanged."""
        pieces = asdict(replace(self, signature=""))
        return json.dumps(["fx2py", code.digest, code.slots, pieces], sort_keys=True).encode()

    def fault(self, code: GeneratedCode, device: str, trusted: bool) -> str:
        """Why these pieces are not used on this machine and device, or ''."""
        if device != self.device:
            return f"compiled for the device {self.device}"
        difference = self.machine.difference(this_machine(self.device))
        if difference:
            return difference
        return "" if trusted or self.is_ours(code) else NOT_OURS

    def faults(self, files: Mapping[str, bytes], tensors: Mapping[str, torch.Tensor]) -> dict[str, str]:
        """By name, why single pieces cannot be used with what a folder holds; the others are used."""
        faults = {piece.name: piece.fault(files, tensors, self.device) for piece in self.pieces}
        return {name: fault for name, fault in faults.items() if fault}


def listed(faults: Mapping[str, str]) -> str:
    """Faults of pieces as one line, each fault once with its pieces."""
    names: dict[str, list[str]] = {}
    for name, fault in faults.items():
        names.setdefault(fault, []).append(name)
    return "; ".join(f"{', '.join(pieces)}: {fault}" for fault, pieces in names.items())
