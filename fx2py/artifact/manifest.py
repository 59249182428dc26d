"""The manifest: what a generated folder holds, where it came from and what it needs, as versioned JSON."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import torch

from fx2py.artifact.compiled import Compiled
from fx2py.emit.expressions import TextScope, value_text
from fx2py.emit.text import comment
from fx2py.errors import Argument, ArtifactError, Hint, printable
from fx2py.graph.data import ModuleRecord, ValueMeta
from fx2py.graph.listing import value_note
from fx2py.graph.tensors import shape_of
from fx2py.graph.values import EnumMember, Live, Name, OpName, Value, walk
from fx2py.program.analyses.identical_pieces import identical_pieces
from fx2py.program.analyses.peak_memory import planned_peak
from fx2py.program.ir import REQUIRED, Applied, Assign, Program, Submodule, modules_to_rebuild
from fx2py.program.options import GenerateOptions
from fx2py.program.structure.modules import flat_module_tree
from fx2py.trust import operators
from fx2py.typed_json import parse, typed

SCHEMA = 3
"""Schema 3 has the runtime and the tables in files of their own; 2 added ``compiled``. Older schemas are read as well."""
IN_ONE_FILE = 2
"""The last schema whose ``execution_fn.py`` held everything."""
MAX_TEXT = 2**28
"""The bytes that a manifest and the code of a folder may have."""
VERSION = "0.4.0"
MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True)
class GraphOrigin:
    """Where the graph came from; ``path`` is relative to the folder; None for a live object."""

    format: str
    path: str | None = None
    sha256: str | None = None
    model: str | None = None
    torch: str | None = None


@dataclass(frozen=True, slots=True)
class TensorEntry:
    """A stored tensor: its name in ``weights.pt``, dtype and shape."""

    name: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class InputEntry:
    """A parameter of ``execution_fn``: what callers call it, its kind, the default's text, the recorded value."""

    name: str
    kind: str
    default: str | None = None
    value: str | None = None


@dataclass(frozen=True, slots=True)
class ModuleRow:
    """A module that ran, as ``ModuleEntry`` says; ``inputs`` and ``outputs`` as dtype and shape, '' for what has none."""

    path: str
    cls: str = ""
    function: str = ""
    calls: int = 1
    operators: int = 0
    parameters: int = 0
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SubmoduleEntry:
    """One submodule: ``mode`` is ``called`` (a module), ``function`` (generated code) or ``inlined``; only the first
    two have an ``index`` in the submodule table. ``identical_to`` names the first generated one that this one repeats,
    up to the names and numbers of its weights; ``used`` counts the ones that are the same, itself included.
    """

    index: int | None
    name: str
    cls: str
    mode: str
    calls: int
    parameters: tuple[TensorEntry, ...] = ()
    buffers: tuple[TensorEntry, ...] = ()
    inputs: tuple[str | None, ...] = ()
    output: str | None = None
    identical_to: str | None = None
    used: int = 1


@dataclass(frozen=True, slots=True)
class TargetEntry:
    """A function or operator that the code calls: how often, and the package that provides it."""

    name: str
    calls: int
    library: str


@dataclass(frozen=True, slots=True)
class MemoryEntry:
    """The bytes of a call's own results that are alive at once, as planned; None where ``unknown`` says why."""

    planned_peak: int | None = None
    unknown: str = ""


WeightsMode: TypeAlias = Literal["copy", "link", "none"]
"""Where a folder has its weights: in itself, in the graph file, or with the caller."""


