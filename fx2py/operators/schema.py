"""What torch's own schemas say of an operator: its arguments, how many results it has, and which are its operands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import TypeVar

import torch
from torch._C import FunctionSchema

from fx2py.graph.values import List, OpName, Value

T = TypeVar("T")


def schemas_of(op: OpName) -> list[FunctionSchema]:
    """The schemas of all registered overloads of an operator; empty for an unknown operator."""
    if not (op.namespace.isidentifier() and op.name.isidentifier()):
        return []
    return torch._C._jit_get_schemas_for_operator(f"{op.namespace}::{op.name}")


def schema_of(op: OpName) -> FunctionSchema | None:
    """The schema of one overload; None where no library registers it that is loaded by now."""
    if op not in _known_schemas:
        wanted = "" if op.overload in (None, "default") else op.overload
        found = next((schema for schema in schemas_of(op) if schema.overload_name == wanted), None)
        if found is None:
            return None
        _known_schemas[op] = found
    return _known_schemas[op]


_known_schemas: dict[OpName, FunctionSchema] = {}


def arguments_of(op: OpName, args: Sequence[T], kwargs: Sequence[tuple[str, T]]) -> dict[str, T]:
    """A call's arguments by their names in the schema, without defaults; empty if the operator is not registered."""
    schema = schema_of(op)
    if schema is None:
        return {}
    names = [argument.name for argument in schema.arguments]
    return {**dict(zip(names, args, strict=False)), **dict(kwargs)}


@cache
def defaults_of(op: OpName) -> Mapping[str, Value]:
    """The defaults of an overload's arguments, by name."""
    schema = schema_of(op)
    if schema is None:
        return {}
    defaults = {item.name: item.default_value for item in schema.arguments if item.has_default_value()}
    return {name: List(tuple(each)) if isinstance(each, list) else each for name, each in defaults.items()}


@cache
def returns_tensor_list(op: OpName) -> bool:
    """Whether each call gives a list of tensors."""
    schema = schema_of(op)
    return schema is not None and [str(each.type) for each in schema.returns] == ["List[Tensor]"]


def result_count(op: OpName) -> int | None:
    """How many results each call has; None where it is one list of any length, 1 where nothing is known."""
    schema = schema_of(op)
    if schema is None:
        return 1
    returns = schema.returns
    return None if len(returns) == 1 and returns[0].type.kind() == "ListType" else len(returns)


@cache
def draws_random_numbers(op: OpName) -> bool:
    """Whether a call of a registered overload may use a random generator: it takes one, or torch says so (``native_functions.yaml``)."""
    schema = schema_of(op)
    if schema is None:
        return False
    packet = getattr(getattr(torch.ops, op.namespace), op.name)
    tags: list[torch.Tag] = getattr(packet, op.overload or "default").tags
    return torch.Tag.nondeterministic_seeded in tags or any(
        each.name == "generator" for each in schema.arguments
    )


@cache
def may_return_view(op: OpName) -> bool:
    """Whether a result of the overload, or of every one where none is named, may be or share an operand.

    The schema marks such results as ``Tensor(a)``: "Annotations" in aten/src/ATen/native/README.md.
    """
    chosen = schemas_of(op) if op.overload is None else [schema_of(op)]
    return bool(chosen) and all(
        schema is not None and any(result.alias_info for result in schema.returns) for schema in chosen
    )
