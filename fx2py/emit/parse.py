"""Generated files read back: text to functions, module-level names and bound values, the inverse of ``emit``.

Names are resolved as Python would resolve them (locals, then the file's imports and aliases, then builtins), and come
back as ``path_name`` makes them. The grammar is what ``emit`` writes, and in functions what an edit makes of it and can
still be read as straight-line code: calls inside expressions (``nesting.py``), a variable that is assigned again, looks at
values. What the audit has not understood must not run, so everything else is a GrammarError.
"""

from __future__ import annotations

import ast
import builtins
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from types import EllipsisType
from typing import Any, NamedTuple, TypeAlias, TypeGuard

import torch

from fx2py.emit.expressions import GRAPH_MODULE
from fx2py.emit.module import SOURCE, TABLES, Texts, taken_order
from fx2py.emit.nesting import Nesting, let_go
from fx2py.emit.tables import (
    ASSEMBLED,
    BELOW_AUTOGRAD,
    BIND_DOC,
    BIND_PARAMETERS,
    BIND_VARIABLES,
    CODE,
    RUNTIME,
)
from fx2py.graph import values as language
from fx2py.program import ir
from fx2py.program.exact_text import path_name
from fx2py.program.identifiers import MODULE_ALIASES, MODULES, RESERVED
from fx2py.runtime.checks import Integer, Shape
from fx2py.runtime.weight_tree import WeightTree, weight_tree
from fx2py.syntax import BINARY, COMPARISONS, CONSTRUCTORS, UNARY, NotPython, ValueReader, parsed, steps_of

_COMPARISONS = {**COMPARISONS, ast.Is: "is_", ast.IsNot: "is_not"}
_UNARY = {**UNARY, ast.Not: "not_"}
_MATH = {"math.inf": math.inf, "math.nan": math.nan}
_RUNTIME_CALLS = (ir.FIELDS_OF, ir.CHECK_INPUTS)


class GrammarError(Exception):
    """The text leaves the grammar of generated code: what was found, at which line, and of which file if that is known."""

    def __init__(self, message: str, line: int = 0, file: str = "") -> None:
        super().__init__(message)
        self.line, self.file = line, file


class NotPythonError(GrammarError):
    """The text is no Python; ``reason`` is a predicate about it."""

    def __init__(self, reason: str, line: int) -> None:
        super().__init__(f"it {reason}", line)
        self.reason = reason


def fault(node: ast.AST, message: str) -> GrammarError:
    """The error at the line of a syntax node."""
    return GrammarError(message, getattr(node, "lineno", 0))


@contextmanager
def in_file(name: str) -> Iterator[None]:
    """Adds the name of the file to each GrammarError that does not have one yet."""
    try:
        yield
    except GrammarError as error:
        error.file = error.file or name
        raise


# -- what is read ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StoredTensor(language.ProgramLeaf):
    """``tensors["a.weight"]``"""

    name: str


@dataclass(frozen=True, slots=True)
class Bits(language.ProgramLeaf):
    """``from_bits("<d", "...")``"""

    layout: str
    digits: str


@dataclass(frozen=True, slots=True)
class LiveConstant(language.ProgramLeaf):
    """``live("constant_1", "description")``"""

    name: str
    description: str


class Absent(NamedTuple):
    """``Missing("path", "reason")``"""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class BuiltModule:
    """``build(...)``: the module's path and class, and its state by name."""

    path: str
    cls: str
    training: bool
    attributes: tuple[tuple[str, language.Value], ...]
    parameters: tuple[tuple[str, StoredTensor | None], ...]
    buffers: tuple[tuple[str, StoredTensor | None], ...]
    non_persistent: frozenset[str] = frozenset()
    children: tuple[tuple[str, BoundModule], ...] = ()


BoundModule: TypeAlias = "BuiltModule | Absent | ir.Local | None"


@dataclass(frozen=True, slots=True)
class BoundTables:
    """What ``bind`` builds, in order, and the tables that it fills.

    ``modules`` are the submodules by path, an ``ir.Local`` where a generated function stands for one, and ``whole``
    the paths of those that are used as objects. ``renamed`` are the parameters that callers know by another name, public
    name first. ``below_autograd``: whether the code may run below ADInplaceOrView. ``weight_paths``: the
    paths of the weights, where the code is structured.
    """

    built: tuple[BuiltModule | Absent, ...]
    modules: tuple[tuple[str, BoundModule], ...]
    weight_count: int
    consts: tuple[language.Value, ...]
    containers: tuple[tuple[str, ir.ContainerClass], ...]
    input_table: ir.InputTable | None
    renamed: tuple[tuple[str, str], ...]
    whole: tuple[str, ...] = ()
    below_autograd: bool = False
    weight_paths: tuple[str, ...] | None = None

    @property
    def functions(self) -> list[str]:
        """The generated functions that stand in the table of submodules."""
        return [module.name for _, module in self.modules if isinstance(module, ir.Local)]


@dataclass(frozen=True, slots=True)
class Parsed:
    """What generated files say: functions, operator aliases and imports of ``execution_fn.py``, tables and imports of
    ``_tables.py``.
    """

    functions: tuple[ir.Function, ...]
    op_aliases: tuple[tuple[str, language.OpName], ...]
    imports: tuple[str, ...]
    tables: BoundTables
    table_imports: tuple[str, ...] = ()

    @property
    def input_table(self) -> ir.InputTable | None:
        return self.tables.input_table

    def program(self, tensors: Mapping[str, torch.Tensor]) -> ir.Program:
        """The functions and their tables as a Program, without the records of modules; the first ``tensors`` are its weights."""
        tables = self.tables
        held = (
            (path, module.name if isinstance(module, ir.Local) else None) for path, module in tables.modules
        )
        return ir.Program(
            self.functions,
            self.op_aliases,
            tables.containers,
            tuple([ir.Weight(*item) for item in list(tensors.items())[: tables.weight_count]]),
            tuple([ir.Submodule(path, None, function=function) for path, function in held]),
            tuple([ir.Constant("constant", value) for value in tables.consts]),
        )


