"""A live ``ExportedProgram`` as GraphData; the last step, ``exported/unlifted.py``, is that of its archive."""

from __future__ import annotations

from typing import Any

import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import ConstantArgument, InputKind, InputSpec, OutputKind, OutputSpec
from torch.utils._sympy.value_ranges import ValueRanges

from fx2py.errors import Finding, UnsupportedGraphError
from fx2py.graph.data import GraphData, ModuleRecord, Provenance, SampleInputs
from fx2py.graph.objects import value_of
from fx2py.graph.tensors import inner_tensors
from fx2py.graph.values import Value
from fx2py.read.exported.program import TRAINING, InputRole, LiftedInput, LiftedOutput, LiftedProgram, Mutated
from fx2py.read.exported.subclasses import Subclass, UsedAsWholeError, without_subclasses
from fx2py.read.exported.unlifted import graph_data
from fx2py.read.live.modules import read_graph_module
from fx2py.read.module_state import GRAPH_MODULE
from fx2py.read.pytree import tree_of_spec

_STATE_INPUTS: dict[InputKind, InputRole] = {
    InputKind.PARAMETER: "parameter",
    InputKind.BUFFER: "buffer",
    InputKind.CONSTANT_TENSOR: "tensor",
    InputKind.CUSTOM_OBJ: "object",
}
_MUTATIONS: dict[OutputKind, Mutated] = {
    OutputKind.BUFFER_MUTATION: "state",
    OutputKind.PARAMETER_MUTATION: "state",
    OutputKind.USER_INPUT_MUTATION: "input",
}


def read_exported_program(program: ExportedProgram) -> GraphData:
    """The program as ``program.module()`` runs it; its tensors are the program's own, not copies.

    Raises UnsupportedGraphError where its graph and signature do not fit each other.
    """
    samples = SampleInputs(*program.example_inputs) if program.example_inputs else None
    provenance = Provenance("live", torch_version=str(torch.__version__))
    try:
        return graph_data(_taken_apart(_lifted(program)), provenance, samples)
    except ValueError as error:
        raise UnsupportedGraphError((Finding("the signature", str(error)),)) from None


def _lifted(program: ExportedProgram) -> LiftedProgram:
    signature, call = program.graph_signature, program.module_call_graph[0].signature
    if call is None:
        raise ValueError("the exported program does not say how it is called")
    root = read_graph_module(program.graph_module).root
    return LiftedProgram(
        root=ModuleRecord(GRAPH_MODULE, root.graph, children=root.children),
        inputs=tuple(_input(spec) for spec in signature.input_specs),
        outputs=tuple(_output(spec) for spec in signature.output_specs),
        in_tree=tree_of_spec(call.in_spec),
        out_tree=tree_of_spec(call.out_spec),
        state=program.state_dict,
        constants={path: _constant(value) for path, value in program.constants.items()},
        argument_names=tuple(call.forward_arg_names or ()),
        ranges=tuple((str(symbol), *_bounds(found)) for symbol, found in program.range_constraints.items()),
        guards=tuple(program._guards_code),
        keeps_tokens=program.dialect == TRAINING,
    )


def _taken_apart(program: LiftedProgram) -> LiftedProgram:
    """The program with tensor subclasses taken apart, as an archive has it; as it is where the graph uses one as a whole."""
    found = {path: _subclass(tensor) for path, tensor in program.state.items() if inner_tensors(tensor)}
    try:
        return without_subclasses(program, found)
    except UsedAsWholeError:
        return program


def _subclass(tensor: torch.Tensor) -> Subclass:
    cls = type(tensor)
    parts = {
        name: _subclass(part) if inner_tensors(part) else part for name, part in inner_tensors(tensor).items()
    }
    return Subclass(f"{cls.__module__}.{cls.__qualname__}", parts)


def _constant(value: object) -> Value | torch.Tensor:
    return value if isinstance(value, torch.Tensor) else value_of(value)


def _input(spec: InputSpec) -> LiftedInput:
    if spec.kind == InputKind.TOKEN:
        return LiftedInput("token")
    if spec.kind in _STATE_INPUTS:
        persistent = spec.kind != InputKind.BUFFER or bool(spec.persistent)
        return LiftedInput(_STATE_INPUTS[spec.kind], spec.target, persistent)
    if isinstance(spec.arg, ConstantArgument):
        return LiftedInput("constant", value=value_of(spec.arg.value))
    return LiftedInput("user")


def _output(spec: OutputSpec) -> LiftedOutput:
    if spec.kind in _MUTATIONS:
        return LiftedOutput(mutates=_MUTATIONS[spec.kind], target=spec.target)
    return LiftedOutput(is_token=spec.kind == OutputKind.TOKEN)


def _bounds(found: ValueRanges[Any]) -> tuple[int | None, int | None]:
    """Both ends of a symbol's range; None for an end that is infinite, as archives have it."""
    lower, upper = (int(end) if end.is_Integer else None for end in (found.lower, found.upper))
    return lower, upper
