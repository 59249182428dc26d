"""Artifact: the generated code with its manifest and tensors, in memory or as a folder."""

from __future__ import annotations

import dataclasses
import hashlib
import linecache
import os
import pickle
import shutil
import tempfile
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from fx2py.artifact.folder import put_in_place
from fx2py.artifact.manifest import Manifest, describe, manifest_text, read_manifest
from fx2py.collector import collector_paused
from fx2py.emit.audit import admitted_classes, audit
from fx2py.emit.module import emit
from fx2py.emit.validate import validate
from fx2py.errors import ArtifactError, Finding, ReplayError, UnsupportedGraphError
from fx2py.graph.data import GraphData
from fx2py.graph.devices import present_device
from fx2py.graph.split import split_data
from fx2py.graph.tensors import TensorCopies
from fx2py.graph.values import Live, walk
from fx2py.program.bound import bound_tensors
from fx2py.program.ir import Program
from fx2py.program.lower import lower
from fx2py.program.options import DEFAULT, GenerateOptions
from fx2py.read.origin import sha256_of
from fx2py.trust import Policy

SOURCE, MANIFEST, WEIGHTS = "execution_fn.py", "manifest.json", "weights.pt"


@dataclass(frozen=True, slots=True, eq=False)
class Artifact:
    """Generated code: its ``source``, its ``manifest`` and the tensors that it is bound to.

    ``program`` is set when it was generated in this process, ``folder`` when it was opened or written; ``device`` and
    ``modules`` when its tensors and live modules were moved.
    """

    source: str = field(repr=False)
    manifest: Manifest = field(repr=False)
    tensors: Mapping[str, torch.Tensor] = field(repr=False)
    program: Program | None = field(default=None, repr=False)
    folder: Path | None = None
    device: torch.device | None = None
    modules: Mapping[str, torch.nn.Module] = field(default_factory=dict, repr=False)

    def to(self, device: str | torch.device) -> Artifact:
        """This artifact with its tensors, and the devices in its code, on ``device``."""
        target = present_device(device)
        copies = TensorCopies(target)
        tensors = {name: copies(tensor) for name, tensor in self.tensors.items()}
        modules = {path: copies.of_module(module) for path, module in self._modules().items()}
        return dataclasses.replace(self, tensors=tensors, modules=modules, device=target)

    def bind(
        self,
        device: str | torch.device | None = None,
        submods: Mapping[str, Callable[..., Any]] | None = None,
        *,
        policy: Policy | None = None,
    ) -> Callable[..., Any]:
        """The code as a callable: its weights, constants and submodules on ``device`` (None keeps theirs).

        ``submods`` replaces submodules by name. ``policy`` says which names of a file may become callables; code that
        was generated from a live object needs none. Raises UntrustedTargetError or ReplayError before anything runs.
        """
        if device is not None:
            return self.to(device).bind(None, submods, policy=policy)
        gate = policy or Policy(trust_all=self._is_live())
        audit(self.source, gate, self._place())
        gate.load_libraries()
        namespace = self._execute()
        if not gate.trust_all:
            namespace["find_class"] = admitted_classes(gate)
        for constant in self.program.consts if self.program else ():
            if isinstance(constant.value, Live):
                namespace["LIVE"][constant.name] = constant.value.value
        try:
            bound = namespace["bind"](self.tensors, self.device, {**self._modules(), **(submods or {})})
        except RuntimeError as error:
            raise ReplayError(f"{self._place()}: {error}") from None
        return bound  # type: ignore[no-any-return]

    def write(self, folder: str | os.PathLike[str]) -> Artifact:
        """Write the folder whole or not at all, in place of an older one; returns the artifact that lives there.

        Raises UnsupportedGraphError when the code is bound to a live object that no file can hold, and ArtifactError
        when ``folder`` is something else than an earlier generated folder or cannot be written.
        """
        if self.program is not None:
            _refuse_live_constants(self.program)
        target = Path(folder)
        try:
            _check_replaceable(target)
            manifest = self._write_folder(target.resolve())
        except (OSError, RuntimeError) as error:
            raise ArtifactError(
                f"{target} cannot be written: {error}.", "Choose another folder with -o."
            ) from None
        return dataclasses.replace(self, manifest=manifest, folder=target)

    def _write_folder(self, target: Path) -> Manifest:
        target.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        try:
            manifest = self._write_files(staging, target)
            staging.chmod(0o755)
            put_in_place(staging, target)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        return manifest

    def _write_files(self, staging: Path, target: Path) -> Manifest:
        (staging / SOURCE).write_text(self.source, encoding="utf-8")
        torch.save(dict(self.tensors), staging / WEIGHTS)
        origin = self.manifest.graph
        if origin.path is not None:
            base = Path(origin.path) if self.folder is None else self.folder / origin.path
            origin = dataclasses.replace(origin, path=os.path.relpath(base, target))
        files = {name: sha256_of(staging / name) for name in (SOURCE, WEIGHTS)}
        manifest = dataclasses.replace(self.manifest, graph=origin, files=files)
        (staging / MANIFEST).write_text(manifest_text(manifest), encoding="utf-8")
        return manifest

    def _place(self) -> str:
        return str(self.folder / SOURCE) if self.folder else "the generated code"

    def _execute(self) -> dict[str, Any]:
        """The file's namespace; the text is registered so that tracebacks and debuggers show its lines."""
        digest = hashlib.sha256(self.source.encode()).hexdigest()[:16]
        filename = str(self.folder / SOURCE) if self.folder else f"<fx2py execution_fn {digest}>"
        if not self.folder:
            linecache.cache[filename] = (len(self.source), None, self.source.splitlines(True), filename)
        module = types.ModuleType(f"fx2py_generated_{digest}")
        module.__file__ = filename
        try:
            exec(compile(self.source, filename, "exec"), module.__dict__)
        except (ImportError, AttributeError) as error:
            hint = (
                "Import the library that provides it first; for operators, --allow-op NAMESPACE=MODULE does."
            )
            raise ReplayError(f"{self._place()} needs something that is not here: {error}.", hint) from None
        return module.__dict__

    def _is_live(self) -> bool:
        return self.program is not None and self.program.provenance.path is None

    def _modules(self) -> Mapping[str, torch.nn.Module]:
        """The modules of a live graph, which are called as they are."""
        if self.modules or self.program is None:
            return self.modules
        records = ((entry.path, entry.record) for entry in self.program.submods if not entry.function)
        return {
            path: record.live for path, record in records if record is not None and record.live is not None
        }


