"""Arguments in the text of a saved graph, as values: the inverse of how ``torch.fx`` prints them."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any

import torch

from fx2py.graph.names import dotted_name, imported_name
from fx2py.graph.values import (
    Dict,
    EnumMember,
    List,
    Name,
    Opaque,
    OpName,
    Range,
    Record,
    Ref,
    Set,
    Size,
    Slice,
    Value,
    sorted_set,
)

_BUILTIN_NAMES = frozenset(dir(builtins))
_PLAIN_KINDS = (torch.dtype, torch.layout, torch.memory_format, torch.qscheme)
TORCH_DATA: dict[str, Any] = {
    f"torch.{name}": value for name, value in vars(torch).items() if type(value) in _PLAIN_KINDS
}
_CONSTANTS: dict[str, Any] = {
    "inf": float("inf"),
    "nan": float("nan"),
    "infj": complex(0.0, float("inf")),
    "nanj": complex(0.0, float("nan")),
    "Ellipsis": ...,
}
_SHOWN, _MOST_PARTS = 60, 300


class ForwardFault(ValueError):
    """The text of a graph is not what ``torch.fx`` writes; ``line`` counts from the first of the text, if one is at fault."""

    def __init__(self, reason: str, line: int | None = None) -> None:
        super().__init__(reason if line is None else f"line {line} of the graph's code {reason}")
        self.reason, self.line = reason, line


class UndefinedName(ForwardFault):
    """The text uses a name that nothing in it defines."""


def fault(node: ast.AST, reason: str) -> ForwardFault:
    """A fault at the line of a syntax node."""
    return ForwardFault(reason, getattr(node, "lineno", 1))


def text_of(node: ast.AST) -> str:
    """The text of a syntax node; of a large one only its kind, since writing it can take longer than reading it."""
    if any(True for _ in islice(ast.walk(node), _MOST_PARTS, None)):
        return f"a {type(node).__name__} of many parts"
    return ast.unparse(node)


def shown(node: ast.AST) -> str:
    """The beginning of the text of a syntax node, for messages."""
    text = text_of(node).partition("\n")[0]
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def dotted(node: ast.expr) -> str | None:
    """The dotted path that a chain of attributes spells, ``getattr(x, "0")`` included; None for anything else."""
    parts: list[str] = []
    current = node
    while True:
        if isinstance(current, ast.Attribute):
            parts.append(current.attr)
            current = current.value
        elif (step := getattr_step(current)) is not None:
            current, part = step
            parts.append(part)
        elif isinstance(current, ast.Name):
            return ".".join([current.id, *reversed(parts)])
        else:
            return None


def getattr_step(node: ast.expr) -> tuple[ast.expr, str] | None:
    """Base and attribute of ``getattr(base, "0")``, which FX prints for an attribute that is no identifier."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "getattr":
        match node.args:
            case [base, ast.Constant(value=str(attribute))] if not node.keywords:
                return None if attribute.isidentifier() or "." in attribute else (base, attribute)
    return None


class Names:
    """What the names of one graph's text stand for: nodes that are alive, imports, builtins."""

    def __init__(self) -> None:
        self.imports: dict[str, Name | OpName] = {}
        self.modules: dict[str, str] = {"torch": "torch"}
        self.alive: set[str] = set()
        self.ended: set[str] = set()

    def is_local(self, name: str) -> bool:
        return name in self.alive or name in self.ended

    def local(self, node: ast.Name) -> Ref:
        """The node that a variable holds; its value must not have been dropped before."""
        if node.id not in self.alive:
            raise fault(node, f"uses {node.id} after its value was dropped")
        return Ref(node.id)

    def target(self, node: ast.expr) -> Name | OpName:
        """The function that a call names."""
        path = dotted(node)
        if path is None:
            raise fault(node, f"calls something that has no name: {shown(node)}")
        root, _, rest = path.partition(".")
        if self.is_local(root):
            raise fault(node, f"calls a value: {shown(node)}")
        if root in self.imports:
            imported = self.imports[root]
            if not rest or isinstance(imported, OpName):
                return dotted_name(f"{imported.path}.{rest}") if rest else imported
            return imported_name(imported.module, f"{imported.qualname}.{rest}")
        if root in self.modules and rest:
            return dotted_name(f"{self.modules[root]}.{rest}")
        if root in _BUILTIN_NAMES and not rest:
            return dotted_name(root)
        raise UndefinedName(f"uses the name {path}, which nothing defines", node.lineno)


def value_of(node: ast.expr, names: Names) -> Value:
    """The value that an argument's text stands for; ForwardFault when it is no value that FX prints."""
    handler = _HANDLERS.get(type(node))
    if handler is None:
        raise fault(node, f"holds something that is no argument of a graph: {shown(node)}")
    return handler(node, names)


def _values(nodes: list[ast.expr], names: Names) -> tuple[Value, ...]:
    return tuple([value_of(node, names) for node in nodes])


def _constant(node: Any, names: Names) -> Value:
    return node.value  # type: ignore[no-any-return]


def _name(node: Any, names: Names) -> Value:
    if names.is_local(node.id):
        return names.local(node)
    if node.id in _CONSTANTS:
        return _CONSTANTS[node.id]  # type: ignore[no-any-return]
    return names.target(node)


