"""The numbers that each input may hold, from what the graph does with it: indices, class targets, domains of functions.

Demands go backwards through the graph: of ``log(x - 1)`` log wants a number above 0, so that x must be above 1.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeGuard

import torch

from fx2py.graph.data import ModuleRecord, Node, TensorMeta
from fx2py.graph.values import List, Name, OpName, Ref, Value, walk
from fx2py.operators.facts import Facts, IndexBound, facts_named
from fx2py.operators.schema import schema_of
from fx2py.runtime.sizes import SizeExpression


@dataclass(frozen=True, slots=True)
class Domain:
    """The numbers strictly between ``low`` and ``high``; ``ascending`` ones are positions in rising order from 0."""

    low: float = -math.inf
    high: float = math.inf
    ascending: bool = False

    def both(self, other: Domain) -> Domain:
        """What is in both; this domain alone where nothing is."""
        low, high = max(self.low, other.low), min(self.high, other.high)
        ascending = self.ascending or other.ascending
        return Domain(low, high, ascending) if low < high else Domain(self.low, self.high, ascending)

    def moved(self, step: float) -> Domain:
        return Domain(self.low + step, self.high + step)

    def scaled(self, factor: float) -> Domain:
        ends = (self.low * factor, self.high * factor)
        return Domain(min(ends), max(ends))


ANY = Domain()
Demand = tuple[Value, Domain]
"""An operand, and what its numbers should be."""


def input_domains(record: ModuleRecord, sizes: Mapping[str, int]) -> dict[str, Domain]:
    """What each placeholder of a module's graph should hold, by its name; ``sizes`` has the size of each symbol.

    Where two uses exclude each other, the later one counts.
    """
    nodes = record.graph.nodes if record.graph is not None else ()
    demands = _Demands(record, {node.name: node for node in nodes}, sizes)
    found: dict[str, Domain] = {}
    for node in reversed(nodes):
        for operand, domain in demands.of(node, found.get(node.name, ANY)):
            for part in walk(operand):
                if isinstance(part, Ref):
                    found[part.name] = found.get(part.name, ANY).both(domain)
    return {node.name: found[node.name] for node in nodes if node.op == "placeholder" and node.name in found}


@dataclass(frozen=True, slots=True, eq=False)
class _Demands:
    """What each node of one graph wants of its operands."""

    record: ModuleRecord
    nodes: Mapping[str, Node]
    sizes: Mapping[str, int]

    def of(self, node: Node, result: Domain) -> Iterator[Demand]:
        """The demands on the operands of a node whose result should be in ``result``."""
        if node.op == "call_module":
            yield from self._of_module(node, result)
        elif isinstance(node.target, OpName) and node.target.is_higher_order:
            yield from self._of_nested_graphs(node)
        elif node.op in ("call_function", "call_method"):
            yield from self._of_call(_facts(node), node.called, _arguments(node), result)

    def _of_call(self, known: Facts, name: str, args: tuple[Value, ...], result: Domain) -> Iterator[Demand]:
        for interval in known.domains:
            yield _at(args, interval.argument), Domain(interval.low, interval.high)
        if known.index is not None:
            yield from self._of_index(known.index, args)
        if known.offsets is not None:
            count = next(self._rows(_at(args, known.offsets.indices), 0), math.inf)
            yield _at(args, known.offsets.offsets), Domain(-1, max(count, 1), ascending=True)
        for place in known.elements:
            yield _at(args, place), result
        if name in _BACKWARDS and args:
            yield from _BACKWARDS[name](args, result)

    def _of_index(self, known: IndexBound, args: tuple[Value, ...]) -> Iterator[Demand]:
        indices = _at(args, known.indices)
        dimension = _at(args, known.dimension or 0) if known.by_argument else known.dimension
        if known.table is None:
            if type(dimension) is int and dimension > 0:
                yield indices, Domain(-1, dimension)
        elif dimension is None:
            parts = indices.items if isinstance(indices, List) else indices
            for place, part in enumerate(parts if isinstance(parts, tuple) else (parts,)):
                yield from self._below(part, _at(args, known.table), place)
        elif type(dimension) is int:
            yield from self._below(indices, _at(args, known.table), dimension)

    def _below(self, indices: Value, table: Value, dimension: int) -> Iterator[Demand]:
        for rows in self._rows(table, dimension):
            yield indices, Domain(-1, rows)

    def _rows(self, table: Value, dimension: int) -> Iterator[int]:
        """The size of a tensor along a dimension, from itself or from what is recorded of it."""
        source = self.nodes.get(table.name) if isinstance(table, Ref) else None
        shape = () if source is None else self._shape(source)
        if shape and dimension >= -len(shape):
            size = shape[min(dimension, len(shape) - 1)]
            with suppress(ValueError, ArithmeticError, KeyError):
                yield size if isinstance(size, int) else int(SizeExpression(size).value(self.sizes))

    def _shape(self, source: Node) -> tuple[int | str, ...]:
        if isinstance(source.meta.value, TensorMeta):
            return source.meta.value.shape
        if source.op == "get_attr":
            with suppress(KeyError):
                found = self.record.find(str(source.target))
                return tuple(found.shape) if isinstance(found, torch.Tensor) else ()
        return ()

    def _of_module(self, node: Node, result: Domain) -> Iterator[Demand]:
        """Demands inside a called module: of its own table, of the function that it stands for, or of a nested graph."""
        child = self.record.find_module(str(node.target))
        if child is None:
            return
        if child.graph is not None:
            yield from self._passed(node.args, child)
        name, weight = child.cls.qualname, child.parameters.get("weight")
        if name in ("Embedding", "EmbeddingBag") and weight is not None:
            yield _at(node.args, 0), Domain(-1, weight.shape[0])
        if name in _FUNCTIONS_OF_MODULES:
            function = _FUNCTIONS_OF_MODULES[name]
            yield from self._of_call(facts_named(function), function, node.args, result)

    def _of_nested_graphs(self, node: Node) -> Iterator[Demand]:
        """Demands inside the graphs that a higher-order operator calls; its last operands are their inputs."""
        refs = [part for operand in node.operands for part in walk(operand) if isinstance(part, Ref)]
        graphs = {ref.name: child for ref in refs if (child := self._nested(ref)) is not None}
        operands = [ref for ref in refs if ref.name not in graphs]
        for child in graphs.values():
            count = len(child.graph.placeholders) if child.graph is not None else 0
            if 0 < count <= len(operands):
                yield from self._passed(tuple(operands[-count:]), child)

    def _nested(self, ref: Ref) -> ModuleRecord | None:
        source = self.nodes.get(ref.name)
        is_read = source is not None and source.op == "get_attr"
        child = self.record.find_module(str(source.target)) if source is not None and is_read else None
        return child if child is not None and child.graph is not None else None

    def _passed(self, operands: tuple[Value, ...], child: ModuleRecord) -> Iterator[Demand]:
        wanted = input_domains(child, self.sizes)
        placeholders = child.graph.placeholders if child.graph is not None else ()
        for operand, inner in zip(operands, placeholders, strict=False):
            yield operand, wanted.get(inner.name, ANY)


_FUNCTIONS_OF_MODULES = {
    "EmbeddingBag": "torch.nn.functional.embedding_bag",
    "CrossEntropyLoss": "cross_entropy",
    "NLLLoss": "nll_loss",
    "MultiMarginLoss": "multi_margin_loss",
    "BCELoss": "binary_cross_entropy",
    **dict.fromkeys(("Identity", "Flatten", "Unflatten"), "view"),
}
"""Modules of ``torch.nn`` that do what a function does with its first arguments, by the name of its facts."""


# -- calls that change the numbers of their operands -------------------------------------------------------------------


def _add(args: tuple[Value, ...], result: Domain) -> Iterator[Demand]:
    one, other = args[0], _at(args, 1)
    if _is_number(other):
        yield one, result.moved(-other)
    elif _is_number(one):
        yield other, result.moved(-one)
    else:
        half = result.scaled(0.5)
        yield one, half
        yield other, half


def _subtract(args: tuple[Value, ...], result: Domain) -> Iterator[Demand]:
    one, other = args[0], _at(args, 1)
    if _is_number(other):
        yield one, result.moved(other)
    elif _is_number(one):
        yield other, result.moved(-one).scaled(-1)


def _multiply(args: tuple[Value, ...], result: Domain) -> Iterator[Demand]:
    one, other = args[0], _at(args, 1)
    if _is_number(other) and other:
        yield one, result.scaled(1 / other)
    elif _is_number(one) and one:
        yield other, result.scaled(1 / one)
    elif (result.low, result.high) in ((0, math.inf), (0, 1), (-1, 1)):  # the product of two such is such
        yield one, result
        yield other, result


def _divide(args: tuple[Value, ...], result: Domain) -> Iterator[Demand]:
    one, other = args[0], _at(args, 1)
    if _is_number(other) and other:
        yield one, result.scaled(other)
    elif (result.low, result.high) == (0, math.inf):
        yield one, result


def _divide_down(args: tuple[Value, ...], result: Domain) -> Iterator[Demand]:
    other = _at(args, 1)
    if _is_number(other) and other > 0:
        yield args[0], Domain((result.low + 1) * other - 1, result.high * other)


def _clamp(args: tuple[Value, ...], result: Domain) -> Iterator[Demand]:
    """A bound that the call keeps by itself is no demand on its operand."""
    low, high = _at(args, 1), _at(args, 2)
    keeps_low = _is_number(low) and low > result.low
    keeps_high = _is_number(high) and high < result.high
    yield args[0], Domain(-math.inf if keeps_low else result.low, math.inf if keeps_high else result.high)


def _absolute(args: tuple[Value, ...], result: Domain) -> Iterator[Demand]:
    yield args[0], Domain(result.low if result.low >= 0 else -result.high, result.high)


def _sum(args: tuple[Value, ...], result: Domain) -> Iterator[Demand]:
    if result.low >= 0 and result.high == math.inf:
        yield args[0], result


def _power(args: tuple[Value, ...], result: Domain) -> Iterator[Demand]:
    exponent = _at(args, 1)
    if not _is_number(exponent) or exponent != int(exponent) or exponent < 0:
        yield args[0], Domain(0, math.inf)


def _same(args: tuple[Value, ...], result: Domain) -> Iterator[Demand]:
    yield args[0], result


_BACKWARDS: Mapping[str, Callable[[tuple[Value, ...], Domain], Iterator[Demand]]] = {
    **dict.fromkeys(("add", "add_", "iadd"), _add),
    **dict.fromkeys(("sub", "sub_", "subtract", "isub"), _subtract),
    "rsub": lambda args, result: _subtract((_at(args, 1), args[0]), result),
    **dict.fromkeys(("mul", "mul_", "multiply", "imul"), _multiply),
    **dict.fromkeys(("div", "div_", "divide", "true_divide", "truediv"), _divide),
    **dict.fromkeys(("floordiv", "floor_divide"), _divide_down),
    **dict.fromkeys(("neg", "negative"), lambda args, result: iter([(args[0], result.scaled(-1))])),
    **dict.fromkeys(("clamp", "clamp_", "clip", "hardtanh", "clamp_min", "clamp_min_"), _clamp),
    **dict.fromkeys(
        ("clamp_max", "clamp_max_"), lambda args, result: _clamp((args[0], None, _at(args, 1)), result)
    ),
    **dict.fromkeys(("relu", "relu_"), lambda args, result: _clamp((args[0], 0), result)),
    **dict.fromkeys(("abs", "absolute"), _absolute),
    "sum": _sum,
    **dict.fromkeys(("mean", "median"), _same),
    "pow": _power,
}
"""By the name of an operator, function or method: what its operands should be for its result to be in a domain."""


# -- nodes -------------------------------------------------------------------------------------------------------------


def _is_number(value: Value) -> TypeGuard[int | float]:
    return type(value) in (int, float)


def _at(args: tuple[Value, ...], place: int) -> Value:
    return args[place] if place < len(args) else None


def _arguments(node: Node) -> tuple[Value, ...]:
    """The arguments by position; those passed by keyword stand where the parameters of the call do."""
    if not node.kwargs:
        return node.args
    named = dict(node.kwargs)
    later = _parameters(node)[len(node.args) :]
    return (*node.args, *[named.get(name) for name in later])


def _parameters(node: Node) -> tuple[str, ...]:
    """The names of a call's parameters: those of torch's schema, or of a function of ``torch.nn.functional``."""
    if isinstance(node.target, Name) and node.target.module == "torch.nn.functional":
        function = vars(torch.nn.functional).get(node.target.qualname)
        if inspect.isfunction(function):
            return tuple(inspect.signature(function).parameters)
    overload = node.target.overload if isinstance(node.target, OpName) else "default"
    schema = schema_of(OpName("aten", node.called, overload))
    return () if schema is None else tuple(argument.name for argument in schema.arguments)


def _facts(node: Node) -> Facts:
    path = node.target.path if isinstance(node.target, Name) else ""
    own = facts_named(path)
    return facts_named(node.called) if own == Facts() else own
