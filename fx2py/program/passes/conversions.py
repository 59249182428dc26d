"""Conversions of a tensor to the dtype and device that it already has: its input replaces the call.

Proof. ``aten::to`` returns its input, the same object, if the requested dtype, device and layout are the tensor's own, no
copy is requested, and the memory format is preserved (``to_will_alias`` in aten/src/ATen/native/TensorConversions.cpp).
It is CompositeImplicitAutograd, so that autograd records nothing of such a call. What the tensor is comes from
``type_inference``.
"""

from __future__ import annotations

from fx2py.graph.values import OpName, Ref
from fx2py.program.analyses.type_inference import TensorTypes
from fx2py.program.ir import Applied, Assign, Call, Function, Program, Statement
from fx2py.program.native import operator_of, with_defaults
from fx2py.program.passes.rewriting import node_name, renamed

NAME = "conversions"
CONVERSIONS = frozenset(OpName("aten", "to", overload) for overload in ("dtype", "dtype_layout", "device"))
TO_ANOTHER = frozenset({OpName("aten", "to", "other"), OpName("aten", "type_as", "default")})
"""Conversions to the dtype and device of another tensor."""


def leave_out_conversions(function: Function, program: Program) -> tuple[Function, tuple[Applied, ...]]:
    """The function without conversions that return their input."""
    types = TensorTypes(program)
    names: dict[str, str] = {}
    body: list[Statement] = []
    applied: list[Applied] = []
    for statement in function.body:
        op = operator_of(statement)
        if (
            op is not None
            and op in CONVERSIONS | TO_ANOTHER
            and isinstance(statement, Assign)
            and statement.target is not None
        ):
            source = _returned_input(op, statement.call, types)
            if source:
                names[statement.target] = names.get(source, source)
                types.rename(statement.target, source)
                applied.append(Applied(NAME, node_name(statement), f"{source} is {types.of(source)} already"))
                continue
        types.learn(statement)
        body.append(statement)
    return renamed(function, body, names), tuple(applied)


def _returned_input(op: OpName, call: Call, types: TensorTypes) -> str:
    """The variable that a conversion returns; '' if none is proven to be."""
    given = with_defaults(op, call)
    source = given.get("self")
    kept = given.get("copy", False) is False and given.get("memory_format") is None
    if not kept or given.get("pin_memory") not in (None, False) or not isinstance(source, Ref):
        return ""
    # ``to.other`` and ``type_as`` take dtype, device and layout from the other tensor, so all three must be known.
    if op in TO_ANOTHER:
        other = given.get("other")
        is_alike = isinstance(other, Ref) and types.of(source.name) == types.of(other.name)
        return source.name if is_alike and types.of(source.name).is_whole else ""
    return source.name if types.has(source.name, given) else ""
