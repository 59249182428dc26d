"""Generated files read back: text to functions, module-level names and bound values, the inverse of ``emit``.

Names are resolved as Python would resolve them (locals, then the file's imports and aliases, then builtins), and come
back as ``path_name`` makes them. Anything outside the grammar is a GrammarError.
"""

from __future__ import annotations

import ast
import builtins
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from fx2py.emit.expressions import BINARY_OPERATORS, GRAPH_MODULE, UNARY_OPERATORS
from fx2py.emit.module import SOURCE, TABLES, Texts, taken_order
from fx2py.emit.tables import (
    ASSEMBLED,
    BELOW_AUTOGRAD,
    BIND_DOC,
    BIND_PARAMETERS,
    BIND_VARIABLES,
    CODE,
    RUNTIME,
)
from fx2py.graph.values import (
    DEFAULTDICT,
    SETITEM,
    DefaultDevice,
    DeviceType,
    Dict,
    List,
    Name,
    OpName,
    Range,
    Record,
    Ref,
    Set,
    Size,
    Slice,
    children,
)
from fx2py.program.identifiers import MODULE_ALIASES, MODULES, RESERVED
from fx2py.program.ir import (
    CHECK_INPUTS,
    COMPUTE_ONCE,
    ENTRY,
    FIELDS,
    FIELDS_OF,
    REQUIRED,
    TABLE_NAMES,
    Assign,
    Bind,
    Call,
    Delete,
    Function,
    InputTable,
    Load,
    Local,
    Method,
    Parameter,
    Slot,
    Statement,
    Take,
)
from fx2py.runtime.checks import Integer, Shape
from fx2py.syntax import NotPython, parsed


class GrammarError(Exception):
    """The text leaves the grammar of generated code: the file, where that is known, the line, and what was met there."""

    def __init__(self, node: ast.AST, message: str, file: str = "") -> None:
        self.line = getattr(node, "lineno", 0)
        self.file = file
        super().__init__(message)


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


@dataclass(frozen=True, slots=True)
class Parsed:
    """What generated files say: their functions in order, the names of ``execution_fn.py``, the imports of both, what
    ``bind`` fills, and what is demanded of the inputs.
    """

    functions: tuple[Function, ...]
    names: Names
    imports: tuple[str, ...]
    tables: Tables
    table_imports: tuple[str, ...] = ()

    @property
    def input_table(self) -> InputTable | None:
        return self.tables.input_table


def parse(texts: Texts) -> Parsed:
    """Read generated files; raises GrammarError with the file and the line where a text leaves the grammar."""
    with in_file(TABLES):
        tables, table_imports = _read_tables_file(texts.tables or "")
    with in_file(SOURCE):
        *above, own = split_at_functions(statements_of(texts.source))
        names = Names(containers=dict(tables.containers))
        imports = [module for statement in above for module in read_module_level(statement, names)]
        functions = read_functions(own, names)
    unknown = [name for name in tables.functions if name not in names.functions]
    if unknown:
        raise GrammarError(ast.Pass(lineno=0), f"{unknown[0]} is no function of {SOURCE}", TABLES)
    return Parsed(functions, names, tuple(imports), tables, table_imports)


def _read_tables_file(text: str) -> tuple[Tables, tuple[str, ...]]:
    names = Names(runtime=RUNTIME)
    *imports, bind = statements_of(text) or [ast.Pass(lineno=0)]
    found: list[str] = []
    for statement in imports:
        if not isinstance(statement, ast.Import):
            raise GrammarError(statement, "something other than imports stands before bind")
        found += read_module_level(statement, names)
    if not isinstance(bind, ast.FunctionDef) or bind.name != "bind":
        raise GrammarError(bind, "the file does not end in the function bind")
    if hidden := BIND_VARIABLES & names.modules.keys():
        raise GrammarError(bind, f"the import of {min(hidden)} is hidden by a variable of bind")
    return read_tables(bind, names), tuple(found)


# -- expressions: values ---------------------------------------------------------------------------------------------


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


# -- expressions: calls ----------------------------------------------------------------------------------------------


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


# -- functions -------------------------------------------------------------------------------------------------------


def split_at_functions(statements: list[ast.stmt]) -> list[Any]:
    """The statements above the first function, and last the list of functions; GrammarError for any other order."""
    functions = [node for node in statements if isinstance(node, ast.FunctionDef)]
    above = statements[: len(statements) - len(functions)]
    for statement in above:
        if isinstance(statement, ast.FunctionDef):
            raise GrammarError(statement, "something other than a function stands among the functions")
    return [*above, functions]


def statements_of(text: str) -> list[ast.stmt]:
    """The statements of a text; GrammarError when it is no Python, or when a function has a decorator or annotations."""
    try:
        statements = parsed(text)
    except NotPython as error:
        raise GrammarError(ast.Pass(lineno=error.line or 0), f"it {error.reason}") from None
    for node in statements:
        if isinstance(node, ast.FunctionDef):
            _refuse_more_than_a_function(node)
    return statements