@collector_paused()
def generate(data: GraphData, options: GenerateOptions = DEFAULT) -> Artifact:
    """The artifact of a graph: lowered, emitted, and validated against its program.

    Raises UnsupportedGraphError with every finding when the graph cannot be generated exactly, and SplitError when it
    holds nothing of what ``options`` split it at.
    """
    if options.split_at:
        data = split_data(data, options.split_at)
        options = dataclasses.replace(options, keep_submodules=True)
    try:
        program = lower(data, options)
        source = emit(program, options)
        validate(program, source)
    except RecursionError:
        too_deep = Finding("the graph", "its values are nested deeper than Python's own stack")
        raise UnsupportedGraphError((too_deep,), data.provenance.path or "the graph") from None
    return Artifact(source, describe(program, options), bound_tensors(program), program)


def open_artifact(folder: str | os.PathLike[str]) -> Artifact:
    """The artifact in a generated folder; its code is read, not run.

    Raises ArtifactError when a file is missing, or when the weights are not those that the manifest names.
    """
    place = Path(folder)
    if not (place / MANIFEST).is_file():
        raise ArtifactError(
            f"{place} is not a folder that fx2py generated: it has no {MANIFEST}.", "Run fx2py gen first."
        )
    manifest = read_manifest(place / MANIFEST)
    if (place / WEIGHTS).is_file() and sha256_of(place / WEIGHTS) != manifest.files.get(WEIGHTS):
        raise ArtifactError(
            f"{place / WEIGHTS} is not the file that the manifest names.", "Generate the folder again."
        )
    try:
        source = (place / SOURCE).read_text(encoding="utf-8")
        tensors = torch.load(place / WEIGHTS, weights_only=True, mmap=True)
    except (
        OSError,
        ValueError,
        TypeError,
        LookupError,
        RuntimeError,
        EOFError,
        pickle.UnpicklingError,
    ) as error:
        raise ArtifactError(
            f"{place} is incomplete or damaged: {error}.", "Generate the folder again."
        ) from None
    if type(tensors) is not dict or not all(isinstance(each, torch.Tensor) for each in tensors.values()):
        raise ArtifactError(
            f"{place / WEIGHTS} holds something else than tensors by name.", "Generate it again."
        )
    return Artifact(source, manifest, tensors, None, place)


def is_edited(artifact: Artifact) -> bool:
    """Whether the source of an opened folder differs from what was generated."""
    digest = hashlib.sha256(artifact.source.encode()).hexdigest()
    return artifact.folder is not None and artifact.manifest.files.get(SOURCE) != digest


def _refuse_live_constants(program: Program) -> None:
    findings = [
        Finding(constant.name, f"is bound to {part.description}, a live object that no file can hold")
        for constant in program.consts
        for part in walk(constant.value)
        if isinstance(part, Live)
    ]
    if findings:
        raise UnsupportedGraphError(tuple(findings), "the code")


def _check_replaceable(target: Path) -> None:
    if target.is_dir() and (not any(target.iterdir()) or (target / MANIFEST).is_file()):
        return
    if target.exists() or target.is_symlink():
        raise ArtifactError(
            f"{target} exists and was not generated by fx2py.", "Choose another folder with -o."
        )