@dataclass(frozen=True, slots=True)
class WeightsOrigin:
    """Where the weights are; with ``link``, the graph file: its path from the folder, size, time of change and digest.

    ``sha256`` is None where it was not hashed: then size and time alone tell whether it is the same file.
    """

    mode: WeightsMode = "copy"
    path: str | None = None
    size: int | None = None
    mtime_ns: int | None = None
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Manifest:
    """Everything about a generated folder but its code and tensors; ``files`` maps file names to sha256.

    ``original`` has the generated texts, packed, to show what was edited since; ``own_sha256`` is that of the manifest's
    text without it. Folders of earlier releases have neither.
    """

    graph: GraphOrigin
    inputs: tuple[InputEntry, ...] = ()
    submodules: tuple[SubmoduleEntry, ...] = ()
    modules: tuple[ModuleRow, ...] = ()
    weights: tuple[TensorEntry, ...] = ()
    constants: tuple[str, ...] = ()
    targets: tuple[TargetEntry, ...] = ()
    requires: tuple[str, ...] = ()
    options: dict[str, object] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()
    optimizations: tuple[Applied, ...] = ()
    memory: MemoryEntry = MemoryEntry()
    weights_origin: WeightsOrigin = WeightsOrigin()
    compiled: Compiled | None = None
    files: dict[str, str] = dataclasses.field(default_factory=dict)
    original: dict[str, str] = dataclasses.field(default_factory=dict)
    own_sha256: str = ""
    fx2py: str = VERSION
    torch: str = torch.__version__
    schema: int = SCHEMA

    @property
    def slots(self) -> tuple[str, ...]:
        """The names of the submodules in the table that the code calls, in order."""
        return tuple(entry.name for entry in self.submodules if entry.index is not None)

    def to_json(self) -> dict[str, object]:
        """The manifest as plain JSON data, in a fixed order of keys."""
        data: dict[str, object] = json.loads(json.dumps(dataclasses.asdict(self)))
        return {"schema": data.pop("schema"), "fx2py": data.pop("fx2py"), "torch": data.pop("torch"), **data}


@dataclass(frozen=True, slots=True)
class _SchemaNumber:
    """The part of a manifest that every schema has."""

    schema: int


def manifest_text(manifest: Manifest) -> str:
    """What ``manifest.json`` holds."""
    return json.dumps(manifest.to_json(), indent=2) + "\n"


def with_own_digest(manifest: Manifest) -> Manifest:
    """A finished manifest with ``own_sha256``."""
    without = manifest_text(dataclasses.replace(manifest, own_sha256=""))
    return dataclasses.replace(manifest, own_sha256=hashlib.sha256(without.encode()).hexdigest())


def is_as_written(manifest: Manifest, content: bytes) -> bool:
    """Whether ``content``, of which ``manifest`` was read, is what ``gen`` wrote; of earlier releases nobody can tell."""
    own = manifest.own_sha256
    return not own or hashlib.sha256(content.replace(own.encode(), b"")).hexdigest() == own


def read_manifest(path: Path, shown: Path | None = None) -> Manifest:
    """The manifest in a file; raises ArtifactError when it is no manifest or of a newer schema.

    The error names ``shown`` where the file is read by another path than the one that the user knows.
    """
    named = shown or path
    try:
        if path.stat().st_size > MAX_TEXT:
            raise ValueError("is too long")
        data = parse(path.read_bytes())
        schema = typed(_SchemaNumber, data).schema
        if schema > SCHEMA:
            raise ArtifactError(f"{named} is of schema {schema}, newer than {SCHEMA}.", "Update fx2py.")
        manifest = typed(Manifest, data)
    except (OSError, ValueError, RecursionError) as error:
        raise ArtifactError(
            f"{named} is not a readable manifest ({printable(str(error))}).", generate_again(named.parent)
        ) from None
    return manifest


def generate_again(folder: Path) -> Hint:
    """What to do about a folder whose files are damaged or missing."""
    return Hint(f"Restore the file, or write {folder} anew from its graph: ", Argument.OVERWRITE, ".")


# -- from a Program ----------------------------------------------------------------------------------------------


def describe(program: Program, form: Program, options: GenerateOptions) -> Manifest:
    """The manifest of a flat Program that is written as ``form``, as yet without files."""
    origin = program.report.provenance
    targets = tuple(_targets(program))
    planned = planned_peak(program)
    return Manifest(
        graph=GraphOrigin(origin.format, origin.path, origin.sha256, origin.model, origin.torch_version),
        inputs=tuple(_inputs(program)),
        submodules=tuple(_submodules(program)),
        modules=tuple(_modules(program, form)),
        weights=tuple(_tensor_entry(weight.path, weight.tensor) for weight in program.weights),
        constants=tuple(
            comment(f"{constant.name}: {_described(constant.value)}") for constant in program.consts
        ),
        targets=targets,
        requires=tuple(
            sorted(({target.library for target in targets} | _module_libraries(program)) - _PROVIDED)
        ),
        options=dataclasses.asdict(options),
        notes=program.report.notes,
        memory=MemoryEntry(planned.bytes, planned.unknown),
        optimizations=tuple(
            dataclasses.replace(item, node=comment(item.node)) for item in program.report.optimizations
        ),
    )