def _refuse_more_than_a_function(node: ast.FunctionDef) -> None:
    """What stands beside the parameters and the body of a definition is run when it is executed, too."""
    if node.decorator_list or node.returns or getattr(node, "type_params", None):
        raise GrammarError(node, f"{node.name} carries a decorator or an annotation")


@contextmanager
def in_file(name: str) -> Iterator[None]:
    """What leaves the grammar here does so in the file of this name."""
    try:
        yield
    except GrammarError as error:
        error.file = error.file or name
        raise


def read_functions(nodes: Sequence[ast.FunctionDef], names: Names) -> tuple[Function, ...]:
    """The generated functions in order, of which the last is the entry."""
    if not nodes or nodes[-1].name != ENTRY:
        raise GrammarError(ast.Pass(lineno=0), f"the functions do not end in {ENTRY}")
    read: list[Function] = []
    for node in nodes:
        if node.name != COMPUTE_ONCE or COMPUTE_ONCE in names.functions:
            names.refuse_hiding(node, node.name)
        function = _function(node, names)
        names.functions[function.name] = (*function.tables, *_taken(names))
        read.append(function)
    return tuple(read)


def _taken(names: Names) -> tuple[str, ...]:
    """What the function at hand takes of containers and of the runtime, in the order in which it does."""
    order = taken_order(names.containers)
    return tuple([name for name in order if name in names.at_hand])


def read_module_level(node: ast.stmt, names: Names) -> list[str]:
    """Read an import or an operator alias; returns the modules that are imported."""
    if not isinstance(node, ast.Import):
        _op_alias(node, names)
        return []
    for alias in node.names:
        root = alias.name.partition(".")[0]
        if alias.asname != MODULE_ALIASES.get(alias.name) or root in names.reserved - MODULES:
            raise GrammarError(node, f"the import of {alias.name} hides what the file has under this name")
        names.modules[alias.asname or root] = alias.name if alias.asname else root
    return [alias.name for alias in node.names]


def _op_alias(node: ast.stmt, names: Names) -> None:
    alias, value = assigned(node)
    parts = _attributes(value, names)
    if parts[:2] != ["torch", "ops"] or not 4 <= len(parts) <= 5:
        raise GrammarError(node, f"{alias!r} is not an operator of torch.ops")
    names.refuse_hiding(node, alias)
    names.ops[alias] = OpName(*parts[2:])


def _attributes(node: ast.expr, names: Names) -> list[str]:
    """The parts of a dotted path of which some are read by ``getattr``."""
    match node:
        case ast.Call(func=ast.Name(id="getattr"), args=[value, ast.Constant(value=str(name))], keywords=[]):
            return [*_attributes(value, names), name]
        case ast.Attribute(value=value, attr=name):
            return [*_attributes(value, names), name]
    return [dotted_path(node, names)]


def _function(node: ast.FunctionDef, names: Names) -> Function:
    parameters = _parameters(node.args, names)
    takes = _takes(node, parameters, names)
    own = tuple(p for p in parameters if p.name not in takes)
    tables = tuple(table for table in TABLE_NAMES if table in takes)
    names.local = {parameter.name for parameter in own}
    names.tables = tables
    names.at_hand, names.used = frozenset(takes) - frozenset(tables), set()
    body: list[Statement] = []
    for statement in node.body[:-1]:
        _append(body, _statement(statement, names))
    last = node.body[-1]
    if not isinstance(last, ast.Return) or last.value is None:
        raise GrammarError(last, f"{node.name} does not end in a return")
    result = read_value(last.value, names)
    if unused := names.at_hand - names.used:
        raise GrammarError(node, f"{node.name} takes {min(unused)}, which it does not use")
    names.local, names.tables = set(), ()
    return Function(node.name, own, tables, tuple(body), result)


def _takes(node: ast.FunctionDef, parameters: tuple[Parameter, ...], names: Names) -> tuple[str, ...]:
    """What a function takes beside its inputs: its last keyword-only parameters, without defaults, in their order."""
    order = TABLE_NAMES if names.is_older else taken_order(names.containers)
    given = {parameter.name for parameter in parameters}
    takes = tuple([name for name in order if name in given])
    named = [p for p in parameters if p.kind == "keyword_only"][-len(takes) :] if takes else []
    if tuple(p.name for p in named) != takes or any(p.default is not REQUIRED for p in named):
        raise GrammarError(node, f"{node.name} takes its tables otherwise than fx2py writes")
    return takes


def _append(body: list[Statement], statement: Statement) -> None:
    """Consecutive deletions are one: the printer breaks long ones."""
    if body and type(statement) is Delete and type(body[-1]) is Delete:
        body[-1] = Delete((*body[-1].names, *statement.names))
    else:
        body.append(statement)


