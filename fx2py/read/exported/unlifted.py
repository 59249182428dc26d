"""Exported programs unlifted: state and mutation move from the signature into the graph.

An exported graph is functional: parameters, buffers and constants are inputs, and their new values are additional
outputs. ``graph_data`` undoes that as ``ExportedProgram.module()`` does (torch/export/_unlift.py): such inputs become
get_attr nodes, such outputs trailing ``copy_`` calls. The live object and the archive both end here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch

from fx2py.graph.data import (
    CallingConvention,
    Graph,
    GraphData,
    InputCheck,
    InputContract,
    ModuleRecord,
    Node,
    Provenance,
    SampleInputs,
    SymMeta,
    TensorMeta,
    Tree,
)
from fx2py.graph.values import CONTAINERS, Name, OpName, Ref, TensorValue, Value, walk
from fx2py.read.exported.program import LiftedInput, LiftedOutput, LiftedProgram
from fx2py.read.exported.tokens import without_tokens
from fx2py.read.node_names import NodeNames
from fx2py.read.pytree import pytree_convention

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
    """``node`` with each reference to a former placeholder replaced by the node that reads the state."""

    def change(value: Value) -> Value:
        return renamed.get(value.name, value) if type(value) is Ref else value

    return node.with_leaves(change)


def _with_copies(
    result: Node, outputs: Sequence[LiftedOutput], mutable: Mapping[tuple[str, str], Ref], names: NodeNames
) -> Iterator[Node]:
    """The ``copy_`` calls that write back what was mutated, then the output node with the caller's results only.

    A result that is written back is returned as the result of ``copy_``, since that is the mutated tensor itself.
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
        written = mutable.get((entry.mutates, entry.target or ""))
        if written is None:
            raise ValueError(
                f"the signature mutates the {entry.mutates} {entry.target!r}, which is not there"
            )
        node = Node(names.of_target("copy_.default"), "call_function", COPY, (written, value))
        if type(value) is Ref:
            copies[value] = Ref(node.name)
        yield node
    results = tuple([copies.get(value, value) if type(value) is Ref else value for value in returned])
    yield replace(result, args=(results,))


# -- state -------------------------------------------------------------------------------------------------------

MODULE = Name("torch.nn.modules.module", "Module")


@dataclass(slots=True)
class _Module:
    """A module being filled; ``record`` is set where the exported program already has one at this path."""

    record: ModuleRecord = field(default_factory=lambda: ModuleRecord(MODULE))
    children: dict[str, _Module] = field(default_factory=dict)
    parameters: dict[str, torch.Tensor | None] = field(default_factory=dict)
    buffers: dict[str, torch.Tensor | None] = field(default_factory=dict)
    non_persistent: set[str] = field(default_factory=set)
    attributes: dict[str, Value] = field(default_factory=dict)

    @property
    def has_parts(self) -> bool:
        return bool(self.children or self.parameters or self.buffers or self.attributes)

    def finished(self) -> ModuleRecord:
        if not self.has_parts:
            return self.record
        nested = {name: child.finished() for name, child in self.children.items()}
        return replace(
            self.record,
            children={**self.record.children, **nested},
            parameters={**self.record.parameters, **self.parameters},
            buffers={**self.record.buffers, **self.buffers},
            non_persistent=self.record.non_persistent | self.non_persistent,
            attributes={**self.record.attributes, **self.attributes},
        )


def with_state(root: ModuleRecord, program: LiftedProgram) -> ModuleRecord:
    """``root`` with the program's state at its dotted paths; ValueError where the state does not fit the signature.

    Constants never require gradients, as in ``ep.module()``; what was one tensor object stays one.
    """
    filled = _Module(root)
    detached: dict[int, torch.Tensor] = {}
    placed: set[str] = set()
    for entry in program.inputs:
        if entry.path is not None and entry.path not in placed:
            placed.add(entry.path)
            _place(filled, entry, _stored(program, entry), detached)
    for path, value in program.constants.items():
        if path not in placed:
            _place(filled, LiftedInput("object", path), value, detached)
    return filled.finished()


def _stored(program: LiftedProgram, entry: LiftedInput) -> Value | torch.Tensor:
    in_state = entry.kind == "parameter" or (entry.kind == "buffer" and entry.persistent)
    table: Mapping[str, Value | torch.Tensor] = program.state if in_state else program.constants
    if entry.path is None or entry.path not in table:
        raise ValueError(f"the {entry.kind} {entry.path!r} of the signature is not stored")
    return table[entry.path]


def _place(
    root: _Module, entry: LiftedInput, value: Value | torch.Tensor, detached: dict[int, torch.Tensor]
) -> None:
    *prefix, name = (entry.path or "").split(".")
    module = root
    for step in prefix:
        module = _child(module, step, entry)
    if not name or name in (*module.children, *module.record.children):
        raise ValueError(f"the {entry.kind} {entry.path!r} of the signature has the path of a module")
    if isinstance(value, torch.Tensor) and entry.kind == "parameter":
        module.parameters[name] = value
    elif isinstance(value, torch.Tensor) and entry.kind == "buffer":
        module.buffers[name] = value
        module.non_persistent.update(() if entry.persistent else (name,))
    elif isinstance(value, torch.Tensor):
        constant = value.detach() if value.requires_grad else value
        module.attributes[name] = TensorValue(detached.setdefault(id(value), constant))
    else:
        module.attributes[name] = value


def _child(module: _Module, step: str, entry: LiftedInput) -> _Module:
    if step in module.children:
        return module.children[step]
    if not step or any(step in table for table in _tensor_tables(module)):
        raise ValueError(f"the {entry.kind} {entry.path!r} of the signature lies inside a tensor")
    existing = module.record.children.get(step)
    child = _Module() if existing is None else _Module(existing)
    module.children[step] = child
    return child


def _tensor_tables(module: _Module) -> Iterator[Mapping[str, object]]:
    yield from (module.parameters, module.buffers, module.attributes)


# -- the input contract ------------------------------------------------------------------------------------------


def contract_of(program: LiftedProgram, placeholders: Sequence[Node]) -> InputContract:
    """The checks of every input of the caller; ``placeholders`` are those that remain in the unlifted graph."""
    inputs = [entry for entry in program.inputs if entry.path is None]
    checks = tuple(_check(node, entry) for node, entry in zip(placeholders, inputs, strict=True))
    return InputContract(checks, program.ranges, program.guards)


def _check(node: Node, entry: LiftedInput) -> InputCheck:
    recorded = node.meta.value
    if entry.kind == "constant":
        return InputCheck(node.name, constant=True, value=entry.value)
    if isinstance(recorded, TensorMeta):
        return InputCheck(node.name, shape=recorded.shape)
    if isinstance(recorded, SymMeta) and recorded.kind == "int":
        return InputCheck(node.name, symbol=recorded.expression)
    return InputCheck(node.name)
