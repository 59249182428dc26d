"""Drop-in functions for engines that stitch compiled pieces the way vllm does: switch by changing an import.

Names, signatures and conventions are those of ``vllm.compilation`` (0.33): the code of ``execution_fn`` takes its
inputs in the order of the placeholders and its pieces as the list ``__vllm_submods__``; what has no text is an entry
of ``__vllm_consts__``, a global of the code. Pieces that are plain GraphModules become part of the code.
"""

from __future__ import annotations

import hashlib
import linecache
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch.fx as fx
from torch._logging._internal import trace_structured

from fx2py.emit.expressions import GRAPH_MODULE, Scope
from fx2py.emit.module import emit_functions
from fx2py.graph.data import Graph, GraphData, ModuleRecord, Node
from fx2py.graph.values import DefaultDevice, DeviceType, Live, Name
from fx2py.integrations.live_split import split_module
from fx2py.program.ir import Function, Parameter, Program, Slot
from fx2py.program.lower import lower
from fx2py.program.options import DEFAULT
from fx2py.read import open_graph

__all__ = [
    "SplitItem",
    "compile_execution_fn",
    "generate_execution_code",
    "generate_execution_code_with_name",
    "split_graph",
]

_SUBMODS, _CONSTS = "__vllm_submods__", "__vllm_consts__"
_ENTRY = "execution_fn"
_PIECE = Name("builtins", "object")
"""The class that is recorded of a piece that the engine calls: whatever it is, it is called as it is."""


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
    """The graph cut at the operators, and its pieces in order; operators that follow each other share a piece.

    Every piece returns a tuple, and sizes cross as numbers, as compilers of pieces want it. An operator that the graph
    does not hold cuts nothing.
    """
    stitched, pieces = split_module(graph, splitting_ops, join=True, strict=False, for_compilers=True)
    items = [
        SplitItem(piece.name, number, piece.is_named, piece.module) for number, piece in enumerate(pieces)
    ]
    return stitched, items


def generate_execution_code(split_gm: fx.GraphModule) -> tuple[str, list[str], list[Any]]:
    """The code that calls the pieces of a split graph, their names in the order of its list, and its constants."""
    return generate_execution_code_with_name(split_gm, _ENTRY, with_submod=True)


def generate_execution_code_with_name(
    split_gm: fx.GraphModule,
    fn_name: str,
    with_submod: bool,
    consts: list[Any] | None = None,
    const_index: dict[int, int] | None = None,
) -> tuple[str, list[str], list[Any]]:
    """As ``generate_execution_code``, for a function of another name, over constants that several codes share.

    Without ``with_submod`` the function takes no list of pieces; the modules that it calls are then constants too.
    Raises UnsupportedGraphError with every finding when the graph cannot be generated exactly.
    """
    pieces = list(dict.fromkeys(str(node.target) for node in split_gm.graph.find_nodes(op="call_module")))
    called = {_key(number): _current(split_gm, path) for number, path in enumerate(pieces)}
    program = lower(_stitching_data(split_gm, pieces, called))
    table = _Constants([] if consts is None else consts, {} if const_index is None else const_index)
    slots = _slots(program, called, with_submod, table)
    return _text(program, fn_name, with_submod, slots), pieces, table.values


def compile_execution_fn(
    code: str,
    submod_callables: Mapping[str, Callable[..., Any]],
    submod_names: Sequence[str],
    consts: list[Any] | None = None,
) -> Callable[..., Any]:
    """The function that ``code`` defines, with its pieces bound; code from before there were constants has none.

    A name without a callable is one whose piece is in the code. Tracebacks and debuggers show the lines of the code.
    """
    trace_structured(
        "artifact",
        metadata_fn=lambda: {"name": "vllm_execution_code", "encoding": "string"},
        payload_fn=lambda: code,
    )
    filename = f"<fx2py {_ENTRY} {hashlib.sha256(code.encode()).hexdigest()[:16]}>"
    linecache.cache[filename] = (len(code), None, code.splitlines(True), filename)
    namespace: dict[str, Any] = {} if consts is None else {_CONSTS: consts}
    exec(compile(code, filename, "exec"), namespace)
    return partial(namespace[_ENTRY], **{_SUBMODS: [submod_callables.get(name) for name in submod_names]})


