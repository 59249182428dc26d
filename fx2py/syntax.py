"""Expressions of Python as values of the value language: read from syntax trees, never evaluated.

Two kinds of text are read: what ``torch.fx`` prints of a graph, and what fx2py itself generates. Literals, containers,
signs and constructors mean the same in both and stand here; what a name means does not, so each kind has a subclass of
``ValueReader``.
"""

from __future__ import annotations

import ast
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any, ClassVar

from fx2py.errors import with_article
from fx2py.graph.values import DEFAULTDICT, Dict, List, Name, Range, Set, Size, Slice, Value, sorted_set

BINARY: Mapping[type[ast.operator], str] = {
    ast.Add: "add",
    ast.Sub: "sub",
    ast.Mult: "mul",
    ast.Div: "truediv",
    ast.FloorDiv: "floordiv",
    ast.Mod: "mod",
    ast.MatMult: "matmul",
    ast.Pow: "pow",
    ast.LShift: "lshift",
    ast.RShift: "rshift",
    ast.BitAnd: "and_",
    ast.BitOr: "or_",
    ast.BitXor: "xor",
}
"""The functions of ``operator`` behind the signs between two values."""
COMPARISONS: Mapping[type[ast.cmpop], str] = {
    ast.Lt: "lt",
    ast.LtE: "le",
    ast.Gt: "gt",
    ast.GtE: "ge",
    ast.Eq: "eq",
    ast.NotEq: "ne",
}
UNARY: Mapping[type[ast.unaryop], str] = {ast.UAdd: "pos", ast.USub: "neg", ast.Invert: "invert"}

_LONGEST = 256 * 2**20
_FORMATTED, _MOST_BRACES = re.compile(r"\b(?:f|rf|fr)['\"]", re.IGNORECASE), 10_000
_SHOWN, _MOST_PARTS = 60, 300


class NotPython(ValueError):
    """Text cannot be parsed; ``reason`` is a predicate about the text, ``line`` the line at fault, if one is."""

    def __init__(self, reason: str, line: int | None = None) -> None:
        super().__init__(reason)
        self.reason, self.line = reason, line


def parsed(text: str) -> list[ast.stmt]:
    """The statements of an untrusted text, parsed and never compiled.

    Raises NotPython for what Python's parser refuses, and for what would keep it busy for hours.
    """
    if len(text) > _LONGEST:
        raise NotPython("is too long")
    if text.count("{") > _MOST_BRACES and _FORMATTED.search(text):
        # Before 3.12 Python's parser takes hours over a huge f-string; neither FX nor fx2py writes any.
        raise NotPython("holds formatted strings")
    try:
        return ast.parse(text).body
    except SyntaxError as error:
        raise NotPython(f"is no Python: {error.msg}", error.lineno or 1) from None
    except (ValueError, MemoryError, RecursionError) as error:
        raise NotPython(f"cannot be parsed ({type(error).__name__})") from None


def steps_of(node: ast.expr) -> tuple[str, tuple[str | int, ...]] | None:
    """The variable and the steps of an expression such as ``weights.h[0].bias``; None for any other."""
    steps: list[str | int] = []
    while not isinstance(node, ast.Name):
        match node:
            case ast.Attribute(value=base, attr=name):
                steps.append(name)
            case ast.Subscript(value=base, slice=ast.Constant(value=index)) if type(index) is int:
                steps.append(index)
            case _:
                return None
        node = base
    return node.id, tuple(reversed(steps))


def text_of(node: ast.AST) -> str:
    """The text of a syntax node; of a large one only its kind, since ``ast.unparse`` is slower than the parser."""
    if any(True for _ in islice(ast.walk(node), _MOST_PARTS, None)):
        return f"{with_article(type(node).__name__)} of many parts"
    return ast.unparse(node)


def shown(node: ast.AST) -> str:
    """The beginning of the text of a syntax node, for messages."""
    text = text_of(node).partition("\n")[0]
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


