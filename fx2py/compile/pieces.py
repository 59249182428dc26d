"""An artifact whose graph was split becomes the same artifact with its pieces compiled by inductor."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial

import torch
from torch._inductor import config
from torch._inductor.cpu_vec_isa import pick_vec_isa
from torch._inductor.standalone_compile import AOTCompiledArtifact, standalone_compile
from torch._subclasses import FakeTensorMode
from torch.fx.experimental.symbolic_shapes import ShapeEnv
from torch.utils import _pytree as pytree

from fx2py.artifact import Artifact, submodule_table
from fx2py.artifact.artifact import COMPILED, Binder
from fx2py.artifact.compiled import Compiled, CompiledPiece, this_machine
from fx2py.artifact.compiled_calls import ordinary_state
from fx2py.artifact.kernels import cause_of, pack, private_cache, recorded_kernels
from fx2py.compile.symbolic import discarded_sizes, fake_arguments
from fx2py.compile.trace import NotCompiledError, Traced, returning_waited, storages, trace
from fx2py.errors import Fx2pyError, ReplayError
from fx2py.graph.data import GraphData
from fx2py.replay.inputs import Arguments, Inputs
from fx2py.trust import Policy

BACKEND = "inductor"


def compile_pieces(
    data: GraphData, artifact: Artifact, inputs: Inputs | None = None, policy: Policy | None = None
) -> Artifact:
    """The artifact with its pieces compiled for this machine: for ``inputs``, else for what the graph records.

    A piece of which compiled code would do something else stays generated code, and the manifest says why. Raises
    ReplayError for a graph of whose inputs nothing is recorded when there are no ``inputs`` and for one that calls
    nothing, and UntrustedTargetError where ``bind`` would.
    """
    mode = FakeTensorMode(shape_env=ShapeEnv())
    gate = policy or Policy(trust_all=data.provenance.path is None)
    arguments = fake_arguments(data, mode, inputs, gate)
    tensors = {
        name: mode.from_tensor(tensor, static_shapes=True) for name, tensor in artifact.tensors.items()
    }  # sizes of weights never vary
    code = _FakeCode(artifact, artifact.binder(policy), tensors, mode)
    if not code.pieces:
        raise ReplayError("the graph calls nothing that could be compiled.", "Generate it without compiling.")
    with _groups_of(artifact):
        calls = code.recorded_calls(arguments)
        device = _device((arguments, tensors))
        try:
            compiling = _Compiling(code, device, storages(calls.written))
        except NotCompiledError as reason:
            notes = [f"every piece stays generated code: one writes to a tensor, and {reason}"]
            return _completed(artifact, _Compiling(code, device, set(), notes=notes))
        for name in code.pieces:
            try:
                compiling.add(name, calls.of(name))
            except NotCompiledError as reason:
                compiling.notes.append(f"{name} stays generated code: {reason}")
    return _completed(artifact, compiling)


def _groups_of(artifact: Artifact) -> AbstractContextManager[None]:
    """Fake process groups under the names in the code: one process compiles it, which no other rank answers."""
    if not artifact.collectives:
        return nullcontext()
    # A torch that was built without distributed has no torch._C._distributed_c10d, which the module imports.
    from fx2py.distributed.groups import fake_groups

    return fake_groups(artifact.collectives)


def _device(values: object) -> str:
    """The device that the first tensor is on."""
    tensors = (leaf for leaf in pytree.tree_leaves(values) if isinstance(leaf, torch.Tensor))
    return next((str(tensor.device) for tensor in tensors), "cpu")


@dataclass(frozen=True, slots=True, eq=False)
class _FakeCode:
    """Generated code over fake tensors."""

    artifact: Artifact
    bind_to: Binder
    tensors: Mapping[str, torch.Tensor]
    mode: FakeTensorMode

    @property
    def pieces(self) -> list[str]:
        return [entry.name for entry in self.artifact.manifest.submodules if entry.mode == "function"]

    def piece(self, name: str, tensors: Mapping[str, torch.Tensor]) -> Callable[..., object]:
        """One piece as generated, bound to ``tensors``."""
        table = submodule_table(self.bind_to(tensors, {}))
        found: Callable[..., object] = table[self.artifact.manifest.slots.index(name)]
        return found

    def recorded_calls(self, arguments: Arguments) -> _PieceCalls:
        """What each piece is called with when the whole code runs on fake tensors; ReplayError when it cannot."""
        calls = _PieceCalls(tuple(self.tensors.values()))
        bound = self.bind_to(self.tensors, {})
        table = submodule_table(bound)
        named = zip(self.artifact.manifest.slots, table, strict=True)
        table[:] = [calls.recording(name, piece) for name, piece in named]
        args, kwargs = arguments
        try:
            with ordinary_state(), discarded_sizes(self.mode), self.mode, returning_waited():
                bound(*args, **kwargs)
        except Fx2pyError:
            raise
        except Exception as error:  # whatever a graph raises on these shapes is no fault of fx2py
            raise ReplayError(
                f"the graph cannot be run on shapes alone, as compiling needs: {cause_of(error)}",
                "Pass inputs that it accepts, or generate without compiling.",
            ) from error
        return calls

    def traced(self, name: str, args: tuple[object, ...]) -> Traced:
        """A piece as operators; raises NotCompiledError."""
        inputs = [_without_aliases(value, self.mode) for value in args]
        with _reasons():
            return trace(partial(self.piece, name), inputs, self.tensors, self.mode)


@dataclass(frozen=True, slots=True)
class _PieceCall:
    """The arguments and the result of a piece, fake."""

    args: tuple[object, ...]
    result: object

    @property
    def memory(self) -> set[int]:
        return storages(pytree.tree_leaves((self.args, self.result)))


@dataclass(slots=True, eq=False)
class _PieceCalls:
    """The first call of each piece, and the arguments and weights that pieces wrote to.

    A write shows in the tensor's version counter.
    """

    weights: tuple[torch.Tensor, ...]
    first: dict[str, _PieceCall] = field(default_factory=dict)
    written: list[torch.Tensor] = field(default_factory=list)

    def of(self, name: str) -> _PieceCall:
        if name not in self.first:
            raise NotCompiledError("it is not called")
        return self.first[name]

    def recording(self, name: str, piece: Callable[..., object]) -> Callable[..., object]:
        def call(*args: object, **kwargs: object) -> object:
            given = [value for value in (*args, *self.weights) if isinstance(value, torch.Tensor)]
            before = [tensor._version for tensor in given]
            result = piece(*args, **kwargs)
            self.written += [
                tensor for tensor, old in zip(given, before, strict=True) if tensor._version != old
            ]
            self.first.setdefault(name, _PieceCall(args, result))
            return result

        return call


@contextmanager
def _reasons() -> Iterator[None]:
    """Turns whatever tracing or compiling raises into the reason why a piece stays generated code."""
    try:
        yield
    except NotCompiledError:
        raise
    except Exception as error:  # torch's tracers and compilers raise errors of any type
        raise NotCompiledError(cause_of(error)) from error


def _without_aliases(value: object, mode: FakeTensorMode) -> object:
    """A fake tensor like ``value`` in a storage of its own; any other value itself."""
    if not isinstance(value, torch.Tensor):
        return value
    if value.layout != torch.strided or value.is_conj() or value.is_neg() or value.is_quantized:
        raise NotCompiledError("it takes a tensor that is not a plain array of numbers")
    with mode:
        return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device=value.device)


@dataclass(slots=True, eq=False)
class _Compiling:
    """The pieces compiled so far; pieces that repeat each other share one file. ``notes`` says which were left out."""

    code: _FakeCode
    device: str
    written: set[int]
    functions: dict[object, str] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    pieces: list[CompiledPiece] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, name: str, call: _PieceCall) -> None:
        """Compile a piece, unless an earlier one has the same code; raises NotCompiledError."""
        traced = self.code.traced(name, call.args)
        if traced.devices - {self.device}:
            raise NotCompiledError(f"it takes tensors of another device than {self.device}")
        if traced.shares_memory and self.written & call.memory:
            raise NotCompiledError("a piece writes to memory that its results share")
        if traced.key not in self.functions:
            self.functions[traced.key] = self._file(self._code(traced))
        file = self.functions[traced.key]
        digest = hashlib.sha256(self.files[file]).hexdigest()
        specs = (traced.input_specs, traced.weight_specs)
        self.pieces.append(
            CompiledPiece(name, file, digest, *specs, traced.is_single, is_direct=not traced.returns_views)
        )

    def _code(self, traced: Traced) -> bytes:
        with _reasons():
            return compiled_bytes(traced, self.code.mode)

    def _file(self, content: bytes) -> str:
        file = f"{COMPILED}/{hashlib.sha256(content).hexdigest()[:16]}.bin"
        self.files[file] = content
        return file


_SETTINGS = {"compile_threads": 1, "fallback_random": True}
"""In this process, where ``recorded_kernels`` sees each kernel; random numbers as eager kernels draw them."""


def compiled_bytes(traced: Traced, mode: FakeTensorMode) -> bytes:
    """Compile a piece for the CPU or GPU of its inputs; the sizes that are symbolic in ``mode`` may vary."""
    examples = [*traced.inputs, *[tensor for _, tensor in traced.weights]]
    pick_vec_isa()  # compiles test programs once; within private_cache torch would do that for every piece
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


def _completed(artifact: Artifact, compiling: _Compiling) -> Artifact:
    """The artifact with what was compiled, signed; unsigned, with a note, where no key can be kept."""
    environment = compiling.code.mode.shape_env
    assumed = sorted({str(guard.expr) for guard in environment.guards}) if environment else []
    pieces = tuple(piece for piece in compiling.pieces if not (assumed and _varies(piece)))
    notes = [*artifact.manifest.notes, *compiling.notes]
    if len(pieces) < len(compiling.pieces):
        conditions = " and ".join(assumed)
        notes.append(
            f"pieces whose sizes vary stay generated code: compiled, they hold only where {conditions}"
        )
    machine = this_machine(compiling.device)
    compiled = Compiled(BACKEND, compiling.device, machine, pieces)
    try:
        compiled = compiled.signed(artifact.code)
    except OSError as error:
        notes.append(f"the compiled pieces are not signed, for there is no place for a key: {error}")
    manifest = dataclasses.replace(artifact.manifest, compiled=compiled, notes=tuple(notes))
    files = {piece.file: compiling.files[piece.file] for piece in pieces}
    return dataclasses.replace(artifact, manifest=manifest, compiled_files=files)


def _varies(piece: CompiledPiece) -> bool:
    """Whether a piece takes symbolic sizes, as tensors have them (None) or as arguments (no spec)."""
    return any(spec is None or None in (*spec.shape, *spec.stride) for spec in piece.inputs)