def _current(split_gm: fx.GraphModule, path: str) -> Any:
    """What the path leads to now: an engine puts its compiled pieces in front of the modules of the graph."""
    found: Any = split_gm
    for part in path.split("."):
        found = getattr(found, part)
    return found


def _key(number: int) -> str:
    """The path of a piece while it is lowered; no attribute is called so."""
    return f"submods[{number}]"


def _stitching_data(split_gm: fx.GraphModule, pieces: Sequence[str], called: Mapping[str, Any]) -> GraphData:
    """The stitching graph with each piece under its number: its nodes if it is a GraphModule, else nothing."""
    data = open_graph(split_gm)
    keys = {path: _key(number) for number, path in enumerate(pieces)}
    children = {
        key: open_graph(piece).root if isinstance(piece, fx.GraphModule) else ModuleRecord(_PIECE)
        for key, piece in called.items()
    }
    nodes = tuple(_renamed(node, keys) for node in data.graph.nodes)
    root = replace(
        data.root, graph=Graph(nodes), children={**data.root.children, **children}, convention=None
    )
    return GraphData(root, data.provenance)


def _renamed(node: Node, keys: Mapping[str, str]) -> Node:
    if node.op == "call_module":
        return replace(node, target=keys[str(node.target)])
    is_plain_input = node.op == "placeholder" and not str(node.target).startswith("*")
    return replace(node, target=node.name) if is_plain_input else node


class _Constants:
    """The constants of the code, each object once."""

    def __init__(self, values: list[Any], index: dict[int, int]) -> None:
        self.values = values
        self._index = index

    def text(self, value: Any) -> str:
        if id(value) not in self._index:
            self._index[id(value)] = len(self.values)
            self.values.append(value)
        return f"{_CONSTS}[{self._index[id(value)]}]"


def _slots(
    program: Program, called: Mapping[str, Any], with_submod: bool, constants: _Constants
) -> dict[Slot, str]:
    """The text of each table entry: a piece in the engine's list, or a constant."""
    slots: dict[Slot, str] = {}
    for index, weight in enumerate(program.weights):
        slots[Slot("weights", index)] = constants.text(weight.tensor)
    for index, constant in enumerate(program.consts):
        slots[Slot("consts", index)] = constants.text(_object(constant.value))
    positions = {key: number for number, key in enumerate(called)}
    for index, entry in enumerate(program.submods):
        live = None if entry.record is None else entry.record.live
        in_list = with_submod and live is None
        text = (
            f"{_SUBMODS}[{positions[entry.path]}]" if in_list else constants.text(live or called[entry.path])
        )
        slots[Slot("submods", index)] = text
    return slots


def _object(value: Any) -> Any:
    """The object that a constant of a live graph is."""
    if type(value) is Live:
        return value.value
    if type(value) is DeviceType:
        return value.type
    return None if type(value) is DefaultDevice else value


def _text(program: Program, fn_name: str, with_submod: bool, slots: Mapping[Slot, str]) -> str:
    functions = tuple(replace(function, tables=()) for function in program.functions)
    entry = replace(functions[-1], name=fn_name)
    program = replace(program, functions=(*functions[:-1], _with_pieces(entry) if with_submod else entry))

    def slot_text(value: Any) -> str:
        return slots[value] if type(value) is Slot else ""

    code = emit_functions(program, replace(Scope.of(program), special=slot_text), DEFAULT)
    needed = [name for name in ("container", GRAPH_MODULE) if f"{name}(" in code]
    return f"from fx2py.runtime import {', '.join(needed)}\n{code}" if needed else code


def _with_pieces(entry: Function) -> Function:
    """The entry with the list of pieces as a keyword-only parameter, before the one that takes all other keywords."""
    pieces = Parameter(_SUBMODS, _SUBMODS, "keyword_only")
    rest = tuple(parameter for parameter in entry.parameters if parameter.kind == "var_keyword")
    return replace(entry, parameters=(*(p for p in entry.parameters if p not in rest), pieces, *rest))
