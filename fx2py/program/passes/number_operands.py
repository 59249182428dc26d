"""Numbers that meet tensors again and again become tensors, which ``compute_once`` makes once.

For a number in ``x * 0.5`` torch makes a tensor in each call, and converts it to the dtype of ``x``.

Proof. Where ``x`` is a float32 or float64 tensor the number takes part in a sum, difference or product as itself rounded
to that dtype, and a tensor without dimensions of that dtype holds the same number. Neither changes the dtype or the shape
of the result, whatever the shape of ``x``. A quotient stays as it is: on CUDA a division by a number multiplies by its
inverse.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import isfinite
from typing import Any

import torch

from fx2py.graph.data import Node, NodeMeta, TensorMeta
from fx2py.graph.values import List, Name, OpName, Ref
from fx2py.program.ir import Applied, Assign, Call, Constant, Delete, Load, Program, Slot, Statement
from fx2py.program.liveness import finish, leaves, values_of
from fx2py.program.passes.rewriting import node_name, operator_of
from fx2py.program.passes.tensor_types import TensorTypes, has_types
from fx2py.program.scope import Scope
from fx2py.program.tables import exact_key

NAME = "number_operands"
OPERATORS = frozenset(OpName("aten", name, "Tensor") for name in ("add", "sub", "mul"))
DTYPES = (torch.float32, torch.float64)
_FULL = OpName("aten", "full", "default")
_EXACT_INTEGERS = range(-(2**24), 2**24 + 1)
_FEWEST = 3
"""Taking the tensors from ``compute_once`` costs about as much as this many numbers."""


def name_numbers(program: Program) -> tuple[Program, tuple[Applied, ...], frozenset[str]]:
    """The Program whose entry makes its numbers tensors first, each once, and the variables of these tensors."""
    if not has_types(program):
        return program, (), frozenset()
    search = _Search(program)
    body = [search.rewritten(statement) for statement in search.body]
    if len(search.applied) < _FEWEST:
        return program, (), frozenset()
    body = [*search.made, *(item for item in body if item not in search.made)]
    entry, others = program.entry, program.functions[:-1]
    entry = finish(entry.name, entry.parameters, body, entry.result, entry.path, others)
    changed = replace(program, functions=(*others, entry), consts=tuple(search.consts))
    return changed, tuple(search.applied), frozenset(tensor.name for tensor in search.known.values())


@dataclass(slots=True)
class _Search:
    """What is found while the statements of the entry are read: ``made`` loads devices and makes the tensors."""

    program: Program
    body: list[Statement] = field(init=False)
    names: Scope = field(init=False)
    types: TensorTypes = field(init=False)
    consts: list[Constant] = field(init=False)
    made: list[Statement] = field(default_factory=list)
    applied: list[Applied] = field(default_factory=list)
    known: dict[Any, Ref] = field(default_factory=dict)
    places: dict[torch.device, Ref] = field(default_factory=dict)

    def __post_init__(self) -> None:
        entry = self.program.entry
        self.body = [item for item in entry.body if not isinstance(item, Delete)]
        taken = {part.name for item in entry.body for part in leaves(values_of(item)) if type(part) is Ref}
        targets = {item.target for item in self.body if item.target is not None}  # type: ignore[union-attr]
        self.names = Scope([*taken, *targets, *(parameter.name for parameter in entry.parameters)])
        self.consts = list(self.program.consts)
        self.types = TensorTypes(self.program)

    def rewritten(self, statement: Statement) -> Statement:
        """The statement with a tensor in place of its number, where that is proven."""
        if (
            isinstance(statement, Assign)
            and operator_of(statement) in OPERATORS
            and not statement.call.kwargs
        ):
            call = statement.call
            number = self._tensor_for(*call.args) if len(call.args) == 2 else None
            if number is not None:
                reason = f"{call.args[1]} is a tensor that is made once"
                self.applied.append(Applied(NAME, node_name(statement), reason))
                statement = replace(statement, call=Call(call.callee, (call.args[0], number)))
        self.types.learn(statement)
        return statement

    def _tensor_for(self, operand: Any, number: Any) -> Ref | None:
        if not isinstance(operand, Ref) or not _is_exact(number):
            return None
        kind = self.types.of(operand.name)
        if kind.dtype not in DTYPES or kind.device is None or kind.layout is not torch.strided:
            return None
        if type(number) is float and abs(number) > torch.finfo(kind.dtype).max:
            return None
        key = (exact_key(number), kind.dtype, kind.device)
        if key not in self.known:
            self.known[key] = self._make(number, kind.dtype, kind.device)
        return self.known[key]

    def _make(self, number: float, dtype: torch.dtype, device: torch.device) -> Ref:
        """Statements that make the tensor; torch makes one without dimensions of each number, as these do."""
        if device not in self.places:
            self.places[device] = self._load(device)
        place = self.places[device]
        name = self.names.fresh("number")
        call = Call(Name("torch", "full"), (List(()), number), (("dtype", dtype), ("device", place)))
        meta = NodeMeta(TensorMeta(dtype, (), device))
        made = Assign(name, call, Node(name, "call_function", _FULL, call.args, call.kwargs, meta))
        self.made.append(made)
        self.types.learn(made)
        return Ref(name)

    def _load(self, device: torch.device) -> Ref:
        """The variable that holds a device, loaded before all else."""
        found = [index for index, item in enumerate(self.consts) if _is_device(item.value, device)]
        if not found:
            self.consts.append(Constant(f"{device.type}_device", device))
        slot = Slot("consts", found[0] if found else len(self.consts) - 1)
        loads = [item for item in self.body if isinstance(item, Load) and item.slot == slot]
        load = loads[0] if loads else Load(self.names.fresh(f"{device.type}_device"), slot)
        self.made.append(load)
        self.types.name_device(load.target, device)
        return Ref(load.target)


def _is_exact(number: Any) -> bool:
    """Whether a number is the same after it was rounded once, and may stand in a text."""
    if type(number) is int:
        return number in _EXACT_INTEGERS
    return type(number) is float and isfinite(number)


def _is_device(value: Any, device: torch.device) -> bool:
    return isinstance(value, torch.device) and value == device
