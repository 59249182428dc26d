"""State that is a tensor subclass, as torchao's quantized weights are, taken apart into the tensors inside it.

Tracing leaves no operator of the class in the graph: it takes the tensors out with ``export.access_subclass_inner_tensor``
and computes with them (torch/_export/passes, torch/_functorch/_aot_autograd/subclass_utils.py). So the class itself is not
needed to run the graph: each such call becomes an input that stands for the inner tensor.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch

from fx2py.graph.data import Node
from fx2py.graph.values import OpName, Ref, Value, references
from fx2py.read.exported.program import LiftedInput, LiftedProgram

ACCESS = OpName("export", "access_subclass_inner_tensor", "default")


class UsedAsWholeError(ValueError):
    """The graph does with a tensor subclass what only its class can tell."""


@dataclass(frozen=True, slots=True, eq=False)
class Subclass:
    """A tensor of another class than torch's own: the path of its class, and what it holds, by attribute."""

    cls: str
    parts: Mapping[str, torch.Tensor | Subclass]


def without_subclasses(program: LiftedProgram, found: Mapping[str, Subclass]) -> LiftedProgram:
    """The program with the inner tensors of the state ``found``, by dotted path, as state of their own.

    Raises UsedAsWholeError where the graph does more with one than to take tensors out of it.
    """
    if not found or program.root.graph is None:
        return program
    apart = _TakenApart(program, found)
    graph = replace(program.root.graph, nodes=(*apart.placeholders, *apart.body))
    return replace(
        program,
        root=replace(program.root, graph=graph),
        inputs=tuple(apart.inputs),
        state={**program.state, **apart.state},
    )


class _TakenApart:
    """One pass over a lifted graph: its placeholders with what each stands for, its body, and the state of inner tensors."""

    def __init__(self, program: LiftedProgram, found: Mapping[str, Subclass]) -> None:
        assert program.root.graph is not None
        nodes = program.root.graph.nodes
        first = len(program.root.graph.placeholders)
        if first != len(program.inputs):
            raise ValueError(f"the signature has {len(program.inputs)} inputs, the graph {first}")
        self.placeholders: list[Node] = []
        self.inputs: list[LiftedInput] = []
        self.body: list[Node] = []
        self.state: dict[str, torch.Tensor] = {}
        self._whole: dict[str, tuple[str, Subclass]] = {}
        self._inner: dict[str, str] = {}
        self._renamed: dict[str, str] = {}
        for node, entry in zip(nodes[:first], program.inputs, strict=True):
            if entry.path is not None and entry.path in found:
                self._whole[node.name] = (entry.path, found[entry.path])
            else:
                self._add_input(node, entry)
        for node in nodes[first:]:
            self._add(node)

    def _add_input(self, node: Node, entry: LiftedInput) -> None:
        self.placeholders.append(node)
        self.inputs.append(entry)

    def _add(self, node: Node) -> None:
        if node.target == ACCESS and len(node.args) == 2 and _name_of(node.args[0]) in self._whole:
            self._take(node, *node.args)
            return
        for name in references(*node.operands):
            if name in self._whole:
                path, whole = self._whole[name]
                raise UsedAsWholeError(f"{node.name} uses {path}, of the class {whole.cls}, as a whole.")
        self.body.append(node.with_leaves(self._own))

    def _take(self, node: Node, whole: Value, attribute: Value) -> None:
        """The inner tensor in place of the node that takes it out; the first such node gives it its name."""
        outer, holder = self._whole[_name_of(whole)]
        if not isinstance(attribute, str):
            raise ValueError(f"{node.name} takes something without a name out of {outer}")
        part = holder.parts.get(attribute)
        path = f"{outer}.{attribute}"
        if isinstance(part, Subclass):
            self._whole[node.name] = (path, part)
        elif part is None:
            raise ValueError(f"{node.name} takes {attribute:.40} out of {outer}, which has no such tensor")
        elif path in self._inner:
            self._renamed[node.name] = self._inner[path]
        else:
            self._inner[path] = node.name
            self.state[path] = part
            taken = replace(node, op="placeholder", target=node.name, args=())
            self._add_input(taken, LiftedInput("buffer", path))

    def _own(self, value: Value) -> Value:
        return Ref(self._renamed[value.name]) if type(value) is Ref and value.name in self._renamed else value


def _name_of(value: Value) -> str:
    return value.name if type(value) is Ref else ""
