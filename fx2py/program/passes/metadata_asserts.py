"""Assertions about the dtype, device and layout of a tensor that cannot fail are removed.

Proof. ``aten::_assert_tensor_metadata``, which torch.export puts before conversions, compares each argument that is not
None with the tensor and returns nothing. What the tensor is comes from ``type_inference``, also from assertions that
stay and come earlier. Assertions about sizes and strides stay.
"""

from __future__ import annotations

from dataclasses import replace

from fx2py.graph.values import Ref
from fx2py.program.analyses.type_inference import ASSERTION, TensorTypes
from fx2py.program.ir import Applied, Assign, Function, Program, Statement
from fx2py.program.native import operator_of, with_defaults
from fx2py.program.passes.rewriting import node_name

NAME = "metadata_asserts"


def leave_out_metadata_asserts(function: Function, program: Program) -> tuple[Function, tuple[Applied, ...]]:
    """The function without assertions that always hold."""
    types = TensorTypes(program)
    body: list[Statement] = []
    applied: list[Applied] = []
    for statement in function.body:
        if operator_of(statement) == ASSERTION and isinstance(statement, Assign) and statement.target is None:
            given = with_defaults(ASSERTION, statement.call)
            source = given["a"]
            # Nothing is inferred about sizes and strides.
            sized = given["size"] is not None or given["stride"] is not None
            if isinstance(source, Ref) and not sized and types.has(source.name, given):
                reason = f"{source.name} is inferred to be {types.of(source.name)}"
                applied.append(Applied(NAME, node_name(statement), reason))
                continue
        types.learn(statement)
        body.append(statement)
    return replace(function, body=tuple(body)), tuple(applied)