def _described(value: Value) -> str:
    return value.description if isinstance(value, Live) else repr(value)


def _tensor_entry(name: str, tensor: torch.Tensor) -> TensorEntry:
    return TensorEntry(name, str(tensor.dtype).removeprefix("torch."), shape_of(tensor))


def _note(meta: ValueMeta) -> str | None:
    return value_note(meta) or None


def _inputs(program: Program) -> Iterator[InputEntry]:
    scope = TextScope.of(program)
    for parameter in program.entry.parameters:
        default = None if parameter.default is REQUIRED else comment(value_text(parameter.default, scope))
        value = _note(parameter.origin.meta.value) if parameter.origin else None
        yield InputEntry(parameter.public_name, parameter.kind, default, value)


def _submodules(program: Program) -> Iterator[SubmoduleEntry]:
    repeats = identical_pieces(program.submods)
    used = Counter(repeats.get(entry.path, entry.path) for entry in program.submods)
    for index, entry in enumerate(program.submods):
        described = _submodule(index, entry, "function" if entry.function else "called")
        original = repeats.get(entry.path)
        yield dataclasses.replace(described, identical_to=original, used=used[original or entry.path])
    for path, record in program.report.inlined:
        yield _submodule(None, Submodule(path, record, 1), "inlined")


def _submodule(index: int | None, entry: Submodule, mode: str) -> SubmoduleEntry:
    record = entry.record
    return SubmoduleEntry(
        index,
        entry.path,
        "unknown" if record is None else record.cls.path,
        mode,
        entry.calls,
        tuple(_held(record, "parameters")),
        tuple(_held(record, "buffers")),
        tuple(_note(meta) for meta in entry.inputs),
        _note(entry.output),
    )


def _modules(program: Program, form: Program) -> Iterator[ModuleRow]:
    root = form.modules or flat_module_tree(program)
    for each in root.walk() if root else ():
        inputs, outputs = (tuple(map(value_note, values)) for values in (each.inputs, each.outputs))
        yield ModuleRow(
            each.path, each.cls, each.function, each.calls, each.operators, each.parameters, inputs, outputs
        )


def _held(record: ModuleRecord | None, kind: str) -> Iterator[TensorEntry]:
    for path, module in record.walk() if record else ():
        for name, tensor in getattr(module, kind).items():
            if tensor is not None:
                yield _tensor_entry(f"{path}.{name}" if path else name, tensor)


def _module_libraries(program: Program) -> set[str]:
    """The packages that provide the classes of the modules that the code calls, and the functions that these hold."""
    return {
        part.module.partition(".")[0]
        for _, record in modules_to_rebuild(program)
        for part in (record.cls, *walk(tuple(record.attributes.values())))
        if isinstance(part, Name)
    }


_NAMED = (Name, OpName, EnumMember)


def _targets(program: Program) -> Iterator[TargetEntry]:
    parts: Counter[Name | OpName | EnumMember] = Counter()
    for function in program.functions:
        for statement in function.body:
            if isinstance(statement, Assign):
                parts.update(part for part in statement.parts.named if isinstance(part, _NAMED))
    counts: Counter[tuple[str, str]] = Counter()
    for part, calls in parts.items():
        counts[_target(part)] += calls
    for (name, library), calls in sorted(counts.items()):
        yield TargetEntry(name, calls, library)


_STANDARD_LIBRARY = frozenset({"builtins", "operator", "math", "collections", "functools"})
_PROVIDED = _STANDARD_LIBRARY | {"torch", "python"}
_TORCH_NAMESPACES = operators.NAMESPACES | {"prim", "higher_order"}


def _target(target: Name | OpName | EnumMember) -> tuple[str, str]:
    """The name of a target and the package that provides it; for an operator, the namespace of its library."""
    if isinstance(target, OpName):
        return target.path, "torch" if target.namespace in _TORCH_NAMESPACES else target.namespace
    name = target.cls if isinstance(target, EnumMember) else target
    root = name.module.partition(".")[0]
    return name.path, "python" if root in _STANDARD_LIBRARY else root
