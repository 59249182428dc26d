"""Objects of a pickle as values: data as data, everything else as the name of its class or function."""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch

from fx2py.errors import with_article
from fx2py.graph import values as language
from fx2py.graph.names import dotted_name, imported_name
from fx2py.graph.symbols import expression_text
from fx2py.read.forward.values import ArgumentReader, parse_text
from fx2py.read.pickled.storages import byte_string
from fx2py.read.pickled.stream import Built, Global, Members, Pairs, PickleFault
from fx2py.read.pickled.tensors import LAYOUTS, Tensors, is_tensor

PICKLER = "torch.fx._graph_pickler"
SYMBOLIC_INT = f"{PICKLER}._SymNodePickleData.unpickle_sym_int"
SYMBOLIC_FLOAT, SYMBOLIC_BOOL = "torch.SymFloat", "torch.SymBool"
_LONGEST_MANTISSA = 32
_NUMBERS = {"Zero": "0", "One": "1", "NegativeOne": "-1"}
LIMIT = 10_000
"""The most parts of an expression, or of a recorded result: shared parts make them grow exponentially."""
_MAX_REPEATED = 200_000
_LEAVES = (bool, int, float, str, bytes)
_NODE = f"{PICKLER}._NodePickleData"
_TARGETS = frozenset(
    f"{PICKLER}._Op{kind}PickleData" for kind in ("Str", "Overload", "OverloadPacket", "Function")
)
_NATIVE_FUNCTIONS = "torch._C._VariableFunctionsClass"
"""The class whose static methods are the functions of ``torch``; pickle writes them as ``getattr`` of it."""


def name_of(obj: Global) -> language.Name:
    """The canonical name of what the pickle refers to."""
    return imported_name(obj.module, obj.qualname)


def target_name(obj: object) -> str | None:
    """The dotted path or text that GraphPickler keeps of a target; None for anything else."""
    if type(obj) is not Built or obj.path not in _TARGETS:
        return None
    state = attributes(obj)
    root, name = state.get("root", ""), state.get("name")
    if type(name) is not str or type(root) is not str:
        return None
    return f"{root}.{name}" if root else name


def attributes(obj: object) -> dict[str, object]:
    """The state of a pickled object by name; empty for anything else."""
    return obj.state.by_name() if type(obj) is Built and type(obj.state) is Pairs else {}


