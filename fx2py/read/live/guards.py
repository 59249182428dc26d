"""The guards of ``ep.module()`` as a graph: the module that checks its inputs is a compiled function without source text.

Source: ``_convert_guards_code_to_fn`` of torch/export/_unlift.py. That function asserts one condition after the other;
each message holds the text of its condition, with the names of the inputs where the function has ``args[3]``. The
function is rebuilt from the messages, compiled, and compared with the original: only if both have the same bytecode do
the conditions become nodes.
"""

from __future__ import annotations

import ast
import dis
import itertools
import math
import types
from collections.abc import Callable, Iterator, Mapping

import torch

from fx2py.errors import with_article
from fx2py.graph.data import Graph, Node, Opcode
from fx2py.graph.values import GETITEM, Name, Ref, Value
from fx2py.read.node_names import NodeNames
from fx2py.syntax import BINARY, COMPARISONS, UNARY

GUARDS_CLASS = Name("torch.export._unlift", "GuardsFn")
_MESSAGE = "Guard failed: "
_GLOBALS = {"torch": torch, "math": math}
_ARGUMENTS = "args"
_OPERATORS = dict[type[ast.AST], str](
    [
        *(*BINARY.items(), *COMPARISONS.items(), *UNARY.items()),
        *((ast.Not, "not_"), (ast.And, "and_"), (ast.Or, "or_")),
    ]
)
_BUILTINS = frozenset({"max", "min", "abs", "float", "int"})
_NEVER_RAISE = frozenset({"add", "sub", "mul", *COMPARISONS.values(), "neg", "not_", "and_", "or_"})
_ASSERT = Name("torch", "_assert")


def graph_of_guards(forward: object) -> Graph | None:
    """The checks that the ``forward`` of a GuardsFn makes, in order; None where they are not in torch's form.

    The graph takes all arguments as ``*args`` and returns None.
    """
    function = _asserting(forward)
    if function is None:
        return None
    code = function.__code__
    messages = [value for value in code.co_consts if type(value) is str and value.startswith(_MESSAGE)]
    try:
        conditions = _Places(_places(code)).conditions(messages)
        if not _is_same(code, conditions, messages) or not _sees_torch(function):
            return None
        return _Nodes().graph(conditions, messages)
    except (_OtherFormError, SyntaxError, ValueError, RecursionError):
        return None


class _OtherFormError(Exception):
    """A condition is not written as torch writes guards."""


def _asserting(forward: object) -> types.FunctionType | None:
    """The function that asserts, without the wrapper that lets torch.compile trace it."""
    function = forward
    for _ in range(2):
        if not isinstance(function, types.FunctionType):
            return None
        if function.__code__.co_name == "_" and function.__closure__ is None:
            return function
        held = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
        function = held["func"].cell_contents if "func" in held else None
    return None


def _places(code: types.CodeType) -> Iterator[int]:
    """The index of each ``args[index]``, in the order in which they are evaluated."""
    instructions = [found for found in dis.get_instructions(code) if found.opname != "CACHE"]
    for found, following in itertools.pairwise(instructions):
        if found.argval == _ARGUMENTS and type(following.argval) is int:
            yield following.argval


def _is_same(code: types.CodeType, conditions: list[ast.expr], messages: list[str]) -> bool:
    """Whether a function is the one that asserts these conditions."""
    lines = [
        f"  torch._assert({ast.unparse(condition)}, {message!r})\n"
        for condition, message in zip(conditions, messages, strict=True)
    ]
    text = f"def _(*{_ARGUMENTS}):\n{''.join(lines)}  return\n"
    module = compile(text, "<guards>", "exec", dont_inherit=True)
    made = next(part for part in module.co_consts if isinstance(part, types.CodeType))
    aspects: list[Callable[[types.CodeType], object]] = [
        lambda each: each.co_code,
        lambda each: [(type(constant), constant) for constant in each.co_consts],
        lambda each: each.co_names,
        lambda each: each.co_varnames,
        lambda each: (each.co_argcount, each.co_kwonlyargcount),
    ]
    return all(aspect(code) == aspect(made) for aspect in aspects)


