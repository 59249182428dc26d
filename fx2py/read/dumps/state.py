"""The state that a printed graph reads but does not hold, turned into inputs of the graph."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import torch

from fx2py.graph.data import Graph, ModuleRecord, Node, ValueMeta
from fx2py.graph.values import Ref, Value
from fx2py.read.forward.values import ForwardFault
from fx2py.read.module_state import GRAPH_MODULE
from fx2py.read.node_names import NodeNames


@dataclass(frozen=True, slots=True, eq=False)
class Lifted:
    """A printed graph whose first placeholders, ``state``, are what it read from its module."""

    record: ModuleRecord
    graph: Graph
    state: tuple[Node, ...]


def lift_state(
    graph: Graph,
    children: Mapping[str, Lifted],
    metas: Mapping[str, ValueMeta],
    constants: Mapping[str, torch.Tensor],
) -> Lifted:
    """``graph`` with each attribute that no printed graph stands for as a placeholder, in order of first use.

    A call of a printed graph passes on what that one reads. ForwardFault for an operand of a higher-order operator
    that reads state of its own, since nothing can be passed to it. ``metas`` says what is known of attributes; ``constants`` are those whose values the
    text holds, which stay what they are.
    """
    lifting = _Lifting(graph, children, metas, constants)
    nodes = [changed for node in graph.nodes for changed in lifting.node(node)]
    state = tuple(lifting.state.values())
    lifted = Graph((*state, *nodes))
    records = {name: child.record for name, child in children.items()}
    record = ModuleRecord(GRAPH_MODULE, graph=lifted, buffers=dict(constants), children=records)
    return Lifted(record, lifted, state)


class _Lifting:
    """Rewrites the nodes of one graph."""

    def __init__(
        self,
        graph: Graph,
        children: Mapping[str, Lifted],
        metas: Mapping[str, ValueMeta],
        constants: Mapping[str, torch.Tensor],
    ) -> None:
        self.state: dict[str, Node] = {}
        self._children = children
        self._metas = metas
        self._constants = constants
        self._renamed: dict[str, str] = {}
        self._targets = NodeNames(str(node.target).lstrip("*") for node in graph.placeholders)
        self._names = NodeNames(node.name for node in graph.nodes)

    def node(self, node: Node) -> Iterator[Node]:
        """What stands in the place of a node."""
        child = self._children.get(str(node.target)) if node.op in ("get_attr", "call_module") else None
        if node.op == "get_attr" and node.target in self._constants:
            yield node
        elif node.op == "get_attr" and child is None:
            placeholder = self._input(str(node.target), node)
            self._renamed[node.name] = placeholder.name
        elif child is not None and child.state:
            if node.op == "get_attr":
                raise ForwardFault(
                    f"the graph {node.target} reads {child.state[0].target}, which the text does not hold"
                )
            passed = tuple([Ref(self._passed(str(node.target), inner).name) for inner in child.state])
            yield self._in_new_names(replace(node, args=(*passed, *node.args)))
        else:
            yield self._in_new_names(node)

    def _passed(self, path: str, inner: Node) -> Node:
        return self._input(f"{path}.{inner.target}", replace(inner, name=self._names.fresh(inner.name)))

    def _input(self, path: str, node: Node) -> Node:
        """The placeholder of an attribute, which takes the name of the first node that reads it."""
        if path not in self.state:
            target = self._targets.fresh(node.name)
            known = self._metas.get(path)
            meta = node.meta if known is None else replace(node.meta, value=known)
            self.state[path] = Node(node.name, "placeholder", target, meta=meta)
        return self.state[path]

    def _in_new_names(self, node: Node) -> Node:
        """The node with its references to attributes led to their placeholders."""
        if not self._renamed:
            return node

        def follow(value: Value) -> Value:
            return Ref(self._renamed.get(value.name, value.name)) if type(value) is Ref else value

        return node.with_leaves(follow)