def parse(texts: Texts) -> Parsed:
    """Read generated files; raises GrammarError with the file and the line where a text leaves the grammar."""
    with in_file(TABLES):
        tables, table_imports = _read_tables_file(texts.tables or "")
    with in_file(SOURCE):
        above, own = split_at_functions(_without_docstring(statements_of(texts.source)))
        paths = tables.weight_paths
        tree = None if paths is None else _tree_of(paths)
        names = ReadNames(containers=dict(tables.containers), tree=tree, steps=_steps(tree))
        imports = [module for statement in above for module in read_module_level(statement, names)]
        functions = read_functions(own, names)
    unknown = [name for name in tables.functions if name not in names.functions]
    if unknown:
        raise GrammarError(f"{unknown[0]} is not a function of {SOURCE}", file=TABLES)
    return Parsed(functions, tuple(names.ops.items()), tuple(imports), tables, table_imports)


def _without_docstring(statements: list[ast.stmt]) -> list[ast.stmt]:
    """The statements behind the text at the head of a file, which no statement can read under a name of its own."""
    match statements[:1]:
        case [ast.Expr(value=ast.Constant(value=str()))]:
            return statements[1:]
    return statements


def _tree_of(paths: Sequence[str]) -> WeightTree:
    try:
        return weight_tree(paths)
    except (ValueError, RecursionError) as error:
        raise GrammarError(f"the weights cannot be named: {error}", file=TABLES) from None


def _steps(tree: WeightTree | None) -> frozenset[str]:
    """The attributes that lead to weights and records of them; any other one is an attribute of a weight."""
    found: set[str] = set()
    trees = [] if tree is None else [tree]
    while trees:
        tree = trees.pop()
        found.update(step for step in tree.names.values() if isinstance(step, str))
        trees += tree.children.values()
    return frozenset(found)


def _read_tables_file(text: str) -> tuple[BoundTables, tuple[str, ...]]:
    names = ReadNames(runtime=RUNTIME)
    *imports, bind = statements_of(text) or [ast.Pass(lineno=0)]
    found: list[str] = []
    for statement in imports:
        if not isinstance(statement, ast.Import):
            raise fault(statement, "something other than imports stands before bind")
        found += read_module_level(statement, names)
    if not isinstance(bind, ast.FunctionDef) or bind.name != "bind":
        raise fault(bind, "the file does not end in the function bind")
    if hidden := BIND_VARIABLES & names.modules.keys():
        raise fault(bind, f"the import of {min(hidden)} is hidden by a variable of bind")
    return _read_bind(bind, names), tuple(found)


def statements_of(text: str) -> list[ast.stmt]:
    """The statements of a text; GrammarError when it is not Python, or when a function has a decorator or annotations."""
    try:
        statements = parsed(text)
    except NotPython as error:
        raise NotPythonError(error.reason, error.line or 0) from None
    for node in statements:
        if isinstance(node, ast.FunctionDef):
            _refuse_more_than_a_function(node)
    return statements


def _refuse_more_than_a_function(node: ast.FunctionDef) -> None:
    """Python evaluates decorators and annotations when it executes a definition, so generated functions have none."""
    if node.decorator_list or node.returns or getattr(node, "type_params", None):
        raise fault(node, f"{node.name} has a decorator or an annotation")


def split_at_functions(statements: list[ast.stmt]) -> tuple[list[ast.stmt], list[ast.FunctionDef]]:
    """The statements above the first function, and the functions; GrammarError for any other order."""
    functions = [node for node in statements if isinstance(node, ast.FunctionDef)]
    above = statements[: len(statements) - len(functions)]
    for statement in above:
        if isinstance(statement, ast.FunctionDef):
            raise fault(statement, "something other than a function stands among the functions")
    return above, functions


def read_module_level(node: ast.stmt, names: ReadNames) -> list[str]:
    """Read an import or an operator alias; returns the modules that are imported."""
    if not isinstance(node, ast.Import):
        _op_alias(node, names)
        return []
    for alias in node.names:
        root = alias.name.partition(".")[0]
        # ``F`` is torch.nn.functional in every file and no other import has an alias: a name means what a reader expects.
        if alias.asname != MODULE_ALIASES.get(alias.name) or root in names.reserved - MODULES:
            raise fault(node, f"the import of {alias.name} hides what the file has under this name")
        names.modules[alias.asname or root] = alias.name if alias.asname else root
    return [alias.name for alias in node.names]


def _op_alias(node: ast.stmt, names: ReadNames) -> None:
    alias, value = assigned(node)
    parts = _parts(value, names)
    if parts[:2] != ["torch", "ops"] or not 4 <= len(parts) <= 5:
        raise fault(node, f"{alias!r} is not an operator of torch.ops")
    names.refuse_hiding(node, alias)
    names.ops[alias] = language.OpName(*parts[2:])


def _parts(node: ast.expr, names: ReadNames) -> list[str]:
    """The parts of a dotted path; those that are keywords, as in ``torch.ops.aten.random.from``, are read by ``getattr``."""
    match node:
        case ast.Call(func=ast.Name(id="getattr"), args=[value, ast.Constant(value=str(name))], keywords=[]):
            return [*_parts(value, names), name]
        case ast.Attribute(value=value, attr=name):
            return [*_parts(value, names), name]
    return [names.path(node)]


def assigned(node: ast.stmt) -> tuple[str, ast.expr]:
    """The name and the value of an assignment to one name."""
    if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
        return node.targets[0].id, node.value
    raise fault(node, f"{type(node).__name__} is not a statement of a generated file")


# -- names -------------------------------------------------------------------------------------------------------


