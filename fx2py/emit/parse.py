"""A generated file, read back: text to functions, module-level names and bound values, the inverse of ``emit``."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import Any

from fx2py.emit.carried import CHECKING, LOADING, after_carried
from fx2py.emit.checks import read_table
from fx2py.emit.grammar import GrammarError, Names, dotted_path, path_name, read_call, read_index, read_value
from fx2py.emit.read_tail import Tail, read_tail
from fx2py.emit.tail import LOAD
from fx2py.graph.values import SETITEM, OpName
from fx2py.program.ir import (
    CHECK_INPUTS,
    COMPUTE_ONCE,
    REQUIRED,
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
    TableName,
)
from fx2py.program.liveness import TABLE_ORDER
from fx2py.program.scope import MODULE_ALIASES, MODULES, RESERVED
from fx2py.read.forward.statements import refuse_formatted


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a generated file says: its functions in order, its module-level names, imports, what ``bind`` fills,
    and what is demanded of the inputs.
    """

    functions: tuple[Function, ...]
    names: Names
    imports: tuple[str, ...]
    tail: Tail
    input_table: InputTable | None = None


def parse(source: str) -> Parsed:
    """Read a generated file; raises GrammarError with the line where the text leaves the grammar."""
    own, separator, carried = source.partition(LOADING)
    bound_last = after_carried(carried, "loading") if separator else None
    if bound_last is None:
        raise GrammarError(
            ast.Pass(lineno=own.count("\n") + 1), "the loading part is not the one that fx2py writes"
        )
    names = Names()
    functions: list[ast.FunctionDef] = []
    imports: list[str] = []
    for statement in _tree(own).body:
        if isinstance(statement, ast.FunctionDef):
            _refuse_more_than_a_function(statement)
            functions.append(statement)
        elif functions:
            raise GrammarError(statement, "something other than a function stands among the functions")
        else:
            imports += _module_level(statement, names)
    table = _bound_last(bound_last, names)
    return _functions(functions, names, tuple(imports), table)


def _refuse_more_than_a_function(node: ast.FunctionDef) -> None:
    """What stands beside the parameters and the body of a definition is run when it is executed, too."""
    if node.decorator_list or node.returns or getattr(node, "type_params", None):
        raise GrammarError(node, f"{node.name} carries a decorator or an annotation")


def _bound_last(text: str, names: Names) -> InputTable | None:
    """Read what stands below the loading part: container classes, and the table of the inputs if there is one."""
    checks = text.startswith(CHECKING)
    own = after_carried(text.removeprefix(CHECKING), "checking") if checks else text
    if own is None:
        raise GrammarError(ast.Pass(lineno=0), "the checking part is not the one that fx2py writes")
    statements = _tree(own).body
    table = statements.pop() if checks and statements else None
    for statement in statements:
        _container(statement, names)
    if table is None:
        return None
    name, value = _assigned(table)
    if name != CHECK_INPUTS:
        raise GrammarError(table, f"{name!r} stands where {CHECK_INPUTS} is made")
    return read_table(value, names)


def _tree(text: str) -> ast.Module:
    try:
        refuse_formatted(text)
        return ast.parse(text)
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        place = ast.Pass(lineno=getattr(error, "lineno", None) or 0)
        raise GrammarError(place, f"it is not Python: {error}") from None


def _functions(
    nodes: list[ast.FunctionDef], names: Names, imports: tuple[str, ...], table: InputTable | None
) -> Parsed:
    if len(nodes) < 3 or [node.name for node in nodes[-2:]] != ["load", "bind"]:
        raise GrammarError(ast.Pass(lineno=0), "the file does not end in load and bind")
    if ast.dump(nodes[-2]) != ast.dump(ast.parse(LOAD).body[0]):
        raise GrammarError(nodes[-2], "load is not the function that fx2py writes")
    read: list[Function] = []
    for node in nodes[:-2]:
        if node.name != COMPUTE_ONCE or COMPUTE_ONCE in names.functions:
            names.refuse_hiding(node, node.name)
        function = _function(node, names)
        names.functions[function.name] = function.tables
        read.append(function)
    return Parsed(tuple(read), names, imports, read_tail(nodes[-1], names), table)


def _module_level(node: ast.stmt, names: Names) -> list[str]:
    """Read an import or an operator alias; returns the modules that are imported."""
    if not isinstance(node, ast.Import):
        _op_alias(node, names)
        return []
    for alias in node.names:
        root = alias.name.partition(".")[0]
        if alias.asname != MODULE_ALIASES.get(alias.name) or root in RESERVED - MODULES:
            raise GrammarError(node, f"the import of {alias.name} hides what the file has under this name")
        names.modules[alias.asname or root] = alias.name if alias.asname else root
    return [alias.name for alias in node.names]


def _assigned(node: ast.stmt) -> tuple[str, ast.expr]:
    if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
        return node.targets[0].id, node.value
    raise GrammarError(node, f"{type(node).__name__} is no statement of a generated file")


def _op_alias(node: ast.stmt, names: Names) -> None:
    alias, value = _assigned(node)
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


def _container(node: ast.stmt, names: Names) -> None:
    alias, value = _assigned(node)
    if (
        not isinstance(value, ast.Call)
        or not isinstance(value.func, ast.Name)
        or value.func.id != "container"
        or len(value.args) != 2
        or value.keywords
    ):
        raise GrammarError(node, f"{alias!r} is not a container class")
    names.refuse_hiding(node, alias)
    path, fields = (read_value(part, Names()) for part in value.args)
    if type(path) is not str or type(fields) is not tuple or any(type(name) is not str for name in fields):
        raise GrammarError(node, f"the class or the fields of {alias!r} are no text")
    names.containers[alias] = (path_name(path), fields)


# -- one function ------------------------------------------------------------------------------------------------


def _function(node: ast.FunctionDef, names: Names) -> Function:
    parameters = _parameters(node.args, names)
    own = tuple(p for p in parameters if p.name not in TABLE_ORDER)
    tables = _tables(node, parameters)
    names.local = {parameter.name for parameter in own}
    names.tables = tables
    body: list[Statement] = []
    for statement in node.body[:-1]:
        _append(body, _statement(statement, names))
    last = node.body[-1]
    if not isinstance(last, ast.Return) or last.value is None:
        raise GrammarError(last, f"{node.name} does not end in a return")
    result = read_value(last.value, names)
    names.local, names.tables = set(), ()
    return Function(node.name, own, tables, tuple(body), result)


def _tables(node: ast.FunctionDef, parameters: tuple[Parameter, ...]) -> tuple[TableName, ...]:
    """The tables that a function takes: its last keyword-only parameters, without defaults, in their order."""
    tables = tuple(table for table in TABLE_ORDER if any(p.name == table for p in parameters))
    named = [p for p in parameters if p.kind == "keyword_only"][-len(tables) :] if tables else []
    if tuple(p.name for p in named) != tables or any(p.default is not REQUIRED for p in named):
        raise GrammarError(node, f"{node.name} takes its tables otherwise than fx2py writes")
    return tables


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
    if target in names.local or target in names.tables:
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
