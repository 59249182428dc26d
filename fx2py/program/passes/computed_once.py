"""Hoisting: statements that depend on no input move into a function ``compute_once``, whose results are kept.

Proof. A statement moves if its result follows from its operands alone (the fact ``deterministic``) and each operand is
a literal, a device, a weight, or a result that moves too. Moved statements keep their order. Because calls share the
kept results, and no call may see what another did to them, nothing moves that

- is returned, or may share memory with what is returned;
- may share memory with what is written to, unless every statement that touches this memory moves;
- reads a weight that the code may write to, itself or through an input.

The runtime (fx2py/runtime/once.py) calls the function again when one of the weights was written to or moved, after each
step of an optimizer, when the default dtype or the number of threads changes, and in each call that records gradients
for one of the weights. It cannot see writes that no version counter counts: through ``.data`` or NumPy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import prod

import torch

from fx2py.graph.data import TensorMeta
from fx2py.graph.tensors import bytes_of, storages_of
from fx2py.graph.values import GETITEM, PRIMITIVES, Ref, references
from fx2py.operators.facts import facts_named, facts_of
from fx2py.program import ir
from fx2py.program.analyses.aliasing import AliasClasses, touched_names, writes
from fx2py.program.analyses.type_inference import has_types
from fx2py.program.identifiers import RESERVED, FreshNames
from fx2py.program.liveness import finish, place_loads
from fx2py.program.native import operator_of, with_defaults
from fx2py.program.passes.rewriting import node_name
from fx2py.runtime.once import PLAIN_CLASSES

NAME = "computed_once"
_FEWEST = 2
"""A call of ``compute_once`` costs about as much as calling one operator, so that hoisting one gains nothing."""
_ROUNDS = 10
_LEAST_BUDGET = 2**20


def compute_once(program: ir.Program) -> tuple[ir.Program, tuple[ir.Applied, ...]]:
    """The Program whose entry takes what depends on no input from a function ``compute_once``."""
    entry = replace(program.entry, body=tuple(s for s in program.entry.body if not isinstance(s, ir.Delete)))
    moved = _moved(entry, program) if has_types(program) else frozenset[int]()
    if len(moved) < _FEWEST:
        return program, ()
    once, rest = _split(entry, moved, program)
    applied = tuple(
        ir.Applied(NAME, node_name(statement), "depends on no input")
        for index, statement in enumerate(entry.body)
        if index in moved and isinstance(statement, ir.Assign)
    )
    return replace(program, functions=(*program.functions[:-1], once, rest)), applied


# -- what moves


def _moved(entry: ir.Function, program: ir.Program) -> frozenset[int]:
    """The indices of the statements that move; empty if the search does not reach a fixed point in a few rounds."""
    search = _MovableStatements(entry, program)
    for _ in range(_ROUNDS):
        moved = search.moved()
        touched_elsewhere = search.written_elsewhere(moved) or search.over_budget(moved)
        if not touched_elsewhere:
            return moved
        search.fixed |= touched_elsewhere
    return frozenset()


@dataclass(slots=True)
class _MovableStatements:
    """The search for what can move; ``fixed`` are the classes of memory that calls must not share."""

    entry: ir.Function
    program: ir.Program
    aliases: AliasClasses = field(init=False)
    fixed: set[str] = field(init=False)

    def __post_init__(self) -> None:
        self.aliases = AliasClasses(self.entry, self.program)
        class_of, written = self.aliases.class_of, self.aliases.written
        weights = {class_of(item.target) for item in self.entry.body if isinstance(item, ir.Load)}
        inputs = {class_of(parameter.name) for parameter in self.entry.parameters}
        elsewhere = any(writes(s) for function in self.program.functions[:-1] for s in function.body)
        # A caller may pass a weight as an input, so that a write to an input can be one to a weight.
        self.fixed = {*self.aliases.returned, *inputs, *(weights & written)}
        if elsewhere or inputs & written:
            self.fixed |= weights

    def moved(self) -> frozenset[int]:
        """The statements that follow from literals, devices and weights alone and make nothing in a fixed class."""
        known: set[str] = set()
        found: set[int] = set()
        for index, statement in enumerate(self.entry.body):
            if isinstance(statement, ir.Load):
                if _is_steady(statement, self.program) and self._is_free(statement.target):
                    known.add(statement.target)
            elif isinstance(statement, ir.Assign) and self._moves(statement, known):
                found.add(index)
                known.update([] if statement.target is None else [statement.target])
        return frozenset(found)

    def _moves(self, statement: ir.Assign, known: set[str]) -> bool:
        operands_move = known.issuperset(statement.parts.variables)
        return operands_move and _can_move(statement) and all(map(self._is_free, touched_names(statement)))

    def _is_free(self, name: str) -> bool:
        return self.aliases.class_of(name) not in self.fixed

    def written_elsewhere(self, moved: frozenset[int]) -> set[str]:
        """The classes that are written to and that both moved and other statements use."""
        touched: tuple[dict[str, None], dict[str, None]] = ({}, {})
        for index, statement in enumerate(self.entry.body):
            if isinstance(statement, ir.Assign):
                classes = map(self.aliases.class_of, touched_names(statement))
                touched[index in moved].update(dict.fromkeys(classes))
        return set(self.aliases.written & touched[True].keys() & touched[False].keys())

    def over_budget(self, moved: frozenset[int]) -> set[str]:
        """The class of the first result with which the kept ones would exceed an eighth of the weights' memory."""
        budget: float = max(_LEAST_BUDGET, sum([bytes_of(w.tensor) for w in self.program.weights]) // 8)
        for statement in _kept_results(self.entry, moved):
            budget -= _recorded_bytes(statement)
            if budget < 0:
                return {self.aliases.class_of(str(statement.target))}
        return set()


def _is_steady(load: ir.Load, program: ir.Program) -> bool:
    """Whether every call finds the same thing in a slot: a dense tensor with a known storage, a device or a number."""
    # The runtime notices a changed weight by its version and the address of its storage, which only these tensors have.
    if load.slot.table == "weights":
        tensor = program.weights[load.slot.index].tensor
        is_dense = tensor.layout is torch.strided and not tensor.is_nested
        return type(tensor) in PLAIN_CLASSES and is_dense and storages_of(tensor) is not None
    return load.slot.table == "consts" and type(program.consts[load.slot.index].value) in PRIMITIVES


def _can_move(statement: ir.Assign) -> bool:
    """Whether a call's result follows from its operands; a factory must name its device, or the default one would count."""
    op = operator_of(statement)
    if op is None or not facts_of(op).is_deterministic:
        return statement.call.callee == GETITEM
    on_default_device = facts_named(op.name).device == "default"
    return not on_default_device or with_defaults(op, statement.call)["device"] is not None


def _kept_results(entry: ir.Function, moved: frozenset[int]) -> list[ir.Assign]:
    """The moved statements whose results the other statements use."""
    used = {
        name
        for index, statement in enumerate(entry.body)
        if index not in moved
        for name in statement.parts.variables
    }
    return [
        item
        for index, item in enumerate(entry.body)
        if index in moved and isinstance(item, ir.Assign) and item.target in used
    ]


def _recorded_bytes(statement: ir.Assign) -> float:
    """The recorded size of a result, which only decides whether moving it pays; infinite if nothing is recorded."""
    meta = statement.origin.meta.value if statement.origin is not None else None
    if not isinstance(meta, TensorMeta) or any(isinstance(size, str) for size in meta.shape):
        return float("inf")
    return prod(map(int, meta.shape)) * meta.dtype.itemsize


# -- the two functions


def _split(entry: ir.Function, moved: frozenset[int], program: ir.Program) -> tuple[ir.Function, ir.Function]:
    """``compute_once`` and what is left of the entry."""
    loads = {item.target: item for item in entry.body if isinstance(item, ir.Load)}
    chosen = [statement for index, statement in enumerate(entry.body) if index in moved]
    kept = tuple([Ref(str(statement.target)) for statement in _kept_results(entry, moved)])
    read = {name: Ref(name) for item in chosen for name in item.parts.variables if name in loads}
    weights = tuple([ref for name, ref in read.items() if loads[name].slot.table == "weights"])
    result = (weights, kept)
    body = place_loads(chosen, result, [loads[name] for name in read])
    others = {each.name: each for each in program.functions[:-1]}
    once = finish(ir.COMPUTE_ONCE, (), body, result, "", others)
    rest = _with_results(entry, moved, kept)
    return once, finish(
        entry.name, entry.parameters, rest, entry.result, entry.path, others | {once.name: once}
    )


def _with_results(entry: ir.Function, moved: frozenset[int], kept: Sequence[Ref]) -> list[ir.Statement]:
    """The entry's other statements, which take the kept results where the first moved statement was."""
    taken = {name for item in entry.body for name in references(*item.operands)}
    names = FreshNames([*RESERVED, *taken, *(parameter.name for parameter in entry.parameters)])
    computed = Ref(names.fresh("computed"))
    statements: list[ir.Statement] = [ir.Assign(computed.name, ir.Call(ir.Local(ir.COMPUTE_ONCE)))]
    statements += [
        ir.Assign(result.name, ir.Call(GETITEM, (computed, index))) for index, result in enumerate(kept)
    ]
    first = min(moved)
    rest = [item for index, item in enumerate(entry.body) if index not in moved]
    before = sum(index not in moved for index in range(first))
    rest[before:before] = statements
    loads = {item.target: item for item in rest if isinstance(item, ir.Load)}
    others = [item for item in rest if not isinstance(item, ir.Load)]
    return place_loads(others, entry.result, loads.values())