@dataclass
class ReadNames:
    """What the names of a file mean: imported modules, operator aliases, containers, generated functions, variables.

    ``functions`` has what each function takes beside its inputs. ``local``, ``tables`` and ``taken`` belong to the
    function being read: its variables, the tables that it takes, and the containers and functions of the runtime that it
    takes; ``given`` says how often each variable was given a value. In a file of schema 1 or 2 (``is_older``) containers
    and runtime are global names of the file instead. ``runtime`` is the name of the runtime's module in ``bind``.
    ``tree`` has the weights of structured code, ``steps`` the attributes that lead to one, ``records`` the variables that
    hold a part of it, and ``of_modules`` the functions that are given such a part: they may be called, but not passed as
    a value.
    """

    modules: dict[str, str] = field(default_factory=dict)
    ops: dict[str, language.OpName] = field(default_factory=dict)
    containers: dict[str, ir.ContainerClass] = field(default_factory=dict)
    functions: dict[str, tuple[str, ...]] = field(default_factory=dict)
    tables: tuple[ir.TableName, ...] = ()
    local: set[str] = field(default_factory=set)
    given: Counter[str] = field(default_factory=Counter)
    taken: frozenset[str] = frozenset()
    is_older: bool = False
    runtime: str = ""
    tree: WeightTree | None = None
    steps: frozenset[str] = frozenset()
    records: set[str] = field(default_factory=set)
    of_modules: set[str] = field(default_factory=set)
    reserved: frozenset[str] = RESERVED

    def refuse_hiding(self, node: ast.AST, name: str) -> None:
        """Raise GrammarError when ``name`` already means something in every file or in this one."""
        own = (self.modules, self.ops, self.containers, self.functions)
        if name in self.reserved or any(name in table for table in own):
            raise fault(node, f"{name!r} hides what the file has under this name")

    def is_variable(self, name: str) -> bool:
        """Whether a name is a variable or a parameter of the function being read."""
        return name in self.local or name in self.tables or name in self.taken

    def takes(self, name: str) -> bool:
        """Whether the function being read can use a container or a function of the runtime."""
        return name not in self.local and (self.is_older or name in self.taken)

    def enter(self, local: Iterable[str], takes: Sequence[str]) -> None:
        """Begin to read a function with these parameters, and what it takes beside them."""
        self.local = set(local)
        self.given = Counter(self.local)
        self.tables = tuple(table for table in ir.TABLE_NAMES if table in takes)
        self.taken = frozenset(takes) - frozenset(self.tables)
        is_given = ir.WEIGHTS in self.tables or ir.WEIGHTS in self.local
        self.records = {ir.WEIGHTS} if self.tree is not None and is_given else set()

    def assign(self, node: ast.AST, name: str) -> str:
        """The variable that a name stands for from here on: flat code has another one each time that it is assigned."""
        if name in self.records or (name not in self.local and self.is_variable(name)):
            raise fault(node, f"{name!r} hides what the function takes under this name")
        self.local.add(name)
        self.given[name] = self.given.get(name, 0) + 1
        return self.variable(name)

    def variable(self, name: str) -> str:
        """The variable that a name stands for now; structured code is followed value by value, so there it is the name."""
        times = self.given[name]
        return name if times < 2 or self.tree is not None else f"{name}<{times}>"

    def unbound(self, node: ast.Name) -> GrammarError:
        """The error for a name that has no value where it is read or deleted."""
        was = self.given[node.id] and node.id not in self.local
        return fault(
            node, f"{node.id!r} was deleted before" if was else f"the name {node.id!r} is not defined"
        )

    def weight(self, node: ast.expr) -> ir.Field | None:
        """The weight, or the record of weights, that an expression names; None for any other expression."""
        name, steps = steps_of(node) or ("", ())
        is_known = name in self.records and all(type(step) is int or step in self.steps for step in steps)
        return ir.Field(name, steps) if is_known else None

    def is_function(self, name: str) -> bool:
        """Whether a name is that of a generated function, and not of the table that ``compute_once`` is bound as."""
        return name in self.functions and name not in self.tables and name not in self.local

    def is_handed(self, node: ast.Call, name: str) -> bool:
        """Whether the keywords of a call pass what a generated function takes, each by its own name."""
        takes = self.functions[name]
        given = [
            (each.arg, each.value.id if isinstance(each.value, ast.Name) else "") for each in node.keywords
        ]
        is_own = given == [(each, each) for each in takes]
        return is_own and all(each in self.tables or self.takes(each) for each in takes)

    def is_container(self, node: ast.expr) -> TypeGuard[ast.Name]:
        """Whether an expression is the name of a container class that the function being read takes."""
        return isinstance(node, ast.Name) and node.id in self.containers and self.takes(node.id)

    def called_of_runtime(self, node: ast.AST) -> str:
        """The name of the runtime's function that an expression calls, or ''."""
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id=prefix), attr=name)) if prefix == self.runtime:
                return name
            case ast.Call(func=ast.Name(id=name)) if not self.runtime:
                return name
        return ""

    def path(self, node: ast.expr) -> str:
        """The dotted path that an attribute chain spells from an imported module or a builtin; '' if it is none."""
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name) or self.is_variable(node.id):
            return ""
        if node.id in self.modules:
            return ".".join([self.modules[node.id], *reversed(parts)])
        known = node.id in self.ops or node.id in self.functions or node.id in self.containers
        if not known and hasattr(builtins, node.id):
            return ".".join(["builtins", node.id, *reversed(parts)])
        return ""


# -- expressions: values -----------------------------------------------------------------------------------------


