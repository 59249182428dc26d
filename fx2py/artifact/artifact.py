"""Artifact: the generated code with its manifest and tensors, in memory or as a folder."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import hashlib
import inspect
import io
import logging
import os
import pickle
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from fx2py.arguments import FLAG, NAMED, PATH, Kind, instance_of, require
from fx2py.artifact.compiled import Compiled, GeneratedCode, listed
from fx2py.artifact.edits import EditedText, edited_files, edited_text, packed
from fx2py.artifact.execution import Bound, Observing, audited_breakpoint, binding_hint, execute
from fx2py.artifact.folder import mode_of_new_folders, put_in_place, staging_folder, unchanging
from fx2py.artifact.manifest import (
    IN_ONE_FILE,
    MANIFEST,
    MAX_TEXT,
    SCHEMA,
    VERSION,
    Manifest,
    WeightsMode,
    WeightsOrigin,
    describe,
    generate_again,
    manifest_text,
    read_manifest,
    with_own_digest,
)
from fx2py.artifact.samples import packed_samples, unpacked_samples
from fx2py.artifact.weights import leave_weights, link_weights, write_weights
from fx2py.collector import collector_paused
from fx2py.digests import sha256_of
from fx2py.emit.audit import admitted_classes, audit, flattened
from fx2py.emit.embedded import MAIN, RUNTIME, fixed_files, is_fx2pys
from fx2py.emit.module import SOURCE, TABLES, Texts, emit
from fx2py.emit.older_schemas import parse_any
from fx2py.emit.parse import GrammarError
from fx2py.emit.validate import validate
from fx2py.errors import (
    Admit,
    Argument,
    ArtifactError,
    EditedFolderError,
    Finding,
    Hint,
    ReplayError,
    UnsupportedGraphError,
    with_article,
)
from fx2py.graph.data import GraphData, SampleInputs
from fx2py.graph.tensors import PACKED, TensorCopies
from fx2py.graph.values import Live, walk
from fx2py.operators.devices import present_device
from fx2py.program.analyses.collectives import NAMESPACES, Collective, collectives_of
from fx2py.program.ir import Program, bound_tensors
from fx2py.program.options import DEFAULT, GenerateOptions
from fx2py.program.structure.bodies import Unsound
from fx2py.program.structure.inlined import require_same
from fx2py.program.structure.outline import structured
from fx2py.program.translate import Stage, stages, translate
from fx2py.recursion import deep_calls
from fx2py.runtime.once import PLAIN_CLASSES
from fx2py.runtime.sample_run import SAMPLES
from fx2py.runtime.weight_files import WEIGHTS_FILE, WEIGHTS_LIST, read_weights
from fx2py.splitting.data import calls_graphs, split_data
from fx2py.trust import Policy

_log = logging.getLogger(__name__)
COMPILED = "compiled"
"""The folder, in the generated one, of compiled pieces."""


_RESIZING = ("resize_", "resize_as_", "set_(", ".set_")
"""What stands in code that gives a tensor another storage, or its storage another size."""
_POLICY = instance_of(Policy).or_none()
_WEIGHTS_MODE = Kind("copy, link or none", lambda value: value in ("copy", "link", "none"))
_OBSERVING = Kind("a function", callable).or_none()
Binder = Callable[[Mapping[str, torch.Tensor], Mapping[str, Bound]], Bound]
"""Binds audited code to tensors and submodules, by name."""


@dataclass(frozen=True, slots=True, eq=False)
class Artifact:
    """Generated code: its ``source``, its ``manifest`` and the tensors that it is bound to.

    ``tables`` is the text of ``_tables.py``; ``fixed`` holds the files that are the same in every folder of a release,
    when it was opened; a folder of schema 1 or 2 has neither. ``program`` is set when it was generated in this process,
    ``folder`` when it was opened or written, ``device`` and ``modules`` when its tensors and live modules were moved,
    ``compiled_files`` (by the names in the manifest) when pieces were compiled; ``samples`` is what ``sample_inputs.pt`` holds,
    ``state`` the names of the tensors that a state dict of the model has.
    """

    source: str = field(repr=False)
    manifest: Manifest = field(repr=False)
    tensors: Mapping[str, torch.Tensor] = field(repr=False)
    tables: str | None = field(default=None, repr=False)
    program: Program | None = field(default=None, repr=False)
    folder: Path | None = None
    device: torch.device | None = None
    modules: Mapping[str, torch.nn.Module] = field(default_factory=dict, repr=False)
    compiled_files: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    fixed: Mapping[str, str] = field(default_factory=dict, repr=False)
    samples: bytes = field(default=b"", repr=False)
    state: frozenset[str] = field(default=frozenset(), repr=False)

    @property
    def sample_inputs(self) -> SampleInputs | None:
        """The inputs that were saved with the graph, new tensors each time; None where there are none, or too many bytes."""
        return unpacked_samples(self.samples)

    @property
    def texts(self) -> Texts:
        """The generated files."""
        return Texts(self.source, self.tables)

    @property
    def code_files(self) -> dict[str, str]:
        """The generated files by name."""
        return {SOURCE: self.source} if self.tables is None else {SOURCE: self.source, TABLES: self.tables}

    @property
    def edits(self) -> tuple[EditedText, ...]:
        """What was edited in the code since the folder was generated; empty for an artifact of no folder."""
        files, original = self.manifest.files, self.manifest.original
        code = {} if self.folder is None else self.code_files
        found = [edited_text(name, text, files.get(name), original) for name, text in code.items()]
        return tuple([each for each in found if each is not None])

    @property
    def collectives(self) -> tuple[Collective, ...]:
        """The calls in the code that several processes make together, in order.

        Raises ArtifactError where the code was edited so that it cannot be read.
        """
        if not any(namespace in self.source for namespace in NAMESPACES):
            return ()
        try:
            return collectives_of(
                self.program.functions if self.program else flattened(parse_any(self.texts)).functions
            )
        except (Unsound, RecursionError) as error:
            raise ArtifactError(
                f"{self._place()}: {error}, so its collectives cannot be read.", "Generate the folder again."
            ) from None
        except GrammarError as error:
            raise ArtifactError(
                f"{self._place()}, line {error.line}: {error}, so its collectives cannot be read.",
                "Generate the folder again.",
            ) from None

    @property
    def code(self) -> GeneratedCode:
        """What compiled pieces are signed together with."""
        return GeneratedCode(self.texts, self.manifest.slots)

    def to(self, device: str | torch.device) -> Artifact:
        """This artifact with its tensors, and the devices in its code, on ``device``."""
        target = present_device(device)
        copies = TensorCopies(target)
        tensors = {name: copies(tensor) for name, tensor in self.tensors.items()}
        modules = {path: copies.of_module(module) for path, module in self.live_modules().items()}
        return dataclasses.replace(self, tensors=tensors, modules=modules, device=target)

    def bind(
        self,
        device: str | torch.device | None = None,
        submods: Mapping[str, Bound] | None = None,
        *,
        policy: Policy | None = None,
    ) -> Bound:
        """The code as a callable: its weights, constants and submodules on ``device`` (None keeps theirs).

        ``submods`` replaces submodules by name, each by any callable. ``policy`` says which names of a file may become
        callables; code that was generated from a live object needs none. Compiled pieces are used unless
        ``compiled_fault`` says why not; the log says so too. Raises UntrustedTargetError or ReplayError before anything
        runs, and lists all names of submodules that are missing or surplus.
        """
        require("submods", submods, NAMED.or_none())
        require("policy", policy, _POLICY)
        if device is not None:
            return self.to(device).bind(None, submods, policy=policy)
        bound = self.binder(policy)(self.tensors, {**self.live_modules(), **(submods or {})})
        fault = self._fault_of_all(policy)
        if not fault and self.manifest.compiled is not None:
            fault = self._use_compiled(self.manifest.compiled, bound, frozenset(submods or ()))
        if fault:
            _log.warning("compiled pieces not used: %s.", fault)
        return bound

    def compiled_fault(self, policy: Policy | None = None) -> str:
        """Why generated code runs in place of compiled pieces, of all or of those that the text names; '' when all are used.

        No compiled code is loaded to tell: that torch cannot load a piece shows only in ``bind``.
        """
        require("policy", policy, _POLICY)
        compiled = self.manifest.compiled
        fault = self._fault_of_all(policy)
        return (
            fault if fault or compiled is None else listed(compiled.faults(self.compiled_files, self.tensors))
        )

    def _fault_of_all(self, policy: Policy | None) -> str:
        """Why no compiled piece can be used, or ''."""
        compiled = self.manifest.compiled
        if compiled is None:
            return ""
        if is_edited(self):
            return "the code was edited since they were compiled"
        trusted = self.program is not None or (policy is not None and policy.trust_all)
        device = compiled.device if self.device is None else str(torch.empty(0, device=self.device).device)
        return compiled.fault(self.code, device, trusted) or _fault_of_state()

    def without_compiled(self) -> Artifact:
        """This artifact with its generated code alone."""
        return dataclasses.replace(
            self, manifest=dataclasses.replace(self.manifest, compiled=None), compiled_files={}
        )

    def binder(self, policy: Policy | None = None, observing: Observing | None = None) -> Binder:
        """The code, audited and executed once: a function that binds it to tensors and submodules, by name.

        ``observing`` gives what the code tells of each statement that runs, and must not be given to run it at full speed.
        Raises UntrustedTargetError as ``bind`` does, and so does its result with ReplayError.
        """
        require("policy", policy, _POLICY)
        require("observing", observing, _OBSERVING)
        gate = policy or Policy(trust_all=self._is_live())
        audit(self.texts, gate, self._place())
        self._check_fixed(gate)
        gate.load_libraries()
        instead = self._instead(gate)
        if observing is not None:
            instead["below_autograd"] = _as_it_stands  # there, torch counts no writes
        builtins = {} if gate.trust_all else {"breakpoint": audited_breakpoint()}
        bind = execute(self.texts, self.fixed, self.folder, self._place(), instead, builtins, observing)

        def bind_to(tensors: Mapping[str, torch.Tensor], submods: Mapping[str, Bound]) -> Bound:
            if any(word in self.source for word in _RESIZING):  # what is mapped from a file has a fixed size
                tensors = copy.deepcopy(dict(tensors))
            try:
                return bind(tensors, self.device, submods)
            except RuntimeError as error:
                hint = binding_hint(self.manifest, submods, gate, str(error))
                raise ReplayError(f"{self._place()}: {error}", hint) from None

        return bind_to

    def _check_fixed(self, gate: Policy) -> None:
        """Raise ArtifactError for a file of the runtime that no release of fx2py wrote, unless everything is trusted."""
        for name, text in self.fixed.items():
            if not gate.trust_all and not is_fx2pys(name, text):
                raise ArtifactError(
                    f"{(self.folder or Path()) / name} is not the file of fx2py {VERSION} or an earlier release.",
                    Hint(
                        "Generate the folder again, or read the file; if you trust it, pass ",
                        Admit("trust_all"),
                        ".",
                    ),
                )

    def _instead(self, gate: Policy) -> dict[str, object]:
        """By name, functions that replace those of the runtime, and arguments that are added to calls of others."""
        consts = self.program.consts if self.program else ()
        live = {each.name: each.value.value for each in consts if isinstance(each.value, Live)}
        instead: dict[str, object] = {"live": lambda name, description: live[name]} if live else {}
        if not gate.trust_all:
            instead["build"] = {"find_class": admitted_classes(gate)}
        if is_edited(self):
            instead["below_autograd"] = _as_it_stands
        return instead

    def _use_compiled(self, compiled: Compiled, bound: Bound, replaced: frozenset[str]) -> str:
        """Put compiled pieces into the table of submodules, but for those ``replaced`` by the caller; why not each, or ''."""
        from fx2py.artifact.compiled_calls import replacements

        table = submodule_table(bound)
        names = self.manifest.slots
        if len(names) != len(table):
            return "the manifest lists other submodules than the code has"
        generated = {name: piece for name, piece in zip(names, table, strict=True) if name not in replaced}
        made, faults = replacements(compiled, self.compiled_files, self.tensors, generated)
        table[:] = [made.get(name, piece) for name, piece in zip(names, table, strict=True)]
        return listed(faults)

    def write(
        self, folder: str | os.PathLike[str], *, force: bool = False, weights: WeightsMode = "copy"
    ) -> Artifact:
        """Write the folder whole or not at all, in place of an older one; returns the artifact of that folder.

        ``weights`` says where the weights are: copied to the folder, in the graph file, which the folder refers to (``link``), or
        with the caller of ``load`` (``none``).

        Raises UnsupportedGraphError when the code is bound to a live object that no file can hold, EditedFolderError
        when files of the older folder were changed or added by hand, unless ``force`` is set, and ArtifactError when
        ``folder`` is something else than an earlier generated folder or cannot be written.
        """
        require("folder", folder, PATH)
        require("force", force, FLAG)
        require("weights", weights, _WEIGHTS_MODE)
        if self.program is not None:
            _refuse_live_constants(self.program)
        _refuse_unreadable_weights(self.tensors)
        target = Path(folder)
        try:
            _check_replaceable(target, force)
            manifest = self._write_folder(target.resolve(), weights)
        except (OSError, RuntimeError) as error:
            reason = (error.strerror if isinstance(error, OSError) else None) or error
            raise ArtifactError(f"{target} cannot be written: {reason}.", "Choose another folder.") from None
        return dataclasses.replace(self, manifest=manifest, folder=target)

    def _write_folder(self, target: Path, weights: WeightsMode) -> Manifest:
        target.parent.mkdir(parents=True, exist_ok=True)
        with staging_folder(target) as staging:
            manifest = self._write_files(staging, target, weights)
            staging.chmod(mode_of_new_folders(staging))
            put_in_place(staging, target)
        return manifest

    def _write_files(self, staging: Path, target: Path, weights: WeightsMode) -> Manifest:
        texts = {SOURCE: self.source}
        if self.tables is not None:
            texts |= {TABLES: self.tables, **(self.fixed or fixed_files())}
        for name, text in texts.items():
            (staging / name).write_bytes(text.encode())
        weights_origin, files = self._write_tensors(staging, target, weights)
        origin = self.manifest.graph
        if origin.path is not None:
            base = Path(origin.path) if self.folder is None else self.folder / origin.path
            origin = dataclasses.replace(origin, path=os.path.relpath(base, target))
        for name, content in self.compiled_files.items():
            (staging / name).parent.mkdir(exist_ok=True)
            (staging / name).write_bytes(content)
        if self.samples:
            (staging / SAMPLES).write_bytes(self.samples)
            files[SAMPLES] = hashlib.sha256(self.samples).hexdigest()
        schema = SCHEMA if self.tables is not None else IN_ONE_FILE
        manifest = with_own_digest(
            dataclasses.replace(
                self.manifest,
                schema=schema,
                graph=origin,
                weights_origin=weights_origin,
                files={**{name: _digest(text) for name, text in texts.items()}, **files},
                original={name: packed(text) for name, text in self.code_files.items()},
            )
        )
        (staging / MANIFEST).write_text(manifest_text(manifest), encoding="utf-8")
        return manifest

    def _write_tensors(
        self, staging: Path, target: Path, weights: WeightsMode
    ) -> tuple[WeightsOrigin, dict[str, str]]:
        """Write the tensors, or where they are; the digests of the files."""
        graph = self.manifest.graph
        if weights == "copy":
            return WeightsOrigin(), {WEIGHTS_FILE: write_weights(self.tensors, staging / WEIGHTS_FILE)}
        if self.program is None or (graph.path is None and weights == "link"):
            raise ArtifactError(
                "only code that was made of a graph file here can do without a copy of its weights."
            )
        if weights == "none":
            return leave_weights(self.tensors, staging, self.state)
        return link_weights(self.tensors, staging, target, Path(str(graph.path)).resolve(), graph.sha256)

    def _place(self) -> str:
        if self.folder:
            return str(self.folder / SOURCE)
        origin = self.manifest.graph.path
        return "the generated code" if origin is None else f"the code of {origin}"

    def _is_live(self) -> bool:
        return self.program is not None and self.program.report.provenance.path is None

    def live_modules(self) -> Mapping[str, torch.nn.Module]:
        """The modules of a live graph, which the code calls themselves."""
        if self.modules or self.program is None:
            return self.modules
        records = ((entry.path, entry.record) for entry in self.program.submods if not entry.function)
        return {
            path: record.original
            for path, record in records
            if record is not None and record.original is not None
        }


@collector_paused()
@deep_calls()
def generate(data: GraphData, options: GenerateOptions = DEFAULT) -> Artifact:
    """The artifact of a graph: lowered, emitted, and validated against its program.

    Raises UnsupportedGraphError with every finding when the graph cannot be generated exactly, and SplitError when it
    holds an operator nowhere that ``options`` split it at. Pieces are not compiled here, since that runs the code; but a
    graph that is to be compiled, and is not in pieces, becomes one piece.
    """
    data, options = _split(data, options)
    try:
        program = translate(data, options)
        form = program
        if not options.flat:
            form = structured(program)
        if form is not program:
            require_same(program, form)
        texts = emit(form, options)
        validate(form, texts)
    except RecursionError:
        too_deep = Finding("the graph", "its modules or values are nested deeper than Python's own stack")
        raise UnsupportedGraphError((too_deep,), data.provenance.path or "the graph") from None
    samples, notes = packed_samples(data.sample_inputs)
    manifest = describe(program, form, options)
    manifest = dataclasses.replace(manifest, notes=(*manifest.notes, *notes))
    return Artifact(
        texts.source,
        manifest,
        bound_tensors(program),
        texts.tables,
        program,
        samples=samples,
        state=_state_names(data),
    )


def _state_names(data: GraphData) -> frozenset[str]:
    """The names of the tensors that a state dict of the model has."""
    return frozenset(
        f"{path}.{name}" if path else name
        for path, record in data.root.walk()
        for name in (
            *record.parameters,
            *(each for each in record.buffers if each not in record.non_persistent),
        )
    )


def program_of(data: GraphData, options: GenerateOptions = DEFAULT) -> Program:
    """The flat Program that ``generate`` makes of a graph; raises what ``generate`` raises."""
    return translate(*_split(data, options))


def generation_stages(data: GraphData, options: GenerateOptions = DEFAULT) -> Iterator[Stage]:
    """The Program of ``generate`` after each of its steps; raises what ``generate`` raises."""
    yield from stages(*_split(data, options))


def _split(data: GraphData, options: GenerateOptions) -> tuple[GraphData, GenerateOptions]:
    """The graph cut where ``options`` say, with options that keep its pieces as functions."""
    if options.split_at or (options.compile and not calls_graphs(data)):
        data = split_data(data, options.split_at)
    keep = options.keep_submodules or bool(options.split_at or options.compile)
    flat = options.flat or options.compile is not None  # compilers take pieces, and those are no modules
    return data, dataclasses.replace(options, keep_submodules=keep, flat=flat)


def open_artifact(
    folder: str | os.PathLike[str], *, weights: Mapping[str, torch.Tensor] | None = None
) -> Artifact:
    """The artifact in a generated folder; its code is read, not run.

    ``weights``, a state dict by name, has the weights where the folder leaves them to the caller.

    A folder that another process replaces at the same time is read as it was before or after, never as a mixture. Raises
    ArtifactError when a file is missing, or when the weights are not those that the manifest names.
    """
    require("folder", folder, PATH)
    require("weights", weights, NAMED.or_none())
    place = Path(folder)
    if not (place / MANIFEST).is_file():
        raise ArtifactError(
            f"{place} is not a folder that fx2py generated: it has no {MANIFEST}.", "Run fx2py gen first."
        )
    try:
        with unchanging(place) as files:
            return _read(files, place, weights)
    except _DAMAGE as error:
        raise ArtifactError(f"{place} is incomplete or damaged: {error}.", generate_again(place)) from None


_DAMAGE = (*(OSError, ValueError, TypeError, LookupError, RuntimeError, EOFError), pickle.UnpicklingError)
"""What reading damaged files raises: that of the files, of torch.load and of the manifest."""


def _read(files: Path, place: Path, weights: Mapping[str, torch.Tensor] | None) -> Artifact:
    """The artifact whose files are in ``files``, of the folder ``place``."""
    manifest = read_manifest(files / MANIFEST, place / MANIFEST)
    source = _text_of(files / SOURCE)
    is_older = manifest.schema <= IN_ONE_FILE
    tables = None if is_older else _text_of(files / TABLES)
    fixed = {} if is_older else {name: _text_of(files / name) for name in _fixed_names(manifest)}
    tensors = _tensors_of(files, place, manifest, weights)
    _check_weights(files, place, manifest)
    if type(tensors) is not dict or not all(isinstance(each, torch.Tensor) for each in tensors.values()):
        raise ArtifactError(
            f"{place / WEIGHTS_FILE} holds something else than tensors by name.", generate_again(place)
        )
    compiled, samples = _compiled_files(files, manifest), _samples_of(files, place, manifest)
    return Artifact(
        source, manifest, tensors, tables, None, place, compiled_files=compiled, fixed=fixed, samples=samples
    )


def _fixed_names(manifest: Manifest) -> Iterator[str]:
    """The files that all folders have alike; folders that were written before there was one do not name it."""
    for name in fixed_files():
        if name != MAIN or name in manifest.files:
            yield name


def _samples_of(files: Path, place: Path, manifest: Manifest) -> bytes:
    """What ``sample_inputs.pt`` holds; nothing where the manifest names no such file."""
    if SAMPLES not in manifest.files:
        return b""
    if (files / SAMPLES).stat().st_size > MAX_TEXT:
        raise ValueError(f"{SAMPLES} is too long")
    content = (files / SAMPLES).read_bytes()
    if hashlib.sha256(content).hexdigest() != manifest.files[SAMPLES]:
        raise ArtifactError(
            f"{place / SAMPLES} is not the file that the manifest names.", generate_again(place)
        )
    unpacked_samples(content)
    return content


def _compiled_files(files: Path, manifest: Manifest) -> dict[str, bytes]:
    """The compiled pieces as bytes, so that what is checked is what is loaded.

    One that cannot be read is left out, which ``CompiledPiece.fault`` reports.
    """
    names = {piece.file for piece in manifest.compiled.pieces} if manifest.compiled else set()
    found: dict[str, bytes] = {}
    for name in names:
        if Path(name).parts[:-1] == (COMPILED,) and (files / name).is_file():
            with contextlib.suppress(OSError):
                found[name] = (files / name).read_bytes()
    return found


def _fault_of_state() -> str:
    from fx2py.artifact.compiled_calls import state_fault  # imports inductor, which takes seconds

    return state_fault()


def submodule_table(bound: Bound) -> list[Bound]:
    """The submodules that a bound callable calls, in the order of the manifest's indices.

    Binding makes tables the defaults of keyword-only parameters (``bind_function`` in the runtime).
    """
    defaults = getattr(inspect.unwrap(bound), "__kwdefaults__", None) or {}
    table: list[Bound] = defaults.get("submods", [])
    return table


def _text_of(path: Path) -> str:
    if not path.is_file() or path.stat().st_size > MAX_TEXT:
        raise ValueError(f"{path.name} is missing, no file, or too long")
    return path.read_text(encoding="utf-8")


def _tensors_of(
    files: Path, place: Path, manifest: Manifest, weights: Mapping[str, torch.Tensor] | None
) -> object:
    """What the files hold. Their digests are taken afterwards: a file that changed between would not have the digest."""
    if WEIGHTS_LIST not in manifest.files and not (files / WEIGHTS_FILE).is_file():
        raise ValueError(f"{WEIGHTS_FILE} is missing")
    try:
        return read_weights(str(files / SOURCE), None, weights)
    except (RuntimeError, EOFError) as error:
        if manifest.weights_origin.mode != "copy":
            raise ArtifactError(f"{place}: {error}.") from None
        # torch's words for a cut file lead to its own archive reader
        raise ValueError(f"{WEIGHTS_FILE} is cut short, or was not written by torch") from None


def _check_weights(files: Path, place: Path, manifest: Manifest) -> None:
    """Raise ArtifactError unless the weights are those that the manifest names."""
    for name in (WEIGHTS_FILE, WEIGHTS_LIST):
        if ((files / name).exists() or name in manifest.files) and sha256_of(
            files / name
        ) != manifest.files.get(name):
            raise ArtifactError(
                f"{place / name} is not the file that the manifest names.", "Generate the folder again."
            )
    linked = manifest.weights_origin
    if linked.path is not None and linked.sha256 is not None:
        path = Path(os.path.normpath(place.resolve() / linked.path))
        if path.is_file() and sha256_of(path) != linked.sha256:
            raise ArtifactError(
                f"{path}, in which the weights of {place} lie, has changed.",
                "Put it back, or generate the folder again.",
            )


def _as_it_stands(function: Bound, weights: list[torch.Tensor]) -> Bound:
    """Replaces ``below_autograd`` in edited code, of which nothing is proven."""
    return function


def is_edited(artifact: Artifact) -> bool:
    """Whether the code of an opened folder, or what it is bound to, differs from what was generated."""
    files = artifact.manifest.files
    return artifact.folder is not None and any(
        files.get(name) != _digest(text) for name, text in artifact.code_files.items()
    )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _refuse_live_constants(program: Program) -> None:
    findings = [
        Finding(constant.name, f"is bound to {part.description}, a live object that no file can hold")
        for constant in program.consts
        for part in walk(constant.value)
        if isinstance(part, Live)
    ]
    if findings:
        raise UnsupportedGraphError(tuple(findings), "the code")


def _refuse_unreadable_weights(tensors: Mapping[str, torch.Tensor]) -> None:
    """Raise UnsupportedGraphError for weights that could be written but not read back with ``weights_only=True``.

    A tensor subclass is read back where ``torch.serialization.add_safe_globals`` registered it.
    """
    findings: list[Finding] = []
    for name, tensor in tensors.items():
        if type(tensor) in PLAIN_CLASSES and tensor.layout is torch.strided and tensor.dtype not in PACKED:
            continue
        file = io.BytesIO()
        try:
            torch.save(tensor, file)
            file.seek(0)
            torch.load(file, weights_only=True)
        except Exception as error:  # a tensor subclass may raise anything
            reason = str(error).strip().partition("\n")[0]
            findings.append(
                Finding(
                    name,
                    f"is {with_article(type(tensor).__qualname__)}, which torch cannot save and read: {reason}",
                )
            )
    if findings:
        raise UnsupportedGraphError(tuple(findings), "the code")


def _check_replaceable(target: Path, force: bool) -> None:
    if target.is_dir() and not any(target.iterdir()):
        return
    if target.is_dir() and _is_own(target / MANIFEST):
        with unchanging(target) as files:
            edited = () if force else edited_files(files)
        if edited:
            raise EditedFolderError(str(target), edited)
    elif _is_damaged(target):
        if not force:
            raise ArtifactError(
                f"{target} was generated by fx2py, and its manifest cannot be read.",
                Hint("To write it anew: ", Argument.OVERWRITE, "."),
            )
    elif target.exists() or target.is_symlink():
        raise ArtifactError(f"{target} exists and was not generated by fx2py.", "Choose another folder.")


def _is_own(manifest: Path) -> bool:
    """Whether fx2py wrote a manifest; web applications have files of that name too."""
    try:
        return manifest.is_file() and bool(read_manifest(manifest).files)
    except ArtifactError:
        return False


def _is_damaged(folder: Path) -> bool:
    """Whether a folder has the files of generated code and a manifest that cannot be read."""
    return all((folder / name).is_file() for name in (MANIFEST, SOURCE, TABLES, RUNTIME))
