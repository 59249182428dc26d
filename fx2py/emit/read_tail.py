"""The half of a generated file that fills the tables, read back: every constant, module, name and tensor."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from fx2py.emit.grammar import GrammarError, Names, read_value
from fx2py.emit.tail import BELOW_AUTOGRAD, BIND_DOC, BIND_PARAMETERS
from fx2py.graph.values import DefaultDevice, DeviceType, Dict, List, Set, children
from fx2py.program.scope import BIND_VARIABLES


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """``tensors["a.weight"]``"""

    name: str


@dataclass(frozen=True, slots=True)
class Bits:
    """``from_bits("<d", "...")``"""

    layout: str
    digits: str


@dataclass(frozen=True, slots=True)
class LiveConstant:
    """``live("constant_1", "description")``"""

    name: str
    description: str


@dataclass(frozen=True, slots=True)
class Absent:
    """``Missing("path", "reason")``"""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class BuiltModule:
    """``build(...)``: the module's path and class, and its state by name."""

    path: str
    cls: str
    training: bool
    attributes: tuple[tuple[str, Any], ...]
    parameters: tuple[tuple[str, Any], ...]
    buffers: tuple[tuple[str, Any], ...]
    non_persistent: frozenset[str] = frozenset()
    children: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Tail:
    """What ``bind`` builds, in order, and what it fills: modules by path (a function's name where generated code
    stands), constants, names, weights, the paths of the modules that are used as objects, and whether the code may run below
    autograd.
    """

    built: tuple[Any, ...]
    modules: tuple[tuple[str, Any], ...]
    consts: tuple[Any, ...]
    renamed: tuple[tuple[str, str], ...]
    weight_count: int
    entry: str
    whole: tuple[str, ...] = ()
    below_autograd: bool = False


def read_tail(node: ast.FunctionDef, names: Names) -> Tail:
    """Read the body of ``bind``; raises GrammarError where it is not of the form that fx2py writes."""
    if ast.unparse(node.args) != BIND_PARAMETERS or len(node.body) < 6 or ast.get_docstring(node) != BIND_DOC:
        raise GrammarError(node, "bind does not have the form that fx2py writes")
    variables: dict[str, Any] = {}
    for statement in node.body[1:-5]:
        target, value = _assigned(statement)
        names.refuse_hiding(statement, target)
        if target in BIND_VARIABLES or target in variables:
            raise GrammarError(statement, f"{target!r} is assigned twice")
        variables[target] = _module(value, variables, names)
        if not isinstance(value, ast.Call):
            raise GrammarError(statement, f"{target!r} is no module of its own")
    modules, consts, renamed, weights = (
        _filled(table, statement)
        for table, statement in zip(
            ("modules", "consts", "renamed", "weights"), node.body[-5:-1], strict=True
        )
    )
    bound = _bound(consts, names)
    if not isinstance(bound, List):
        raise GrammarError(node, "the constants are no list")
    return Tail(
        tuple(variables.values()),
        _mapping(modules, lambda part: _module(part, variables, names)),
        bound.items,
        _text_pairs(_bound(renamed, names), node),
        _weight_count(weights),
        *_assembled(node.body[-1]),
    )


def _filled(table: str, node: ast.stmt) -> ast.expr:
    target, value = _assigned(node)
    if target != table:
        raise GrammarError(node, f"bind fills {target!r} where it fills {table!r}")
    return value


def _assigned(node: ast.stmt) -> tuple[str, ast.expr]:
    if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
        return node.targets[0].id, node.value
    raise GrammarError(node, f"{type(node).__name__} is no statement of bind")


def _weight_count(node: ast.expr) -> int:
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Slice):
        upper = node.slice.upper
        if isinstance(upper, ast.Constant) and type(upper.value) is int:
            written = f"list(tensors.values())[:{upper.value}]"
            if ast.unparse(node) == written:
                return upper.value
    raise GrammarError(node, "the weights are not the first tensors")


def _assembled(node: ast.stmt) -> tuple[str, tuple[str, ...], bool]:
    """The entry function, the modules that are used as objects, and whether it may run below autograd."""
    match node:
        case ast.Return(value=ast.Call(func=ast.Name(id="below_autograd"), args=[ast.Call() as call, *_])):
            form = BELOW_AUTOGRAD
        case ast.Return(value=ast.Call() as call):
            form = "{}"
        case _:
            raise GrammarError(node, "bind does not return what it binds")
    entry, *rest = [ast.unparse(part) for part in call.args] or [""]
    written = ["modules", "weights", "consts", "submods", "renamed", *rest[5:6]]
    expected = form.format(f"assemble({', '.join([entry, *written])})")
    if not entry.isidentifier() or ast.unparse(node) != f"return {expected}":
        raise GrammarError(node, "bind does not end in assemble")
    return entry, _texts_of(call.args[6]) if rest[5:] else (), form is BELOW_AUTOGRAD