class CodeReader(ValueReader):
    """Reads the expressions of generated functions."""

    constructors = CONSTRUCTORS
    complex_literals = False

    def __init__(self, names: ReadNames) -> None:
        self.names = names

    def fault(self, node: ast.AST, reason: str) -> GrammarError:
        return fault(node, reason)

    def name(self, node: ast.Name) -> language.Value:
        names = self.names
        if node.id in names.records:
            return ir.Field(node.id)
        if node.id in names.local:
            return language.Ref(names.variable(node.id))
        if node.id in names.ops:
            return names.ops[node.id]
        if node.id in names.functions and node.id not in names.of_modules:
            return ir.Local(node.id)
        path = names.path(node)
        if not path:
            raise names.unbound(node)
        return path_name(path)

    def attribute(self, node: ast.Attribute) -> language.Value:
        if (weight := self.names.weight(node)) is not None:
            return weight
        path = self.names.path(node)
        if not path:
            return self.nested(node, f"the attribute {node.attr!r} is read inside another expression")
        return _MATH.get(path, path_name(path))

    def item(self, node: ast.Subscript) -> language.Value:
        if (weight := self.names.weight(node)) is not None:
            return weight
        match node:
            case ast.Subscript(value=ast.Name(id=name), slice=ast.Constant(value=index)) if (
                type(index) is int
            ):
                for table in self.names.tables:
                    if table == name:
                        return ir.Slot(table, index)
        return self.nested(node, "an item is taken inside another expression")

    def call(self, node: ast.Call) -> language.Value:
        func, names = node.func, self.names
        if names.is_container(func):
            return self._record(node, names.containers[func.id])
        if isinstance(func, ast.Name) and func.id == GRAPH_MODULE and names.takes(GRAPH_MODULE):
            return self._graph_module(node)
        match node:
            # The pattern 0 would match 0.0 and False too.
            case ast.Call(
                func=ast.Attribute(value=ast.Name() as taken, attr="pop"),
                args=[ast.Constant(value=place)],
                keywords=[],
            ) if (type(place), place) == (int, 0):
                return self._take(taken)
        path = names.path(func)
        if path == "functools.partial":
            return self._partial(node)
        if path not in self.constructors:
            return self.nested(node, "a call stands inside another expression")
        return self.constructed(node, path)

    def nested(self, node: ast.expr, reason: str) -> language.Value:
        """The result of a call inside an expression: outside functions there is none."""
        raise fault(node, reason)

    def keyword(self, node: ast.keyword) -> tuple[str, ast.expr]:
        """A keyword that is not an identifier is written ``**{"from": x}``."""
        match node:
            case ast.keyword(arg=str(name), value=value):
                return name, value
            case ast.keyword(value=ast.Dict(keys=[ast.Constant(value=str(name))], values=[value])):
                return name, value
        raise fault(
            node.value, "keywords are unpacked from something that is not a literal dict of one entry"
        )

    def _take(self, node: ast.Name) -> ir.Take:
        if node.id not in self.names.local:
            raise self.names.unbound(node)
        return ir.Take(self.names.variable(node.id))

    def _record(self, node: ast.Call, made: ir.ContainerClass) -> language.Record:
        """``Point(x=a, y=b)`` of a container class."""
        args, kwargs = self.arguments(node)
        parts = (*args, *[value for _, value in kwargs])
        named = tuple([name for name, _ in kwargs])
        if len(parts) != len(made.fields) or (named and named != made.fields):
            raise fault(node, f"{made.cls.path} is built with other fields than declared")
        return language.Record(made.cls, tuple(zip(made.fields, parts, strict=True)))

    def _graph_module(self, node: ast.Call) -> ir.Local:
        match self.arguments(node):
            case ((ir.Local(name=name, as_graph=False),), ()):
                return ir.Local(name, as_graph=True)
        raise fault(node, f"{GRAPH_MODULE} is written over a generated function")

    def _partial(self, node: ast.Call) -> ir.Local:
        target = self.value(node.args[0]) if len(node.args) == 1 else None
        if not isinstance(target, ir.Local) or target.as_graph:
            raise fault(node, "functools.partial is written over a generated function")
        if not self.names.is_handed(node, target.name):
            raise fault(node, f"{target.name} is bound to other tables than its own")
        return target


# -- expressions: calls ------------------------------------------------------------------------------------------


class FunctionReader(Nesting, CodeReader):
    """Reads the statements of generated functions, edited or not."""

    def __init__(self, names: ReadNames) -> None:
        Nesting.__init__(self)
        CodeReader.__init__(self, names)

    def last_call(self, node: ast.expr) -> ir.Call | None:
        handler = _CALL_READERS.get(type(node))
        return handler(node, self) if handler is not None else None

    def path(self, node: ast.expr) -> str:
        return self.names.path(node)

    def is_number(self, node: ast.expr) -> bool:
        while isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            node = node.operand
        return isinstance(node, ast.Constant) or bool(self.names.path(node))


def _operator(name: str, *args: language.Value) -> ir.Call:
    return ir.Call(path_name(f"operator.{name}"), args)


def _binary_call(node: ast.BinOp, reader: FunctionReader) -> ir.Call:
    return _operator(BINARY[type(node.op)], reader.value(node.left), reader.value(node.right))


def _compare_call(node: ast.Compare, reader: FunctionReader) -> ir.Call:
    if len(node.ops) != 1:
        raise fault(node, "only single comparisons are written")
    left, right = reader.value(node.left), reader.value(node.comparators[0])
    sign = type(node.ops[0])
    if sign is ast.NotIn:
        return _operator("not_", reader.result(_operator("contains", right, left)))
    return (
        _operator("contains", right, left) if sign is ast.In else _operator(_COMPARISONS[sign], left, right)
    )


def _unary_call(node: ast.UnaryOp, reader: FunctionReader) -> ir.Call | None:
    return None if reader.is_number(node) else _operator(_UNARY[type(node.op)], reader.value(node.operand))


def _item_call(node: ast.Subscript, reader: FunctionReader) -> ir.Call | None:
    is_slot = isinstance(node.value, ast.Name) and node.value.id in reader.names.tables
    if is_slot or reader.names.weight(node) is not None:
        return None
    return _operator("getitem", reader.value(node.value), reader.value(node.slice))


def _attribute_call(node: ast.Attribute, reader: FunctionReader) -> ir.Call | None:
    if reader.names.path(node) or reader.names.weight(node) is not None:
        return None
    return ir.Call(language.GETATTR, (reader.value(node.value), node.attr))


def _call_call(node: ast.Call, reader: FunctionReader) -> ir.Call | None:
    func, names = node.func, reader.names
    if names.is_container(func):
        return None
    if isinstance(func, ast.Name) and names.tree is not None and names.is_function(func.id):
        return _function_call(node, func.id, reader)
    if isinstance(func, ast.Attribute) and not names.path(func):
        receiver = reader.value(func.value)  # Python evaluates it before the arguments
        args, kwargs = reader.arguments(node)
        return ir.Call(ir.Method(func.attr), (receiver, *args), kwargs)
    if isinstance(func, ast.Call):
        # Where the receiver is a number or the method's name a keyword, a method is written ``getattr(x, "name")(...)``.
        if names.path(func.func) != "builtins.getattr" or len(func.args) != 2 or func.keywords:
            raise fault(node, "the result of a call is called")
        receiver, name = reader.values(func.args)
        if type(name) is not str:
            raise fault(node, "a method's name is not a literal")
        args, kwargs = reader.arguments(node)
        return ir.Call(ir.Method(name), (receiver, *args), kwargs)
    args, kwargs = reader.arguments(node)
    if isinstance(func, ast.Name) and func.id in _RUNTIME_CALLS and names.takes(func.id):
        return ir.Call(ir.Local(func.id), args, kwargs)
    return ir.Call(_callee(func, reader), args, kwargs)


def _function_call(node: ast.Call, name: str, reader: FunctionReader) -> ir.Call:
    """The call of a generated function by its name, as structured code has it."""
    if not reader.names.is_handed(node, name):
        raise fault(node, f"{name} is given other tables than its own")
    return ir.Call(ir.Local(name), reader.values(node.args))


