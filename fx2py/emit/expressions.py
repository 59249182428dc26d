"""Values and calls as expressions. Every form here has its inverse in ``fx2py.emit.parse``."""

from __future__ import annotations

import ast
import cmath
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fx2py.emit import text
from fx2py.errors import InternalError, with_article
from fx2py.graph import values as language
from fx2py.program import ir
from fx2py.program.identifiers import MODULE_ALIASES, is_identifier
from fx2py.syntax import BINARY, COMPARISONS, UNARY

_X = ast.Name("x")
_SIGNS = {
    **{name: ast.unparse(ast.BinOp(_X, kind(), _X))[2:-2] for kind, name in BINARY.items()},
    **{name: ast.unparse(ast.Compare(_X, [kind()], [_X]))[2:-2] for kind, name in COMPARISONS.items()},
}
_UNARY_SIGNS = {name: ast.unparse(ast.UnaryOp(kind(), _X))[:-1] for kind, name in UNARY.items()}
"""How Python writes the functions of ``operator``: ``add`` is ``+``."""
GRAPH_MODULE = "graph_module"
"""The function of the runtime that makes a GraphModule of a generated function."""


@dataclass(frozen=True, slots=True)
class TextScope:
    """The names that a text being written may use: operator aliases, container classes, what local functions take.

    ``modules`` collects the modules that the text has named so far, which the file must import. ``taken`` collects the
    container classes and functions of the runtime that the function being written has used, each a parameter of it, as
    its tables are. ``special`` writes values that have text in this file only, and gives '' for others. ``inside`` has the
    text of the results that are written inside the statement that takes them, ``operations`` how tight the signs of
    operators bind in it.
    """

    op_aliases: Mapping[language.OpName, str]
    containers: Mapping[tuple[language.Name, tuple[str, ...]], str]
    takes: dict[str, tuple[str, ...]]
    modules: set[str] = field(default_factory=set)
    taken: set[str] = field(default_factory=set)
    of_modules: frozenset[str] = frozenset()
    special: Callable[[ir.Operand], str] | None = None
    inside: dict[str, str] = field(default_factory=dict)
    operations: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, program: ir.Program) -> TextScope:
        return cls(
            {op: alias for alias, op in program.op_aliases},
            {(container.cls, container.fields): alias for alias, container in program.containers},
            {function.name: function.tables for function in program.functions},
            of_modules=frozenset(function.name for function in program.functions if function.is_module),
        )


def name_text(name: language.Name, scope: TextScope) -> str:
    """A dotted name, through the alias of its module's import if there is one; a builtin has no module in front."""
    if scope.special is not None and (written := scope.special(name)):
        return written
    if name.module == "builtins":
        return text.dotted(name.qualname)
    scope.modules.add(name.module)
    alias = MODULE_ALIASES.get(name.module)
    return f"{alias}.{text.dotted(name.qualname)}" if alias else text.dotted(name.path)


def value_text(value: ir.Operand, scope: TextScope) -> str:
    """The expression that evaluates back to ``value``."""
    if scope.special is not None and (written := scope.special(value)):
        return written
    if type(value) is language.Ref:
        return scope.inside[value.name] if ir.is_expression(value.name) else text.identifier(value.name)
    if text.has_text(value):
        if (type(value) is float or type(value) is complex) and not cmath.isfinite(value):
            scope.modules.add("math")
        return text.primitive(value)
    writer = _VALUES.get(type(value))
    if writer is None:
        raise InternalError(f"{with_article(type(value).__name__)} reached the text as a value")
    return writer(value, scope)


def _joined(items: ir.Arguments, scope: TextScope) -> str:
    return ", ".join([value_text(item, scope) for item in items])


def _tuple(value: ir.Arguments, scope: TextScope) -> str:
    return f"({value_text(value[0], scope)},)" if len(value) == 1 else f"({_joined(value, scope)})"


def _dict(value: language.Dict, scope: TextScope) -> str:
    if value.cls is None or value.cls == language.DEFAULTDICT:
        items = [f"{value_text(key, scope)}: {value_text(item, scope)}" for key, item in value.items]
        display = f"{{{', '.join(items)}}}"
        if value.cls is None:
            return display
        return f"{name_text(value.cls, scope)}({value_text(value.factory, scope)}, {display})"
    return f"{name_text(value.cls, scope)}([{', '.join([_tuple(item, scope) for item in value.items])}])"


def _set(value: language.Set, scope: TextScope) -> str:
    """Items in the order of their text: the order of a set of strings differs between processes (PYTHONHASHSEED)."""
    items = sorted([value_text(item, scope) for item in value.items])
    if value.frozen:
        return f"frozenset({{{', '.join(items)}}})" if value.items else "frozenset()"
    return f"{{{', '.join(items)}}}" if value.items else "set()"


