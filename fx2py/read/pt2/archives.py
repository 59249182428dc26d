"""Archives that ``torch.export.save`` writes (.pt2), read as data.

Source: torch/export/pt2_archive/_package.py and torch/_export/serde/schema.py. Nothing that the archive names is imported;
compiled libraries, pickled objects and extra files in it are not touched.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import torch

from fx2py.errors import UnknownFormatError, printable
from fx2py.graph.data import GraphData, Provenance, SampleInputs, Tree
from fx2py.graph.values import Value
from fx2py.read.archive import Archive
from fx2py.read.exported.program import TRAINING, InputRole, LiftedInput, LiftedOutput, LiftedProgram, Mutated
from fx2py.read.exported.subclasses import Subclass, UsedAsWholeError, without_subclasses
from fx2py.read.exported.unlifted import graph_data
from fx2py.read.pt2 import schema
from fx2py.read.pt2.graph import CONSTANTS, read_graph
from fx2py.read.pt2.tensors import read_constants, read_state, weights_only
from fx2py.read.pytree import tree_of_json
from fx2py.read.several import Entry, Graphs
from fx2py.typed_json import Choice, Damaged, field, parse, typed

MODELS, SUFFIX = "models/", ".json"
COMPILED = "data/aotinductor/"
"""The folder of models that ``torch._inductor.aoti_compile_and_package`` compiled, a folder for each."""
ARCHIVE_VERSION = b"0"
MAX_MARK = 64


@contextmanager
def archive_graphs(path: Path) -> Iterator[Graphs]:
    """The exported programs in an archive, each unlifted.

    Raises UnknownFormatError, naming file and member, for a damaged archive or one of another version.
    """
    with Archive(path) as archive:
        _check_version(archive)
        yield [Entry(name, "ExportedProgram", partial(_read, archive, name)) for name in _names(archive)]


def _read(archive: Archive, name: str) -> GraphData:
    member = f"{MODELS}{name}{SUFFIX}"
    try:
        document = _document(archive.read(member, archive.limit))
        state = read_state(archive, name)
        plain = {path: value for path, value in state.items() if isinstance(value, torch.Tensor)}
        apart = {path: value for path, value in state.items() if isinstance(value, Subclass)}
        program = _lifted(document, plain, read_constants(archive, name))
        samples, notes = _samples(archive, name)
        provenance = Provenance("pt2", archive.path, archive.sha256(), document.torch_version, name)
        return graph_data(without_subclasses(program, apart), provenance, samples, notes)
    except RecursionError:
        raise archive.fault(member, "is nested too deeply") from None
    except UsedAsWholeError as fault:
        raise UnknownFormatError(
            f"{archive.path}: {fault}",
            "Save program.run_decompositions({}) instead, which leaves the tensors inside it.",
        ) from None
    except ValueError as fault:
        raise archive.fault(member, str(fault)) from None


def _check_version(archive: Archive) -> None:
    for member, expected in (("archive_format", b"pt2"), ("archive_version", ARCHIVE_VERSION)):
        found = archive.read(member, MAX_MARK)
        if found.strip() != expected:
            raise archive.fault(member, f"says {found[:20]!r}, and only {expected.decode()} is read")


def _names(archive: Archive) -> list[str]:
    names = sorted(
        name[len(MODELS) : -len(SUFFIX)]
        for name in archive.names
        if name.startswith(MODELS) and name.endswith(SUFFIX)
    )
    compiled = sorted({name.split("/")[2] for name in archive.names if name.startswith(COMPILED)})
    if not names and compiled:
        raise UnknownFormatError(
            f"{archive.path} holds what AOTInductor compiled ({', '.join(map(printable, compiled))}), but no graph.",
            "The graph is in the ExportedProgram that was compiled: save it with torch.export.save(program, path).",
        )
    if not names:
        raise UnknownFormatError(
            f"{archive.path} is an archive without an exported program.",
            "Save one with torch.export.save or torch.export.pt2_archive.package_pt2.",
        )
    return names


def _samples(archive: Archive, model: str) -> tuple[SampleInputs | None, tuple[str, ...]]:
    """The example inputs where torch's weights-only reader accepts them, else a note that says why there are none."""
    member = f"data/sample_inputs/{model}.pt"
    if member not in archive or not archive.size(member):
        return None, ()
    try:
        found = weights_only(archive.read(member, archive.limit))
    except ValueError as error:
        return None, (f"{member} {error}; the sample inputs were not read",)
    if type(found) is tuple and [type(part) for part in found] == [tuple, dict]:
        return SampleInputs(*found), ()
    return None, ("the sample inputs in the archive are not arguments of a call and were not read",)