class PickledValues:
    """Converts the objects of one pickle, each once.

    Values form a tree: an object that the pickle shares appears in it each time, with all its parts. Those are counted,
    so that a small file cannot stand for a huge tree.
    """

    def __init__(self, tensors: Tensors) -> None:
        self._tensors = tensors
        self._count = 0
        self._repeated = 0
        self._made: dict[int, tuple[object, language.Value, int]] = {}

    def value(self, obj: object) -> language.Value:
        """The object as a value; PickleFault when shared parts add up to more values than a graph can need."""
        if obj is None or isinstance(obj, _LEAVES):
            self._count += 1
            return obj
        known = self._made.get(id(obj))
        if known is None:
            handler = _KINDS.get(type(obj))
            if handler is None:
                raise PickleFault(f"an attribute holds {with_article(type(obj).__name__)}")
            before = self._count
            made = handler(self, obj)
            known = self._made[id(obj)] = (obj, made, self._count - before)
        else:
            self._count += known[2]
            self._repeated += known[2]
        self._count += 1
        if self._repeated > _MAX_REPEATED:
            raise PickleFault("the pickle repeats parts of itself too often")
        return known[1]

    def items(self, objs: object) -> tuple[language.Value, ...]:
        if not isinstance(objs, list | tuple):
            raise PickleFault("a container is made of something other than a list")
        return tuple([self.value(obj) for obj in objs])

    def mapping(self, obj: Pairs) -> language.Dict:
        return language.Dict(self.pairs(obj.pairs))

    def pairs(
        self, pairs: Sequence[tuple[object, object]]
    ) -> tuple[tuple[language.Value, language.Value], ...]:
        return tuple([(self.value(key), self.value(item)) for key, item in pairs])

    def named(self, obj: Global) -> language.Value:
        """Data of torch that is pickled by name, such as a dtype; else the name."""
        for path in (obj.path, obj.qualname):
            if path in language.TORCH_DATA:
                return language.TORCH_DATA[path]
        return ... if obj.path == "builtins.Ellipsis" else name_of(obj)

    def built(self, obj: Built) -> language.Value:
        constructor = _CONSTRUCTORS.get(obj.path)
        if constructor is None and is_tensor(obj):
            return language.TensorValue(self._tensors.tensor(obj))
        if constructor is not None and type(obj.args) is tuple:
            try:
                return constructor(self, obj)
            except (TypeError, IndexError, KeyError, RuntimeError, SyntaxError, UnicodeError) as error:
                raise PickleFault(f"{obj.path} is given unfit arguments: {error}") from None
        operator = self._operator(obj.function)
        if operator is not None:
            return dotted_name(operator)
        return language.Opaque(_class_of(obj))

    def _operator(self, function: object) -> str | None:
        """The path of an operator, which GraphPickler writes as a bound method that would return it."""
        if type(function) is Built and function.path == "builtins.getattr":
            return target_name(function.first)
        return None

    def node(self, obj: Built) -> language.Value:
        name = attributes(obj).get("name")
        if type(name) is not str:
            raise PickleFault("a node has no name")
        return language.Ref(name)

    def symbolic(self, obj: Built) -> language.Value:
        size = symbolic_size(obj)
        return language.SymExpr(size) if isinstance(size, str) else size

    def symbolic_number(self, obj: Built) -> language.Value:
        text = symbolic_text(obj)
        return language.Opaque(_class_of(obj)) if text is None else language.SymExpr(text)

    def immutable_list(self, obj: Built) -> language.Value:
        return language.List(self.items([*_sequence(obj.first), *obj.items]))

    def immutable_dict(self, obj: Built) -> language.Value:
        return language.Dict(self.pairs([*_entries(obj.first), *obj.pairs]))

    def ordered_dict(self, obj: Built) -> language.Value:
        return language.Dict(self.pairs([*_entries(obj.first), *obj.pairs]), language.ORDERED_DICT)

    def default_dict(self, obj: Built) -> language.Value:
        if obj.first is not None:
            return language.Opaque(language.DEFAULTDICT)
        return language.Dict(self.pairs(obj.pairs), language.DEFAULTDICT)

    def member(self, obj: Built) -> language.Value:
        """``getattr`` as pickles use it: a function of torch, a member of an enum, a method of a class."""
        owner, word = _sequence(obj.args)
        if type(owner) is not Global or type(word) is not str:
            return language.Opaque(language.Name("builtins", "getattr"))
        if owner.path == _NATIVE_FUNCTIONS:
            return imported_name("torch", word)
        return imported_name(owner.module, f"{owner.qualname}.{word}")

    def members(self, obj: Built, frozen: bool) -> language.Value:
        return language.sorted_set(self.items([*_sequence(obj.first), *obj.items]), frozen)


def _class_of(obj: Built) -> language.Name:
    """The name of what was called to make an object, usually its class."""
    return name_of(obj.function) if type(obj.function) is Global else language.Name("builtins", "object")


def _sequence(obj: object) -> Sequence[object]:
    """The items of a list or tuple that may be left out."""
    if obj is not None and not isinstance(obj, list | tuple):
        raise TypeError("a container is made of something other than a list")
    return obj or ()


def _entries(obj: object) -> Sequence[tuple[object, object]]:
    """The entries of a dict, or of a list of pairs that a dict is made of; either may be left out."""
    if type(obj) is Pairs:
        return obj.pairs
    return [(key, item) for key, item in map(_sequence, _sequence(obj))]


def _scalars(obj: Built) -> tuple[Any, ...]:
    """Arguments that must be scalars; the constructor that takes them refuses those that do not fit."""
    objs = _sequence(obj.args)
    if not all(each is None or isinstance(each, _LEAVES) for each in objs):
        raise TypeError("they are not scalars")
    return tuple(objs)


def _bytes(values: PickledValues, obj: Built) -> language.Value:
    data = byte_string(obj)
    if data is None:
        raise TypeError("they are not bytes")
    return data


