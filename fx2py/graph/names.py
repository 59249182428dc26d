"""Canonical names of functions, classes and operators: every format gives the same name to the same object.

Names in a file are compared with tables made from torch and the standard library; nothing is imported or looked up
because a file names it.
"""

from __future__ import annotations

import functools
import operator
import sys
from collections.abc import Iterable, Iterator
from types import ModuleType
from typing import TypeVar

import torch

from fx2py.graph.values import Name, OpName

_AnyName = TypeVar("_AnyName", Name, OpName)
_HOMES: tuple[tuple[str, object], ...] = tuple(
    (name, sys.modules[name])
    for name in (
        *("torch", "torch.nn.functional", "torch.linalg", "torch.fft", "torch.special", "torch.sparse"),
        *("torch.amp", "operator", "math", "builtins"),
    )
)
"""The namespaces that canonical names come from, the preferred one first."""

_NATIVE_NAMESPACES = ("_VariableFunctions", "_nn", "_linalg", "_fft", "_special", "_sparse", "_nested")

_ALIASES: tuple[tuple[str, object], ...] = (
    ("_operator", operator),
    ("torch._VF", torch._C._VariableFunctions),
    *((f"torch._C.{word}", getattr(torch._C, word)) for word in _NATIVE_NAMESPACES),
    ("torch.functional", torch.functional),
    ("torch._lobpcg", torch._lobpcg),
    ("torch._lowrank", torch._lowrank),
    ("torch.amp.autocast_mode", torch.amp.autocast_mode),
)
"""Namespaces that hold objects of the canonical ones too, under the same or another name."""

_NATIVE = "torch._C"
_OPS = ("torch.ops.", "torch._ops.")
_DIALECTS = ("executorch.exir.dialects.edge._ops", "executorch.exir.dialects.backend._ops")
"""The ``__module__`` of ExecuTorch's operators: objects that wrap an operator of ``torch.ops`` and call it.

Source: ``EdgeOpOverload`` and ``EdgeOpOverloadPacket``, ``_OpNamespace`` of executorch/exir/dialects/_ops.py. No module of
that name exists.
"""
_DIALECT_OPERATORS = {
    "EdgeOpOverload": "_op",
    "BackendOpOverload": "_op",
    "EdgeOpOverloadPacket": "_parent_overload_packet",
}
"""The attribute that holds the wrapped operator, by the class of the wrapper."""
_OVERLOAD_PARTS = 3


def callable_name(obj: object) -> Name | OpName | None:
    """The canonical name that leads back to exactly ``obj``, a live function or class; None if there is none.

    Lambdas, closures, partials, bound methods and objects whose ``__name__`` names something else have none.
    """
    if isinstance(obj, torch._ops.OperatorBase | torch._ops.OpOverloadPacket):
        return _operator_name(obj)
    if type(obj).__module__ in _DIALECTS and type(obj).__name__ in _DIALECT_OPERATORS:
        return _operator_name(vars(obj).get(_DIALECT_OPERATORS[type(obj).__name__]))
    canonical = _canonical_names().get(id(obj))
    if canonical is not None:
        return canonical
    module = getattr(obj, "__module__", None)
    if type(module) is not str:
        return None
    for qualname in (getattr(obj, "__qualname__", None), getattr(obj, "__name__", None)):
        if type(qualname) is str and _resolve(module, qualname) is obj:
            return Name(module, qualname)
    return None


def imported_name(module: str, qualname: str) -> Name:
    """The canonical name of what ``from module import qualname`` would import."""
    return _canonical_texts().get(f"{module}.{qualname}") or Name(module, qualname)


def dotted_name(path: str) -> Name | OpName:
    """The canonical name that dotted text stands for: ``"torch.ops.aten.add.Tensor"``, ``"torch.Tensor.add"``, ``"len"``.

    Where no table knows the path, its module ends before the first class-like word or, without one, the last dot.
    """
    for prefix in _OPS:
        if path.startswith(prefix):
            return _operator_text(path, path[len(prefix) :].split("."))
    canonical = _canonical_texts().get(path) or _dialect_operator(path)
    if canonical is not None:
        return canonical
    if "." not in path:
        return Name("builtins", path)
    return Name(*_split(path))


def underscored_names(text: str) -> dict[str, Name | OpName]:
    """Canonical names keyed as the code that FX generates writes them: the path with underscores for dots."""
    known: dict[str, Name | OpName] = dict(_underscored_names())
    for dialect in _DIALECTS:
        if dialect.replace(".", "_") in text:
            operators = [found.replace("::", ".") for found in torch._C._dispatch_get_all_op_names()]
            overloads = [f"{path}.default" if path.count(".") == 1 else path for path in operators]
            known |= _underscored((f"{dialect}.{path}", OpName(*path.split("."))) for path in overloads)
    return known


