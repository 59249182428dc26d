"""Generated files, read back: text to functions, module-level names and bound values, the inverse of ``emit``."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from fx2py.emit.checks import RUNTIME
from fx2py.emit.grammar import GrammarError, Names, dotted_path, read_call, read_index, read_value
from fx2py.emit.module import SOURCE, TABLES, Texts, taken_order
from fx2py.emit.read_tables import Tables, assigned, read_tables
from fx2py.emit.tables import BIND_VARIABLES
from fx2py.graph.values import SETITEM, OpName
from fx2py.program.identifiers import MODULE_ALIASES, MODULES
from fx2py.program.ir import (
    COMPUTE_ONCE,
    ENTRY,
    REQUIRED,
    TABLE_NAMES,
    Assign,
    Bind,
    Call,
    Delete,
    Function,
    InputTable,
    Load,
    Parameter,
    Slot,
    Statement,
)
from fx2py.read.forward.statements import refuse_formatted


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
        *above, own = split_at_functions(tree_of(texts.source))
        names = Names(containers=dict(tables.containers))
        imports = [module for statement in above for module in read_module_level(statement, names)]
        functions = read_functions(own, names)
    unknown = [name for name in tables.functions if name not in names.functions]
    if unknown:
        raise GrammarError(ast.Pass(lineno=0), f"{unknown[0]} is no function of {SOURCE}", TABLES)
    return Parsed(functions, names, tuple(imports), tables, table_imports)


def _read_tables_file(text: str) -> tuple[Tables, tuple[str, ...]]:
    names = Names(runtime=RUNTIME)
    *imports, bind = tree_of(text).body or [ast.Pass(lineno=0)]
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


def split_at_functions(tree: ast.Module) -> list[Any]:
    """The statements above the first function, and last the list of functions; GrammarError for any other order."""
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    above = tree.body[: len(tree.body) - len(functions)]
    for statement in above:
        if isinstance(statement, ast.FunctionDef):
            raise GrammarError(statement, "something other than a function stands among the functions")
    return [*above, functions]


def tree_of(text: str) -> ast.Module:
    """The syntax tree of a text; GrammarError when it is no Python or holds what the grammar has no place for."""
    try:
        refuse_formatted(text)
        tree = ast.parse(text)
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        place = ast.Pass(lineno=getattr(error, "lineno", None) or 0)
        raise GrammarError(place, f"it is not Python: {error}") from None
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            _refuse_more_than_a_function(node)
    return tree


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


# -- one function ------------------------------------------------------------------------------------------------


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