class ValueReader(ABC):
    """Reads the expressions of one kind of text; every method raises ``fault`` for what that kind does not contain.

    ``constructors`` are the calls that build values, by the dotted path of what is called. ``complex_literals``: whether
    ``(1-2j)`` is a value. It is the ``repr`` of a complex number, but evaluates to another where a part is -0.0 or nan.
    """

    constructors: ClassVar[Mapping[str, Callable[..., Value]]]
    complex_literals: ClassVar[bool]

    @abstractmethod
    def fault(self, node: ast.AST, reason: str) -> Exception:
        """The error that names the line of ``node`` and says why that is refused."""

    @abstractmethod
    def name(self, node: ast.Name) -> Value:
        """What a name means."""

    @abstractmethod
    def attribute(self, node: ast.Attribute) -> Value:
        """What a dotted path means."""

    @abstractmethod
    def call(self, node: ast.Call) -> Value:
        """What a call inside an expression builds."""

    def item(self, node: ast.Subscript) -> Value:
        """What an item inside an expression is."""
        raise self.unknown(node)

    def unknown(self, node: ast.AST) -> Exception:
        """The error for an expression that is not a value."""
        return self.fault(node, f"holds something that is no value: {shown(node)}")

    def keyword(self, node: ast.keyword) -> tuple[str, ast.expr]:
        """The name and the expression of a keyword argument."""
        if node.arg is None:
            raise self.fault(node, f"unpacks a dict into arguments: {shown(node)}")
        return node.arg, node.value

    def value(self, node: ast.expr) -> Value:
        """The value that an expression stands for."""
        if type(node) is ast.Name:
            return self.name(node)
        handler = _HANDLERS.get(type(node))
        if handler is None:
            raise self.unknown(node)
        return handler(self, node)

    def values(self, nodes: list[ast.expr]) -> tuple[Value, ...]:
        """The values of several expressions."""
        return tuple([self.value(node) for node in nodes])

    def keywords(self, node: ast.Call) -> dict[str, Value]:
        """The keyword arguments of a call, in order."""
        found: dict[str, Value] = {}
        for keyword in node.keywords:
            name, value = self.keyword(keyword)
            if name in found:
                raise self.fault(node, f"passes {name} twice: {shown(node)}")
            found[name] = self.value(value)
        return found

    def arguments(self, node: ast.Call) -> tuple[tuple[Value, ...], tuple[tuple[str, Value], ...]]:
        """The positional and the keyword arguments of a call."""
        return self.values(node.args), tuple(self.keywords(node).items()) if node.keywords else ()

    def constructed(self, node: ast.Call, path: str) -> Value:
        """What a call builds of the constructor at ``path``, which must be one of ``constructors``."""
        try:
            return self.constructors[path](*self.values(node.args), **self.keywords(node))
        except (TypeError, RuntimeError) as error:
            raise self.fault(node, f"holds {shown(node)}, which is no value: {error}") from None


# -- handlers ----------------------------------------------------------------------------------------------------


def _constant(reader: ValueReader, node: ast.Constant) -> Value:
    value: Value = node.value
    if type(value) is complex and not reader.complex_literals:
        raise reader.unknown(node)
    return value


def _dict(reader: ValueReader, node: ast.Dict) -> Dict:
    items: list[tuple[Value, Value]] = []
    for key, value in zip(node.keys, node.values, strict=True):
        if key is None:
            raise reader.fault(node, f"unpacks a dict inside a value: {shown(node)}")
        items.append((reader.value(key), reader.value(value)))
    return Dict(tuple(items))


def _slice(reader: ValueReader, node: ast.Slice) -> Slice:
    bounds = (node.lower, node.upper, node.step)
    return Slice(*[None if bound is None else reader.value(bound) for bound in bounds])


def _negative(reader: ValueReader, node: ast.UnaryOp) -> Value:
    number = reader.value(node.operand)
    if isinstance(node.op, ast.USub):
        if type(number) is int or type(number) is float:
            return -number
        if type(number) is complex and isinstance(node.operand, ast.Constant | ast.Name):
            return complex(
                0.0, -number.imag
            )  # ``-2j`` as ``repr`` writes it; as Python reads it, it has -0.0 before
    raise reader.unknown(node)


