"""One compiled function as bytes, and back: what torch serializes of it, with the shared libraries of its kernels.

torch's own serialized form holds kernels for the CPU as C++ source, which ``AsyncCompile.cpp_pybinding`` of
torch/_inductor/async_compile.py would compile again in every process.
"""

from __future__ import annotations

import functools
import hashlib
import io
import os
import tempfile
import threading
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from torch._inductor.async_compile import AsyncCompile
from torch._inductor.codecache import CppPythonBindingsCodeCache
from torch._inductor.standalone_compile import AOTCompiledArtifact

from fx2py.errors import ArtifactError

Boxed = Callable[[list[object]], Sequence[object]]
"""A compiled function in torch's boxed convention: it takes one list, clears it to free its arguments early, and
returns a list or tuple (``make_boxed_func`` in torch/_functorch/_aot_autograd/utils.py)."""

_FUNCTION = "function"
_EPOCH = (1980, 1, 1, 0, 0, 0)
_ONE_AT_A_TIME = threading.Lock()
"""Held while the environment and torch's own functions are patched, which all threads share."""


def pack(function: bytes, kernels: Mapping[str, Path]) -> bytes:
    """A serialized function and the shared libraries of its kernels as one archive; equal parts give equal bytes."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(zipfile.ZipInfo(_FUNCTION, _EPOCH), function)
        for name in sorted(kernels):
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), kernels[name].read_bytes())
    return packed.getvalue()


def load(packed: bytes, *, direct: bool) -> Boxed:
    """The function in an archive, ready to be called. This loads machine code: the bytes must be one's own.

    ``direct`` leaves out the wrapper in which torch restores views of inputs, for a function that returns none.
    Raises ArtifactError when it cannot be loaded.
    """
    try:
        return _loaded(packed, direct)
    except Exception as error:  # torch and Python raise errors of any type on bytes that hold no function
        raise ArtifactError(f"it cannot be loaded: {cause_of(error)}") from error


def cause_of(error: Exception) -> str:
    """The class of an error and the first line of what it says."""
    first, _, _ = str(error).strip().partition("\n")
    return f"{type(error).__name__}: {first}"


def _loaded(packed: bytes, direct: bool) -> Boxed:
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    function = parts.pop(_FUNCTION)
    with private_cache(), _stored_kernels(parts):
        loaded = AOTCompiledArtifact.deserialize(function)
    # Of a CompiledFxGraph (torch/_inductor/output_code.py): inductor's own function, without AOT autograd's wrappers.
    inner = getattr(loaded.inner_fn.compiled_fn, "current_callable", None)
    return inner if direct and inner is not None else lambda args: loaded(*args)


@contextmanager
def private_cache() -> Iterator[None]:
    """While the block runs, torch's cache of compiled code is a folder that no other process reads or writes."""
    with _ONE_AT_A_TIME, patch.dict(os.environ, {"TORCHINDUCTOR_CACHE_DIR": _private_folder().name}):
        yield


@contextmanager
def recorded_kernels() -> Iterator[dict[str, Path]]:
    """The shared libraries of the kernels that are compiled in the block, by the name that ``pack`` stores them under."""
    recorded: dict[str, Path] = {}
    compile_kernel = AsyncCompile.cpp_pybinding

    # torch compiles each kernel when it runs the module that inductor wrote, by this method.
    def compile_and_record(self: AsyncCompile, argtypes: list[str], source_code: str) -> object:
        kernel = compile_kernel(self, argtypes, source_code)
        recorded[_kernel_name(argtypes, source_code)] = Path(kernel.__self__.__file__)
        return kernel

    with patch.object(AsyncCompile, "cpp_pybinding", compile_and_record):
        yield recorded


@contextmanager
def _stored_kernels(stored: Mapping[str, bytes]) -> Iterator[None]:
    """While the block runs, kernels are loaded from these bytes, and never compiled."""

    def load_kernel(self: AsyncCompile, argtypes: list[str], source_code: str) -> object:
        content = stored[_kernel_name(argtypes, source_code)]
        name = hashlib.sha256(content).hexdigest()[:32]
        path = Path(_private_folder().name) / f"{name}.so"
        if not path.exists():
            path.write_bytes(content)
        library: Any = CppPythonBindingsCodeCache._load_library(str(path), name)
        return library.kernel

    with patch.object(AsyncCompile, "cpp_pybinding", load_kernel):
        yield


def _kernel_name(argtypes: list[str], source_code: str) -> str:
    digest = hashlib.sha256("\0".join((*argtypes, source_code)).encode())
    return f"{digest.hexdigest()[:32]}.so"


@functools.cache
def _private_folder() -> tempfile.TemporaryDirectory[str]:
    """A folder that only this process and user can write to; it is deleted when the process ends."""
    return tempfile.TemporaryDirectory(prefix="fx2py-", ignore_cleanup_errors=True)