def _record(value: language.Record, scope: TextScope) -> str:
    names = tuple(name for name, _ in value.fields)
    alias = scope.containers[value.cls, names]
    scope.taken.add(alias)
    if all(is_identifier(name) for name in names):
        items = [f"{name}={value_text(part, scope)}" for name, part in value.fields]
    else:
        items = [value_text(part, scope) for _, part in value.fields]
    return f"{alias}({', '.join(items)})"


def _field(value: ir.Field) -> str:
    steps = [f"[{step}]" if type(step) is int else f".{text.identifier(str(step))}" for step in value.path]
    return text.identifier(value.base) + "".join(steps)


def _local(value: ir.Local, scope: TextScope) -> str:
    takes = scope.takes.get(value.name, ())
    written = text.identifier(value.name)
    if takes:
        scope.modules.add("functools")
        scope.taken.update(takes)
        written = f"functools.partial({written}, {', '.join([f'{name}={name}' for name in takes])})"
    if not value.as_graph:
        return written
    scope.taken.add(GRAPH_MODULE)
    return f"{GRAPH_MODULE}({written})"


_VALUES: dict[type, Callable[[Any, TextScope], str]] = {
    tuple: _tuple,
    language.List: lambda value, scope: f"[{_joined(value.items, scope)}]",
    language.Dict: _dict,
    language.Set: _set,
    language.Slice: lambda value, scope: f"slice({_joined((value.start, value.stop, value.step), scope)})",
    language.Range: lambda value, scope: f"range({_joined((value.start, value.stop, value.step), scope)})",
    language.Size: lambda value, scope: f"torch.Size([{_joined(value.items, scope)}])",
    language.Record: _record,
    language.Name: lambda value, scope: name_text(value, scope),
    language.OpName: lambda value, scope: scope.op_aliases[value],
    language.EnumMember: lambda value, scope: f"{name_text(value.cls, scope)}.{text.identifier(value.member)}",
    ir.Slot: lambda value, scope: f"{value.table}[{value.index}]",
    ir.Local: _local,
    ir.Field: lambda value, scope: _field(value),
    ir.Take: lambda value, scope: f"{text.identifier(value.name)}.pop(0)",
}


def call_text(call: ir.Call, scope: TextScope) -> str:
    """A call in its most readable exact form: operator sign, subscript, attribute, method or function call."""
    callee = call.callee
    if type(callee) is language.Name:
        special = _SPECIAL.get(callee)
        if special is not None and not call.kwargs:
            found = special(call, scope)
            if found:
                return found
        return f"{name_text(callee, scope)}({arguments_text(call.args, call.kwargs, scope)})"
    if type(callee) is ir.Method:
        return _method(callee.name, call, scope)
    is_module = type(callee) is ir.Local and callee.name in scope.of_modules
    if type(callee) is ir.Local and not is_module:
        scope.taken.add(callee.name)
    function = callee.name if type(callee) is ir.Local else value_text(callee, scope)
    arguments = arguments_text(call.args, call.kwargs, scope)
    takes = scope.takes[callee.name] if type(callee) is ir.Local and is_module else ()
    scope.taken.update(takes)
    return f"{function}({', '.join([*filter(None, [arguments]), *(f'{name}={name}' for name in takes)])})"


def arguments_text(args: ir.Arguments, kwargs: ir.Keywords, scope: TextScope) -> str:
    """The arguments of a call; a keyword that is not an identifier, as ``Tensor.random_`` has, is written ``**{"from": x}``."""
    parts = [value_text(value, scope) for value in args]
    for name, value in kwargs:
        item = value_text(value, scope)
        parts.append(f"{name}={item}" if is_identifier(name) else f"**{{{text.quoted(name)}: {item}}}")
    return ", ".join(parts)


def _method(name: str, call: ir.Call, scope: TextScope) -> str:
    receiver, rest = call.args[0], call.args[1:]
    arguments = arguments_text(rest, call.kwargs, scope)
    if not is_identifier(name) or type(receiver) not in _RECEIVERS:
        return f"getattr({value_text(receiver, scope)}, {text.quoted(name)})({arguments})"
    return f"{_primary(receiver, scope)}.{name}({arguments})"


_RECEIVERS = (language.Ref, ir.Field, str, tuple, language.List, language.Dict)
"""The receivers after which a method's name can stand; a number's dot would be a decimal point (``1.real``)."""


_TIGHTNESS = {
    **dict.fromkeys(("lt", "le", "gt", "ge", "eq", "ne"), 1),
    "or_": 2,
    "xor": 3,
    "and_": 4,
    **dict.fromkeys(("lshift", "rshift"), 5),
    **dict.fromkeys(("add", "sub"), 6),
    **dict.fromkeys(("mul", "truediv", "floordiv", "mod", "matmul"), 7),
    **dict.fromkeys(_UNARY_SIGNS, 8),
    "pow": 9,
}
"""How tight the signs of operators bind: https://docs.python.org/3/reference/expressions.html#operator-precedence"""
_COMPARISON, _POWER, _PRIMARY = 1, 9, 10
_SIMPLE = re.compile(r"[\w.]+")


