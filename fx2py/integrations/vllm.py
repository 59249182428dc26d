"""Drop-in functions for engines that stitch compiled pieces the way vllm does: switch by changing an import.

Names, signatures and conventions are those of ``vllm.compilation`` (0.33): the code of ``execution_fn`` takes its
inputs in the order and under the names of the placeholders, and its pieces as the list ``__vllm_submods__``. A piece
that is a plain GraphModule becomes a function of the code, ``__vllm_inlined_submods__0`` for the first piece. Numbers,
text, None and slices stand in the code; other values of the graph are entries of ``__vllm_consts__``, its global.
"""

from __future__ import annotations

import builtins
import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial, wraps
from itertools import repeat
from operator import attrgetter
from typing import Any

import torch
import torch.fx as fx
from torch._logging._internal import trace_structured
from torch.utils.hooks import RemovableHandle

from fx2py.artifact.execution import Bound, register_lines
from fx2py.emit import text
from fx2py.emit.expressions import GRAPH_MODULE, TextScope
from fx2py.emit.module import emit_functions
from fx2py.errors import ModuleCallError, OptionError
from fx2py.graph.data import Graph, GraphData, ModuleRecord, Node
from fx2py.graph.values import TORCH_NAMED, EnumMember, Live, Name
from fx2py.program.exact_text import needs_slot
from fx2py.program.identifiers import MODULE_ALIASES, is_identifier
from fx2py.program.ir import Function, Local, Operand, Parameter, Program, Slot
from fx2py.program.options import Embedding, GenerateOptions
from fx2py.program.translate import translate
from fx2py.read import open_graph
from fx2py.runtime import ModuleCalls
from fx2py.splitting.live import split_module

__all__ = [
    "SplitItem",
    "compile_execution_fn",
    "generate_execution_code",
    "generate_execution_code_with_name",
    "split_graph",
]

_SUBMODS, _CONSTS, _INLINED = "__vllm_submods__", "__vllm_consts__", "__vllm_inlined_submods__"
_AS_MODULE, _CONTAINER = "__vllm_graph_module__", "__vllm_container__"
_ENTRY, _FORWARD = "execution_fn", "forward"
_PIECE = Name("builtins", "object")
"""The recorded class of a piece in the engine's list, which is called whatever it is."""
_FIXED_NAMES = frozenset({_SUBMODS, _CONSTS, _AS_MODULE, _CONTAINER, "torch", *dir(builtins)})
"""What no variable may hide. torch.fx gives no node the name of a builtin (``_Namespace`` in torch/fx/graph.py)."""
_ALWAYS_CONSTANTS = (*TORCH_NAMED, torch.device, complex)


@dataclass(frozen=True, slots=True)
class SplitItem:
    """One piece of a split graph; ``is_splitting_graph`` says that it holds the operators that it was split at."""

    submod_name: str
    graph_id: int
    is_splitting_graph: bool
    graph: fx.GraphModule


def split_graph(
    graph: fx.GraphModule, splitting_ops: Iterable[str]
) -> tuple[fx.GraphModule, list[SplitItem]]:
    """The graph cut at the operators, and its pieces in order; adjacent operators share a piece.

    Every piece returns a tuple, and sizes cross borders as integers, as compilers of pieces require. An operator that
    the graph does not hold cuts nothing.
    """
    stitched, pieces = split_module(graph, splitting_ops, join=True, strict=False, for_compilers=True)
    items = [
        SplitItem(piece.name, number, piece.is_named, piece.module) for number, piece in enumerate(pieces)
    ]
    return stitched, items


def generate_execution_code(split_gm: fx.GraphModule) -> tuple[str, list[str], list[object]]:
    """The code that calls the pieces of a split graph, their names in the order of its list, and its constants."""
    return generate_execution_code_with_name(split_gm, _ENTRY, with_submod=True)


def generate_execution_code_with_name(
    split_gm: fx.GraphModule,
    fn_name: str,
    with_submod: bool,
    consts: list[object] | None = None,
    const_index: dict[int, int] | None = None,
) -> tuple[str, list[str], list[object]]:
    """As ``generate_execution_code``, for a function named ``fn_name``, over constants that several texts share.

    Each object is one constant, in the order in which the code first uses it. Raises UnsupportedGraphError with every
    finding when the graph cannot be generated exactly, and ModuleCallError, a RuntimeError, when the graph calls a
    module without ``with_submod``: the function then takes no list of pieces.
    """
    pieces = list(dict.fromkeys(str(node.target) for node in split_gm.graph.find_nodes(op="call_module")))
    if pieces and not with_submod:
        raise ModuleCallError(
            f"call_module is not allowed in a function that is given no modules, and {pieces[0]!r} is called.",
            "Pass with_submod=True.",
        )
    if not is_identifier(fn_name) or fn_name in _FIXED_NAMES:
        raise OptionError(f"{fn_name!r} cannot be the name of the function.", "Choose another name.")
    # What stands at each path now: an engine replaces the modules of the graph by its compiled pieces.
    called = {_key(number): attrgetter(path)(split_gm) for number, path in enumerate(pieces)}
    data = _stitching_data(split_gm, pieces, called)
    embedding = Embedding(fn_name, _FIXED_NAMES, _parameter_names(data))
    program = translate(data, GenerateOptions(keep_submodules=True), embedding)
    table = _Constants([] if consts is None else consts, {} if const_index is None else const_index)
    return _text(program, with_submod, _Writer(data, program, embedding, table)), pieces, table.values


