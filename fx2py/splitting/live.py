"""Splitting a live GraphModule: the same pieces as of its data, built from its own nodes and modules."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.fx as fx
from torch.fx.node import Argument

from fx2py.graph.values import references
from fx2py.operators.spelling import OpSpecs, each_of
from fx2py.program.identifiers import distinct_identifiers
from fx2py.read import open_graph
from fx2py.splitting.data import call_name, piece_names
from fx2py.splitting.pieces import Piece, cut, require_found

_RECORDED = ("example_value", "val")
"""Where a node's meta has the value that it had when it was traced: put there by dynamo, and by export and make_fx."""
_SIZE_OF = torch.ops.aten.sym_size.int


@dataclass(frozen=True, slots=True)
class LivePiece:
    """A piece of a live graph: its name in the stitching graph, its module, and whether a named operator is in it."""

    name: str
    module: fx.GraphModule
    is_named: bool


def split_module(
    gm: fx.GraphModule,
    ops: OpSpecs,
    *,
    join: bool = False,
    strict: bool = True,
    for_compilers: bool = False,
    whole_modes_from: bool | None = None,
) -> tuple[fx.GraphModule, tuple[LivePiece, ...]]:
    """The stitching GraphModule of ``gm`` cut at the named operators, and its pieces in order.

    Weights and modules are those of ``gm`` itself. ``join`` puts adjacent named operators into one piece;
    ``for_compilers`` makes every piece return a tuple and sizes cross borders as integers. ``whole_modes_from`` is that
    of ``cut``. Raises SplitError when ``strict`` and an operator is nowhere in the graph.
    """
    ops = each_of(ops)
    gm = with_sizes_as_integers(gm) if for_compilers else gm
    data = open_graph(gm)
    if strict:
        require_found(data.root, data.graph, ops, "the graph")
    pieces = cut(data.root, data.graph, ops, join=join, whole_modes_from=whole_modes_from)
    names = piece_names(data.graph, len(pieces))
    nodes = {node.name: node for node in gm.graph.nodes}
    built = tuple(
        LivePiece(name, _piece_module(gm, piece, nodes, for_compilers), piece.is_named)
        for name, piece in zip(names, pieces, strict=True)
    )
    return _stitching_module(gm, pieces, built, nodes, for_compilers), built


def _piece_module(
    gm: fx.GraphModule, piece: Piece, nodes: dict[str, fx.Node], as_tuple: bool
) -> fx.GraphModule:
    graph = fx.Graph()
    parameters = zip(piece.inputs, distinct_identifiers(piece.inputs), strict=True)
    made = {nodes[name]: _placeholder(graph, nodes[name], parameter) for name, parameter in parameters}
    used = dict.fromkeys(name for node in piece.nodes for name in references(*node.operands))
    state = (nodes[name] for name in used if nodes[name].op == "get_attr")
    for node in (*state, *(nodes[node.name] for node in piece.nodes)):
        made[node] = graph.node_copy(node, made.__getitem__)
    results = tuple([made[nodes[name]] for name in piece.outputs])
    graph.output(results if as_tuple or len(results) > 1 else (results or (None,))[0])
    return fx.GraphModule(gm, graph)


def _placeholder(graph: fx.Graph, source: fx.Node, parameter: str) -> fx.Node:
    node = graph.create_node("placeholder", parameter, name=source.name, type_expr=source.type)
    node.meta = dict(source.meta)
    return node


def _stitching_module(
    gm: fx.GraphModule,
    pieces: tuple[Piece, ...],
    built: tuple[LivePiece, ...],
    nodes: dict[str, fx.Node],
    as_tuples: bool,
) -> fx.GraphModule:
    graph = fx.Graph()
    made = {node: graph.node_copy(node) for node in gm.graph.find_nodes(op="placeholder")}
    for piece, live in zip(pieces, built, strict=True):
        args = tuple([made[nodes[name]] for name in piece.inputs])
        made.update(_call(graph, piece, live.name, args, nodes, as_tuples))
    output = gm.graph.output_node()
    for node in output.all_input_nodes:
        if node.op == "get_attr":
            made[node] = graph.node_copy(node)
    graph.node_copy(output, made.__getitem__)
    graph.set_codegen(
        gm.graph._codegen
    )  # of an exported module, it flattens arguments and unflattens the result
    state = {
        str(node.target): operator.attrgetter(str(node.target))(gm)
        for node in graph.find_nodes(op="get_attr")
    }
    stitched = fx.GraphModule({**{live.name: live.module for live in built}, **state}, graph)
    stitched.training = gm.training
    stitched.meta = dict(gm.meta)
    return stitched