def _callee(node: ast.expr, reader: CodeReader) -> ir.Callee:
    value = reader.value(node)
    if not isinstance(value, language.Name | language.OpName | ir.Slot | ir.Local | language.Ref):
        raise fault(node, "something is called that is neither named nor bound")
    return value


_CALL_READERS: Mapping[type[ast.expr], Callable[[Any, FunctionReader], ir.Call | None]] = {
    ast.BinOp: _binary_call,
    ast.Compare: _compare_call,
    ast.UnaryOp: _unary_call,
    ast.Subscript: _item_call,
    ast.Attribute: _attribute_call,
    ast.Call: _call_call,
}


# -- functions ---------------------------------------------------------------------------------------------------


def read_functions(nodes: Sequence[ast.FunctionDef], names: ReadNames) -> tuple[ir.Function, ...]:
    """The generated functions in order, of which the last is the entry."""
    if not nodes or nodes[-1].name != ir.ENTRY:
        raise GrammarError(f"the functions do not end in {ir.ENTRY}")
    read: list[ir.Function] = []
    for node in nodes:
        if node.name != ir.COMPUTE_ONCE or ir.COMPUTE_ONCE in names.functions:
            names.refuse_hiding(node, node.name)
        function = _function(node, FunctionReader(names))
        if names.tree is not None and any(each.name == ir.WEIGHTS for each in function.parameters):
            names.of_modules.add(function.name)
        names.functions[function.name] = (*function.tables, *_taken(names))
        read.append(function)
    called = set() if names.tree is None else set(_called(read))
    called.discard(ir.COMPUTE_ONCE)
    return tuple([replace(f, module=ir.CalledModule("", 0)) if f.name in called else f for f in read])


def _called(functions: Iterable[ir.Function]) -> Iterator[str]:
    """The functions of the file that are called by their names."""
    for function in functions:
        for statement in ir.straight(function.body):
            if isinstance(statement, ir.Assign | ir.Unpack) and isinstance(statement.call.callee, ir.Local):
                yield statement.call.callee.name


def _taken(names: ReadNames) -> tuple[str, ...]:
    """The containers and functions of the runtime that the function being read takes, in the order of its parameters."""
    order = taken_order(names.containers)
    return tuple([name for name in order if name in names.taken])


def _function(node: ast.FunctionDef, reader: FunctionReader) -> ir.Function:
    names = reader.names
    parameters = _parameters(node.args, CodeReader(names))
    takes = _takes(node, parameters, names)
    own = tuple(p for p in parameters if p.name not in takes)
    names.enter((parameter.name for parameter in own), takes)
    body: list[ir.Statement] = []
    for statement in node.body[:-1]:
        _read_statement(statement, body, reader)
    last = node.body[-1]
    if not isinstance(last, ast.Return) or last.value is None:
        raise fault(last, f"{node.name} does not end in a return")
    result = reader.value(last.value)
    _take_before(last, body, reader)
    tables = names.tables
    names.enter((), ())
    head = max(
        [node.lineno, *[each.end_lineno or 0 for each in ast.walk(node.args) if isinstance(each, ast.arg)]]
    )
    return ir.Function(
        node.name, own, tables, tuple(body), result, lines=(node.lineno, head), result_lines=_lines(last)
    )


def _takes(node: ast.FunctionDef, parameters: tuple[ir.Parameter, ...], names: ReadNames) -> tuple[str, ...]:
    """What a function takes beside its inputs: its last keyword-only parameters, without defaults, in their order."""
    order = ir.TABLE_NAMES if names.is_older else taken_order(names.containers)
    given = {each.name for each in parameters if names.tree is None or each.kind == "keyword_only"}
    takes = tuple([name for name in order if name in given])
    named = [p for p in parameters if p.kind == "keyword_only"][-len(takes) :] if takes else []
    if tuple(p.name for p in named) != takes or any(p.default is not ir.REQUIRED for p in named):
        raise fault(node, f"{node.name} takes its tables otherwise than fx2py writes")
    return takes


def _lines(node: ast.stmt) -> ir.Lines:
    return node.lineno, node.end_lineno or node.lineno


def _located(statement: ir.Statement, node: ast.stmt) -> ir.Statement:
    """A statement with the lines that it was read from."""
    lines = _lines(node)
    if type(statement) is ir.Assign:  # most are, and ``replace`` takes four times as long
        return ir.Assign(statement.target, statement.call, lines=lines)
    return (
        ir.Delete(statement.names, lines=lines)
        if type(statement) is ir.Delete
        else replace(statement, lines=lines)
    )


def _read_statement(node: ast.stmt, body: list[ir.Statement], reader: FunctionReader) -> None:
    """Read a statement, after the calls inside it; the results of those end where they are taken."""
    found = None if reader.looks(node) else _statement(node, reader)
    takes_results = bool(reader.before)
    _take_before(node, body, reader)
    if found is not None:
        _append(body, _located(found, node))
    if takes_results and isinstance(found, ir.Assign | ir.Unpack):
        for end in let_go(found.call):
            _append(body, end)


def _take_before(node: ast.stmt, body: list[ir.Statement], reader: FunctionReader) -> None:
    for each in reader.before:
        _append(body, replace(each, lines=_lines(node)))
    reader.before.clear()


def _append(body: list[ir.Statement], statement: ir.Statement) -> None:
    """Consecutive deletions are one: a long one is written as several statements."""
    if body and type(statement) is ir.Delete and type(body[-1]) is ir.Delete:
        body[-1] = ir.Delete((*body[-1].names, *statement.names))
    else:
        body.append(statement)


def _parameters(args: ast.arguments, reader: CodeReader) -> tuple[ir.Parameter, ...]:
    if args.posonlyargs:
        raise fault(args.posonlyargs[0], "positional-only parameters are not written")
    found: list[ir.Parameter] = []
    required = len(args.args) - len(args.defaults)
    for index, argument in enumerate(args.args):
        default = args.defaults[index - required] if index >= required else None
        found.append(_parameter(argument, "positional", default, reader))
    if args.vararg:
        found.append(_parameter(args.vararg, "var_positional", None, reader))
    for argument, default in zip(args.kwonlyargs, args.kw_defaults, strict=True):
        found.append(_parameter(argument, "keyword_only", default, reader))
    if args.kwarg:
        found.append(_parameter(args.kwarg, "var_keyword", None, reader))
    return tuple(found)


