"""One traced piece compiled by inductor, as bytes that another process loads."""

from __future__ import annotations

from torch._inductor import config
from torch._inductor.cpu_vec_isa import pick_vec_isa
from torch._inductor.standalone_compile import AOTCompiledArtifact, standalone_compile
from torch._subclasses import FakeTensorMode

from fx2py.artifact.compiled_calls import ordinary_state
from fx2py.artifact.kernels import pack, private_cache, recorded_kernels
from fx2py.compile.trace import Traced

_SETTINGS = {"compile_threads": 1, "fallback_random": True}
"""Kernels are recorded as they are made, one at a time; random numbers are those of the generated code."""


def compiled_bytes(traced: Traced, mode: FakeTensorMode) -> bytes:
    """Compile a piece for the CPU or GPU of its inputs; the sizes that are symbolic in ``mode`` may vary."""
    examples = [*traced.inputs, *[tensor for _, tensor in traced.weights]]
    pick_vec_isa()  # torch asks the compiler what this processor can do, and keeps the answers in its own cache
    with private_cache(), recorded_kernels() as kernels, ordinary_state(), config.patch(_SETTINGS):
        compiled = standalone_compile(
            traced.module,
            examples,
            dynamic_shapes="from_example_inputs",
            options={},
            aot=True,
            fake_mode=mode,
        )
        assert isinstance(compiled, AOTCompiledArtifact)
        return pack(compiled.serialize(), kernels)
