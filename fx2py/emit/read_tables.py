"""The function ``bind`` that fills the tables, read back: every constant, module, name and tensor."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from fx2py.emit.checks import RUNTIME, read_table
from fx2py.emit.grammar import GrammarError, Names, of_runtime, path_name, read_value
from fx2py.emit.tables import ASSEMBLED, BELOW_AUTOGRAD, BIND_DOC, BIND_PARAMETERS, BIND_VARIABLES, CODE
from fx2py.graph.values import DefaultDevice, DeviceType, Dict, List, Name, Set, children
from fx2py.program.ir import CHECK_INPUTS, InputTable


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
class CodeFunction:
    """``code.submod_0``"""

    name: str


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
class Tables:
    """What ``bind`` builds, in order, and what it fills: modules by path (a ``CodeFunction`` where generated code
    stands), constants, containers by alias, what is demanded of the inputs, names, weights, the paths of the modules
    that are used as objects, and whether the code may run below autograd.
    """

    built: tuple[Any, ...]
    modules: tuple[tuple[str, Any], ...]
    weight_count: int
    consts: tuple[Any, ...]
    containers: tuple[tuple[str, tuple[Name, tuple[str, ...]]], ...]
    input_table: InputTable | None
    renamed: tuple[tuple[str, str], ...]
    whole: tuple[str, ...] = ()
    below_autograd: bool = False

    @property
    def functions(self) -> list[str]:
        """The generated functions that stand in the table of submodules."""
        return [module.name for _, module in self.modules if isinstance(module, CodeFunction)]


def read_tables(node: ast.FunctionDef, names: Names) -> Tables:
    """Read the body of ``bind``; raises GrammarError where it is not of the form that fx2py writes."""
    if ast.unparse(node.args) != BIND_PARAMETERS or len(node.body) < 7 or ast.get_docstring(node) != BIND_DOC:
        raise GrammarError(node, "bind does not have the form that fx2py writes")
    variables = read_built(node.body[1:-6], names)
    filled = ("modules", "weights", "consts", "names", "renamed")
    modules, weights, consts, own_names, renamed = map(_filled, filled, node.body[-6:-1])
    containers, input_table = _names(own_names, names)
    return Tables(
        tuple(variables.values()),
        read_modules(modules, variables, names),
        read_weight_count(weights),
        read_consts(consts, names),
        containers,
        input_table,
        read_renamed(renamed, names),
        *_assembled(node.body[-1]),
    )


def read_built(nodes: Sequence[ast.stmt], names: Names) -> dict[str, Any]:
    """The modules that ``bind`` builds, by variable."""
    variables: dict[str, Any] = {}
    for statement in nodes:
        target, value = assigned(statement)
        names.refuse_hiding(statement, target)
        if target in BIND_VARIABLES or target in variables:
            raise GrammarError(statement, f"{target!r} is assigned twice")
        variables[target] = _module(value, variables, names)
        if not isinstance(value, ast.Call):
            raise GrammarError(statement, f"{target!r} is no module of its own")
    return variables


def read_modules(node: ast.expr, variables: Mapping[str, Any], names: Names) -> tuple[tuple[str, Any], ...]:
    """The table of submodules, by path."""
    return _mapping(node, lambda part: _module(part, variables, names))


def read_consts(node: ast.expr, names: Names) -> tuple[Any, ...]:
    """The table of constants."""
    bound = _bound(node, names)
    if not isinstance(bound, List):
        raise GrammarError(node, "the constants are no list")
    return bound.items


def read_renamed(node: ast.expr, names: Names) -> tuple[tuple[str, str], ...]:
    """The parameters that callers know under another name."""
    value = _bound(node, names)
    if not isinstance(value, Dict) or any(type(part) is not str for part in children(value)):
        raise GrammarError(node, "the renamed parameters are not pairs of names")
    return value.items  # type: ignore[return-value]


def _names(
    node: ast.expr, names: Names
) -> tuple[tuple[tuple[str, tuple[Name, tuple[str, ...]]], ...], InputTable | None]:
    """The containers that the code takes by name, and the table of its inputs, which comes last."""
    if not isinstance(node, ast.Dict):
        raise GrammarError(node, "the names are no dict display")
    found = dict(zip(map(_key, node.keys), node.values, strict=True))
    if len(found) != len(node.keys):
        raise GrammarError(node, "a name is bound twice")
    table = found.pop(CHECK_INPUTS) if next(reversed(found), "") == CHECK_INPUTS else None
    for alias in found:
        if not alias.isidentifier():
            raise GrammarError(node, f"{alias!r} is no name")
        names.refuse_hiding(node, alias)
    containers = tuple([(alias, read_container(value, names)) for alias, value in found.items()])
    return containers, None if table is None else read_table(table, names)


def read_container(node: ast.expr, names: Names) -> tuple[Name, tuple[str, ...]]:
    """The class and the fields in ``container(path, fields)``."""
    if of_runtime(node, names) != "container" or not isinstance(node, ast.Call):
        raise GrammarError(node, "a name is bound to no container class")
    if len(node.args) != 2 or node.keywords:
        raise GrammarError(node, "a container class is not written as fx2py writes it")
    path, fields = (read_value(part, Names()) for part in node.args)
    if type(path) is not str or type(fields) is not tuple or any(type(name) is not str for name in fields):
        raise GrammarError(node, "the class or the fields of a container are no text")
    return path_name(path), fields


def _filled(table: str, node: ast.stmt) -> ast.expr:
    target, value = assigned(node)
    if target != table:
        raise GrammarError(node, f"bind fills {target!r} where it fills {table!r}")
    return value


def assigned(node: ast.stmt) -> tuple[str, ast.expr]:
    """The name and the value of an assignment to one name."""
    if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
        return node.targets[0].id, node.value
    raise GrammarError(node, f"{type(node).__name__} is no statement of a generated file")


def read_weight_count(node: ast.expr) -> int:
    """How many of the tensors are the table of weights."""
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Slice):
        upper = node.slice.upper
        if isinstance(upper, ast.Constant) and type(upper.value) is int:
            written = f"list(tensors.values())[:{upper.value}]"
            if ast.unparse(node) == written:
                return upper.value
    raise GrammarError(node, "the weights are not the first tensors")


def _assembled(node: ast.stmt) -> tuple[tuple[str, ...], bool]:
    """The modules that are used as objects, and whether the code may run below autograd."""
    value = node.value if isinstance(node, ast.Return) else None
    below = isinstance(value, ast.Call) and ast.unparse(value.func) == f"{RUNTIME}.below_autograd"
    call = value.args[0] if below and isinstance(value, ast.Call) and value.args else value
    whole = call.args[7:] if isinstance(call, ast.Call) else []
    expected = f"{RUNTIME}.assemble({', '.join([CODE, ASSEMBLED, *map(ast.unparse, whole[:1])])})"
    if ast.unparse(node) != f"return {BELOW_AUTOGRAD.format(expected) if below else expected}":
        raise GrammarError(node, "bind does not end in assemble")
    return read_texts(whole[0]) if whole else (), below


def read_texts(node: ast.expr) -> tuple[str, ...]:
    """A list of texts."""
    if not isinstance(node, ast.List):
        raise GrammarError(node, "the modules that are used as objects are no list")
    return tuple(map(_text, node.elts))


def _mapping(node: ast.expr, read: Callable[[ast.expr], Any]) -> tuple[tuple[str, Any], ...]:
    if not isinstance(node, ast.Dict):
        raise GrammarError(node, "a table of names is no dict display")
    items = []
    for key, value in zip(node.keys, node.values, strict=True):
        items.append((_key(key), read(value)))
    return tuple(items)


def _key(node: ast.expr | None) -> str:
    if isinstance(node, ast.Constant) and type(node.value) is str:
        return node.value
    raise GrammarError(node or ast.Pass(lineno=0), "a table's key is no text")


def _module(node: ast.expr, variables: Mapping[str, Any], names: Names) -> Any:
    """A module's build, its absence, an earlier one by its variable, or a generated function."""
    if isinstance(node, ast.Constant) and node.value is None:
        return None
    if isinstance(node, ast.Name):
        if node.id in variables:
            return variables[node.id]
        if node.id in names.functions:
            return CodeFunction(node.id)
        raise GrammarError(node, f"the module {node.id!r} is not defined")
    if isinstance(node, ast.Attribute) and names.runtime and ast.unparse(node.value) == CODE:
        return CodeFunction(node.attr)
    if of_runtime(node, names) == "Missing":
        return _bound(node, names)
    if (
        of_runtime(node, names) != "build"
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


# -- bound values ------------------------------------------------------------------------------------------------


def _bound(node: ast.expr, names: Names) -> Any:
    """A bound value: a value of generated code that may hold devices, bits and stored tensors."""
    return read_value(node, replace(names, special=lambda part: _special(part, names)))


def _special(node: ast.expr, names: Names) -> Any:
    """What only a bound value may hold; None for everything else."""
    if (
        isinstance(node, ast.Attribute)
        and of_runtime(node.value, names) == "retarget"
        and node.attr == "type"
    ):
        return DeviceType(str(_special(node.value, names)))
    if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id == "tensors":
        return StoredTensor(_text(node.slice))
    reader = _SPECIAL.get(of_runtime(node, names))
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