def _parameter(
    argument: ast.arg, kind: ir.ParameterKind, default: ast.expr | None, reader: CodeReader
) -> ir.Parameter:
    if argument.annotation is not None:
        raise fault(argument, f"the parameter {argument.arg!r} has an annotation")
    value = ir.REQUIRED if default is None else reader.value(default)
    return ir.Parameter(argument.arg, argument.arg, kind, value)


def _statement(node: ast.stmt, reader: FunctionReader) -> ir.Statement:
    match node:
        case ast.Assign(targets=[ast.Name(id=target)], value=value):
            return _assignment(target, value, reader)
        case ast.Delete():
            return _delete(node, reader.names)
        case ast.Assign(targets=[ast.Subscript(value=base, slice=index)], value=value):
            item = reader.value(value)  # Python evaluates it before the place
            return ir.Assign(None, ir.Call(language.SETITEM, (*reader.values([base, index]), item)))
        case ast.Assign(targets=[ast.Tuple(elts=parts)], value=value):
            return _unpacking(parts, value, reader)
        case ast.AugAssign(target=ast.Name(id=target) as old, op=op, value=value):
            changed = _operator(f"i{BINARY[type(op)].rstrip('_')}", reader.name(old), reader.value(value))
            return ir.Assign(reader.names.assign(node, target), changed)
        case ast.For() if reader.names.tree is not None:
            return _loop(node, reader)
        case ast.Expr(value=value) if (call := reader.last_call(value)) is not None:
            return ir.Assign(None, call)
    raise fault(node, f"{_KINDS.get(type(node), type(node).__name__)} is not a statement that fx2py reads")


_KINDS: Mapping[type[ast.stmt], str] = {
    ast.While: "a while loop",
    ast.For: "a loop in flat code",
    ast.With: "a with block",
    ast.Try: "a try block",
    ast.FunctionDef: "a function in a function",
    ast.ClassDef: "a class",
    ast.Return: "a return before the end",
    ast.Import: "an import in a function",
    ast.ImportFrom: "an import in a function",
    ast.Global: "a global statement",
    ast.Raise: "a raise",
    ast.Assign: "an assignment to something other than a variable, an item or a tuple of variables",
    ast.AnnAssign: "an assignment with an annotation",
    ast.AugAssign: "an augmented assignment to something other than a variable",
    ast.Expr: "an expression that calls nothing",
}
"""What people call the statements that generated code does not have."""


def _assignment(target: str, node: ast.expr, reader: FunctionReader) -> ir.Statement:
    call = reader.last_call(node)
    value = reader.value(node) if call is None else None
    variable = reader.names.assign(node, target)
    if call is not None:
        return ir.Assign(variable, call)
    return ir.Load(variable, value) if isinstance(value, ir.Slot) else ir.Bind(variable, value)


def _unpacking(parts: Sequence[ast.expr], value: ast.expr, reader: FunctionReader) -> ir.Statement:
    """``first, second = call``; in flat code the items are taken one by one."""
    call = reader.last_call(value)
    targets = [part.id for part in parts if isinstance(part, ast.Name)]
    if call is None or len(set(targets)) != len(parts) or len(parts) < 2:
        raise fault(value, "the items of a tuple are taken otherwise than fx2py writes it")
    if reader.names.tree is not None:
        return ir.Unpack(tuple([reader.names.assign(value, target) for target in targets]), call)
    whole = reader.result(call)
    items = [
        ir.Assign(reader.names.assign(value, target), _operator("getitem", whole, index))
        for index, target in enumerate(targets)
    ]
    reader.before += items[:-1]
    return items[-1]


def _loop(node: ast.For, reader: FunctionReader) -> ir.Loop:
    """``for layer in weights.layers:`` or ``for _ in range(3):``."""
    names = reader.names
    match node:
        case ast.For(target=ast.Name(id=item), orelse=[]) if not (
            names.is_variable(item) or item in names.reserved
        ):
            pass
        case _:
            raise fault(node, "a loop is not written as fx2py writes it")
    match node.iter:
        case ast.Call(func=ast.Name(id="range"), args=[ast.Constant(value=count)], keywords=[]) if (
            type(count) is int
        ):
            return ir.Loop(item, count, 0, count, count, _loop_body(node, reader))
        case ast.Subscript(value=base, slice=ast.Slice(lower=lower, upper=upper, step=None)):
            over, start, stop = names.weight(base), _end(lower, 0), _end(upper, ir.WHOLE)
        case _:
            over, start, stop = names.weight(node.iter), 0, ir.WHOLE
    if over is None or start is None or stop is None:
        raise fault(
            node, "a loop runs over something else than weights.layers, weights.layers[2:4] or range(3)"
        )
    names.records.add(item)
    body = _loop_body(node, reader)
    names.records.remove(item)
    return ir.Loop(item, over, start, stop, ir.WHOLE, body)


def _end(node: ast.expr | None, default: int) -> int | None:
    """An end of a slice; None where it is not a whole number from 0."""
    if node is None:
        return default
    return node.value if isinstance(node, ast.Constant) and type(node.value) is int else None


def _loop_body(node: ast.For, reader: FunctionReader) -> tuple[ir.Statement, ...]:
    body: list[ir.Statement] = []
    for statement in node.body:
        if isinstance(statement, ast.For):
            raise fault(statement, "a loop stands in a loop")
        _read_statement(statement, body, reader)
    return tuple(body)


def _delete(node: ast.Delete, names: ReadNames) -> ir.Delete:
    deleted: list[str] = []
    for each in node.targets:
        for target in each.elts if isinstance(each, ast.Tuple) else (each,):
            if not isinstance(target, ast.Name):
                raise fault(node, "something other than a variable is deleted")
            if target.id not in names.local:
                raise names.unbound(target)
            names.local.remove(target.id)
            deleted.append(names.variable(target.id))
    return ir.Delete(tuple(deleted))


# -- bind --------------------------------------------------------------------------------------------------------