def _primary(value: ir.Operand, scope: TextScope, least: int = _PRIMARY) -> str:
    """A value where it must bind at least so tight; by default as a receiver, or what an item is taken of, must."""
    written = value_text(value, scope)
    tightness = scope.operations.get(value.name, _PRIMARY) if type(value) is language.Ref else _PRIMARY
    return f"({written})" if tightness < least else written


def write_inside(target: str, call: ir.Call, scope: TextScope) -> None:
    """Note the text of a call that is written inside the statement that takes its result."""
    written = call_text(call, scope)
    callee = call.callee
    if type(callee) is language.Name and callee.module == "operator" and not written.startswith("operator."):
        scope.operations[target] = _TIGHTNESS.get(callee.qualname, _PRIMARY)
    scope.inside[target] = written


def _is_operand(value: ir.Operand) -> bool:
    """Whether a value binds tighter than every operator: a variable, a weight or a number without a sign (``-1 ** x`` negates)."""
    if type(value) is int or type(value) is float:
        return math.copysign(1, value) > 0
    return type(value) is language.Ref or type(value) is ir.Field


def _binary(symbol: str, tightness: int) -> Callable[[ir.Call, TextScope], str]:
    def write(call: ir.Call, scope: TextScope) -> str:
        if len(call.args) != 2 or not any(type(value) in (language.Ref, ir.Field) for value in call.args):
            return ""
        left, right = call.args
        if not (_is_operand(left) and _is_operand(right)):
            return ""
        is_chained = tightness in (
            _COMPARISON,
            _POWER,
        )  # ``a < b < c`` compares twice, ``a**b**c`` goes from the right
        before = _primary(left, scope, tightness + is_chained)
        after = _primary(right, scope, tightness + 1)
        # Black leaves out the spaces around a power of what is simple (``is_simple_power_operand`` of black/linegen.py).
        space = "" if symbol == "**" and _SIMPLE.fullmatch(before) and _SIMPLE.fullmatch(after) else " "
        return f"{before}{space}{symbol}{space}{after}"

    return write


def _unary(symbol: str) -> Callable[[ir.Call, TextScope], str]:
    def write(call: ir.Call, scope: TextScope) -> str:
        match call.args:
            case (language.Ref() as operand,):
                return f"{symbol}{_primary(operand, scope)}"
        return ""

    return write


def _getattr(call: ir.Call, scope: TextScope) -> str:
    match call.args:
        case (language.Ref() as base, str(name)) if is_identifier(name):
            return f"{_primary(base, scope)}.{name}"
    return ""


def _getitem(call: ir.Call, scope: TextScope) -> str:
    match call.args:
        case (language.Ref() as base, index):
            return f"{_primary(base, scope)}[{index_text(index, scope)}]"
        case (
            ir.Field() as base,
            tuple() | language.Slice() as index,
        ):  # a number would be a place in a list of records
            return f"{value_text(base, scope)}[{index_text(index, scope)}]"
    return ""


def index_text(index: ir.Operand, scope: TextScope) -> str:
    """What stands between the brackets of a subscript."""
    if type(index) is tuple and len(index) > 1:
        return ", ".join([_index_item(part, scope) for part in index])
    return _index_item(index, scope)


def _index_item(part: ir.Operand, scope: TextScope) -> str:
    if type(part) is not language.Slice or not all(
        _is_bound(bound) for bound in (part.start, part.stop, part.step)
    ):
        return value_text(part, scope)
    start, stop, step = (
        "" if bound is None else value_text(bound, scope) for bound in (part.start, part.stop, part.step)
    )
    return f"{start}:{stop}:{step}" if step else f"{start}:{stop}"


def _is_bound(value: ir.Operand) -> bool:
    return value is None or type(value) in (language.Ref, int)


_SPECIAL: dict[language.Name, Callable[[ir.Call, TextScope], str]] = {
    **{language.Name("operator", name): _binary(symbol, _TIGHTNESS[name]) for name, symbol in _SIGNS.items()},
    **{language.Name("operator", name): _unary(symbol) for name, symbol in _UNARY_SIGNS.items()},
    language.GETATTR: _getattr,
    language.GETITEM: _getitem,
}


def setitem_text(call: ir.Call, scope: TextScope) -> str:
    """``x[i] = v`` for an ``operator.setitem`` whose result is not used, or '' when that form does not fit."""
    match call:
        case ir.Call(callee=callee, args=(language.Ref() as target, index, value), kwargs=()) if (
            callee == language.SETITEM
        ):
            return f"{value_text(target, scope)}[{index_text(index, scope)}] = {value_text(value, scope)}"
    return ""