def _complex(reader: ValueReader, node: ast.BinOp) -> complex:
    """``(1-2j)``: the parts are taken from the text, since arithmetic would lose the signs of zeros and nan."""
    if not reader.complex_literals or not isinstance(node.op, ast.Add | ast.Sub):
        raise reader.unknown(node)
    real, imaginary = reader.value(node.left), reader.value(node.right)
    if type(imaginary) is not complex or not (type(real) is int or type(real) is float):
        raise reader.unknown(node)
    is_signed = isinstance(node.left, ast.UnaryOp)  # ``-0`` is the int 0, but stands for -0.0
    try:
        return complex(
            math.copysign(real, -1.0 if is_signed else 1.0),
            -imaginary.imag if isinstance(node.op, ast.Sub) else imaginary.imag,
        )
    except OverflowError:
        raise reader.unknown(node) from None


_HANDLERS: Mapping[type[ast.expr], Callable[[ValueReader, Any], Value]] = {
    ast.Constant: _constant,
    ast.Attribute: lambda reader, node: reader.attribute(node),
    ast.Tuple: lambda reader, node: reader.values(node.elts),
    ast.List: lambda reader, node: List(reader.values(node.elts)),
    ast.Set: lambda reader, node: sorted_set(reader.values(node.elts), frozen=False),
    ast.Dict: _dict,
    ast.Slice: _slice,
    ast.UnaryOp: _negative,
    ast.BinOp: _complex,
    ast.Subscript: lambda reader, node: reader.item(node),
    ast.Call: lambda reader, node: reader.call(node),
}


# -- constructors ------------------------------------------------------------------------------------------------


def _slice_of(first: Value, /, *rest: Value) -> Slice:
    return Slice(first, *rest) if rest else Slice(None, first, None)


def _range_of(first: Value, /, *rest: Value) -> Range:
    return Range(first, *rest) if rest else Range(0, first, 1)


def _members(items: Value, what: str) -> tuple[Value, ...]:
    if isinstance(items, List | Set):
        return items.items
    if isinstance(items, tuple):
        return items
    raise TypeError(f"{what} is made of something else than its members")


def _set_of(items: Value = (), /) -> Set:
    return sorted_set(_members(items, "a set"), frozen=False)


def _frozenset_of(items: Value = (), /) -> Set:
    return sorted_set(_members(items, "a frozenset"), frozen=True)


def _size_of(items: Value = (), /) -> Size:
    if isinstance(items, Set):
        raise TypeError("a torch.Size is made of a set")
    return Size(_members(items, "a torch.Size"))


def _complex_of(real: Value, imaginary: Value, /) -> complex:
    if not isinstance(real, float) or not isinstance(imaginary, float):
        raise TypeError("a complex number is made of something else than two floats")
    return complex(real, imaginary)


def _ordered_dict_of(pairs: Value = List(), /) -> Dict:  # noqa: B008 (a List is frozen)
    if not isinstance(pairs, List):
        raise TypeError("an OrderedDict is made of something else than a list of pairs")
    return Dict(tuple([_pair(item) for item in pairs.items]), Name("collections", "OrderedDict"))


def _pair(item: Value) -> tuple[Value, Value]:
    if not isinstance(item, tuple) or len(item) != 2:
        raise TypeError("an OrderedDict is made of something else than a list of pairs")
    return item[0], item[1]


def _default_dict_of(factory: Value, items: Value, /) -> Dict:
    if not isinstance(factory, Name | None) or not isinstance(items, Dict):
        raise TypeError("a defaultdict is made of something else than its factory and a dict")
    return Dict(items.items, DEFAULTDICT, factory)


CONSTRUCTORS: Mapping[str, Callable[..., Value]] = {
    "builtins.slice": _slice_of,
    "builtins.range": _range_of,
    "builtins.set": _set_of,
    "builtins.frozenset": _frozenset_of,
    "builtins.complex": _complex_of,
    "torch.Size": _size_of,
    "collections.OrderedDict": _ordered_dict_of,
    "collections.defaultdict": _default_dict_of,
}
"""The calls that build values in either kind of text; they take what Python's take, and raise TypeError for the rest."""