def _attribute(node: Any, names: Names) -> Value:
    """Torch data such as ``torch.float32``, a member of an imported enum, or a function passed as an argument."""
    path = dotted(node) or ""
    if path in TORCH_DATA:
        return TORCH_DATA[path]  # type: ignore[no-any-return]
    owner = names.imports.get(node.value.id) if isinstance(node.value, ast.Name) else None
    if isinstance(owner, Name):
        return EnumMember(owner, node.attr)
    if path.partition(".")[0] in names.alive:
        raise fault(node, f"holds an expression inside an argument: {shown(node)}")
    return names.target(node)


def _dict(node: Any, names: Names) -> Value:
    if None in node.keys:
        raise fault(node, "unpacks a dict inside an argument")
    return Dict(tuple(zip(_values(node.keys, names), _values(node.values, names), strict=True)))


def _negative(node: Any, names: Names) -> Value:
    number = value_of(node.operand, names)
    if not isinstance(node.op, ast.USub) or type(number) not in (int, float, complex):
        raise fault(node, f"holds an expression inside an argument: {shown(node)}")
    if type(number) is complex:
        return complex(0.0, -number.imag)
    return -number  # type: ignore[operator]


def _complex(node: Any, names: Names) -> Value:
    """``(1-2j)``: the parts are taken from the text, since arithmetic would lose the signs of zeros and nan."""
    real, imaginary = _real(node.left, names), value_of(node.right, names)
    if not isinstance(node.op, ast.Add | ast.Sub) or type(imaginary) is not complex or real is None:
        raise fault(node, f"holds an expression inside an argument: {shown(node)}")
    return complex(real, -imaginary.imag if isinstance(node.op, ast.Sub) else imaginary.imag)


def _real(node: ast.expr, names: Names) -> float | None:
    negative = isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub)
    number = value_of(node.operand if negative and isinstance(node, ast.UnaryOp) else node, names)
    if type(number) not in (int, float):
        return None
    return -float(number) if negative else float(number)  # type: ignore[arg-type]


def _call(node: Any, names: Names) -> Value:
    """The constructors that FX prints inside arguments; any other call describes an object that is no data."""
    if isinstance(node.func, ast.Name) and names.is_local(node.func.id):
        raise fault(node, f"calls a value inside an argument: {shown(node)}")
    target = names.target(node.func)
    constructor = _CONSTRUCTORS.get(target.path)
    if constructor is not None:
        try:
            return constructor(*_values(node.args, names), **keywords_of(node, names))
        except (TypeError, RuntimeError) as error:
            raise fault(node, f"holds {shown(node)}, which is no value: {error}") from None
    if isinstance(target, Name) and target in names.imports.values() and not node.keywords:
        fields = enumerate(_values(node.args, names))
        return Record(target, tuple((str(index), value) for index, value in fields))
    if not isinstance(target, Name) or not _is_class(target):
        raise fault(node, f"holds a call inside an argument: {shown(node)}")
    return Opaque(target, shown(node))


def _is_class(name: Name) -> bool:
    """Whether the name is spelled as classes are, whose printed objects look like calls."""
    return name.qualname.rpartition(".")[2].lstrip("_")[:1].isupper()


def keywords_of(call: ast.Call, names: Names) -> dict[str, Value]:
    """The keyword arguments of a call, in order."""
    found: dict[str, Value] = {}
    for keyword in call.keywords:
        if keyword.arg is None:
            raise fault(call, f"unpacks a dict into arguments: {shown(call)}")
        if keyword.arg in found:
            raise fault(call, f"passes {keyword.arg} twice: {shown(call)}")
        found[keyword.arg] = value_of(keyword.value, names)
    return found


def _slice(*parts: Value) -> Slice:
    return Slice(None, parts[0], None) if len(parts) == 1 else Slice(*parts)


def _range(*parts: Value) -> Range:
    return Range(0, parts[0], 1) if len(parts) == 1 else Range(*parts)


def _members(items: Value = None, frozen: bool = False) -> Set:
    if not isinstance(items, List | Set | tuple | None):
        raise TypeError("a set is made of something else than its members")
    return sorted_set(items if isinstance(items, tuple) else () if items is None else items.items, frozen)


def _size(items: Value = ()) -> Size:
    if not isinstance(items, List | tuple):
        raise TypeError("a size is made of something else than a list")
    return Size(items if isinstance(items, tuple) else items.items)


_CONSTRUCTORS: Mapping[str, Callable[..., Value]] = {
    "torch.device": torch.device,
    "torch.Size": _size,
    "builtins.slice": _slice,
    "builtins.range": _range,
    "builtins.set": _members,
    "builtins.frozenset": lambda items=None: _members(items, True),
}
_HANDLERS: Mapping[type[ast.expr], Callable[[Any, Names], Value]] = {
    ast.Constant: _constant,
    ast.Name: _name,
    ast.Attribute: _attribute,
    ast.Tuple: lambda node, names: _values(node.elts, names),
    ast.List: lambda node, names: List(_values(node.elts, names)),
    ast.Set: lambda node, names: sorted_set(_values(node.elts, names), frozen=False),
    ast.Dict: _dict,
    ast.UnaryOp: _negative,
    ast.BinOp: _complex,
    ast.Call: _call,
}
