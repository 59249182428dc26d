"""The program of an exported archive (``models/*.json``) as a lifted program."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from fx2py.graph.data import Tree
from fx2py.graph.values import Value
from fx2py.read.documents import exactly, field, number, optional, union
from fx2py.read.exported.program import LiftedInput, LiftedOutput, LiftedProgram
from fx2py.read.pt2.graph import read_graph
from fx2py.read.pytree import tree_of_json
from fx2py.typed_json import Damaged

SCHEMA = 8
TRAINING = "TRAINING"

_STATE_INPUTS = {
    "parameter": ("parameter", "parameter_name"),
    "buffer": ("buffer", "buffer_name"),
    "tensor_constant": ("tensor", "tensor_constant_name"),
    "custom_obj": ("object", "custom_obj_name"),
}
_MUTATIONS = {
    "buffer_mutation": ("state", "buffer_name"),
    "parameter_mutation": ("state", "parameter_name"),
    "user_input_mutation": ("input", "user_input_name"),
}
_RESULTS = frozenset({"user_output", "loss_output", "gradient_to_parameter", "gradient_to_user_input"})


def read_program(
    document: Mapping[str, Any],
    state: Mapping[str, torch.Tensor],
    constants: Mapping[str, Value | torch.Tensor],
) -> LiftedProgram:
    """The lifted program of an ``ExportedProgram`` object; Damaged with the place, or for another major version."""
    major = field(field(document, "schema_version", dict), "major", int)
    if major != SCHEMA:
        raise Damaged(f"is of schema version {major}, and only version {SCHEMA} is read")
    module = field(document, "graph_module", dict)
    signature = field(module, "signature", dict)
    inputs = field(signature, "input_specs", list)
    call = _root_call(module)
    return LiftedProgram(
        root=read_graph(field(module, "graph", dict), _constant_names(inputs)),
        inputs=tuple(_input(spec) for spec in inputs),
        outputs=tuple(_output(spec) for spec in field(signature, "output_specs", list)),
        in_tree=_tree(call, "in_spec", module),
        out_tree=_tree(call, "out_spec", module),
        state=state,
        constants=constants,
        argument_names=_texts(optional(call, "forward_arg_names", list)),
        ranges=_ranges(field(document, "range_constraints", dict)),
        guards=_texts(optional(document, "guards_code", list)),
        keeps_tokens=_texts(optional(document, "verifiers", list))[:1] == (TRAINING,),
    )


def _root_call(module: Mapping[str, Any]) -> dict[str, Any]:
    """The signature with which the caller calls the whole program."""
    entries = field(module, "module_call_graph", list)
    if not entries or field(entries[0], "fqn", str):
        raise Damaged("does not say how the program is called")
    return field(entries[0], "signature", dict)


def _tree(call: Mapping[str, Any], key: str, module: Mapping[str, Any]) -> Tree:
    named = optional(module, "treespec_namedtuple_fields", dict) or {}
    fields = {cls: _texts(field(entry, "field_names", list)) for cls, entry in named.items()}
    try:
        return tree_of_json(field(call, key, str), fields)
    except RecursionError:
        raise Damaged(f"has an {key} that is nested too deeply") from None
    except ValueError as error:
        raise Damaged(str(error)) from None


def _constant_names(specs: list[Any]) -> dict[int, str]:
    """The names of the caller's inputs that are constants, by position: the graph itself does not hold them."""
    found = {}
    for index, spec in enumerate(specs):
        choice, value = union(spec)
        if choice == "constant_input":
            found[index] = field(value, "name", str)
    return found


def _input(spec: Any) -> LiftedInput:
    choice, value = union(spec)
    if choice == "user_input":
        return LiftedInput("user")
    if choice == "token":
        return LiftedInput("token")
    if choice == "constant_input":
        return LiftedInput("constant", value=_constant(field(value, "value", dict)))
    if choice not in _STATE_INPUTS:
        raise Damaged(f"has the unknown kind of input {choice!r:.40} in its signature")
    kind, key = _STATE_INPUTS[choice]
    persistent = choice != "buffer" or field(value, "persistent", bool)
    return LiftedInput(kind, field(value, key, str), persistent)  # type: ignore[arg-type]


def _constant(record: Any) -> Value:
    choice, value = union(record)
    if choice == "as_none":
        return None
    if choice == "as_float":
        return number(value)
    kinds: dict[str, type] = {"as_int": int, "as_string": str, "as_bool": bool}
    if choice not in kinds:
        raise Damaged(f"has the unknown constant input {choice!r:.40}")
    return exactly(value, kinds[choice])


def _output(spec: Any) -> LiftedOutput:
    choice, value = union(spec)
    if choice in _RESULTS:
        return LiftedOutput()
    if choice == "token":
        return LiftedOutput(is_token=True)
    if choice not in _MUTATIONS:
        raise Damaged(f"has the unknown kind of output {choice!r:.40} in its signature")
    where, key = _MUTATIONS[choice]
    return LiftedOutput(mutates=where, target=field(value, key, str))  # type: ignore[arg-type]


def _ranges(records: Mapping[str, Any]) -> tuple[tuple[str, int | None, int | None], ...]:
    return tuple(
        (symbol, optional(record, "min_val", int), optional(record, "max_val", int))
        for symbol, record in records.items()
    )


def _texts(items: list[Any] | None) -> tuple[str, ...]:
    return tuple([exactly(item, str) for item in items or ()])
