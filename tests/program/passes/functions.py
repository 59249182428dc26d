"""Small functions of a Program, written down as statements."""

from __future__ import annotations

from typing import Any

import torch

from fx2py.graph.values import OpName
from fx2py.program.ir import (
    Assign,
    Bind,
    Call,
    Constant,
    Function,
    InputTable,
    Load,
    Program,
    Slot,
    Statement,
    Weight,
)


def aten(text: str) -> OpName:
    name, overload = text.split(".")
    return OpName("aten", name, overload)


def overload_of(op: OpName) -> Any:
    """The overload of torch itself."""
    return getattr(getattr(torch.ops.aten, op.name), str(op.overload))


def assign(target: str | None, op: str, *args: Any, **kwargs: Any) -> Assign:
    return Assign(target, Call(aten(op), args, tuple(kwargs.items())))


def program_of(
    statements: list[Statement], result: Any, *tensors: torch.Tensor, checked: bool = True
) -> Program:
    """A Program of one function over weights ``w0``, ``w1``, ... and the constant ``cpu``."""
    loads: list[Statement] = [Load(f"w{index}", Slot("weights", index)) for index in range(len(tensors))]
    loads.append(Load("cpu", Slot("consts", 0)))
    function = Function("execution_fn", (), ("weights", "consts"), (*loads, *statements), result)
    return Program(
        functions=(function,),
        weights=tuple(Weight(f"w{index}", tensor) for index, tensor in enumerate(tensors)),
        consts=(Constant("cpu_device", torch.device("cpu")),),
        input_table=InputTable(()) if checked else None,
    )


def targets(function: Function) -> list[str | None]:
    """The variables that a function assigns, in order."""
    return [statement.target for statement in function.body if isinstance(statement, Assign | Bind)]