def _sees_torch(function: types.FunctionType) -> bool:
    """Whether the global names that the function uses are torch's and Python's own."""
    seen: Mapping[str, object] = function.__globals__
    return all(seen.get(name, known) is known for name, known in _GLOBALS.items()) and not (
        _BUILTINS & seen.keys()
    )


class _Places(ast.NodeTransformer):
    """Puts ``args[3]`` in the place of each expression with which a caller reaches an input."""

    def __init__(self, places: Iterator[int]) -> None:
        self._left = places

    def conditions(self, messages: list[str]) -> list[ast.expr]:
        """The condition of each message over the arguments; _OtherFormError where their inputs do not match the places."""
        texts = [message.removeprefix(_MESSAGE) for message in messages]
        found = [self.visit(ast.parse(text, mode="eval").body) for text in texts]
        if next(self._left, None) is not None:
            raise _OtherFormError("there are more arguments than inputs")
        return found

    def visit_Call(self, node: ast.Call) -> ast.AST:
        """Replace the receiver and the arguments of a call, not its name."""
        if node.keywords:
            raise _OtherFormError("a call has keywords")
        if isinstance(node.func, ast.Attribute) and not _is_module(node.func.value):
            node.func.value = self._argument()
        node.args = [self.visit(part) for part in node.args]
        return node

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        if isinstance(node.value, ast.Call):
            node.value = self.visit(node.value)
            return node
        return self._argument()

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        return node if _is_module(node.value) else self._argument()

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return self._argument()

    def _argument(self) -> ast.expr:
        index = next(self._left, None)
        if index is None:
            raise _OtherFormError("there are more inputs than arguments")
        return ast.Subscript(ast.Name(_ARGUMENTS), ast.Constant(index))