def compile_execution_fn(
    code: str,
    submod_callables: Mapping[str, Callable[..., object]],
    submod_names: Sequence[str],
    consts: list[object] | None = None,
) -> Bound:
    """The function that ``code`` defines, with its pieces bound; ``consts`` is None for code of engines without constants.

    A name without a callable is one whose piece is a function of the code. A module's ``forward`` is called directly
    where a call of the module would do nothing else; a hook that is registered later, or a ``forward`` that is set later
    on the module, counts from the next call on. Tracebacks and debuggers show the lines of the code.
    """
    trace_structured(
        "artifact",
        metadata_fn=lambda: {"name": "vllm_execution_code", "encoding": "string"},
        payload_fn=lambda: code,
    )
    filename = register_lines(_ENTRY, code)
    namespace: dict[str, Any] = {} if consts is None else {_CONSTS: consts}
    exec(compile(code, filename, "exec"), namespace)
    pieces: list[Any] = [submod_callables.get(name) for name in submod_names]
    modules = {
        index: piece
        for index, piece in enumerate(pieces)
        if isinstance(piece, torch.nn.Module) and _in_list(index) in code
    }
    function = _following_changes(namespace[_ENTRY], pieces, modules) if modules else namespace[_ENTRY]
    return partial(function, **{_SUBMODS: pieces})


def _following_changes(function: Bound, pieces: list[Any], modules: Mapping[int, torch.nn.Module]) -> Bound:
    """``function`` with the ``modules`` among its pieces called by the fastest way that is the same, chosen anew when a
    hook was registered or a ``forward`` set since the last call.

    ``RemovableHandle.next_id`` grows with every hook that is registered anywhere.
    """
    calls = ModuleCalls(pieces, modules)
    without_forward = _attributes_without(_FORWARD, modules.values())

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        nonlocal without_forward
        if calls.handles != RemovableHandle.next_id or any(
            map(dict.__contains__, without_forward, repeat(_FORWARD))
        ):
            calls.look()
            without_forward = _attributes_without(_FORWARD, modules.values())
        return function(*args, **kwargs)

    return call


def _attributes_without(name: str, modules: Iterable[torch.nn.Module]) -> list[dict[str, object]]:
    """The ``__dict__`` of each module that has no attribute ``name`` of its own."""
    return [vars(module) for module in modules if name not in vars(module)]


# -- the graph as data -------------------------------------------------------------------------------------------


def _key(number: int) -> str:
    """The path of a piece while the graph is lowered, which is the name of its function if it becomes one."""
    return f"{_INLINED}{number}"


def _number(key: str) -> int:
    return int(key.removeprefix(_INLINED))


def _in_list(number: int) -> str:
    """The text of a piece in the engine's list."""
    return f"{_SUBMODS}[{number}]"


def _stitching_data(
    split_gm: fx.GraphModule, pieces: Sequence[str], called: Mapping[str, object]
) -> GraphData:
    """The stitching graph with each piece under its number: its nodes if it is a GraphModule, else nothing."""
    data = open_graph(split_gm)
    records = {
        key: open_graph(piece).root if isinstance(piece, fx.GraphModule) else ModuleRecord(_PIECE)
        for key, piece in called.items()
    }
    keys = {path: _key(number) for number, path in enumerate(pieces)}
    nodes = tuple(_call_by_number(node, keys, records) for node in data.graph.nodes)
    root = replace(data.root, graph=Graph(nodes), convention=None)
    children = {**data.root.children, **{key: _named_by_nodes(record) for key, record in records.items()}}
    return GraphData(replace(_named_by_nodes(root), children=children), data.provenance)


def _call_by_number(node: Node, keys: Mapping[str, str], records: Mapping[str, ModuleRecord]) -> Node:
    """The call of a piece under its key, with keyword arguments renamed as its parameters are."""
    if node.op != "call_module":
        return node
    key = keys[str(node.target)]
    named = _own_parameters(records[key])
    kwargs = tuple([(named.get(name, name), value) for name, value in node.kwargs])
    return replace(node, target=key, kwargs=kwargs)