def _parameters(args: ast.arguments, names: Names) -> tuple[Parameter, ...]:
    if args.posonlyargs:
        raise GrammarError(args.posonlyargs[0], "positional-only parameters are not written")
    defaults: list[Any] = [REQUIRED] * (len(args.args) - len(args.defaults))
    defaults += [read_value(default, names) for default in args.defaults]
    found = [_parameter(a, "positional", d) for a, d in zip(args.args, defaults, strict=True)]
    if args.vararg:
        found.append(_parameter(args.vararg, "var_positional", REQUIRED))
    for argument, default in zip(args.kwonlyargs, args.kw_defaults, strict=True):
        found.append(
            _parameter(argument, "keyword_only", REQUIRED if default is None else read_value(default, names))
        )
    if args.kwarg:
        found.append(_parameter(args.kwarg, "var_keyword", REQUIRED))
    return tuple(found)


def _parameter(argument: ast.arg, kind: Any, default: Any) -> Parameter:
    if argument.annotation is not None:
        raise GrammarError(argument, f"the parameter {argument.arg!r} carries an annotation")
    return Parameter(argument.arg, argument.arg, kind, default)


def _statement(node: ast.stmt, names: Names) -> Statement:
    if isinstance(node, ast.Assign) and len(node.targets) == 1:
        target = node.targets[0]
        if isinstance(target, ast.Name):
            return _assignment(target.id, node.value, names)
        if isinstance(target, ast.Subscript):
            parts = (
                read_value(target.value, names),
                read_index(target.slice, names),
                read_value(node.value, names),
            )
            return Assign(None, Call(SETITEM, parts))
    if isinstance(node, ast.Delete):
        return _delete(node, names)
    if isinstance(node, ast.Expr):
        call = read_call(node.value, names)
        if call is not None:
            return Assign(None, call)
    raise GrammarError(node, f"{type(node).__name__} is no statement of generated code")


def _assignment(target: str, value: ast.expr, names: Names) -> Statement:
    call = read_call(value, names)
    read: Any = None if call is not None else read_value(value, names)
    if names.is_variable(target):
        raise GrammarError(value, f"{target!r} is assigned twice")
    names.local.add(target)
    if call is not None:
        return Assign(target, call)
    return Load(target, read) if isinstance(read, Slot) else Bind(target, read)


def _delete(node: ast.Delete, names: Names) -> Delete:
    deleted: list[str] = []
    targets = (
        part for each in node.targets for part in (each.elts if isinstance(each, ast.Tuple) else [each])
    )
    for target in targets:
        if not isinstance(target, ast.Name) or target.id not in names.local:
            raise GrammarError(node, "something other than a living variable is deleted")
        names.local.remove(target.id)
        deleted.append(target.id)
    return Delete(tuple(deleted))


# -- bind ------------------------------------------------------------------------------------------------------------


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


# -- the demands on the inputs ---------------------------------------------------------------------------------------


def read_table(node: ast.expr, names: Names) -> InputTable:
    """The table in ``input_checks(...)``; GrammarError when it is of another form than fx2py writes."""
    if of_runtime(node, names) != "input_checks" or not isinstance(node, ast.Call) or len(node.args) != 1:
        raise GrammarError(node, f"{CHECK_INPUTS} is not made by input_checks")
    demands = replace(names, special=lambda part: _read_demand(part, demands))
    table = read_value(node.args[0], demands)
    options = {keyword.arg: read_value(keyword.value, names) for keyword in node.keywords}
    ranges, guards = options.pop("ranges", Dict()), options.pop("guards", List())
    autocast = options.pop("autocast", True)
    order = [keyword.arg for keyword in node.keywords]
    if (
        options
        or order != [name for name in ("ranges", "guards", "autocast") if name in order]
        or type(autocast) is not bool
        or not (type(table) is type(ranges) is Dict)
        or type(guards) is not List
    ):
        raise GrammarError(node, "the table of the inputs has another form than fx2py writes")
    bounds = tuple((name, *_pair(bound, node)) for name, bound in ranges.items)
    keys = [name for name, *_ in (*table.items, *bounds)]
    if any(type(part) is not str for part in (*keys, *guards.items)):
        raise GrammarError(node, "a name in the table of the inputs is no text")
    return InputTable(table.items, bounds, guards.items, autocast)  # type: ignore[arg-type]


def _pair(value: Any, node: ast.AST) -> tuple[Any, Any]:
    if len(children(value)) != 2 or any(type(end) not in (int, type(None)) for end in children(value)):
        raise GrammarError(node, "a range is not written as its two ends")
    return value  # type: ignore[no-any-return]


def _read_demand(node: ast.expr, names: Names) -> Any:
    """What only a table may hold; None for everything else."""
    if not isinstance(node, ast.Call) or node.keywords:
        return None
    kind = of_runtime(node, names)
    if kind not in ("Shape", "Integer", "Fields"):
        return None
    parts = [read_value(part, names) for part in node.args]
    if kind == "Shape" and all(type(part) in (int, str, type(...)) for part in parts):
        return Shape(*parts)
    if kind == "Integer" and [type(part) for part in parts] == [str]:
        return Integer(parts[0])
    if kind == "Fields" and [type(part) for part in parts[:2]] == [str, Dict] and len(parts) < 4:
        detail = parts[2] if len(parts) == 3 else None
        return Record(FIELDS, (("path", parts[0]), ("fields", parts[1]), ("detail", detail)))
    raise GrammarError(node, f"{kind} is not written as fx2py writes it")
