"""The text of a saved graph as nodes: FX prints one operation a statement, so each statement is one node.

The text is parsed, never compiled: a name in it stays a name, and what FX would not have written is refused. Source:
``CodeGen._gen_python_code`` of torch/fx/graph.py.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from fx2py.graph.data import NO_META, Graph, Node, NodeMeta, Opcode, Target
from fx2py.graph.names import imported_name
from fx2py.graph.values import Name, OpName, Ref, Value
from fx2py.read.forward.values import ArgumentReader, ForwardFault, attribute_step, dotted, fault, parse_text
from fx2py.read.node_names import FX_NAMES
from fx2py.syntax import BINARY, COMPARISONS, UNARY, shown, text_of

SELF = "self"
Operation: TypeAlias = "tuple[Opcode, Target, tuple[Value, ...], tuple[tuple[str, Value], ...]]"


_FIRST_OPERAND: Mapping[type[ast.expr], str] = {
    ast.BinOp: "left",
    ast.Subscript: "value",
    ast.Call: "func",
    ast.Attribute: "value",
}
_IN_PLACE = {kind: f"i{name.rstrip('_')}" for kind, name in BINARY.items()}
_FLATTEN, _UNFLATTEN = "fx_pytree.tree_flatten_spec", "pytree.tree_unflatten"
_RECORD = "torch._C._profiler._RecordFunctionFast"
_IMPORT = re.compile(
    r"(?:from (\w[\w.]*) import (\w[\w.]*)(?: as (\w+))?|import (\w[\w.]*)(?: as (\w+))?|NoneType = type\(None\)|)\s*"
)
_MARKS = frozenset({"__enter__", "__exit__"})
_WRAP = frozenset({"wrap", "torch.fx._symbolic_trace.wrap"})


@dataclass(frozen=True, slots=True)
class Forward:
    """A graph read from text.

    ``parameters`` are those of ``forward`` where they are not the placeholders themselves: with ``flattens`` the inputs
    are flattened by a pytree spec that the module holds, with ``boxed`` they come in one list. ``unflattens``: the result
    is put together by a pytree spec. ``returns``: whether the text gets as far as a return. ``kept`` are the variables
    that still hold a value there although the text sets others to None, as FX does with each after its last use.
    """

    graph: Graph
    parameters: tuple[str, ...] = ()
    flattens: bool = False
    unflattens: bool = False
    boxed: bool = False
    returns: bool = True
    kept: frozenset[str] = frozenset()


def read_forward(text: str) -> Forward:
    """The graph that a ``def forward`` prints; the imports and definitions that FX needs may stand before it.

    Raises ForwardFault, naming the line, for text that FX does not write.
    """
    reader = _Reader({})
    rest = reader.imports(text)
    function = None
    for statement in parse_text(rest):
        if isinstance(statement, ast.FunctionDef) and function is None:
            function = statement
        else:
            reader.definition(statement)
    if function is None:
        raise ForwardFault("the graph's code defines no function")
    return reader.forward(function)


def _annotation_text(annotation: ast.expr | None, line: int) -> NodeMeta:
    return NO_META if annotation is None else NodeMeta(annotation=text_of(annotation))


MetaOf: TypeAlias = Callable[["ast.expr | None", int], NodeMeta]
"""The metadata of a node, from its annotation and its line in the text."""


def read_method(
    function: ast.FunctionDef, imports: Mapping[str, Name | OpName], meta_of: MetaOf = _annotation_text
) -> Forward:
    """The graph that a parsed ``forward`` prints, where ``imports`` are the names that its file defines."""
    return _Reader(imports, meta_of).forward(function)


class _Reader:
    """Collects the nodes of one ``forward``, statement by statement.

    An in-place operation prints as two statements, ``x += y`` and ``name = x``; between them its node has no name yet.
    """

    def __init__(self, imports: Mapping[str, Name | OpName], meta_of: MetaOf = _annotation_text) -> None:
        self.meta_of = meta_of
        self.arguments = ArgumentReader(imports)
        self.nodes: list[Node] = []
        self.placeholders: dict[str, int] = {}
        self.parameters: tuple[str, ...] = ()
        self.flattens = self.unflattens = self.boxed = False
        self.returned = False
        self.annotations: dict[str, ast.expr] = {}

    # What stands before ``forward``.

    def imports(self, text: str) -> str:
        """Reads the import lines at the beginning, and blanks them so that line numbers stay.

        They need not be Python: for a method FX writes ``from torch._C import TensorBase.add as torch_Tensor_add``
        (``_format_import_statement`` of torch/fx/graph_module.py).
        """
        taken = 0
        for line in text.split("\n"):
            match = _IMPORT.fullmatch(line)
            if match is None:
                break
            taken += len(line) + 1
            self._import(match)
        return "\n" * text.count("\n", 0, taken) + text[taken:]

    def _import(self, match: re.Match[str]) -> None:
        module, name, alias, whole, whole_alias = match.groups()
        if name:
            self.arguments.imports[alias or name] = imported_name(module, name)
        elif whole:
            self.arguments.modules[whole_alias or whole] = whole

    def definition(self, statement: ast.stmt) -> None:
        """Beside ``forward`` FX writes only ``wrap("name")``, for functions that ``torch.fx.wrap`` made leaves."""
        match statement:
            case ast.Expr(value=ast.Call(func=function, args=[ast.Constant(value=str())], keywords=[])) if (
                dotted(function) in _WRAP
            ):
                pass
            case _:
                raise fault(statement, f"is no line of a saved graph: {shown(statement)}")

    # Parameters.

    def forward(self, function: ast.FunctionDef) -> Forward:
        if function.decorator_list:
            raise fault(function, "decorates the graph's function")
        for name, annotation, default in _parameters(function):
            if annotation is not None:
                self.annotations[name.lstrip("*")] = annotation
            self._parameter(name, default)
        body = list(function.body)
        self._unpack(body)
        for statement in body:
            if self.returned:
                raise fault(statement, "stands behind the return of the graph")
            self._statement(statement)
        graph = Graph(tuple(self.nodes))
        kept = frozenset(self.arguments.alive if self.arguments.ended else ())
        return Forward(
            graph, self.parameters, self.flattens, self.unflattens, self.boxed, self.returned, kept
        )

    def _parameter(self, name: str, default: ast.expr | None) -> None:
        args = () if default is None else (self.arguments.value(default),)
        self._placeholder(name, args)

    def _placeholder(self, target: str, args: tuple[Value, ...] = ()) -> None:
        name = target.lstrip("*")
        if name in self.placeholders:
            raise ForwardFault(f"the graph's code has two parameters named {name}")
        self.placeholders[name] = len(self.nodes)
        if name not in FX_NAMES:
            self.arguments.alive.add(name)
        annotation = self.annotations.get(name)
        meta = NO_META if annotation is None else self.meta_of(annotation, annotation.lineno)
        self.nodes.append(Node(name, "placeholder", target, args, meta=meta))

    def _unpack(self, body: list[ast.stmt]) -> None:
        """Removes from ``body`` the statements that make the placeholders from what the caller passes, after reading them."""
        while body and isinstance(body[0], ast.AnnAssign) and body[0].value is None:
            self.annotations[_variable(body[0].target)] = body[0].annotation
            del body[0]
        match body[:1]:
            case [ast.Assign(targets=[ast.Tuple(elts=names)], value=ast.Call() as call)] if (
                dotted(call.func) == _FLATTEN
            ):
                self.flattens = True
                flattened = [_variable(name) for name in names]
                counts_self = _flattens_self(call)
                self._replace_parameters(flattened[counts_self:])
                self.parameters = (*[SELF][:counts_self], *self.parameters)
                del body[0]
            case [ast.Assign(targets=[ast.Name(id="args_iter")], value=ast.Call())]:
                self.boxed = True
                self._replace_parameters(list(_boxed_names(body)))

    def _replace_parameters(self, names: list[str]) -> None:
        self.parameters = tuple(node.name for node in self.nodes)
        self.nodes.clear()
        self.arguments.alive.clear()
        self.placeholders.clear()
        for name in names:
            self._placeholder(name)

    # Statements.

    def _statement(self, statement: ast.stmt) -> None:
        handler = _STATEMENTS.get(type(statement))
        if handler is None:
            raise fault(statement, f"is no statement of a saved graph: {shown(statement)}")
        handler(self, statement)

    def assign(self, statement: ast.Assign) -> None:
        value = statement.value
        if isinstance(value, ast.Constant) and value.value is None:
            self._drop(statement.targets)
            return
        if len(statement.targets) != 1:
            raise fault(statement, "assigns one value to several variables")
        self._define(statement.targets[0], value, None)

    def annotated(self, statement: ast.AnnAssign) -> None:
        if statement.value is not None:
            self._define(statement.target, statement.value, statement.annotation)

    def augmented(self, statement: ast.AugAssign) -> None:
        """``x += y``; the node's name is in the assignment ``iadd = x`` that follows."""
        left, right = self.arguments.value(statement.target), self.arguments.value(statement.value)
        self._pending(Name("operator", _IN_PLACE[type(statement.op)]), (left, right), statement.target)

    def expression(self, statement: ast.Expr) -> None:
        """The only expressions that stand alone are the marks which FX writes around each node for the profiler
        (``record_func`` of ``_gen_python_code``).
        """
        call = statement.value
        path = dotted(call.func) if isinstance(call, ast.Call) else None
        name, _, method = (path or "").partition(".")
        if not name.startswith("_rf") or self.arguments.is_local(name) or method not in _MARKS:
            raise fault(statement, f"is no statement of a saved graph: {shown(statement)}")

    def result(self, statement: ast.Return) -> None:
        value = statement.value
        if isinstance(value, ast.Call) and dotted(value.func) == _UNFLATTEN and len(value.args) == 2:
            self.unflattens = True
            value = value.args[0]
        self._check_settled(statement)
        output = None if value is None else self.arguments.value(value)
        self.nodes.append(Node("output", "output", "output", (output,)))
        self.returned = True

    def _drop(self, targets: list[ast.expr]) -> None:
        for target in targets:
            name = _variable(target)
            if name not in self.arguments.alive:
                raise fault(target, f"drops {name}, which holds nothing")
            self.arguments.alive.discard(name)
            self.arguments.ended.add(name)

    def _define(self, target: ast.expr, value: ast.expr, annotation: ast.expr | None) -> None:
        if isinstance(target, ast.Subscript):
            self._set_item(target, value)
            return
        name = _variable(target)
        if isinstance(value, ast.Name):
            self._alias(name, value, annotation)
            return
        if name.startswith("_rf") and isinstance(value, ast.Call) and dotted(value.func) == _RECORD:
            return
        self._add(name, _operation(value, self.arguments), target, annotation)

    def _set_item(self, target: ast.Subscript, value: ast.expr) -> None:
        args = tuple(self.arguments.value(part) for part in (target.value, target.slice, value))
        self._pending(Name("operator", "setitem"), args, target.value)

    def _pending(self, function: Name, args: tuple[Value, ...], changed: ast.expr) -> None:
        """An in-place operation: the node's name is on the next line, ``name = changed``."""
        self._check_settled(changed)
        self.nodes.append(Node("", "call_function", function, args))
        if not isinstance(changed, ast.Name):
            raise fault(changed, f"changes something that is no variable: {shown(changed)}")

    def _alias(self, name: str, value: ast.Name, annotation: ast.expr | None) -> None:
        """``name = value``: the name of an in-place operation, or of a placeholder whose parameter has another name."""
        last = self.nodes[-1] if self.nodes else None
        if last is not None and not last.name:
            if last.args[0] != Ref(value.id):
                raise fault(value, "names an in-place operation after something else than what it changed")
            self.nodes.pop()
            self._add(name, ("call_function", last.target, last.args, ()), value, annotation)
            return
        index = self.placeholders.pop(value.id, None)
        if index is None:
            raise fault(value, f"copies {value.id}, which is no parameter")
        node = self.nodes[index]
        self.arguments.alive.discard(value.id)
        self._check_free(name, value)
        self.arguments.alive.add(name)
        self.nodes[index] = Node(name, "placeholder", node.target, node.args, meta=node.meta)

    def _add(self, name: str, found: Operation, place: ast.expr, annotation: ast.expr | None) -> None:
        self._check_free(name, place)
        self.arguments.alive.add(name)
        self.nodes.append(Node(name, *found, meta=self.meta_of(annotation, place.lineno)))

    def _check_free(self, name: str, place: ast.AST) -> None:
        if self.arguments.is_local(name):
            raise fault(place, f"assigns {name} twice")
        self._check_settled(place)

    def _check_settled(self, place: ast.AST) -> None:
        if self.nodes and not self.nodes[-1].name:
            raise fault(place, "does not name the in-place operation before it")