def _printed(values: PickledValues, obj: Built) -> language.Value:
    """What dill writes as text for ``eval``; it is read like an argument of a graph, so only data comes out."""
    match parse_text(str(*_scalars(obj))):
        case [ast.Expr(value=text)]:
            return ArgumentReader().value(text)
    raise TypeError("they are not a value")


_KINDS: dict[type, Callable[[PickledValues, Any], language.Value]] = {
    tuple: lambda values, obj: values.items(obj),
    list: lambda values, obj: language.List(values.items(obj)),
    Pairs: PickledValues.mapping,
    Members: lambda values, obj: language.sorted_set(values.items(obj.items), obj.frozen),
    Global: PickledValues.named,
    Built: PickledValues.built,
}
_CONSTRUCTORS: dict[str, Callable[[PickledValues, Built], language.Value]] = {
    "collections.OrderedDict": PickledValues.ordered_dict,
    "collections.defaultdict": PickledValues.default_dict,
    "builtins.set": lambda values, obj: values.members(obj, False),
    "builtins.frozenset": lambda values, obj: values.members(obj, True),
    "builtins.complex": lambda values, obj: complex(*_scalars(obj)),
    "builtins.slice": lambda values, obj: language.Slice(*values.items(obj.args)),
    "builtins.range": lambda values, obj: language.Range(*values.items(obj.args)),
    "builtins.bytes": _bytes,
    "_codecs.encode": _bytes,
    "torch.Size": lambda values, obj: language.Size(values.items(obj.first)),
    "torch.device": lambda values, obj: torch.device(*_scalars(obj)),
    "torch.serialization._get_layout": lambda values, obj: LAYOUTS[_scalars(obj)[0]],
    "builtins.getattr": PickledValues.member,
    "dill._dill._eval_repr": _printed,
    "torch.fx.immutable_collections.immutable_list": PickledValues.immutable_list,
    "torch.fx.immutable_collections.immutable_dict": PickledValues.immutable_dict,
    _NODE: PickledValues.node,
    SYMBOLIC_INT: PickledValues.symbolic,
    SYMBOLIC_FLOAT: PickledValues.symbolic_number,
    SYMBOLIC_BOOL: PickledValues.symbolic_number,
}
"""The calls in a pickle that stand for data; any other becomes ``Opaque``."""


# -- symbolic numbers --------------------------------------------------------------------------------------------


def symbolic_size(obj: object) -> int | str | None:
    """The number that a pickled SymInt is, or the text of its expression; None for anything else."""
    if type(obj) is not Built or obj.path != SYMBOLIC_INT:
        return None
    text = expression_text(_Expression().text(attributes(obj.first).get("expr")))
    return int(text) if text.lstrip("-").isdecimal() else text


def symbolic_text(obj: Built) -> str | None:
    """The expression of a pickled SymFloat or SymBool; None where it holds none."""
    expression = attributes(attributes(obj).get("node")).get("_expr")
    return None if expression is None else expression_text(_Expression().text(expression))


class _Expression:
    """Writes a pickled sympy expression as ``sympy.srepr`` would."""

    def __init__(self) -> None:
        self._left = LIMIT

    def text(self, obj: object) -> str:
        self._left -= 1
        if self._left < 0 or type(obj) is not Built:
            raise PickleFault("a symbolic size is damaged or too long")
        name = obj.path.rpartition(".")[2]
        if name in _NUMBERS:
            return f"Integer({_NUMBERS[name]})"
        if type(obj.args) is not tuple:
            raise PickleFault("a symbolic size is damaged")
        if name == "Float":
            return f"Float('{_float(obj.args)!r}')"
        return f"{name}({', '.join([self._part(part) for part in obj.args])})"

    def _part(self, part: object) -> str:
        if type(part) is int:
            return str(part)
        if type(part) is str:
            return f"'{part}'"
        return self.text(part)


def _float(args: tuple[object, ...]) -> float:
    """The number of a sympy ``Float``: its sign, hexadecimal mantissa and binary exponent."""
    match args:
        case ((0 | 1 as sign, str(mantissa), int(exponent), _),) if len(mantissa) < _LONGEST_MANTISSA:
            try:
                return math.ldexp(-int(mantissa, 16) if sign else int(mantissa, 16), exponent)
            except (ValueError, OverflowError):
                pass
    raise PickleFault("a symbolic number is damaged")