@functools.cache
def _underscored_names() -> dict[str, Name]:
    return _underscored(_canonical_texts().items())


def _underscored(paths: Iterable[tuple[str, _AnyName]]) -> dict[str, _AnyName]:
    """The names keyed by their paths with underscores for dots, without the keys that two of them would share."""
    found: dict[str, _AnyName] = {}
    ambiguous: set[str] = set()
    for path, name in paths:
        word = path.replace(".", "_")
        if found.setdefault(word, name) != name:
            ambiguous.add(word)
    return {word: name for word, name in found.items() if word not in ambiguous}


def _dialect_operator(path: str) -> OpName | None:
    """The operator that an object of ExecuTorch's dialects wraps, from the path that the object reports."""
    for dialect in _DIALECTS:
        if path.startswith(f"{dialect}."):
            parts = path[len(dialect) + 1 :].split(".")
            return OpName(*parts) if 2 <= len(parts) <= _OVERLOAD_PARTS and all(parts) else None
    return None


def _operator_text(path: str, parts: list[str]) -> Name | OpName:
    if 2 <= len(parts) <= _OVERLOAD_PARTS and all(parts):
        return OpName(*parts)
    return Name("torch.ops", path.partition("ops.")[2])


def _split(path: str) -> tuple[str, str]:
    words = path.split(".")
    start = 2 if path.startswith(f"{_NATIVE}.") else 1
    for end in range(start, len(words) - 1):
        if words[end].lstrip("_")[:1].isupper():
            return ".".join(words[:end]), ".".join(words[end:])
    return ".".join(words[:-1]), words[-1]


def _operator_name(op: object) -> OpName | None:
    if isinstance(op, torch._ops.OpOverload):
        name = OpName(op.namespace, op._opname, op._overloadname)
    elif isinstance(op, torch._ops.OpOverloadPacket):
        namespace, _, base = op._qualified_op_name.partition("::")
        name = OpName(namespace, base)
    elif isinstance(op, torch._ops.HigherOrderOperator):
        name = OpName("higher_order", op._name)
    else:
        return None
    return name if _resolve_operator(name) is op else None


def _resolve_operator(name: OpName) -> object:
    try:
        packet = getattr(getattr(torch.ops, name.namespace), name.name)
        return packet if name.overload is None else getattr(packet, name.overload)
    except AttributeError:
        return None


def _resolve(module: str, qualname: str) -> object:
    """What an already imported module holds at ``qualname``; None if there is nothing."""
    current: object = sys.modules.get(module)
    for part in qualname.split("."):
        current = getattr(current, part, None)
    return current


@functools.cache
def _canonical_names() -> dict[int, Name]:
    """Canonical names by the ``id`` of the object, which stays valid because torch's modules keep the objects alive."""
    names: dict[int, Name] = {}
    for home, namespace in _HOMES:
        for word, obj in _callables(namespace):
            if _belongs(obj, home):
                names.setdefault(id(obj), Name(home, word))
    for word, obj in _tensor_methods():
        names.setdefault(id(obj), Name("torch", f"Tensor.{word}"))
    return names


@functools.cache
def _canonical_texts() -> dict[str, Name]:
    """Canonical names by every dotted path that leads to a canonical object."""
    names = _canonical_names()
    texts: dict[str, Name] = {}
    for home, namespace in (*_HOMES, *_ALIASES):
        for word, obj in _callables(namespace):
            if id(obj) in names:
                texts[f"{home}.{word}"] = names[id(obj)]
    for word, obj in _tensor_methods():
        for home in ("torch.Tensor", "torch._tensor.Tensor", "torch._C.TensorBase"):
            texts[f"{home}.{word}"] = names[id(obj)]
    return texts


def _callables(namespace: object) -> Iterator[tuple[str, object]]:
    """Name and object of each callable in a namespace; the object's own public name comes before its aliases."""
    found = [(word, getattr(namespace, word, None)) for word in dir(namespace)]
    pairs = [(word, obj) for word, obj in found if callable(obj) and not isinstance(obj, ModuleType)]
    yield from sorted(pairs, key=lambda pair: _preference(*pair))


def _preference(word: str, obj: object) -> tuple[bool, bool, str]:
    return word.startswith("_"), word != getattr(obj, "__name__", ""), word


def _belongs(obj: object, home: str) -> bool:
    """Whether ``obj`` is defined in the package of ``home`` and not merely imported there."""
    owner = getattr(obj, "__module__", None)
    if type(owner) is not str:
        return True
    return owner.lstrip("_").partition(".")[0] == home.partition(".")[0]


def _tensor_methods() -> Iterator[tuple[str, object]]:
    for word, method in _callables(torch.Tensor):
        inherited = getattr(object, word, None)
        is_bound = getattr(method, "__self__", None) is not None
        if method is not inherited and not is_bound and not isinstance(method, type):
            yield word, method
