"""Arguments in the text of a saved graph, as values: the inverse of how ``torch.fx`` prints them.

Source: ``_get_repr`` in ``CodeGen._gen_python_code`` of torch/fx/graph.py, which falls back to ``repr``.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Mapping

import torch

from fx2py.graph.names import dotted_name, imported_name
from fx2py.graph.values import TORCH_DATA, EnumMember, Name, Opaque, OpName, Primitive, Record, Ref, Value
from fx2py.syntax import CONSTRUCTORS, NotPython, ValueReader, parsed, shown

_BUILTIN_NAMES = frozenset(dir(builtins))
_CONSTANTS: Mapping[str, Primitive] = {
    "inf": float("inf"),
    "nan": float("nan"),
    "infj": complex(0.0, float("inf")),
    "nanj": complex(0.0, float("nan")),
    "Ellipsis": ...,
}
"""The names in what ``repr`` writes; FX defines ``inf`` and ``nan`` for it (``_custom_builtins`` of torch/fx/graph.py)."""


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


def parse_text(text: str) -> list[ast.stmt]:
    """The statements of Python text from a file, parsed only; ForwardFault for what Python cannot parse."""
    try:
        return parsed(text)
    except NotPython as error:
        reason = error.reason if error.line else f"the graph's code {error.reason}"
        raise ForwardFault(reason, error.line) from None


def dotted(node: ast.expr) -> str | None:
    """The dotted path that a chain of attributes spells, ``getattr(x, "0")`` included; None for anything else."""
    parts: list[str] = []
    while (step := attribute_step(node)) is not None:
        node, part = step
        parts.append(part)
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else None


def attribute_step(node: ast.expr) -> tuple[ast.expr, str] | None:
    """Base and name of an attribute; FX prints ``getattr(base, "0")`` where that is not an identifier (``_format_target``)."""
    match node:
        case ast.Attribute(value=base, attr=attribute):
            return base, attribute
        case ast.Call(
            func=ast.Name(id="getattr"), args=[base, ast.Constant(value=str(attribute))], keywords=[]
        ) if not (attribute.isidentifier() or "." in attribute):
            return base, attribute
    return None


class ArgumentReader(ValueReader):
    """Reads the arguments in one graph's text, and knows what its names stand for: nodes, imports and builtins.

    ``alive`` are the nodes whose variables hold a value at the current statement, ``ended`` those whose variables the
    text has set to None.
    """

    constructors = {**CONSTRUCTORS, "torch.device": torch.device}
    complex_literals = True

    def __init__(self, imports: Mapping[str, Name | OpName] | None = None) -> None:
        self.imports: dict[str, Name | OpName] = dict(imports or {})
        self.modules: dict[str, str] = {"torch": "torch"}
        self.alive: set[str] = set()
        self.ended: set[str] = set()

    def fault(self, node: ast.AST, reason: str) -> ForwardFault:
        return fault(node, reason)

    def unknown(self, node: ast.AST) -> ForwardFault:
        return fault(node, f"holds something that is no argument of a graph: {shown(node)}")

    def is_local(self, name: str) -> bool:
        """Whether a name is or was that of a node."""
        return name in self.alive or name in self.ended

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

    def name(self, node: ast.Name) -> Value:
        if node.id in self.alive:
            return Ref(node.id)
        if node.id in self.ended:
            raise fault(node, f"uses {node.id} after its value was dropped")
        return _CONSTANTS[node.id] if node.id in _CONSTANTS else self.target(node)

    def attribute(self, node: ast.Attribute) -> Value:
        """Torch data such as ``torch.float32``, a member of an imported enum, or a function passed as an argument."""
        path = dotted(node) or ""
        if path in TORCH_DATA:
            return TORCH_DATA[path]
        owner = self.imports.get(node.value.id) if isinstance(node.value, ast.Name) else None
        if isinstance(owner, Name):
            return EnumMember(owner, node.attr)
        if path.partition(".")[0] in self.alive:
            raise fault(node, f"holds an expression inside an argument: {shown(node)}")
        return self.target(node)

    def call(self, node: ast.Call) -> Value:
        """A constructor that ``repr`` prints, a namedtuple by its imported class, or else an object that is not data."""
        if isinstance(node.func, ast.Name) and self.is_local(node.func.id):
            raise fault(node, f"calls a value inside an argument: {shown(node)}")
        target = self.target(node.func)
        if target.path in self.constructors:
            return self.constructed(node, target.path)
        if isinstance(target, Name) and target in self.imports.values() and not node.keywords:
            fields = enumerate(self.values(node.args))
            return Record(target, tuple((str(index), value) for index, value in fields))
        if not isinstance(target, Name) or not _is_class(target):
            raise fault(node, f"holds a call inside an argument: {shown(node)}")
        return Opaque(target, shown(node))


def _is_class(name: Name) -> bool:
    """Whether a name is spelled as a class: the ``repr`` of many objects looks like a call of their class."""
    return name.qualname.rpartition(".")[2].lstrip("_")[:1].isupper()
