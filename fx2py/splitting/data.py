"""Splitting: a graph becomes a stitching graph that calls its pieces, each a module of its own; data in, data out."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from fx2py.graph.data import Graph, GraphData, ModuleRecord, Node, NodeMeta, SymMeta
from fx2py.graph.values import GETITEM, Name, Ref, SymExpr, Value, references
from fx2py.operators.spelling import OpSpecs, each_of
from fx2py.splitting.pieces import Piece, cut, require_found

T = TypeVar("T")
_MODULE = Name("torch.nn.modules.module", "Module")


def split_data(data: GraphData, ops: OpSpecs, *, join: bool = False) -> GraphData:
    """The graph cut at every named operator: its root calls ``submod_0``, ``submod_1``, ... in the order of the graph.

    Each piece holds the state that it uses; tensors and modules that two pieces use stay shared. Raises SplitError
    when an operator is nowhere in the graph.
    """
    ops = each_of(ops)
    graph = _with_symbols_as_nodes(data.graph)
    require_found(data.root, graph, ops, data.provenance.path or "the graph")
    pieces = cut(data.root, graph, ops, join=join)
    nodes = {node.name: node for node in graph.nodes}
    names = piece_names(graph, len(pieces))
    stitching = Graph(tuple(_stitching_nodes(graph, pieces, names, nodes)))
    children = {
        name: _piece_record(piece, nodes, data.root) for name, piece in zip(names, pieces, strict=True)
    }
    own = _subset(data.root, stitching.nodes)
    root = replace(own, graph=stitching, children={**own.children, **children}, original=data.root.original)
    return replace(data, root=root)


def calls_graphs(data: GraphData) -> bool:
    """Whether the graph is in pieces already: it calls modules that are graphs."""
    called = (
        data.root.find_module(str(node.target)) for node in data.graph.nodes if node.op == "call_module"
    )
    return any(record is not None and record.graph is not None and not record.hooks for record in called)


def piece_names(graph: Graph, count: int) -> tuple[str, ...]:
    """``submod_0``, ``submod_1``, ..., but for names that the stitching graph reads from the root for its result."""
    returned = set(references(*graph.nodes[-1].operands)) if graph.nodes else set()
    taken = {
        str(node.target).partition(".")[0]
        for node in graph.nodes
        if node.op == "get_attr" and node.name in returned
    }
    numbers = (f"submod_{number}" for number in range(count + len(taken)))
    return tuple([name for name in numbers if name not in taken][:count])


def call_name(name: str, piece: Piece, nodes: Container[str]) -> str:
    """The name of the node that calls a piece: that of its only result, else one that no node has."""
    if len(piece.outputs) == 1:
        return piece.outputs[0]
    call = f"{name}_results"
    while call in nodes:
        call += "_"
    return call


def _with_symbols_as_nodes(graph: Graph) -> Graph:
    """The graph with each symbolic size in an argument as a use of the node that made it, so that it can be an input of
    a piece."""
    symbols: dict[str, Ref] = {}

    def named(part: Value) -> Value:
        return symbols.get(part.text, part) if type(part) is SymExpr else part

    nodes: list[Node] = []
    for node in graph.nodes:
        nodes.append(node.with_leaves(named))
        if isinstance(node.meta.value, SymMeta):
            symbols.setdefault(node.meta.value.expression, Ref(node.name))
    return Graph(tuple(nodes))


def _stitching_nodes(
    graph: Graph, pieces: tuple[Piece, ...], names: tuple[str, ...], nodes: Mapping[str, Node]
) -> Iterator[Node]:
    yield from graph.placeholders
    for name, piece in zip(names, pieces, strict=True):
        call = call_name(name, piece, nodes)
        args = tuple(Ref(used) for used in piece.inputs)
        results = tuple(nodes[made].meta.value for made in piece.outputs)
        meta = nodes[call].meta if len(results) == 1 else NodeMeta(value=results)
        yield Node(call, "call_module", name, args, meta=meta)
        if len(results) > 1:
            for index, made in enumerate(piece.outputs):
                yield Node(made, "call_function", GETITEM, (Ref(call), index), meta=nodes[made].meta)
    output = graph.nodes[-1]
    returned = set(references(*output.operands))
    yield from (node for node in graph.nodes if node.op == "get_attr" and node.name in returned)
    yield output


def _piece_record(piece: Piece, nodes: Mapping[str, Node], root: ModuleRecord) -> ModuleRecord:
    """A piece as a module: its inputs are placeholders, its state a part of the root's."""
    used = dict.fromkeys(name for node in piece.nodes for name in references(*node.operands))
    state = [nodes[name] for name in used if name in nodes and nodes[name].op == "get_attr"]
    inputs = [
        Node(name, "placeholder", name.lstrip("*"), meta=nodes[name].meta if name in nodes else NodeMeta())
        for name in piece.inputs
    ]
    body = (*inputs, *state, *piece.nodes, Node("output", "output", "output", (_result(piece),)))
    return replace(_subset(root, body), graph=Graph(body))


def _result(piece: Piece) -> Value:
    """What a piece returns: nothing, its one result, or a tuple of several."""
    results = tuple(Ref(name) for name in piece.outputs)
    return results if len(results) > 1 else next(iter(results), None)


@dataclass(slots=True)
class _Kept:
    """What is kept of a module: the names that are kept ``whole``, and ``parts`` of the modules below it."""

    parts: dict[str, _Kept] = field(default_factory=dict)
    whole: set[str] = field(default_factory=set)


def _subset(root: ModuleRecord, nodes: Iterable[Node]) -> ModuleRecord:
    """The root with only what the nodes refer to. A path where nothing stands is found missing when it is read."""
    kept = _Kept()
    for path in sorted({path for node in nodes for path in node.paths}, key=len):
        _keep(kept, path.split("."))
    return _restrict(root, kept)


def _keep(part: _Kept, words: list[str]) -> None:
    for word in words[:-1]:
        if word in part.whole:
            return
        part = part.parts.setdefault(word, _Kept())
    part.whole.add(words[-1])


def _restrict(record: ModuleRecord, kept: _Kept) -> ModuleRecord:
    children: dict[str, ModuleRecord | None] = {}
    for name, child in record.children.items():
        if name in kept.whole:
            children[name] = child
        elif name in kept.parts and child is not None:
            children[name] = replace(_restrict(child, kept.parts[name]), cls=_MODULE, graph=None)
    return ModuleRecord(
        cls=record.cls,
        training=record.training,
        parameters=_only(record.parameters, kept),
        buffers=_only(record.buffers, kept),
        non_persistent=record.non_persistent & kept.whole,
        children=children,
        attributes=_only(record.attributes, kept),
    )


def _only(table: Mapping[str, T], kept: _Kept) -> dict[str, T]:
    return {name: value for name, value in table.items() if name in kept.whole}
