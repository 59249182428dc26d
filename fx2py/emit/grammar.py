"""The grammar of generated expressions, read back: Python syntax trees to values and calls, the inverse of printing.

Names are resolved as Python would resolve them (locals, then the file's imports and aliases, then builtins), and come
back as ``path_name`` makes them. Anything outside the grammar is a GrammarError.
"""

from __future__ import annotations

import ast
import builtins
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from fx2py.emit.expressions import BINARY_OPERATORS, GRAPH_MODULE, UNARY_OPERATORS
from fx2py.graph.values import DEFAULTDICT, Dict, List, Name, OpName, Range, Record, Ref, Set, Size, Slice
from fx2py.program.identifiers import RESERVED
from fx2py.program.ir import CHECK_INPUTS, FIELDS_OF, Call, Local, Method, Slot, Take

_SYMBOLS: dict[type[ast.AST], str] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.FloorDiv: "//",
    ast.Mod: "%",
    ast.MatMult: "@",
    ast.Pow: "**",
    ast.LShift: "<<",
    ast.RShift: ">>",
    ast.BitAnd: "&",
    ast.BitOr: "|",
    ast.BitXor: "^",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.Eq: "==",
    ast.NotEq: "!=",
}
_BINARY = {symbol: name for name, symbol in BINARY_OPERATORS.items()}
_UNARY = {ast.USub: "neg", ast.Invert: "invert", ast.UAdd: "pos"}
_MATH = {"math.inf": math.inf, "math.nan": math.nan}
_LITERALS = (type(None), bool, int, float, str, bytes, type(...))
_RUNTIME_CALLS = (FIELDS_OF, CHECK_INPUTS)
assert set(_UNARY.values()) == set(UNARY_OPERATORS)


class GrammarError(Exception):
    """The text leaves the grammar of generated code: the file, where that is known, the line, and what was met there."""

    def __init__(self, node: ast.AST, message: str, file: str = "") -> None:
        self.line = getattr(node, "lineno", 0)
        self.file = file
        super().__init__(message)


@dataclass
class Names:
    """What the names of a file mean: imported modules, operator aliases, containers, generated functions, locals.

    ``functions`` has what each function takes beside its inputs. ``at_hand`` are the containers and the functions of the
    runtime that the function at hand takes, and ``used`` those that it reads; in a file of schema 1 or 2, where
    ``is_older``, they stand in the file itself. ``runtime`` is what stands before the runtime's names in ``bind``.
    ``special`` reads the forms that are values only where it is set, and gives None for others.
    """

    modules: dict[str, str] = field(default_factory=dict)
    ops: dict[str, OpName] = field(default_factory=dict)
    containers: dict[str, tuple[Name, tuple[str, ...]]] = field(default_factory=dict)
    functions: dict[str, tuple[str, ...]] = field(default_factory=dict)
    tables: tuple[str, ...] = ()
    local: set[str] = field(default_factory=set)
    at_hand: frozenset[str] = frozenset()
    used: set[str] = field(default_factory=set)
    is_older: bool = False
    runtime: str = ""
    reserved: frozenset[str] = RESERVED
    special: Callable[[ast.expr], Any] | None = None

    def refuse_hiding(self, node: ast.AST, name: str) -> None:
        """Raise GrammarError when ``name`` already means something in every file or in this one."""
        own = (self.modules, self.ops, self.containers, self.functions)
        if name in self.reserved or any(name in table for table in own):
            raise GrammarError(node, f"{name!r} hides what the file has under this name")

    def is_variable(self, name: str) -> bool:
        """Whether a name is a variable or a parameter of the function at hand."""
        return name in self.local or name in self.tables or name in self.at_hand

    def takes(self, name: str) -> bool:
        """Whether the function at hand can use a container or a function of the runtime; notes that it does."""
        self.used.add(name)
        return name not in self.local and (self.is_older or name in self.at_hand)

    def container(self, node: ast.expr) -> bool:
        """Whether an expression is the name of a container class that the function at hand takes."""
        return isinstance(node, ast.Name) and node.id in self.containers and self.takes(node.id)


