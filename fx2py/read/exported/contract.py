"""What an exported program demands of its inputs, as ``ep.module()`` checks it before it runs."""

from __future__ import annotations

from collections.abc import Sequence

from fx2py.graph.data import InputCheck, InputContract, Node, SymMeta, TensorMeta
from fx2py.read.exported.program import LiftedInput, LiftedProgram


def contract_of(program: LiftedProgram, placeholders: Sequence[Node]) -> InputContract:
    """The checks of every input of the caller; ``placeholders`` are those that remain in the unlifted graph."""
    inputs = [entry for entry in program.inputs if entry.path is None]
    checks = tuple(_check(node, entry) for node, entry in zip(placeholders, inputs, strict=True))
    return InputContract(checks, program.ranges, program.guards)


def _check(node: Node, entry: LiftedInput) -> InputCheck:
    recorded = node.meta.value
    if entry.kind == "constant":
        return InputCheck(node.name, constant=True, value=entry.value)
    if isinstance(recorded, TensorMeta):
        return InputCheck(node.name, shape=recorded.shape)
    if isinstance(recorded, SymMeta) and recorded.kind == "int":
        return InputCheck(node.name, symbol=recorded.expression)
    return InputCheck(node.name)