def _texts_of(node: ast.expr) -> tuple[str, ...]:
    if not isinstance(node, ast.List):
        raise GrammarError(node, "the modules that are used as objects are no list")
    return tuple(map(_text, node.elts))


def _text_pairs(value: Any, node: ast.AST) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, Dict) or any(type(part) is not str for part in children(value)):
        raise GrammarError(node, "the renamed parameters are not pairs of names")
    return value.items  # type: ignore[return-value]


def _mapping(node: ast.expr, read: Callable[[ast.expr], Any]) -> tuple[tuple[str, Any], ...]:
    if not isinstance(node, ast.Dict):
        raise GrammarError(node, "a table of names is no dict display")
    items = []
    for key, value in zip(node.keys, node.values, strict=True):
        if not isinstance(key, ast.Constant) or type(key.value) is not str:
            raise GrammarError(node, "a table's key is no text")
        items.append((key.value, read(value)))
    return tuple(items)


def _module(node: ast.expr, variables: Mapping[str, Any], names: Names) -> Any:
    """A module's build, its absence, an earlier one by its variable, or a generated function."""
    if isinstance(node, ast.Constant) and node.value is None:
        return None
    if isinstance(node, ast.Name):
        if node.id in variables:
            return variables[node.id]
        if node.id in names.functions:
            return node.id
        raise GrammarError(node, f"the module {node.id!r} is not defined")
    if _callee(node) == "Missing":
        return _bound(node, names)
    if (
        _callee(node) != "build"
        or not isinstance(node, ast.Call)
        or not 6 <= len(node.args) <= 8
        or node.keywords
    ):
        raise GrammarError(node, "a module is neither built nor missing")
    path, cls, training = (_bound(part, names) for part in node.args[:3])
    if type(path) is not str or type(cls) is not str or type(training) is not bool:
        raise GrammarError(node, "a module's path, class or mode is no literal")
    state = [_mapping(part, lambda value: _bound(value, names)) for part in node.args[3:6]]
    hidden = _bound(node.args[6], names) if len(node.args) > 6 else Set()
    if not isinstance(hidden, Set):
        raise GrammarError(node, "the non-persistent buffers are no set of names")
    below = _mapping(node.args[7], lambda part: _module(part, variables, names)) if len(node.args) > 7 else ()
    return BuiltModule(
        path, cls, training, state[0], state[1], state[2], frozenset(map(str, hidden.items)), below
    )


def _callee(node: ast.expr) -> str:
    return node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else ""


# -- bound values ------------------------------------------------------------------------------------------------


def _bound(node: ast.expr, names: Names) -> Any:
    """A bound value: a value of generated code that may hold devices, bits and stored tensors."""
    return read_value(node, replace(names, special=_special))


def _special(node: ast.expr) -> Any:
    """What only a bound value may hold; None for everything else."""
    if isinstance(node, ast.Attribute) and _callee(node.value) == "retarget" and node.attr == "type":
        return DeviceType(str(_special(node.value)))
    if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id == "tensors":
        return StoredTensor(_text(node.slice))
    reader = _SPECIAL.get(_callee(node))
    return reader(node) if reader is not None and isinstance(node, ast.Call) else None


def _text(node: ast.expr) -> str:
    if isinstance(node, ast.Constant) and type(node.value) is str:
        return node.value
    raise GrammarError(node, "a name is no text literal")


def _retarget(node: ast.Call) -> torch.device | DefaultDevice:
    if (
        len(node.args) != 2
        or not isinstance(node.args[0], ast.Name)
        or node.args[0].id != "device"
        or node.keywords
    ):
        raise GrammarError(node, "a device is not written as fx2py writes it")
    if isinstance(node.args[1], ast.Constant) and node.args[1].value is None:
        return DefaultDevice()
    try:
        return torch.device(_text(node.args[1]))
    except RuntimeError:
        raise GrammarError(node, "this is no device") from None


def _texts(make: Callable[[str, str], Any]) -> Callable[[ast.Call], Any]:
    def read(node: ast.Call) -> Any:
        if len(node.args) != 2 or node.keywords:
            raise GrammarError(node, "two texts are wanted here")
        return make(*map(_text, node.args))

    return read


_SPECIAL: dict[str, Callable[[ast.Call], Any]] = {
    "retarget": _retarget,
    "from_bits": _texts(Bits),
    "live": _texts(LiveConstant),
    "Missing": _texts(Absent),
}
