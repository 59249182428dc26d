"""Native calls: ``torch.add(x, y)`` in place of ``torch.ops.aten.add.Tensor(x, y)`` where that is proven.

The table ``native_calls.txt`` is the result of the proof: each line names an overload, the Python callee that reaches
this overload with the same arguments, and the parameters, with their schema types, for which that holds. Nothing is
decided by recorded shapes or types, so that a graph gives the same calls through every door.

What is proven: for every value that the overload accepts at a parameter (a number for a Tensor where the overload
takes numbers, a tuple for a list, a symbolic int for an int, None where the type ends in ``?``), the native call
reaches the same overload first, before autograd, autocast and kernels, with the same arguments, and returns what the
overload returns. What is not: that tensor subclasses and modes which override ``__torch_function__`` see the overload;
they see the native function.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import chain

import torch

from fx2py.graph.values import List, Name, OpName, Ref, Size, Slice, Value, children
from fx2py.program.ir import Call, Method, Slot

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
SLICED_DIMENSIONS = range(4)


@dataclass(frozen=True, slots=True)
class NativeParameter:
    """One parameter of a native call, with its schema type.

    ``given``: the proof holds only where it is passed and not None. ``spread``: its items stand in place of it.
    """

    name: str
    type: str
    given: bool = False
    spread: bool = False

    def takes(self, value: Value, present: Container[str]) -> bool:
        """Whether the proof covers this argument; ``present`` names the variables that surely hold no None."""
        if self.given and (value is None or (type(value) is Ref and value.name not in present)):
            return False
        if self.spread and not (isinstance(value, (List, Size)) and value.items):
            return False
        return _covered(self.type, value)


def _covered(kind: str, value: Value) -> bool:
    """Whether a value was among the samples of a schema type: any variable, and literals of the listed types."""
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


@dataclass(frozen=True, slots=True)
class NativeForm:
    """A proven way to write the calls of an overload.

    ``positional`` may stand in place, ``by_name`` by keyword; those in ``needed`` are always passed. ``result`` is
    "Tensor", "items" where the container differs from the overload's (a named tuple for a tuple) and only its items
    agree, else "other".
    """

    callee: Name | Method
    positional: tuple[NativeParameter, ...]
    by_name: dict[str, NativeParameter]
    needed: frozenset[str]
    result: str

    def covers(
        self,
        args: tuple[Value, ...],
        kwargs: tuple[tuple[str, Value], ...],
        present: Container[str] = frozenset(),
    ) -> bool:
        """Whether the proof holds for a call with these arguments."""
        if len(args) > len(self.positional):
            return False
        passed = {parameter.name for parameter in self.positional[: len(args)]}
        for name, value in kwargs:
            if name in passed or name not in self.by_name or not self.by_name[name].takes(value, present):
                return False
            passed.add(name)
        placed = zip(self.positional, args, strict=False)
        return self.needed <= passed and all(parameter.takes(value, present) for parameter, value in placed)

    def call(self, args: tuple[Value, ...], kwargs: tuple[tuple[str, Value], ...]) -> Call:
        parts = zip(self.positional, args, strict=False)
        spread = [children(value) if parameter.spread else (value,) for parameter, value in parts]
        return Call(self.callee, tuple(chain.from_iterable(spread)), kwargs)


def native_call(
    op: OpName,
    args: tuple[Value, ...],
    kwargs: tuple[tuple[str, Value], ...] = (),
    *,
    tensors: Container[str] = frozenset(),
    present: Container[str] = frozenset(),
    items_only: bool = False,
) -> Call | None:
    """The native call that does what ``op`` does with these arguments, None where none is proven.

    ``tensors`` names the variables that surely hold a tensor. Of other objects methods and operators may make
    something where the overload refuses them. ``present`` names those that surely hold no None. ``items_only`` promises
    that of the result only the items are used.
    """
    if op == SLICE and not kwargs:
        return _sliced(args) if args and _is_tensor(args[0], tensors) else None
    for form in _forms(op):
        if form.result == "items" and not items_only:
            continue
        if _found_through(form.callee, args, tensors) and form.covers(args, kwargs, present):
            return form.call(args, kwargs)
    return None


def _sliced(args: tuple[Value, ...]) -> Call | None:
    """``x[2:]`` or ``x[:, 2:]``, proven for a literal start.

    Not from 0 on in a later dimension: of a dimension that stays whole Python makes an alias, not a slice.
    """
    if len(args) not in (4, 5):
        return None
    receiver, dim, start, stop, step = (*args, 1)[:5]
    if type(dim) is not int or dim not in SLICED_DIMENSIONS or not (_is_int64(start) and _is_int64(step)):
        return None
    if (dim and start == 0) or (type(stop) is not Ref and not _is_int64(stop)):
        return None
    last = Slice(start or None, None if stop == INT64[-1] else stop, None if step == 1 else step)
    index = (*(Slice(),) * dim, last) if dim else last
    return Call(Name("operator", "getitem"), (receiver, index))


def _is_int64(value: Value) -> bool:
    return type(value) is int and value in INT64


def returns_tensor(op: OpName) -> bool:
    """Whether each call of ``op`` is known to give one tensor."""
    return any(line.endswith("-> Tensor") for line in _lines(op))


@cache
def returns_tensor_list(op: OpName) -> bool:
    """Whether each call of ``op`` gives a list of tensors, by its schema."""
    schemas = torch._C._jit_get_schemas_for_operator(f"{op.namespace}::{op.name}")
    found = [schema.returns for schema in schemas if (schema.overload_name or "default") == op.overload]
    return len(found) == 1 and [str(each.type) for each in found[0]] == ["List[Tensor]"]


def _found_through(callee: Name | Method, args: tuple[Value, ...], tensors: Container[str]) -> bool:
    """Whether Python finds the proven callee: methods and operators are looked up on the arguments."""
    if isinstance(callee, Name) and callee.module != "operator":
        return True
    if not args or not _is_tensor(args[0], tensors):
        return False
    return isinstance(callee, Method) or all(_is_tensor(part, tensors) for part in args if type(part) is Ref)


def _is_tensor(value: Value, tensors: Container[str]) -> bool:
    if isinstance(value, Slot):
        return value.table == "weights"
    return isinstance(value, Ref) and value.name in tensors


def _lines(op: OpName) -> tuple[str, ...]:
    return _table().get(f"{op.name}.{op.overload}", ()) if op.namespace == "aten" else ()


@cache
def _table() -> dict[str, tuple[str, ...]]:
    """The lines of ``native_calls.txt`` by overload, without its name."""
    table: dict[str, tuple[str, ...]] = {}
    for line in files(__package__).joinpath("native_calls.txt").read_text().splitlines():
        overload, _, rest = line.partition(" ")
        table[overload] = (*table.get(overload, ()), rest)
    return table


@cache
def _forms(op: OpName) -> tuple[NativeForm, ...]:
    return tuple(parse_form(line) for line in _lines(op) if not line.startswith("->"))


def parse_form(line: str) -> NativeForm:
    """Reads ``torch.add(Tensor self, /, Tensor other, *, Scalar alpha) -> Tensor``."""
    head, _, result = line.rpartition(") -> ")
    path, _, inside = head.partition("(")
    module, _, name = path.rpartition(".")
    callee = Method(name) if module == "Tensor" else Name(module, name)
    marks = inside.split(", ")
    places = marks[: marks.index("*")] if "*" in marks else marks
    positional = [_parameter(mark) for mark in places if mark != "/"]
    named = marks[marks.index("/") + 1 :] if "/" in marks else marks
    by_name = {item.name: item for item in (_parameter(mark) for mark in named if mark != "*")}
    needed = frozenset(item.name for item in (*positional, *by_name.values()) if item.given)
    return NativeForm(callee, tuple(positional), by_name, needed, result)


def _parameter(text: str) -> NativeParameter:
    kind, _, name = text.partition(" ")
    return NativeParameter(
        name.removesuffix("!"), kind.removeprefix("*"), name.endswith("!"), kind.startswith("*")
    )
