"""GraphData: a graph with its modules, tensors and origin, as inert data.

Inert: making it executes, imports and resolves nothing. Functions, operators and classes of a file stay names. Tensors
are ``torch.Tensor`` objects; two places that hold the same object share it. A graph that the caller passes as a live
object also keeps the caller's own modules (``ModuleRecord.original``) and objects (``Live``), untouched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

import torch

from fx2py.graph.values import Attribute, Live, Name, Opaque, OpName, Ref, Value, map_leaves, walk

Opcode: TypeAlias = Literal[
    "placeholder", "get_attr", "call_function", "call_method", "call_module", "output"
]
Target: TypeAlias = "str | Name | OpName | Live | Opaque"
NumberKind: TypeAlias = Literal["int", "float", "bool"]
TreeKind: TypeAlias = Literal[
    "leaf", "tuple", "list", "dict", "ordereddict", "defaultdict", "deque", "namedtuple", "record"
]


@dataclass(frozen=True, slots=True)
class TensorMeta:
    """What the graph recorded about a tensor; a dimension is an int or the text of a symbolic expression."""

    dtype: torch.dtype
    shape: tuple[int | str, ...]
    device: torch.device | None = None
    stride: tuple[int | str, ...] | None = None
    requires_grad: bool = False


@dataclass(frozen=True, slots=True)
class SymMeta:
    """What the graph recorded about a symbolic number (``SymInt``, ...): its kind and the text of its expression."""

    kind: NumberKind
    expression: str


@dataclass(frozen=True, slots=True)
class SourceLine:
    """The line of the model that a node comes from, and the line that called its function.

    ``depth`` counts the modules around it: 0 is a line in the ``forward`` of the root, or in a function called there.
    """

    file: str
    line: int
    code: str = ""
    caller: SourceLine | None = None
    depth: int = 0


@dataclass(frozen=True, slots=True)
class ModuleFrame:
    """A module whose ``forward`` ran when a node was recorded: dotted path, class path, and which call of it, from 0."""

    path: str
    cls: str = ""
    call: int = 0


ValueMeta: TypeAlias = "TensorMeta | SymMeta | tuple[ValueMeta, ...] | None"


@dataclass(frozen=True, slots=True)
class NodeMeta:
    """What links a node to the model: recorded value, source line, module stack, annotation text."""

    value: ValueMeta = None
    source: SourceLine | None = None
    stack: tuple[ModuleFrame, ...] = ()
    annotation: str = ""

    @property
    def module(self) -> str:
        """The path of the innermost module; '' for the root and where nothing is recorded."""
        return self.stack[-1].path if self.stack else ""


NO_META = NodeMeta()


@dataclass(frozen=True, slots=True)
class Node:
    """One FX node.

    ``target`` is a parameter name for a placeholder (``*args`` / ``**kwargs`` with their stars; a default is
    ``args[0]``), a dotted path for get_attr and call_module, a method name for call_method, and a ``Name``,
    ``OpName``, ``Live`` or ``Opaque`` for call_function. The output node's only argument is the result.
    """

    name: str
    op: Opcode
    target: Target
    args: tuple[Value, ...] = ()
    kwargs: tuple[tuple[str, Value], ...] = ()
    meta: NodeMeta = NO_META

    @property
    def operands(self) -> tuple[Value, ...]:
        """The values of all arguments, in evaluation order."""
        return (*self.args, *[value for _, value in self.kwargs])

    @property
    def paths(self) -> Iterator[str]:
        """The dotted paths below the root that the node reads or calls."""
        if self.op in ("get_attr", "call_module"):
            yield str(self.target)
        for value in self.operands:
            if type(value) is not Ref:  # as almost all are
                yield from (part.path for part in walk(value) if type(part) is Attribute)

    @property
    def called(self) -> str:
        """The name of the operator, function or method that is called, without its namespace; '' for other nodes."""
        if isinstance(self.target, OpName):
            return self.target.name
        if isinstance(self.target, Name):
            return self.target.qualname.rpartition(".")[2]
        return str(self.target) if self.op == "call_method" else ""

    def with_leaves(self, change: Callable[[Value], Value]) -> Node:
        """The node with ``change`` applied to each leaf of its arguments."""
        args = tuple([map_leaves(value, change) for value in self.args])
        kwargs = tuple([(name, map_leaves(value, change)) for name, value in self.kwargs])
        return replace(self, args=args, kwargs=kwargs)


@dataclass(frozen=True, slots=True)
class Graph:
    """Nodes in execution order; placeholders may appear anywhere, the output node is last."""

    nodes: tuple[Node, ...]

    @property
    def placeholders(self) -> tuple[Node, ...]:
        return tuple(node for node in self.nodes if node.op == "placeholder")

    @property
    def output(self) -> Value:
        last = self.nodes[-1] if self.nodes else None
        return last.args[0] if last is not None and last.op == "output" and last.args else None


MEND_LOST = "save the graph without it, or pass a callable in place of the submodule (submods)"
"""What the user can do about a module that the file holds only in part."""


@dataclass(frozen=True, slots=True, eq=False)
class ModuleRecord:
    """A module as data; two places that hold the same record object share the module.

    ``graph`` is set for a GraphModule. ``attributes`` holds the remaining instance attributes as values. ``hooks`` names
    the hooks that a call would run. ``original`` is the caller's own module, where the graph was passed as a live object.
    ``lost`` says which part of the module the file lacks, so that a call cannot be reproduced. ``convention`` is set for
    a GraphModule whose caller does not pass the placeholders one by one.
    """

    cls: Name
    graph: Graph | None = None
    training: bool = True
    parameters: Mapping[str, torch.Tensor | None] = field(default_factory=dict)
    buffers: Mapping[str, torch.Tensor | None] = field(default_factory=dict)
    non_persistent: frozenset[str] = frozenset()
    children: Mapping[str, ModuleRecord | None] = field(default_factory=dict)
    attributes: Mapping[str, Value] = field(default_factory=dict)
    hooks: tuple[str, ...] = ()
    original: torch.nn.Module | None = None
    convention: CallingConvention | None = None
    lost: str = ""

    def find(self, path: str) -> ModuleRecord | torch.Tensor | Value:
        """The ModuleRecord, tensor or value at a dotted path; raises KeyError with the missing part of it."""
        current: ModuleRecord | torch.Tensor | Value = self
        for part in path.split(".") if path else ():
            if not isinstance(current, ModuleRecord):
                raise KeyError(part)
            for table in (current.children, current.parameters, current.buffers, current.attributes):
                if part in table:
                    current = table[part]
                    break
            else:
                raise KeyError(part)
        return current

    def find_module(self, path: str) -> ModuleRecord | None:
        """The module at a dotted path; None if the path leads to nothing or to something else."""
        try:
            found = self.find(path)
        except KeyError:
            return None
        return found if isinstance(found, ModuleRecord) else None

    def above(self, path: str) -> Iterator[tuple[str, ModuleRecord]]:
        """The modules between this one and what stands at a dotted path, outer ones first, each with its path."""
        parts = path.split(".")
        for count in range(1, len(parts)):
            outer = ".".join(parts[:count])
            if (module := self.find_module(outer)) is not None:
                yield outer, module

    def walk(self, prefix: str = "") -> Iterator[tuple[str, ModuleRecord]]:
        """This module and every one below it, each record once, parents first, with its path."""
        seen: set[int] = set()
        stack: list[tuple[str, ModuleRecord]] = [(prefix, self)]
        while stack:
            path, record = stack.pop()
            if id(record) in seen:
                continue
            seen.add(id(record))
            yield path, record
            for name, child in reversed(tuple(record.children.items())):
                if child is not None:
                    stack.append((f"{path}.{name}" if path else name, child))


@dataclass(frozen=True, slots=True)
class Tree:
    """The structure of nested containers (a pytree spec), one leaf for each ``kind == "leaf"``.

    ``keys`` are the dict keys or field names, in order, for kinds that have them; a deque's only key is its ``maxlen``,
    if set. ``cls`` is the class of a namedtuple, dataclass or other registered container (kind ``"record"``); of a
    defaultdict it is the default factory.
    """

    kind: TreeKind
    children: tuple[Tree, ...] = ()
    keys: tuple[Value, ...] = ()
    cls: Name | None = None

    @property
    def leaf_count(self) -> int:
        return 1 if self.kind == "leaf" else sum(child.leaf_count for child in self.children)


@dataclass(frozen=True, slots=True)
class CallingConvention:
    """How a caller's arguments become the placeholders, and how the flat results become what the caller gets.

    ``args`` and ``kwargs`` name the caller's parameters with the structure of each; their leaves, in order, are the
    graph's placeholders. ``output`` is the structure of the result; the output node then holds a flat tuple.
    """

    args: tuple[tuple[str, Tree], ...]
    kwargs: tuple[tuple[str, Tree], ...]
    output: Tree | None


@dataclass(frozen=True, slots=True)
class InputCheck:
    """What an exported program requires of the input that a placeholder receives.

    ``shape`` (None: not a tensor) holds ints and symbolic expressions. With ``constant`` the input must equal ``value``.
    ``symbol`` is set for an int input that is itself symbolic.
    """

    placeholder: str
    shape: tuple[int | str, ...] | None = None
    constant: bool = False
    value: Value = None
    symbol: str | None = None


@dataclass(frozen=True, slots=True)
class InputContract:
    """All input checks of an exported program, the range of each symbol, and the recorded guards as text."""

    checks: tuple[InputCheck, ...] = ()
    ranges: tuple[tuple[str, int | None, int | None], ...] = ()
    guards: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a graph comes from; ``path`` and ``sha256`` are None for a live object.

    ``origin`` is set for a graph file that fx2py wrote: the provenance of the graph that was saved in it.
    """

    format: str
    path: str | None = None
    sha256: str | None = None
    torch_version: str | None = None
    model: str | None = None
    origin: Provenance | None = None


@dataclass(frozen=True, slots=True, eq=False)
class SampleInputs:
    """Example inputs stored beside the graph, in the form in which a caller passes them."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class GraphData:
    """A whole saved or live graph; ``root.graph`` is always set.

    An exported program is stored in its unlifted form: parameters, buffers and constants are get_attr nodes, and
    mutations are trailing ``copy_`` calls, as ``ep.module()`` writes them (torch/export/_unlift.py).
    """

    root: ModuleRecord
    provenance: Provenance
    convention: CallingConvention | None = None
    contract: InputContract | None = None
    sample_inputs: SampleInputs | None = None
    notes: tuple[str, ...] = ()

    @property
    def live_modules(self) -> tuple[torch.nn.Module, ...]:
        """The caller's own modules, which the graph calls themselves."""
        return tuple(record.original for _, record in self.root.walk() if record.original is not None)

    @property
    def graph(self) -> Graph:
        if self.root.graph is None:
            raise ValueError("the root module of a GraphData has no graph")
        return self.root.graph