def _own_parameters(record: ModuleRecord) -> dict[str, str]:
    """The node name of each placeholder that is an ordinary parameter, by the name that callers use."""
    if record.graph is None or record.convention is not None or record.hooks:
        return {}
    single = [node for node in record.graph.placeholders if not str(node.target).startswith("*")]
    return {str(node.target): node.name for node in single}


def _named_by_nodes(record: ModuleRecord) -> ModuleRecord:
    """The record with parameters named as their nodes, as the engine names them."""
    named = _own_parameters(record)
    if record.graph is None or not named:
        return record
    nodes = tuple(
        replace(node, target=node.name) if node.op == "placeholder" and str(node.target) in named else node
        for node in record.graph.nodes
    )
    return replace(record, graph=Graph(nodes))


def _parameter_names(data: GraphData) -> frozenset[str]:
    """The names that parameters keep: where one hides a module of the code, say ``math``, what is of that module becomes
    a constant."""
    own = {
        name
        for record in (data.root, *data.root.children.values())
        if record
        for name in _own_parameters(record)
    }
    return frozenset(name for name in own if is_identifier(name)) - _FIXED_NAMES


# -- the text ----------------------------------------------------------------------------------------------------


class _Constants:
    """The constants of the code, each object once."""

    def __init__(self, values: list[object], index: dict[int, int]) -> None:
        self.values = values
        self._index = index

    def text(self, value: object) -> str:
        if id(value) not in self._index:
            self._index[id(value)] = len(self.values)
            self.values.append(value)
        return f"{_CONSTS}[{self._index[id(value)]}]"


class _Writer:
    """The text of values as the engine has it: entries of its constants and of its list of pieces."""

    def __init__(
        self, data: GraphData, program: Program, embedding: Embedding, constants: _Constants
    ) -> None:
        self._attributes = {
            id(value): (record.original, name)
            for _, record in data.root.walk()
            for name, value in record.attributes.items()
        }
        self._program = program
        self._hidden = embedding.free
        self._constants = constants

    def __call__(self, value: Operand) -> str:
        """The text of a value; '' where its text is that of any generated code."""
        match value:
            case Slot():
                return self._slot(value)
            case Local():
                return f"{_AS_MODULE}({text.identifier(value.name)})" if value.as_graph else ""
            case Live():
                return self._constants.text(value.value)
            case EnumMember():
                return self._constants.text(getattr(_resolved(value.cls), value.member))
            case Name():
                return self._constants.text(_resolved(value)) if _package(value) in self._hidden else ""
        is_hidden = type(value) is float and not math.isfinite(value) and "math" in self._hidden
        is_constant = type(value) in _ALWAYS_CONSTANTS or needs_slot(value) or is_hidden
        return self._constants.text(value) if is_constant else ""

    def _slot(self, slot: Slot) -> str:
        """The text of a table entry: a constant, a function of the code, or a piece in the engine's list."""
        if slot.table == "weights":
            return self._constants.text(self._program.weights[slot.index].tensor)
        if slot.table == "consts":
            module, name = self._attributes[id(self._program.consts[slot.index].value)]
            return self._constants.text(getattr(module, name))
        entry = self._program.submods[slot.index]
        live = None if entry.record is None else entry.record.original
        if entry.function is not None:
            return entry.function
        return _in_list(_number(entry.path)) if live is None else self._constants.text(live)


def _package(name: Name) -> str:
    """The first name in the text of a dotted name: its package, or the alias that the code imports it by."""
    return MODULE_ALIASES.get(name.module) or name.module.partition(".")[0]


def _resolved(name: Name) -> object:
    """The object of a name in a live graph, whose module is loaded."""
    return attrgetter(name.qualname)(sys.modules[name.module])


def _text(program: Program, with_submod: bool, writer: _Writer) -> str:
    functions = tuple(replace(function, tables=()) for function in program.functions)
    entry = _with_pieces(functions[-1]) if with_submod else functions[-1]
    program = replace(program, functions=(*functions[:-1], entry))
    options = GenerateOptions(comments=not program.submods)
    code = emit_functions(program, replace(TextScope.of(program), special=writer), _CONTAINER, options)
    imports = [f"container as {_CONTAINER}"] if program.containers else []
    imports += [f"{GRAPH_MODULE} as {_AS_MODULE}"] if f"{_AS_MODULE}(" in code else []
    return f"from fx2py.runtime import {', '.join(imports)}\n{code}" if imports else code


def _with_pieces(entry: Function) -> Function:
    """The entry with the list of pieces as a keyword-only parameter, before the one that takes all other keywords."""
    pieces = Parameter(_SUBMODS, _SUBMODS, "keyword_only")
    rest = tuple(parameter for parameter in entry.parameters if parameter.kind == "var_keyword")
    return replace(entry, parameters=(*(p for p in entry.parameters if p not in rest), pieces, *rest))
