"""Native calls: ``torch.add(x, y)`` in place of ``torch.ops.aten.add.Tensor(x, y)`` where that is proven, and back.

The ``native`` facts of the table of operators are the result of the proof: each names the Python callee that reaches the
overload with the same arguments, and the parameters, with their schema types, for which that holds. Recorded shapes and
types decide nothing, so that a graph gives the same calls in whichever format it was saved.

What is proven: for every value that the overload accepts at a parameter (a number for a Tensor where the overload
takes numbers, a tuple for a list, a symbolic int for an int, None where the type ends in ``?``), the native call
reaches the same overload first, before autograd, autocast and kernels, with the same arguments, and returns what the
overload returns. What is not: tensor subclasses and modes that override ``__torch_function__`` see the native function
and not the overload.
"""

from __future__ import annotations

from collections.abc import Container
from itertools import chain
from typing import TypeGuard

import torch

from fx2py.graph.data import Target
from fx2py.graph.values import List, Name, OpName, Ref, Size, Slice, Value, children
from fx2py.operators.facts import METHOD, NativeForm, NativeParameter, facts_of
from fx2py.operators.schema import arguments_of, defaults_of, schema_of
from fx2py.program.ir import Assign, Call, Callee, Method, Operand, Slot, Statement

NUMBERS = frozenset({bool, int, float, complex})
LITERALS: dict[str, frozenset[type]] = {
    "Tensor": frozenset(),
    "Tensor|Scalar": NUMBERS,
    "Scalar": NUMBERS,
    "int": frozenset({int}),
    "SymInt": frozenset({int}),
    "float": frozenset({float, int}),
    "bool": frozenset({bool}),
    "str": frozenset({str}),
    "ScalarType": frozenset({torch.dtype}),
    "Layout": frozenset({torch.layout}),
    "Device": frozenset({torch.device, str}),
    "MemoryFormat": frozenset({torch.memory_format}),
    "Generator": frozenset(),
}
"""The exact types of literals that the proof covers, by schema type."""
INT64 = range(-(2**63), 2**63)
SLICE = OpName("aten", "slice", "Tensor")
SELECT = OpName("aten", "select", "int")
INDEXED_DIMENSIONS = range(4)


def _takes(parameter: NativeParameter, value: Value, present: Container[str]) -> bool:
    """Whether the proof covers this argument; ``present`` names the variables that cannot be None."""
    if parameter.given and (value is None or (type(value) is Ref and value.name not in present)):
        return False
    if parameter.spread and not (isinstance(value, (List, Size)) and value.items):
        return False
    return _covered(parameter.type, value)


def _covered(kind: str, value: Value) -> bool:
    """Whether the proof covers a value for a schema type: any variable, and literals of the listed types."""
    if type(value) in (Ref, Slot):
        return True
    if value is None:
        return kind.endswith("?")
    kind = kind.removesuffix("?")
    if kind.endswith("]"):
        item, _, width = kind[:-1].rpartition("[")
        if isinstance(value, (List, Size, tuple)):
            return all(_covered(item, part) for part in children(value))
        return bool(width) and _covered(item, value)
    return type(value) in LITERALS[kind] and (type(value) is not int or _is_int64(value))


def _covers(
    form: NativeForm,
    args: tuple[Value, ...],
    kwargs: tuple[tuple[str, Value], ...],
    present: Container[str],
) -> bool:
    """Whether the proof holds for a call with these arguments."""
    if len(args) > len(form.positional):
        return False
    passed = {parameter.name for parameter in form.positional[: len(args)]}
    for name, value in kwargs:
        if name in passed or name not in form.by_name or not _takes(form.by_name[name], value, present):
            return False
        passed.add(name)
    placed = zip(form.positional, args, strict=False)
    return form.needed <= passed and all(_takes(parameter, value, present) for parameter, value in placed)


def _written(form: NativeForm, args: tuple[Value, ...], kwargs: tuple[tuple[str, Value], ...]) -> Call:
    parts = zip(form.positional, args, strict=False)
    spread = [children(value) if parameter.spread else (value,) for parameter, value in parts]
    callee = Method(form.callee.qualname) if form.callee.module == METHOD else form.callee
    return Call(callee, tuple(chain.from_iterable(spread)), kwargs)


