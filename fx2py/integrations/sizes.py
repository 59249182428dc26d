"""Sizes of tensors as numbers: a ``torch.Size`` cannot be an input or a result of a piece that a compiler gets."""

from __future__ import annotations

import operator
from typing import Any

import torch
import torch.fx as fx

_SIZE_OF = torch.ops.aten.sym_size.int


def with_sizes_as_numbers(gm: fx.GraphModule) -> fx.GraphModule:
    """``gm`` with each ``x.size()`` whose tensor is recorded as one node for each symbolic dimension; else ``gm`` itself."""
    if not any(_recorded(node) is not None for node in gm.graph.nodes):
        return gm
    changed = fx.GraphModule(gm, _copied(gm.graph))
    changed.meta, changed.training = dict(gm.meta), gm.training
    for node in list(changed.graph.nodes):
        sizes = _recorded(node)
        if sizes is not None:
            _replace(node, sizes)
    return changed


def _copied(graph: fx.Graph) -> fx.Graph:
    copied = fx.Graph()
    made: dict[fx.Node, fx.Node] = {}
    for node in graph.nodes:
        made[node] = copied.node_copy(node, made.__getitem__)
    copied.set_codegen(graph._codegen)
    return copied


def _recorded(node: fx.Node) -> Any:
    """The recorded sizes that a node asks for as a whole; None for any other node."""
    if node.op != "call_method" or node.target != "size" or len(node.args) != 1 or node.kwargs:
        return None
    tensor = node.args[0].meta.get("example_value") if isinstance(node.args[0], fx.Node) else None
    return tensor.shape if isinstance(tensor, torch.Tensor) else None


def _replace(node: fx.Node, sizes: Any) -> None:
    graph, tensor = node.graph, node.args[0]
    numbers: list[Any] = []
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


def _use_numbers(user: fx.Node, size: fx.Node, numbers: tuple[Any, ...]) -> None:
    """Give a user the numbers: the one that it takes, all of them as an argument, or a size made of them."""
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


def _replace_argument(user: fx.Node, old: fx.Node, new: Any) -> None:
    def exchanged(part: Any) -> Any:
        return new if part is old else part

    user.args = fx.node.map_aggregate(user.args, exchanged)
    user.kwargs = fx.node.map_aggregate(user.kwargs, exchanged)