_STATEMENTS: dict[type[ast.stmt], Callable[[_Reader, Any], None]] = {
    ast.Assign: _Reader.assign,
    ast.AnnAssign: _Reader.annotated,
    ast.AugAssign: _Reader.augmented,
    ast.Expr: _Reader.expression,
    ast.Return: _Reader.result,
    ast.Pass: lambda reader, statement: None,
}


def _variable(target: ast.expr) -> str:
    if not isinstance(target, ast.Name):
        raise fault(target, f"assigns to something that is no variable: {shown(target)}")
    return target.id


def _parameters(function: ast.FunctionDef) -> Iterator[tuple[str, ast.expr | None, ast.expr | None]]:
    """Each parameter but ``self``, as FX writes targets, with its annotation and its default."""
    args = function.args
    positional = [*args.posonlyargs, *args.args]
    defaults = [None] * (len(positional) - len(args.defaults)) + list(args.defaults)
    start = 1 if positional and positional[0].arg == SELF else 0
    for parameter, default in zip(positional[start:], defaults[start:], strict=True):
        yield parameter.arg, parameter.annotation, default
    if args.vararg is not None:
        yield f"*{args.vararg.arg}", args.vararg.annotation, None
    for parameter, default in zip(args.kwonlyargs, args.kw_defaults, strict=True):
        yield parameter.arg, parameter.annotation, default
    if args.kwarg is not None:
        yield f"**{args.kwarg.arg}", args.kwarg.annotation, None


