"""Exported programs in the form that runs: state and mutation move from the signature into the graph.

An exported graph is pure: parameters, buffers and constants are inputs, and what is written to them are further
outputs. ``unlifted`` undoes that as ``ExportedProgram.module()`` does (torch/export/_unlift.py): such inputs become
get_attr nodes, such outputs trailing ``copy_`` calls. Both doors, the live object and the archive, end here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from fx2py.graph.data import (
    CallingConvention,
    Graph,
    GraphData,
    Node,
    Provenance,
    SampleInputs,
    Tree,
)
from fx2py.graph.values import CONTAINERS, OpName, Ref, Value, walk
from fx2py.read.convention import pytree_convention
from fx2py.read.exported.contract import contract_of
from fx2py.read.exported.program import LiftedInput, LiftedOutput, LiftedProgram
from fx2py.read.exported.state import with_state
from fx2py.read.exported.tokens import without_tokens
from fx2py.read.node_names import NodeNames

COPY = OpName("aten", "copy_", "default")


def graph_data(
    program: LiftedProgram,
    provenance: Provenance,
    sample_inputs: SampleInputs | None = None,
    notes: tuple[str, ...] = (),
) -> GraphData:
    """The exported program as ``ep.module()`` would run it; ValueError when graph and signature do not fit."""
    plain = program if program.keeps_tokens else without_tokens(program)
    if plain.root.graph is None:
        raise ValueError("the exported program has no graph")
    graph = _unlifted(plain.root.graph, plain.inputs, plain.outputs)
    return GraphData(
        root=with_state(replace(plain.root, graph=graph), plain),
        provenance=provenance,
        convention=calling_convention(plain.in_tree, plain.out_tree, plain.argument_names),
        contract=contract_of(plain, graph.placeholders),
        sample_inputs=sample_inputs,
        notes=notes,
    )


def calling_convention(in_tree: Tree, out_tree: Tree | None, names: Sequence[str] = ()) -> CallingConvention:
    """How the caller's arguments become placeholders; arguments without recorded names are ``arg_0``, ``arg_1``, ..."""
    kinds = [child.kind for child in in_tree.children]
    args, keys = (
        (in_tree.children[0].children, in_tree.children[1].keys)
        if kinds == ["tuple", "dict"]
        else (in_tree.children, ())
    )
    known = len(names) >= len(args)
    words = [names[index] if known else f"arg_{index}" for index in range(len(args))]
    return pytree_convention([*words, *map(str, keys)], in_tree, out_tree, in_tree.leaf_count)


def _unlifted(graph: Graph, inputs: Sequence[LiftedInput], outputs: Sequence[LiftedOutput]) -> Graph:
    placeholders = graph.placeholders
    if len(placeholders) != len(inputs):
        raise ValueError(f"the signature has {len(inputs)} inputs, the graph {len(placeholders)}")
    names = NodeNames(node.name for node in graph.nodes)
    readers = {
        node.name: replace(node, name=names.of_target(entry.path), op="get_attr", target=entry.path, args=())
        for node, entry in zip(placeholders, inputs, strict=True)
        if entry.path is not None
    }
    renamed = {old: Ref(node.name) for old, node in readers.items()}
    body = [
        readers[node.name] if node.name in readers else _renamed(node, renamed) for node in graph.nodes[:-1]
    ]
    mutable = {("state", str(node.target)): Ref(node.name) for node in readers.values()}
    mutable.update((("input", node.name), Ref(node.name)) for node in placeholders)
    result = _renamed(graph.nodes[-1], renamed)
    return Graph((*body, *_with_copies(result, outputs, mutable, names)))


def _renamed(node: Node, renamed: Mapping[str, Ref]) -> Node:
    """``node`` with the references to former placeholders led to the nodes that stand for them."""

    def change(value: Value) -> Value:
        return renamed.get(value.name, value) if type(value) is Ref else value

    return node.with_leaves(change)


def _with_copies(
    result: Node, outputs: Sequence[LiftedOutput], mutable: Mapping[Any, Ref], names: NodeNames
) -> Iterator[Node]:
    """The ``copy_`` calls that write back what was mutated, then the output node with the caller's results only.

    A result that is written back is returned as its copy, which is what aliases the mutated tensor.
    """
    values = [value for value in walk(*result.args) if type(value) not in CONTAINERS]
    if len(values) != len(outputs):
        raise ValueError(f"the signature has {len(outputs)} outputs, the graph {len(values)}")
    copies: dict[Ref, Ref] = {}
    returned: list[Value] = []
    for value, entry in zip(values, outputs, strict=True):
        if entry.mutates is None:
            returned.append(value)
            continue
        if (entry.mutates, entry.target) not in mutable:
            raise ValueError(
                f"the signature mutates the {entry.mutates} {entry.target!r}, which is not there"
            )
        written = mutable[entry.mutates, entry.target]
        node = Node(names.of_target("copy_.default"), "call_function", COPY, (written, value))
        if type(value) is Ref:
            copies[value] = Ref(node.name)
        yield node
    results = tuple([copies.get(value, value) if type(value) is Ref else value for value in returned])
    yield replace(result, args=(results,))