def native_call(
    op: OpName,
    args: tuple[Value, ...],
    kwargs: tuple[tuple[str, Value], ...] = (),
    *,
    tensors: Container[str] = frozenset(),
    present: Container[str] = frozenset(),
    items_only: bool = False,
    sizes: tuple[int | str, ...] = (),
) -> Call | None:
    """The native call that does what ``op`` does with these arguments; None if none is proven.

    ``tensors`` names the variables that are known to be tensors: on another object, a method or an operator of Python
    may do something where the overload would raise. ``present`` names those that cannot be None. ``items_only`` promises
    that only items of the result are used, since native calls may return a named tuple where the overload returns a tuple. ``sizes`` are those recorded of the
    first argument; where they are wrong, a slice is still the same view, but by way of another overload.
    """
    if not kwargs and args and _is_tensor(args[0], tensors):
        indexed = _sliced(args, sizes) if op == SLICE else _selected(args) if op == SELECT else None
        if indexed is not None:
            return indexed
    if schema_of(op) is None:
        return None  # gone from this release of torch, which may keep the Python function and let it raise: torch.qr
    facts = facts_of(op)
    if facts.returns == "named tuple" and not items_only:
        return None
    for form in facts.native:
        if _found_through(form.callee, args, tensors) and _covers(form, args, kwargs, present):
            return _written(form, args, kwargs)
    return None


def _selected(args: tuple[Value, ...]) -> Call | None:
    """``x[2]`` or ``x[:, 2]``: indexing skips the slices before the number (``applySlice`` in ATen/TensorIndexing.h)."""
    if len(args) != 3 or not _is_dimension(args[1]) or not _is_int64(args[2]):
        return None
    return _indexed(args[0], args[1], args[2])


def _sliced(args: tuple[Value, ...], sizes: tuple[int | str, ...]) -> Call | None:
    """``x[2:]`` or ``x[:, 2:]``, proven for a literal start.

    If ``0:stop`` covers the whole dimension, indexing skips ``aten::slice`` (``applySlice`` in ATen/TensorIndexing.h, for
    every dimension but a lone first one), so that the size must be known to be greater.
    """
    if len(args) not in (4, 5):
        return None
    receiver, dim, start, stop, step = (*args, 1)[:5]
    if not (_is_dimension(dim) and _is_int64(start) and _is_int64(step)):
        return None
    if type(stop) is not Ref and not _is_int64(stop):
        return None
    if dim and start == 0 and step == 1 and not _is_inside(stop, sizes[dim : dim + 1]):
        return None
    return _indexed(
        receiver, dim, Slice(start or None, None if stop == INT64[-1] else stop, None if step == 1 else step)
    )


def _indexed(receiver: Value, dim: int, last: Value) -> Call:
    return Call(Name("operator", "getitem"), (receiver, (*(Slice(),) * dim, last) if dim else last))


def _is_dimension(value: Value) -> TypeGuard[int]:
    return type(value) is int and value in INDEXED_DIMENSIONS


def _is_inside(stop: Value, size: tuple[int | str, ...]) -> bool:
    """Whether a dimension of this size goes on behind ``stop``; a size that varies is a text."""
    return type(stop) is int and bool(size) and type(size[0]) is int and stop < size[0]


def _is_int64(value: Value) -> bool:
    return type(value) is int and value in INT64


def _found_through(callee: Name, args: tuple[Value, ...], tensors: Container[str]) -> bool:
    """Whether Python is sure to find the proven callee: it looks up methods and operators on the arguments."""
    if callee.module not in ("operator", METHOD):
        return True
    if not args or not _is_tensor(args[0], tensors):
        return False
    return callee.module == METHOD or all(_is_tensor(part, tensors) for part in args if type(part) is Ref)


def _is_tensor(value: Value, tensors: Container[str]) -> bool:
    if isinstance(value, Slot):
        return value.table == "weights"
    return isinstance(value, Ref) and value.name in tensors


def operator_of(statement: Statement) -> OpName | None:
    """The ATen overload that a statement calls, directly or by a native call; None if it calls something else."""
    if not isinstance(statement, Assign):
        return None
    called: Callee | Target | None = statement.call.callee
    if not isinstance(called, OpName):
        called = statement.origin.target if statement.origin is not None else None
    return called if isinstance(called, OpName) and called.namespace == "aten" else None


def given_to(op: OpName, call: Call) -> dict[str, Operand]:
    """The arguments of a call by their names in the schema, without those that keep their defaults.

    Native calls take the same arguments at the same positions, except for sizes given one by one, which come last.
    """
    return arguments_of(op, call.args, call.kwargs)


def with_defaults(op: OpName, call: Call) -> dict[str, Operand]:
    """All arguments of a call, defaults among them, by their names in the schema."""
    return {**defaults_of(op), **given_to(op, call)}