def _call(
    graph: fx.Graph,
    piece: Piece,
    name: str,
    args: tuple[fx.Node, ...],
    nodes: dict[str, fx.Node],
    as_tuple: bool,
) -> Iterator[tuple[fx.Node, fx.Node]]:
    """Add the call of a piece; yields each node whose value leaves the piece, with the new node of that value."""
    wanted = f"{name}_results" if as_tuple else call_name(name, piece, nodes)
    call = graph.create_node("call_module", name, args, name=wanted)
    if len(piece.outputs) == 1 and not as_tuple:
        call.meta = dict(nodes[piece.outputs[0]].meta)
        yield nodes[piece.outputs[0]], call
        return
    for key in _RECORDED:
        if all(key in nodes[made].meta for made in piece.outputs):
            call.meta[key] = tuple([nodes[made].meta[key] for made in piece.outputs])
    for index, made in enumerate(piece.outputs):
        item = graph.create_node("call_function", operator.getitem, (call, index), name=made)
        item.meta = dict(nodes[made].meta)
        yield nodes[made], item


# -- sizes as integers: a compiled piece can neither take nor return a ``torch.Size``


def with_sizes_as_integers(gm: fx.GraphModule) -> fx.GraphModule:
    """``gm`` with each ``x.size()`` of a recorded tensor replaced by one ``sym_size`` node for each symbolic dimension.

    That is ``gm`` itself when there is none.
    """
    if not any(_recorded_sizes(node) is not None for node in gm.graph.nodes):
        return gm
    changed = fx.GraphModule(gm, _copy(gm.graph))
    changed.meta, changed.training = dict(gm.meta), gm.training
    for node in list(changed.graph.nodes):
        sizes = _recorded_sizes(node)
        if sizes is not None:
            _replace_size(node, sizes)
    return changed


def _copy(graph: fx.Graph) -> fx.Graph:
    copied = fx.Graph()
    made: dict[fx.Node, fx.Node] = {}
    for node in graph.nodes:
        made[node] = copied.node_copy(node, made.__getitem__)
    copied.set_codegen(graph._codegen)
    return copied


def _recorded_sizes(node: fx.Node) -> torch.Size | None:
    """The recorded sizes of ``x.size()``; None for any other node, ``x.size(0)`` among them."""
    if node.op != "call_method" or node.target != "size" or len(node.args) != 1 or node.kwargs:
        return None
    tensor = node.args[0].meta.get("example_value") if isinstance(node.args[0], fx.Node) else None
    return tensor.shape if isinstance(tensor, torch.Tensor) else None


def _replace_size(node: fx.Node, sizes: torch.Size) -> None:
    graph, tensor = node.graph, node.args[0]
    numbers: list[int | fx.Node] = []
    with graph.inserting_before(node):
        for dimension, size in enumerate(sizes):
            if not isinstance(size, int):
                made = graph.call_function(_SIZE_OF, (tensor, dimension))
                made.meta = {**node.meta, "example_value": size}
                numbers.append(made)
            else:
                numbers.append(size)
    for user in list(node.users):
        _use_numbers(user, node, tuple(numbers))
    graph.erase_node(node)


def _use_numbers(user: fx.Node, size: fx.Node, numbers: tuple[int | fx.Node, ...]) -> None:
    """Replace ``size`` in a user: an item by its number, an argument by all, anything else by a ``torch.Size`` of them."""
    if user.target is operator.getitem and user.args[0] is size and type(user.args[1]) is int:
        for reader in list(user.users):
            _replace_argument(reader, user, numbers[user.args[1]])
        user.graph.erase_node(user)
    elif user.op.startswith("call_") and user.args[:1] != (size,):
        _replace_argument(user, size, numbers)
    else:
        with user.graph.inserting_before(user):
            made = user.graph.call_function(torch.Size, (list(numbers),))
        made.meta = dict(size.meta)
        user.replace_input_with(size, made)


def _replace_argument(user: fx.Node, old: fx.Node, new: Argument) -> None:
    def exchanged(part: Argument) -> Argument:
        return new if part is old else part

    user.args = fx.node.map_aggregate(user.args, exchanged)
    user.kwargs = fx.node.map_aggregate(user.kwargs, exchanged)