def _is_module(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in _GLOBALS


class _Nodes:
    """The nodes that assert conditions; what several of them need is computed once, since nothing changes in between."""

    def __init__(self) -> None:
        self.names = NodeNames()
        self.nodes = [Node(self.names.fresh(_ARGUMENTS), "placeholder", f"*{_ARGUMENTS}")]
        self._made: dict[str, Ref] = {}
        self._raising: set[str] = set()

    def graph(self, conditions: list[ast.expr], messages: list[str]) -> Graph:
        for condition, message in zip(conditions, messages, strict=True):
            for part in _parts_of_and(condition):
                name = self.names.fresh("_assert")
                self.nodes.append(Node(name, "call_function", _ASSERT, (self._value(part), message)))
        self.nodes.append(Node("output", "output", "output", (None,)))
        return Graph(tuple(self.nodes))

    def _value(self, node: ast.expr) -> Value:
        """The value of an expression: a constant, or the node that computes it."""
        if isinstance(node, ast.Constant):
            if type(node.value) not in (int, float, str, bool):
                raise _OtherFormError("a constant is neither number nor text")
            return node.value
        if isinstance(node, ast.Attribute) and ast.unparse(node) == "math.inf":
            return math.inf
        key = ast.unparse(node)
        if key not in self._made:
            self._made[key] = self._new(node)
        return self._made[key]

    def _new(self, node: ast.expr) -> Ref:
        if isinstance(node, ast.Subscript):
            return self._item(node)
        if isinstance(node, ast.Call):
            return self._call(node)
        if isinstance(node, ast.BinOp):
            return self._operator(node.op, node.left, node.right)
        if isinstance(node, ast.UnaryOp):
            return self._operator(node.op, node.operand)
        if isinstance(node, ast.Compare) and len(node.ops) == 1:
            return self._operator(node.ops[0], node.left, node.comparators[0])
        if isinstance(node, ast.Compare | ast.BoolOp):
            return self._logical(node)
        raise _OtherFormError(f"{with_article(type(node).__name__)} is not part of a guard")

    def _item(self, node: ast.Subscript) -> Ref:
        source = Ref(_ARGUMENTS) if isinstance(node.value, ast.Name) else self._value(node.value)
        if not isinstance(node.slice, ast.Constant) or type(node.slice.value) is not int:
            raise _OtherFormError("an item is taken by something other than a number")
        return self._add("call_function", GETITEM, (source, node.slice.value))

    def _call(self, node: ast.Call) -> Ref:
        args = tuple([self._value(part) for part in node.args])
        if isinstance(node.func, ast.Name) and node.func.id in _BUILTINS:
            return self._add("call_function", Name("builtins", node.func.id), args)
        if not isinstance(node.func, ast.Attribute):
            raise _OtherFormError("a call of something that has no name")
        if isinstance(node.func.value, ast.Name):
            return self._add("call_function", Name(node.func.value.id, node.func.attr), args)
        return self._add("call_method", node.func.attr, (self._value(node.func.value), *args))

    def _operator(self, kind: ast.AST, *operands: ast.expr) -> Ref:
        name = _OPERATORS.get(type(kind))
        if name is None:
            raise _OtherFormError(f"{type(kind).__name__} is not an operator of guards")
        args = tuple([self._value(part) for part in operands])
        return self._add("call_function", Name("operator", name), args)

    def _logical(self, node: ast.Compare | ast.BoolOp) -> Ref:
        """``and`` and ``or`` of conditions: a graph computes all operands, so those that Python would skip must not raise."""
        parts = _compared(node) if isinstance(node, ast.Compare) else node.values
        name = "or_" if isinstance(node, ast.BoolOp) and isinstance(node.op, ast.Or) else "and_"
        first = self._condition(parts[0])
        before = len(self.nodes)
        others = [self._condition(part) for part in parts[1:]]
        if any(_may_raise(made) for made in self.nodes[before:]):
            raise _OtherFormError("a condition that may be skipped may raise")
        for other in others:
            first = self._add("call_function", Name("operator", name), (first, other))
        return first

    def _condition(self, node: ast.expr) -> Ref:
        """The value of an expression that is True or False."""
        is_not = isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)
        found = self._value(node)
        if not isinstance(found, Ref) or not (is_not or isinstance(node, ast.Compare | ast.BoolOp)):
            raise _OtherFormError("a number stands where a condition should")
        return found

    def _add(self, op: Opcode, target: str | Name, args: tuple[Value, ...]) -> Ref:
        wish = target if isinstance(target, str) else target.qualname
        node = Node(self.names.fresh(wish), op, target, args)
        self.nodes.append(node)
        return Ref(node.name)


def _parts_of_and(condition: ast.expr) -> list[ast.expr]:
    """The operands of a conjunction: asserting them one by one, in order, is the same."""
    if isinstance(condition, ast.BoolOp) and isinstance(condition.op, ast.And):
        return [part for value in condition.values for part in _parts_of_and(value)]
    if isinstance(condition, ast.Compare) and len(condition.ops) > 1:
        return _compared(condition)
    return [condition]


def _compared(node: ast.Compare) -> list[ast.expr]:
    """The single comparisons of a chain."""
    sides = [node.left, *node.comparators]
    return [
        ast.Compare(left, [sign], [right])
        for sign, left, right in zip(node.ops, sides[:-1], sides[1:], strict=True)
    ]


def _may_raise(node: Node) -> bool:
    """Whether a node can raise, as the size of an input does where it has too few dimensions."""
    if not isinstance(node.target, Name) or node.target.module != "operator":
        return True
    by_a_number = len(node.args) == 2 and type(node.args[1]) is int and node.args[1] != 0
    divides = node.target.qualname in ("mod", "floordiv")
    return not (node.target.qualname in _NEVER_RAISE or (divides and by_a_number))