def _flattens_self(call: ast.Call) -> bool:
    """Whether the module itself is flattened with the inputs: its structure counts it, its graph has no node for it.

    Source: ``symbolic_trace(module, concrete_args=...)`` with containers, torch/fx/graph.py ``_PyTreeCodeGen``.
    """
    match call.args[:1]:
        case [ast.List(elts=[ast.Name(id=name), *_])]:
            return name == SELF
    return False


def _boxed_names(body: list[ast.stmt]) -> Iterator[str]:
    """The names in ``x = next(args_iter)``; removes these statements, ``args_iter = iter(args_list)`` and
    ``args_list.clear()`` from ``body``.

    Source: ``_BoxedCodeGen`` of torch/fx/graph.py.
    """
    del body[0]
    while body:
        match body[0]:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Call(func=ast.Name(id="next"))):
                yield name
            case ast.Expr(value=ast.Call(func=ast.Attribute(attr="clear"))):
                pass
            case _:
                return
        del body[0]


# -- right-hand sides --------------------------------------------------------------------------------------------


def _operation(value: ast.expr, reader: ArgumentReader) -> Operation:
    """What the right-hand side of an assignment computes; ForwardFault for what FX does not print."""
    handler = _OPERATIONS.get(type(value))
    if handler is None:
        raise fault(value, f"is no operation of a saved graph: {shown(value)}")
    return handler(value, reader)


