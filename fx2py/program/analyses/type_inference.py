"""Type inference: dtype, device and layout of a function's tensors, from weights, schemas and literals.

What was recorded when the graph was captured is not used, since the inputs of a call may differ. There are four sources:
the bound weights; the ``dtype`` and ``device`` facts of operators; the dtype and device that a factory call names;
assertions that stay in the code, for what comes after them. A result is on the device of all its tensor operands; that
of a lookup (``embedding``) is on the device of the table. Devices are those that were recorded: when the code is
retargeted, weights and devices move together.

Nothing is inferred where one of two things could make a rule wrong: autocast, under which code that uses inference
therefore refuses to run, and code other than ATen operators, which could replace a tensor's contents (``set_data``).
A weight whose dtype or device is changed in place after binding goes unnoticed.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from fx2py.graph.values import List, Name, OpName, Ref, children, item_taken, walk
from fx2py.operators.dtypes import RULES
from fx2py.operators.facts import Facts, facts_of
from fx2py.operators.schema import returns_tensor_list, schema_of
from fx2py.program.ir import CHECK_INPUTS, Assign, Call, Load, Local, Operand, Program, Statement
from fx2py.program.native import NUMBERS, operator_of, with_defaults
from fx2py.runtime.once import PLAIN_CLASSES

ASSERTION = OpName("aten", "_assert_tensor_metadata", "default")
ARITHMETIC = frozenset({"operator", "_operator", "math"})
"""Modules whose functions do not change an existing tensor's dtype or device."""
_REPLACES_CONTENTS = frozenset({"set_data"})
_TRANSPARENT = frozenset({OpName("higher_order", "wrap_with_set_grad_enabled")})
"""Higher-order operators that do nothing to tensors but call their function."""


@dataclass(frozen=True, slots=True)
class TensorType:
    """What is known about a tensor; None for what is not."""

    dtype: torch.dtype | None = None
    device: torch.device | None = None
    layout: torch.layout | None = None

    @property
    def is_whole(self) -> bool:
        """Whether dtype, device and layout are all known."""
        return None not in (self.dtype, self.device, self.layout)

    def __str__(self) -> str:
        known = [part for part in (self.dtype, self.device, self.layout) if part is not None]
        return " ".join([str(part).removeprefix("torch.") for part in known])


def has_types(program: Program) -> bool:
    """Whether types can be inferred in this Program: its inputs are checked, and it calls only ATen operators."""
    return program.input_table is not None and all(
        _keeps_types(statement) for function in program.functions for statement in function.body
    )


def _keeps_types(statement: Statement) -> bool:
    if not isinstance(statement, Assign):
        return True
    callee, op = statement.call.callee, operator_of(statement)
    if op is not None:
        return op.name not in _REPLACES_CONTENTS
    if isinstance(callee, Name):
        return callee.module in ARITHMETIC or callee.path.startswith("torch.sym_")
    return callee == Local(CHECK_INPUTS) or callee in _TRANSPARENT


class TensorTypes:
    """What is known at a point of a function; ``learn`` takes its statements in order."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._holds = has_types(program)
        self._types: dict[str, TensorType] = {}
        self._items: dict[str, TensorType] = {}
        self._devices: dict[str, torch.device] = {}

    def of(self, name: str) -> TensorType:
        return self._types.get(name, TensorType())

    def has(self, name: str, demands: dict[str, Operand]) -> bool:
        """Whether a variable is proven to hold a tensor of the demanded dtype, device and layout (None: any)."""
        if name not in self._types:
            return False
        known = self._types[name]
        device = demands.get("device")
        return (
            demands.get("dtype") in (None, known.dtype)
            and demands.get("layout") in (None, known.layout)
            and (device is None or (known.device is not None and self._device(device) == known.device))
        )

    def rename(self, target: str, source: str) -> None:
        """Learn that ``target`` is the same object as ``source``."""
        self._types[target] = self._types[source]

    def learn(self, statement: Statement) -> None:
        """Learn what a statement tells about its result or its operand."""
        if not self._holds:
            return
        if isinstance(statement, Load):
            self._learn_load(statement)
        elif isinstance(statement, Assign):
            op = operator_of(statement)
            if op == ASSERTION:
                self._learn_assertion(statement.call)
            elif statement.target is not None and op is not None:
                self._learn_result(statement.target, op, statement.call)
            elif statement.target is not None:
                self._learn_item(statement.target, statement.call)

    def _learn_load(self, load: Load) -> None:
        if load.slot.table == "weights":
            tensor = self._program.weights[load.slot.index].tensor
            if type(tensor) in PLAIN_CLASSES:
                self._types[load.target] = TensorType(tensor.dtype, tensor.device, tensor.layout)
        elif load.slot.table == "consts":
            value = self._program.consts[load.slot.index].value
            if isinstance(value, torch.device):
                self._devices[load.target] = value

    def _learn_assertion(self, call: Call) -> None:
        given = with_defaults(ASSERTION, call)
        if not isinstance(given["a"], Ref):
            return
        known = self.of(given["a"].name)
        dtype, layout = given["dtype"], given["layout"]
        self._types[given["a"].name] = TensorType(
            dtype if isinstance(dtype, torch.dtype) else known.dtype,
            self._device(given["device"]) or known.device,
            layout if isinstance(layout, torch.layout) else known.layout,
        )

    def _learn_item(self, target: str, call: Call) -> None:
        taken = item_taken(call.callee, call.args, call.kwargs)
        if taken is not None and taken[0] in self._items:
            self._types[target] = self._items[taken[0]]

    def _learn_result(self, target: str, op: OpName, call: Call) -> None:
        facts = facts_of(op)
        if facts.dtype:
            result = self._result(facts, op, with_defaults(op, call))
            (self._items if returns_tensor_list(op) else self._types)[target] = result

    def _result(self, facts: Facts, op: OpName, given: dict[str, Operand]) -> TensorType:
        tensors, numbers = _operands(op, given)
        known = [self.of(value.name) if isinstance(value, Ref) else TensorType() for value in tensors]
        known = known[:1] if facts.device == "first" else known
        device = self._device(given["device"]) if given.get("device") is not None else _shared_device(known)
        # A factory's layout defaults to strided; other operators give strided results for strided operands.
        is_strided = given.get("layout") in (None, torch.strided)
        is_strided = is_strided and all(item.layout is torch.strided for item in known)
        dtype = RULES[facts.dtype]([item.dtype for item in known], numbers, given)
        return TensorType(dtype, device, torch.strided if is_strided else None)

    def _device(self, value: Operand) -> torch.device | None:
        return self._devices.get(value.name) if isinstance(value, Ref) else None


def _shared_device(known: list[TensorType]) -> torch.device | None:
    devices = {item.device for item in known}
    return devices.pop() if len(devices) == 1 else None


def _operands(op: OpName, given: dict[str, Operand]) -> tuple[list[Operand], list[Operand]]:
    """The operands for tensors in the schema, and those for numbers (also a number passed for a tensor)."""
    tensors: list[Operand] = []
    numbers: list[Operand] = []
    schema = schema_of(op)
    for argument in () if schema is None else schema.arguments:
        kind = str(argument.type)
        if "Tensor" in kind or "number" in kind.lower():
            for part in walk(given.get(argument.name)):
                if part is not None and not children(part) and type(part) not in (List, tuple):
                    is_tensor = "Tensor" in kind and type(part) not in NUMBERS
                    (tensors if is_tensor else numbers).append(part)
    return tensors, numbers
