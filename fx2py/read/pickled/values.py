"""Objects of a pickle as values: data as data, and everything else by the name of what it is."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from typing import Any

import torch

from fx2py.graph.names import dotted_name, imported_name
from fx2py.graph.values import (
    Dict,
    List,
    Name,
    Opaque,
    Range,
    Ref,
    Size,
    Slice,
    SymExpr,
    TensorValue,
    Value,
    sorted_set,
)
from fx2py.read.forward.values import TORCH_DATA, ArgumentReader, parse_text
from fx2py.read.pickled.meta import (
    PICKLER,
    SYMBOLIC_BOOL,
    SYMBOLIC_FLOAT,
    SYMBOLIC_INT,
    attributes,
    symbolic_size,
    symbolic_text,
)
from fx2py.read.pickled.records import Built, Global, Mapping, Members, PickleFault
from fx2py.read.pickled.tensors import LAYOUTS, Tensors, is_tensor
from fx2py.read.storages import byte_string

_MAX_REPEATED = 200_000
_LEAVES = frozenset({type(None), bool, int, float, str, bytes})
_NODE = f"{PICKLER}._NodePickleData"
_TARGETS = frozenset(
    f"{PICKLER}._Op{kind}PickleData" for kind in ("Str", "Overload", "OverloadPacket", "Function")
)
_NATIVE_FUNCTIONS = "torch._C._VariableFunctionsClass"


def name_of(obj: Global) -> Name:
    """The canonical name of what the pickle refers to."""
    return imported_name(obj.module, obj.qualname)


def target_name(obj: Any) -> str | None:
    """The dotted path or text that GraphPickler keeps of a target; None for anything else."""
    if type(obj) is not Built or obj.path not in _TARGETS:
        return None
    state = attributes(obj)
    root, name = state.get("root", ""), state.get("name")
    if type(name) is not str or type(root) is not str:
        return None
    return f"{root}.{name}" if root else name


class Values:
    """Converts the objects of one pickle, each once.

    What a pickle shares, a reader of its values meets again each time, with all that is inside: those are counted.
    """

    def __init__(self, tensors: Tensors) -> None:
        self._tensors = tensors
        self._count = 0
        self._repeated = 0
        self._made: dict[int, tuple[Any, Value, int]] = {}

    def value(self, obj: Any) -> Value:
        """The object as a value; PickleFault when the pickle repeats itself into more values than a graph can need."""
        if type(obj) in _LEAVES:
            self._count += 1
            return obj  # type: ignore[no-any-return]
        known = self._made.get(id(obj))
        if known is None:
            handler = _KINDS.get(type(obj))
            if handler is None:
                raise PickleFault(f"an attribute holds a {type(obj).__name__}")
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

    def items(self, objs: Any) -> tuple[Value, ...]:
        if type(objs) not in (list, tuple):
            raise PickleFault("a container is made of what is no list")
        return tuple([self.value(obj) for obj in objs])

    def mapping(self, obj: Mapping) -> Dict:
        return Dict(self.pairs(obj.pairs))

    def pairs(self, pairs: Sequence[tuple[Any, Any]]) -> tuple[tuple[Value, Value], ...]:
        return tuple([(self.value(key), self.value(item)) for key, item in pairs])

    def named(self, obj: Global) -> Value:
        """Torch data pickled by its name, or the name."""
        for path in (obj.path, obj.qualname):
            if path in TORCH_DATA:
                return TORCH_DATA[path]
        return ... if obj.path == "builtins.Ellipsis" else name_of(obj)

    def built(self, obj: Built) -> Value:
        constructor = _CONSTRUCTORS.get(obj.path)
        if constructor is None and is_tensor(obj):
            return TensorValue(self._tensors.tensor(obj))
        if constructor is not None and type(obj.args) is tuple:
            try:
                return constructor(self, obj)
            except (TypeError, IndexError, KeyError, RuntimeError, SyntaxError, UnicodeError) as error:
                raise PickleFault(f"{obj.path} is given unfit arguments: {error}") from None
        operator = self._operator(obj.function)
        if operator is not None:
            return dotted_name(operator)
        is_named = type(obj.function) is Global
        return Opaque(name_of(obj.function) if is_named else Name("builtins", "object"))

    def _operator(self, function: Any) -> str | None:
        """The path of an operator that GraphPickler describes by the bound method which would give it."""
        if type(function) is Built and function.path == "builtins.getattr" and type(function.args) is tuple:
            return target_name(function.args[0]) if function.args else None
        return None

    def node(self, obj: Built) -> Value:
        name = attributes(obj).get("name")
        if type(name) is not str:
            raise PickleFault("a node has no name")
        return Ref(name)

    def symbolic(self, obj: Built) -> Value:
        size = symbolic_size(obj)
        return SymExpr(size) if type(size) is str else size

    def symbolic_number(self, obj: Built) -> Value:
        text = symbolic_text(obj)
        return Opaque(name_of(obj.function)) if text is None else SymExpr(text)

    def immutable_list(self, obj: Built) -> Value:
        return List(self.items([*(obj.args[0] if obj.args else ()), *obj.items]))

    def immutable_dict(self, obj: Built) -> Value:
        entries = obj.args[0] if obj.args else ()
        pairs = entries.pairs if type(entries) is Mapping else [(key, item) for key, item in entries]
        return Dict(self.pairs([*pairs, *obj.pairs]))

    def ordered_dict(self, obj: Built) -> Value:
        entries = obj.args[0] if obj.args else []
        pairs = entries.pairs if type(entries) is Mapping else [tuple(entry) for entry in entries]
        return Dict(self.pairs([*pairs, *obj.pairs]), Name("collections", "OrderedDict"))

    def default_dict(self, obj: Built) -> Value:
        if obj.args and obj.args[0] is not None:
            return Opaque(Name("collections", "defaultdict"))
        return Dict(self.pairs(obj.pairs), Name("collections", "defaultdict"))

    def member(self, obj: Built) -> Value:
        """``getattr`` as pickles use it: a function of torch, a member of an enum, a method of a class."""
        owner, word = obj.args
        if type(owner) is not Global or type(word) is not str:
            return Opaque(Name("builtins", "getattr"))
        if owner.path == _NATIVE_FUNCTIONS:
            return imported_name("torch", word)
        return imported_name(owner.module, f"{owner.qualname}.{word}")

    def members(self, obj: Built, frozen: bool) -> Value:
        return sorted_set(self.items([*(obj.args[0] if obj.args else ()), *obj.items]), frozen)


def _plain(values: Values, objs: Any) -> tuple[Any, ...]:
    """Arguments that must be plain leaves."""
    if not all(type(obj) in _LEAVES for obj in objs):
        raise TypeError("they are no plain values")
    return tuple(objs)


def _bytes(values: Values, obj: Built) -> Value:
    data = byte_string(obj)
    if data is None:
        raise TypeError("they are no bytes")
    return data


def _printed(values: Values, obj: Built) -> Value:
    """What dill keeps by its text, for ``eval``: read as an argument of a graph is, so only data comes out."""
    match parse_text(str(*_plain(values, obj.args))):
        case [ast.Expr(value=text)]:
            return ArgumentReader().value(text)
    raise TypeError("they are no value")


_KINDS: dict[type, Callable[[Values, Any], Value]] = {
    tuple: lambda values, obj: values.items(obj),
    list: lambda values, obj: List(values.items(obj)),
    Mapping: Values.mapping,
    Members: lambda values, obj: sorted_set(values.items(obj.items), obj.frozen),
    Global: Values.named,
    Built: Values.built,
}
_CONSTRUCTORS: dict[str, Callable[[Values, Built], Value]] = {
    "collections.OrderedDict": Values.ordered_dict,
    "collections.defaultdict": Values.default_dict,
    "builtins.set": lambda values, obj: values.members(obj, False),
    "builtins.frozenset": lambda values, obj: values.members(obj, True),
    "builtins.complex": lambda values, obj: complex(*_plain(values, obj.args)),
    "builtins.slice": lambda values, obj: Slice(*values.items(obj.args)),
    "builtins.range": lambda values, obj: Range(*values.items(obj.args)),
    "builtins.bytes": _bytes,
    "_codecs.encode": _bytes,
    "torch.Size": lambda values, obj: Size(values.items(obj.args[0])),
    "torch.device": lambda values, obj: torch.device(*_plain(values, obj.args)),
    "torch.serialization._get_layout": lambda values, obj: LAYOUTS[_plain(values, obj.args)[0]],
    "builtins.getattr": Values.member,
    "dill._dill._eval_repr": _printed,
    "torch.fx.immutable_collections.immutable_list": Values.immutable_list,
    "torch.fx.immutable_collections.immutable_dict": Values.immutable_dict,
    _NODE: Values.node,
    SYMBOLIC_INT: Values.symbolic,
    SYMBOLIC_FLOAT: Values.symbolic_number,
    SYMBOLIC_BOOL: Values.symbolic_number,
}
"""The calls in a pickle that stand for data; any other becomes ``Opaque``."""
