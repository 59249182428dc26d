"""Files of schemas 1 and 2, read back: one file holds the functions, ``bind`` and a verbatim copy of the runtime."""

from __future__ import annotations

import ast

from fx2py.emit.embedded import fingerprint, released
from fx2py.emit.module import Texts
from fx2py.emit.parse import (
    BoundTables,
    GrammarError,
    Parsed,
    ReadNames,
    assigned,
    fault,
    parse,
    read_built,
    read_consts,
    read_container,
    read_functions,
    read_input_table,
    read_module_level,
    read_modules,
    read_renamed,
    read_texts,
    read_weight_count,
    split_at_functions,
    statements_of,
)
from fx2py.emit.tables import BIND_DOC
from fx2py.program.identifiers import RESERVED
from fx2py.program.ir import CHECK_INPUTS, InputTable

RULE = "# " + "-" * 86
LOADING = f"{RULE}\n# Loading and binding, the same in every generated file\n"
CHECKING = f"{RULE}\n# Checking inputs, the same in every generated file that does\n"
_LOAD = '''def load(device="cpu", submods=None):
    """The graph as a callable on `device`, with the weights of the file weights.pt beside this one.

    `submods` replaces submodules by name, each with any callable.
    """
    return bind(read_weights(__file__, device), device, submods)
'''
_PARAMETERS = "tensors, device=None, submods=None"
_ASSEMBLED = "assemble(execution_fn, modules, weights, consts, submods, renamed{})"
_BELOW_AUTOGRAD = "below_autograd({}, weights)"
_ALWAYS = RESERVED | {"load", "bind"}


def parse_any(texts: Texts) -> Parsed:
    """Read generated files of any schema; raises GrammarError as ``parse`` does."""
    return parse_older(texts.source) if texts.tables is None else parse(texts)


def parse_older(source: str) -> Parsed:
    """Read a file of schema 1 or 2; raises GrammarError with the line where the text leaves the grammar."""
    own, separator, rest = source.partition(LOADING)
    loading, rest = _apart(rest, "loading") if separator else ("", "")
    if not loading:
        raise GrammarError("the loading part is not the one that fx2py writes", own.count("\n") + 1)
    checks = rest.startswith(CHECKING)
    checking, bound_last = _apart(rest.removeprefix(CHECKING), "checking") if checks else ("", rest)
    if checks and not checking:
        raise GrammarError("the checking part is not the one that fx2py writes")
    names = ReadNames(is_older=True, reserved=_ALWAYS | _defined(loading) | _defined(checking))
    above, functions = split_at_functions(statements_of(own))
    imports = [module for statement in above for module in read_module_level(statement, names)]
    table = _bound_last(bound_last, checks, names)
    if [node.name for node in functions[-2:]] != ["load", "bind"]:
        raise GrammarError("the file does not end in load and bind")
    *functions, load, bind = functions
    if ast.dump(load) != ast.dump(ast.parse(_LOAD).body[0]):
        raise fault(load, "load is not the function that fx2py writes")
    read = read_functions(functions, names)
    return Parsed(read, tuple(names.ops.items()), tuple(imports), _bind(bind, names, table))


def _apart(text: str, part: str) -> tuple[str, str]:
    """The part of a released runtime that ``text`` starts with, and what follows; two empty texts when it starts with none."""
    body = text.lstrip("\n")
    # No separator marks where the runtime ends, so its length is part of what is known of each release.
    for length, digest in released(part):
        if fingerprint(body[:length]) == (length, digest):
            return body[:length], body[length:].lstrip("\n")
    return "", ""


def _defined(part: str) -> frozenset[str]:
    """The global names that a part of the runtime takes up in the file."""
    found: set[str] = set()
    for node in ast.parse(part).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found.update(alias.asname or alias.name.partition(".")[0] for alias in node.names)
        else:
            found.update(inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name))
    return frozenset(found)


def _bound_last(text: str, checks: bool, names: ReadNames) -> InputTable | None:
    """Read what stands below the runtime, since it calls it: container classes, and the table of the inputs if any."""
    statements = statements_of(text)
    table = statements.pop() if checks and statements else None
    for statement in statements:
        alias, value = assigned(statement)
        names.refuse_hiding(statement, alias)
        names.containers[alias] = read_container(value, names)
    if table is None:
        return None
    name, value = assigned(table)
    if name != CHECK_INPUTS:
        raise fault(table, f"{name!r} stands where {CHECK_INPUTS} is made")
    return read_input_table(value, names)


def _bind(node: ast.FunctionDef, names: ReadNames, table: InputTable | None) -> BoundTables:
    """Read the body of ``bind``."""
    if ast.unparse(node.args) != _PARAMETERS or len(node.body) < 6 or ast.get_docstring(node) != BIND_DOC:
        raise fault(node, "bind does not have the form that fx2py writes")
    variables = read_built(node.body[1:-5], names)
    filled = dict(map(assigned, node.body[-5:-1]))
    if list(filled) != ["modules", "consts", "renamed", "weights"]:
        raise fault(node, f"bind fills {', '.join(filled)}")
    whole, below = _assembled(node.body[-1])
    return BoundTables(
        tuple(variables.values()),
        read_modules(filled["modules"], variables, names),
        read_weight_count(filled["weights"]),
        read_consts(filled["consts"], names),
        tuple(names.containers.items()),
        table,
        read_renamed(filled["renamed"], names),
        whole,
        below,
    )


def _assembled(node: ast.stmt) -> tuple[tuple[str, ...], bool]:
    """The modules that are used as objects, and whether the code may run below ADInplaceOrView."""
    lists = [part for part in ast.walk(node) if isinstance(part, ast.List)]
    whole = f", {ast.unparse(lists[0])}" if lists else ""
    expected = _ASSEMBLED.format(whole)
    for written, below in ((expected, False), (_BELOW_AUTOGRAD.format(expected), True)):
        if ast.unparse(node) == f"return {written}":
            return read_texts(lists[0]) if lists else (), below
    raise fault(node, "bind does not end in assemble")