def of_runtime(node: ast.AST, names: Names) -> str:
    """The name of the runtime's function that an expression calls, or ''."""
    match node, names.runtime:
        case ast.Call(func=ast.Attribute(value=ast.Name(id=prefix), attr=name)), own if prefix == own:
            return name
        case ast.Call(func=ast.Name(id=name)), "":
            return name
    return ""


def path_name(path: str) -> Name:
    """A dotted path as text gives it: it does not say where the module ends, so the last part counts as the name."""
    module, _, name = path.rpartition(".")
    return Name(module, name)


def dotted_path(node: ast.AST, names: Names) -> str:
    """The dotted path that an attribute chain spells from an imported module or a builtin; '' if it is none."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name) or names.is_variable(node.id):
        return ""
    if node.id in names.modules:
        return ".".join([names.modules[node.id], *reversed(parts)])
    known = node.id in names.ops or node.id in names.functions or node.id in names.containers
    if not known and hasattr(builtins, node.id):
        return ".".join(["builtins", node.id, *reversed(parts)])
    return ""


def read_value(node: ast.expr, names: Names) -> Any:
    """The value that an expression stands for."""
    if names.special is not None and (found := names.special(node)) is not None:
        return found
    reader = _VALUE_READERS.get(type(node))
    if reader is None:
        raise GrammarError(node, f"{type(node).__name__} is no value of generated code")
    return reader(node, names)


def _constant(node: ast.Constant, names: Names) -> Any:
    if not isinstance(node.value, _LITERALS):
        raise GrammarError(node, f"the literal {node.value!r} is not written by fx2py")
    return node.value


def _name(node: ast.Name, names: Names) -> Any:
    if node.id in names.local:
        return Ref(node.id)
    if node.id in names.ops:
        return names.ops[node.id]
    if node.id in names.functions:
        return Local(node.id)
    path = dotted_path(node, names)
    if not path:
        raise GrammarError(node, f"the name {node.id!r} is not defined")
    return path_name(path)


def _attribute(node: ast.Attribute, names: Names) -> Any:
    path = dotted_path(node, names)
    if not path:
        raise GrammarError(node, f"the attribute {node.attr!r} is read inside another expression")
    return _MATH.get(path, path_name(path))


def _unary(node: ast.UnaryOp, names: Names) -> Any:
    value = read_value(node.operand, names)
    if not isinstance(node.op, ast.USub) or type(value) not in (int, float) or isinstance(value, bool):
        raise GrammarError(node, "an operation stands inside another expression")
    return -value


def _dict(node: ast.Dict, names: Names) -> Any:
    keys = [_present(key, node) for key in node.keys]
    return Dict(
        tuple((read_value(k, names), read_value(v, names)) for k, v in zip(keys, node.values, strict=True))
    )


def _present(key: ast.expr | None, node: ast.AST) -> ast.expr:
    if key is None:
        raise GrammarError(node, "a dict is unpacked into another")
    return key


def _items(nodes: list[ast.expr], names: Names) -> tuple[Any, ...]:
    return tuple([read_value(item, names) for item in nodes])


def _slot(node: ast.Subscript, names: Names) -> Any:
    base, index = node.value, node.slice
    if (
        isinstance(base, ast.Name)
        and base.id in names.tables
        and isinstance(index, ast.Constant)
        and type(index.value) is int
    ):
        return Slot(base.id, index.value)  # type: ignore[arg-type]
    raise GrammarError(node, "an item is taken inside another expression")


def _value_call(node: ast.Call, names: Names) -> Any:
    if names.container(node.func):
        return read_record(node, names)
    if isinstance(node.func, ast.Name) and node.func.id == GRAPH_MODULE and names.takes(GRAPH_MODULE):
        return _graph_module(node, names)
    if (taken := ast.unparse(node).removesuffix(".pop(0)")) in names.local:
        return Take(taken)
    reader = _CONSTRUCTORS.get(dotted_path(node.func, names))
    if reader is None or (node.keywords and reader is not _partial):
        raise GrammarError(node, "a call stands inside another expression")
    return reader(node, names)


def read_record(node: ast.Call, names: Names) -> Record:
    """``Point(x=a, y=b)`` of a container class."""
    cls, fields = names.containers[node.func.id]  # type: ignore[attr-defined]
    parts = [*_items(node.args, names), *(read_value(keyword.value, names) for keyword in node.keywords)]
    named = tuple(keyword.arg for keyword in node.keywords)
    if len(parts) != len(fields) or (named and named != fields):
        raise GrammarError(node, f"{cls.path} is built with other fields than declared")
    return Record(cls, tuple(zip(fields, parts, strict=True)))


def _graph_module(node: ast.Call, names: Names) -> Local:
    inner = _items(node.args, names)
    if len(inner) != 1 or not isinstance(inner[0], Local) or inner[0].as_graph or node.keywords:
        raise GrammarError(node, f"{GRAPH_MODULE} is written over a generated function")
    return Local(inner[0].name, as_graph=True)


def _three(make: Callable[[Any, Any, Any], Any]) -> Callable[[ast.Call, Names], Any]:
    def read(node: ast.Call, names: Names) -> Any:
        if len(node.args) != 3 or node.keywords:
            raise GrammarError(node, "slice and range are written with three arguments")
        return make(*_items(node.args, names))

    return read


def _set_call(node: ast.Call, names: Names) -> Any:
    if node.args or node.keywords:
        raise GrammarError(node, "a set is written as a display")
    return Set(())


def _frozenset(node: ast.Call, names: Names) -> Any:
    inner = _items(node.args, names)
    if not inner:
        return Set((), frozen=True)
    if len(inner) != 1 or not isinstance(inner[0], Set):
        raise GrammarError(node, "a frozenset is written over a display")
    return Set(inner[0].items, frozen=True)


def _size(node: ast.Call, names: Names) -> Any:
    (inner,) = _items(node.args, names) or (None,)
    if not isinstance(inner, List):
        raise GrammarError(node, "a torch.Size is written over a list")
    return Size(inner.items)


def _complex(node: ast.Call, names: Names) -> Any:
    parts = _items(node.args, names)
    if len(parts) != 2 or any(type(part) is not float for part in parts):
        raise GrammarError(node, "a complex number is written as two floats")
    return complex(*parts)


def _ordered_dict(node: ast.Call, names: Names) -> Any:
    inner = _items(node.args, names)
    if len(inner) != 1 or not isinstance(inner[0], List) or any(type(i) is not tuple for i in inner[0].items):
        raise GrammarError(node, "a dict class is written over a list of pairs")
    pairs: Any = inner[0].items
    return Dict(pairs, path_name(dotted_path(node.func, names)))


def _default_dict(node: ast.Call, names: Names) -> Any:
    inner = _items(node.args, names)
    if len(inner) != 2 or not isinstance(inner[0], Name | None) or not isinstance(inner[1], Dict):
        raise GrammarError(node, "a defaultdict is written over its factory and a display")
    return Dict(inner[1].items, DEFAULTDICT, inner[0])


def _partial(node: ast.Call, names: Names) -> Any:
    target = read_value(node.args[0], names) if len(node.args) == 1 else None
    if not isinstance(target, Local) or target.as_graph:
        raise GrammarError(node, "functools.partial is written over a generated function")
    bound = [
        (keyword.arg, keyword.value.id if isinstance(keyword.value, ast.Name) else "")
        for keyword in node.keywords
    ]
    takes = names.functions[target.name]
    if bound != [(name, name) for name in takes]:
        raise GrammarError(node, f"{target.name} is bound to other tables than its own")
    if not all(name in names.tables or names.takes(name) for name in takes):
        raise GrammarError(node, f"{target.name} is bound to what is not taken here")
    return target


_CONSTRUCTORS: dict[str, Callable[[ast.Call, Names], Any]] = {
    "builtins.slice": _three(Slice),
    "builtins.range": _three(Range),
    "builtins.set": _set_call,
    "builtins.frozenset": _frozenset,
    "builtins.complex": _complex,
    "torch.Size": _size,
    "collections.OrderedDict": _ordered_dict,
    "collections.defaultdict": _default_dict,
    "functools.partial": _partial,
}
_VALUE_READERS: dict[type[ast.AST], Callable[[Any, Names], Any]] = {
    ast.Constant: _constant,
    ast.Name: _name,
    ast.Attribute: _attribute,
    ast.UnaryOp: _unary,
    ast.Tuple: lambda node, names: _items(node.elts, names),
    ast.List: lambda node, names: List(_items(node.elts, names)),
    ast.Set: lambda node, names: Set(_items(node.elts, names)),
    ast.Dict: _dict,
    ast.Subscript: _slot,
    ast.Call: _value_call,
}


# -- calls -------------------------------------------------------------------------------------------------------


def read_call(node: ast.expr, names: Names) -> Call | None:
    """The call that the right side of a statement makes; None when it only builds a value."""
    reader = _CALL_READERS.get(type(node))
    return reader(node, names) if reader is not None else None


def _operator(name: str) -> Name:
    return path_name(f"operator.{name}")


def _binary_call(node: ast.BinOp, names: Names) -> Call:
    operator = _operator(_BINARY[_SYMBOLS[type(node.op)]])
    return Call(operator, (read_value(node.left, names), read_value(node.right, names)))


def _compare_call(node: ast.Compare, names: Names) -> Call:
    symbol = _SYMBOLS.get(type(node.ops[0])) if len(node.ops) == 1 else None
    if symbol is None:
        raise GrammarError(node, "only single comparisons are written")
    return Call(
        _operator(_BINARY[symbol]), (read_value(node.left, names), read_value(node.comparators[0], names))
    )


def _unary_call(node: ast.UnaryOp, names: Names) -> Call:
    operand = read_value(node.operand, names)
    if type(node.op) not in _UNARY or not isinstance(operand, Ref):
        raise GrammarError(node, "this unary operation is not written")
    return Call(_operator(_UNARY[type(node.op)]), (operand,))


def _item_call(node: ast.Subscript, names: Names) -> Call | None:
    if isinstance(node.value, ast.Name) and node.value.id in names.tables:
        return None
    return Call(_operator("getitem"), (read_value(node.value, names), read_index(node.slice, names)))


def read_index(node: ast.expr, names: Names) -> Any:
    """What stands between the brackets of a subscript, slices included."""
    if isinstance(node, ast.Tuple):
        return tuple([_index_item(part, names) for part in node.elts])
    return _index_item(node, names)


def _index_item(node: ast.expr, names: Names) -> Any:
    if not isinstance(node, ast.Slice):
        return read_value(node, names)
    bounds = [
        None if bound is None else read_value(bound, names) for bound in (node.lower, node.upper, node.step)
    ]
    return Slice(*bounds)


def _attribute_call(node: ast.Attribute, names: Names) -> Call | None:
    if dotted_path(node, names):
        return None
    return Call(path_name("builtins.getattr"), (read_value(node.value, names), node.attr))


def _call_call(node: ast.Call, names: Names) -> Call | None:
    func = node.func
    if names.container(func):
        return None
    args = _items(node.args, names)
    kwargs = tuple([_keyword(keyword, names) for keyword in node.keywords])
    if isinstance(func, ast.Attribute) and not dotted_path(func, names):
        return Call(Method(func.attr), (read_value(func.value, names), *args), kwargs)
    if isinstance(func, ast.Call):
        if dotted_path(func.func, names) != "builtins.getattr" or len(func.args) != 2 or func.keywords:
            raise GrammarError(node, "the result of a call is called")
        receiver, name = _items(func.args, names)
        if type(name) is not str:
            raise GrammarError(node, "a method's name is no literal")
        return Call(Method(name), (receiver, *args), kwargs)
    if isinstance(func, ast.Name) and func.id in _RUNTIME_CALLS and names.takes(func.id):
        return Call(Local(func.id), args, kwargs)
    return Call(read_value(func, names), args, kwargs)


def _keyword(keyword: ast.keyword, names: Names) -> tuple[str, Any]:
    if keyword.arg is not None:
        return keyword.arg, read_value(keyword.value, names)
    value = keyword.value
    if isinstance(value, ast.Dict) and len(value.values) == 1 and isinstance(value.keys[0], ast.Constant):
        name = value.keys[0].value
        if type(name) is str:
            return name, read_value(value.values[0], names)
    raise GrammarError(value, "keywords are unpacked from something that is no literal dict of one entry")


_CALL_READERS: dict[type[ast.AST], Callable[[Any, Names], Call | None]] = {
    ast.BinOp: _binary_call,
    ast.Compare: _compare_call,
    ast.UnaryOp: _unary_call,
    ast.Subscript: _item_call,
    ast.Attribute: _attribute_call,
    ast.Call: _call_call,
}