def _call(value: ast.Call, reader: ArgumentReader) -> Operation:
    own = _own_path(value)
    if own is not None:
        return "get_attr", own, (), ()
    path = _own_path(value.func)
    if path is not None:
        return "call_module", path, *reader.arguments(value)
    found = _method(value.func, reader)
    if found is not None:
        base, method = found
        args, kwargs = reader.arguments(value)
        return "call_method", method, (base, *args), kwargs
    return "call_function", reader.target(value.func), *reader.arguments(value)


def _attribute(value: ast.Attribute, reader: ArgumentReader) -> Operation:
    path = _own_path(value)
    if path is not None:
        return "get_attr", path, (), ()
    base = reader.value(value.value)
    return "call_function", Name("builtins", "getattr"), (base, value.attr), ()


def _binary(value: ast.BinOp, reader: ArgumentReader) -> Operation:
    return _operator(BINARY[type(value.op)], reader.value(value.left), reader.value(value.right))


def _compare(value: ast.Compare, reader: ArgumentReader) -> Operation:
    kind = COMPARISONS.get(type(value.ops[0]))
    if kind is None or len(value.ops) != 1:
        raise fault(value, f"is no operation of a saved graph: {shown(value)}")
    return _operator(kind, reader.value(value.left), reader.value(value.comparators[0]))