def _read_bind(node: ast.FunctionDef, names: ReadNames) -> BoundTables:
    """Read the body of ``bind``; raises GrammarError where it is not of the form that fx2py writes."""
    if ast.unparse(node.args) != BIND_PARAMETERS or len(node.body) < 7 or ast.get_docstring(node) != BIND_DOC:
        raise fault(node, "bind does not have the form that fx2py writes")
    variables = read_built(node.body[1:-6], names)
    filled = ("modules", "weights", "consts", "names", "renamed")
    modules, weights, consts, own_names, renamed = map(_filled, filled, node.body[-6:-1])
    bound = _mapping(own_names)
    weight_paths = _weight_paths(bound.pop(0)[1]) if bound and bound[0][0] == ir.WEIGHTS else None
    containers, input_table = _own_names(own_names, bound, names)
    return BoundTables(
        tuple(variables.values()),
        read_modules(modules, variables, names),
        read_weight_count(weights),
        read_consts(consts, names),
        containers,
        input_table,
        read_renamed(renamed, names),
        *_assembled(node.body[-1]),
        weight_paths,
    )


def _weight_paths(node: ast.expr) -> tuple[str, ...]:
    """The paths in ``runtime.weight_records([...], weights)``."""
    match node:
        case ast.Call(
            func=ast.Attribute(value=ast.Name(id="runtime"), attr="weight_records"),
            args=[ast.List() as paths, ast.Name(id="weights")],
            keywords=[],
        ):
            return read_texts(paths)
    raise fault(node, "the weights are named otherwise than fx2py writes it")


def read_built(nodes: Sequence[ast.stmt], names: ReadNames) -> dict[str, BuiltModule | Absent]:
    """The modules that ``bind`` builds, by variable."""
    variables: dict[str, BuiltModule | Absent] = {}
    for statement in nodes:
        target, value = assigned(statement)
        names.refuse_hiding(statement, target)
        if target in BIND_VARIABLES or target in variables:
            raise fault(statement, f"{target!r} is assigned twice")
        variables[target] = _built(value, variables, names)
    return variables


def read_modules(
    node: ast.expr, variables: Mapping[str, BuiltModule | Absent], names: ReadNames
) -> tuple[tuple[str, BoundModule], ...]:
    """The table of submodules, by path."""
    return tuple([(path, _module(part, variables, names)) for path, part in _mapping(node)])


def read_consts(node: ast.expr, names: ReadNames) -> tuple[language.Value, ...]:
    """The table of constants."""
    bound = BoundReader(names).value(node)
    if not isinstance(bound, language.List):
        raise fault(node, "the constants are not a list")
    return bound.items


def read_renamed(node: ast.expr, names: ReadNames) -> tuple[tuple[str, str], ...]:
    """The parameters that callers know by another name."""
    value = CodeReader(names).value(node)
    if not isinstance(value, language.Dict):
        raise fault(node, "the renamed parameters are not a dict display")
    return tuple([(_literal(public, node), _literal(own, node)) for public, own in value.items])


def _literal(value: language.Value, node: ast.AST) -> str:
    if type(value) is not str:
        raise fault(node, "something other than a text literal stands where a name is written")
    return value


def _own_names(
    node: ast.expr, bound: Sequence[tuple[str, ast.expr]], names: ReadNames
) -> tuple[tuple[tuple[str, ir.ContainerClass], ...], ir.InputTable | None]:
    """The containers that the code takes by name, and the table of its inputs, which comes last."""
    found = dict(bound)
    if len(found) != len(bound):
        raise fault(node, "a name is bound twice")
    table = found.pop(ir.CHECK_INPUTS) if next(reversed(found), "") == ir.CHECK_INPUTS else None
    for alias in found:
        if not alias.isidentifier():
            raise fault(node, f"{alias!r} is not an identifier")
        names.refuse_hiding(node, alias)
    containers = tuple([(alias, read_container(value, names)) for alias, value in found.items()])
    return containers, None if table is None else read_input_table(table, names)


def read_container(node: ast.expr, names: ReadNames) -> ir.ContainerClass:
    """The class and the fields in ``container(path, fields)``."""
    if names.called_of_runtime(node) != "container" or not isinstance(node, ast.Call):
        raise fault(node, "a name is bound to no container class")
    match CodeReader(ReadNames()).arguments(node):
        case ((str(path), tuple(fields)), ()):
            return ir.ContainerClass(path_name(path), tuple([_literal(name, node) for name in fields]))
    raise fault(node, "a container class is not written as fx2py writes it")


def _filled(table: str, node: ast.stmt) -> ast.expr:
    target, value = assigned(node)
    if target != table:
        raise fault(node, f"bind fills {target!r} where it fills {table!r}")
    return value


def read_weight_count(node: ast.expr) -> int:
    """How many of the tensors are the table of weights."""
    match node:
        case ast.Subscript(slice=ast.Slice(upper=ast.Constant(value=int(count)))) if (
            ast.unparse(node) == f"list(tensors.values())[:{count}]"
        ):
            return count
    raise fault(node, "the weights are not the first tensors")


def _assembled(node: ast.stmt) -> tuple[tuple[str, ...], bool]:
    """The modules that are used as objects, and whether the code may run below ADInplaceOrView."""
    value = node.value if isinstance(node, ast.Return) else None
    below = isinstance(value, ast.Call) and ast.unparse(value.func) == f"{RUNTIME}.below_autograd"
    call = value.args[0] if below and isinstance(value, ast.Call) and value.args else value
    whole = call.args[7:] if isinstance(call, ast.Call) else []
    expected = f"{RUNTIME}.assemble({', '.join([CODE, ASSEMBLED, *map(ast.unparse, whole[:1])])})"
    if ast.unparse(node) != f"return {BELOW_AUTOGRAD.format(expected) if below else expected}":
        raise fault(node, "bind does not end in assemble")
    return read_texts(whole[0]) if whole else (), below


def read_texts(node: ast.expr) -> tuple[str, ...]:
    """A list of texts."""
    if not isinstance(node, ast.List):
        raise fault(node, "the modules that are used as objects are not a list")
    return tuple(map(_text, node.elts))


def _mapping(node: ast.expr) -> list[tuple[str, ast.expr]]:
    if not isinstance(node, ast.Dict):
        raise fault(node, "a table of names is not a dict display")
    return [(_text(key or node), value) for key, value in zip(node.keys, node.values, strict=True)]


def _text(node: ast.expr) -> str:
    if isinstance(node, ast.Constant) and type(node.value) is str:
        return node.value
    raise fault(node, "a name is not a text literal")


def _two_texts(node: ast.Call) -> tuple[str, str]:
    if len(node.args) != 2 or node.keywords:
        raise fault(node, "two texts are wanted here")
    return _text(node.args[0]), _text(node.args[1])