# -- the program ---------------------------------------------------------------------------------------------------

_STATE: dict[str, tuple[InputRole, str]] = {
    "parameter": ("parameter", "parameter_name"),
    "buffer": ("buffer", "buffer_name"),
    "tensor_constant": ("tensor", "tensor_constant_name"),
    "custom_obj": ("object", "custom_obj_name"),
}
"""What an input of each kind stands for, and the field that says where the module holds it."""
_MUTATIONS: dict[str, tuple[Mutated, str]] = {
    "buffer_mutation": ("state", "buffer_name"),
    "parameter_mutation": ("state", "parameter_name"),
    "user_input_mutation": ("input", "user_input_name"),
}
_RESULTS = frozenset({"user_output", "loss_output", "gradient_to_parameter", "gradient_to_user_input"})


def _document(data: bytes) -> schema.SavedProgram:
    document = parse(data)
    major = field(field(document, "schema_version", object), "major", int)
    if major != schema.VERSION:
        raise Damaged(f"is of schema version {major}, and only version {schema.VERSION} is read")
    return typed(schema.SavedProgram, document)


def _lifted(
    program: schema.SavedProgram,
    state: Mapping[str, torch.Tensor],
    constants: Mapping[str, Value | torch.Tensor],
) -> LiftedProgram:
    """The lifted program of a document; raises Damaged with the place."""
    module = program.graph_module
    inputs = module.signature.input_specs
    call = _root_call(module)
    return LiftedProgram(
        root=read_graph(module.graph, _constant_names(inputs)),
        inputs=tuple(_input(spec) for spec in inputs),
        outputs=tuple(_output(spec) for spec in module.signature.output_specs),
        in_tree=_tree(call.in_spec, module),
        out_tree=_tree(call.out_spec, module),
        state=state,
        constants=constants,
        argument_names=call.forward_arg_names or (),
        ranges=tuple(
            (name, found.min_val, found.max_val) for name, found in program.range_constraints.items()
        ),
        guards=program.guards_code or (),
        keeps_tokens=(program.verifiers or ())[:1] == (TRAINING,),
    )


def _root_call(module: schema.SavedGraphModule) -> schema.ModuleCallSignature:
    """The signature with which the caller calls the whole program."""
    root = module.module_call_graph[0] if module.module_call_graph else None
    if root is None or root.fqn or root.signature is None:
        raise Damaged("does not say how the program is called")
    return root.signature


def _tree(spec: str, module: schema.SavedGraphModule) -> Tree:
    named = module.treespec_namedtuple_fields or {}
    try:
        return tree_of_json(
            spec, {cls: field(found, "field_names", tuple[str, ...]) for cls, found in named.items()}
        )
    except RecursionError:
        raise Damaged("describes inputs or outputs that are nested too deeply") from None
    except ValueError as error:
        raise Damaged(str(error)) from None


def _constant_names(specs: tuple[Choice, ...]) -> dict[int, str]:
    """The names of the caller's inputs that are constants, by position; the graph itself does not record them."""
    return {
        index: spec.field("name", str) for index, spec in enumerate(specs) if spec.tag == "constant_input"
    }


def _input(spec: Choice) -> LiftedInput:
    if spec.tag == "user_input":
        return LiftedInput("user")
    if spec.tag == "token":
        return LiftedInput("token")
    if spec.tag == "constant_input":
        return LiftedInput("constant", value=_constant(spec.field("value", Choice)))
    if spec.tag in _STATE:
        role, name = _STATE[spec.tag]
        is_persistent = role != "buffer" or spec.field("persistent", bool)
        return LiftedInput(role, spec.field(name, str), is_persistent)
    raise Damaged(f"has the unknown kind of input {spec.tag!r:.40} in its signature")


def _constant(value: Choice) -> Value:
    if value.tag == "as_none":
        return None
    if value.tag in CONSTANTS:
        return value.read(CONSTANTS[value.tag])
    raise Damaged(f"has the unknown constant input {value.tag!r:.40}")


def _output(spec: Choice) -> LiftedOutput:
    if spec.tag in _RESULTS:
        return LiftedOutput()
    if spec.tag == "token":
        return LiftedOutput(is_token=True)
    if spec.tag in _MUTATIONS:
        mutated, name = _MUTATIONS[spec.tag]
        return LiftedOutput(mutates=mutated, target=spec.field(name, str))
    raise Damaged(f"has the unknown kind of output {spec.tag!r:.40} in its signature")