def _subscript(value: ast.Subscript, reader: ArgumentReader) -> Operation:
    return _operator("getitem", reader.value(value.value), reader.value(value.slice))


def _unary(value: ast.UnaryOp, reader: ArgumentReader) -> Operation:
    """``-x``; a sign before an operation is that of a literal: FX prints ``pow(-2, x)`` as ``-2 ** x``, without
    parentheses (``magic_methods`` of torch/fx/graph.py), where Python would negate the power.
    """
    kind = UNARY.get(type(value.op))
    if kind is None:
        raise fault(value, f"is no operation of a saved graph: {shown(value)}")
    if kind == "neg" and _take_sign(value.operand):
        return _operation(value.operand, reader)
    return _operator(kind, reader.value(value.operand))


def _own_path(node: ast.expr) -> str | None:
    """The path below the module that ``self.a.b`` spells; None for anything that is not reached from ``self``."""
    path = dotted(node)
    if path is None or not path.startswith(f"{SELF}."):
        return None
    return path[len(SELF) + 1 :]


def _method(function: ast.expr, reader: ArgumentReader) -> tuple[Value, str] | None:
    """The object and the name of a method call; None where a function is called by its name."""
    words: list[str] = []
    while (step := attribute_step(function)) is not None:
        function, word = step
        words.append(word)
    if not words or (isinstance(function, ast.Name) and not _is_value(function, reader)):
        return None
    return reader.value(function), ".".join(reversed(words))


def _is_value(name: ast.Name, reader: ArgumentReader) -> bool:
    return reader.is_local(name.id) or name.id in ("inf", "nan")


_OPERATIONS: Mapping[type[ast.expr], Callable[[Any, ArgumentReader], Operation]] = {
    ast.Call: _call,
    ast.Attribute: _attribute,
    ast.BinOp: _binary,
    ast.Compare: _compare,
    ast.Subscript: _subscript,
    ast.UnaryOp: _unary,
}


def _operator(name: str, *args: Value) -> Operation:
    return "call_function", Name("operator", name), args, ()


def _take_sign(node: ast.expr) -> bool:
    """Negates the number that an operation binding tighter than a sign begins with; returns False if there is none."""
    parent: Any = node
    while (field := _FIRST_OPERAND.get(type(parent))) is not None:
        if isinstance(parent, ast.BinOp) and not isinstance(parent.op, ast.Pow):
            return False
        child = getattr(parent, field)
        if _is_number(child):
            setattr(parent, field, ast.copy_location(ast.UnaryOp(ast.USub(), child), child))
            return True
        parent = child
    return False


def _is_number(node: ast.expr) -> bool:
    if isinstance(node, ast.Constant):
        return type(node.value) in (int, float, complex)
    return isinstance(node, ast.Name) and node.id in ("inf", "nan")