def _module(node: ast.expr, variables: Mapping[str, BuiltModule | Absent], names: ReadNames) -> BoundModule:
    """A module's build, its absence, an earlier one by its variable, or a generated function."""
    match node:
        case ast.Constant(value=None):
            return None
        case ast.Name(id=name) if name in variables:
            return variables[name]
        case ast.Name(id=name) if name in names.functions:
            return ir.Local(name)
        case ast.Name(id=name):
            raise fault(node, f"the module {name!r} is not defined")
        case ast.Attribute(value=ast.Name(id=prefix), attr=name) if names.runtime and prefix == CODE:
            return ir.Local(name)
    return _built(node, variables, names)


def _built(
    node: ast.expr, variables: Mapping[str, BuiltModule | Absent], names: ReadNames
) -> BuiltModule | Absent:
    function = names.called_of_runtime(node)
    if isinstance(node, ast.Call) and function == "Missing":
        return Absent(*_two_texts(node))
    if not isinstance(node, ast.Call) or function != "build" or not 6 <= len(node.args) <= 8 or node.keywords:
        raise fault(node, "a module is neither built nor missing")
    reader = BoundReader(names)
    path, cls, training = reader.values(node.args[:3])
    if type(path) is not str or type(cls) is not str or type(training) is not bool:
        raise fault(node, "a module's path, class or mode is not a literal")
    attributes = tuple([(name, reader.value(part)) for name, part in _mapping(node.args[3])])
    parameters, buffers = (
        tuple([(name, reader.tensor(part)) for name, part in _mapping(state)]) for state in node.args[4:6]
    )
    hidden = reader.value(node.args[6]) if len(node.args) > 6 else language.Set()
    if not isinstance(hidden, language.Set):
        raise fault(node, "the non-persistent buffers are not a set of names")
    below = read_modules(node.args[7], variables, names) if len(node.args) > 7 else ()
    non_persistent = frozenset(map(str, hidden.items))
    return BuiltModule(path, cls, training, attributes, parameters, buffers, non_persistent, below)


class BoundReader(CodeReader):
    """Reads bound values: values of generated code that may hold devices, bits and stored tensors."""

    def tensor(self, node: ast.expr) -> StoredTensor | None:
        """A stored tensor, or None, as a module may have for a parameter."""
        value = self.value(node)
        if value is not None and not isinstance(value, StoredTensor):
            raise fault(node, "a module's parameter or buffer is not a stored tensor")
        return value

    def item(self, node: ast.Subscript) -> language.Value:
        if isinstance(node.value, ast.Name) and node.value.id == "tensors":
            return StoredTensor(_text(node.slice))
        return super().item(node)

    def attribute(self, node: ast.Attribute) -> language.Value:
        if node.attr == "type" and self.names.called_of_runtime(node.value) == "retarget":
            device = self.value(node.value)
            if isinstance(device, torch.device):
                return language.DeviceType(device.type)
        return super().attribute(node)

    def call(self, node: ast.Call) -> language.Value:
        match self.names.called_of_runtime(node):
            case "retarget":
                return _retargeted(node)
            case "from_bits":
                return Bits(*_two_texts(node))
            case "live":
                return LiveConstant(*_two_texts(node))
        return super().call(node)


def _retargeted(node: ast.Call) -> torch.device | language.DefaultDevice:
    match node:
        case ast.Call(args=[ast.Name(id="device"), ast.Constant(value=None)], keywords=[]):
            return language.DefaultDevice()
        case ast.Call(args=[ast.Name(id="device"), device], keywords=[]):
            try:
                return torch.device(_text(device))
            except RuntimeError:
                raise fault(node, "this is not a device") from None
    raise fault(node, "a device is not written as fx2py writes it")


# -- the demands on the inputs -----------------------------------------------------------------------------------


def read_input_table(node: ast.expr, names: ReadNames) -> ir.InputTable:
    """The table in ``input_checks(...)``; GrammarError when it is of another form than fx2py writes."""
    if (
        names.called_of_runtime(node) != "input_checks"
        or not isinstance(node, ast.Call)
        or len(node.args) != 1
    ):
        raise fault(node, f"{ir.CHECK_INPUTS} is not made by input_checks")
    demands = DemandReader(names).value(node.args[0])
    options = CodeReader(names).keywords(node)
    order = list(options)
    ranges, guards = options.pop("ranges", language.Dict()), options.pop("guards", language.List())
    autocast = options.pop("autocast", True)
    if (
        options
        or order != [name for name in ("ranges", "guards", "autocast") if name in order]
        or not isinstance(autocast, bool)
        or not isinstance(demands, language.Dict)
        or not isinstance(ranges, language.Dict)
        or not isinstance(guards, language.List)
    ):
        raise fault(node, "the table of the inputs has another form than fx2py writes")
    return ir.InputTable(
        tuple([(_literal(name, node), demand) for name, demand in demands.items]),
        tuple([(_literal(name, node), *_ends(bound, node)) for name, bound in ranges.items]),
        tuple([_literal(guard, node) for guard in guards.items]),
        autocast,
    )


def _ends(value: language.Value, node: ast.AST) -> tuple[int | None, int | None]:
    match language.children(value):
        case (int() | None as low, int() | None as high) if bool not in (type(low), type(high)):
            return low, high
    raise fault(node, "a range is not written as its two ends")


class DemandReader(CodeReader):
    """Reads what is demanded of the inputs: values of generated code that may hold shapes and containers of demands."""

    def call(self, node: ast.Call) -> language.Value:
        demand = self.names.called_of_runtime(node)
        if demand not in ("Shape", "Integer", "Fields"):
            return super().call(node)
        parts, keywords = self.arguments(node)
        kinds = [type(part) for part in parts]
        if demand == "Shape" and not keywords and {*kinds} <= {int, str, EllipsisType}:
            shape: Shape = Shape(*parts)
            return shape
        if demand == "Integer" and not keywords and kinds == [str]:
            return Integer(parts[0])
        if demand == "Fields" and not keywords and kinds[:2] == [str, language.Dict] and len(parts) < 4:
            detail = parts[2] if len(parts) == 3 else None
            return language.Record(ir.FIELDS, (("path", parts[0]), ("fields", parts[1]), ("detail", detail)))
        raise fault(node, f"{demand} is not written as fx2py writes it")
