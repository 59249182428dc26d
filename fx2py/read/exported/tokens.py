"""Effect tokens taken out of an exported program: ordered side effects become plain calls in graph order.

Source: torch/export/_remove_effect_tokens_pass.py. ``with_effects(token, op, *args)`` gives ``(token, *results)``.
"""

from __future__ import annotations

from dataclasses import replace

from fx2py.graph.data import Graph, ModuleRecord, Node
from fx2py.graph.values import GETITEM, OpName, Ref, Value
from fx2py.read.exported.program import LiftedProgram
from fx2py.read.node_names import NodeNames

WITH_EFFECTS = OpName("higher_order", "with_effects")
INVOKE_SUBGRAPH = OpName("higher_order", "invoke_subgraph")


def without_tokens(program: LiftedProgram) -> LiftedProgram:
    """The program without tokens; itself where it has none."""
    if not any(_has_effects(record) for _, record in program.root.walk()):
        return program
    return replace(
        program,
        root=_module_without_tokens(program.root),
        inputs=tuple(entry for entry in program.inputs if entry.kind != "token"),
        outputs=tuple(entry for entry in program.outputs if not entry.is_token),
    )


def _has_effects(record: ModuleRecord) -> bool:
    return record.graph is not None and any(node.target == WITH_EFFECTS for node in record.graph.nodes)


def _module_without_tokens(record: ModuleRecord) -> ModuleRecord:
    children = {
        name: None if child is None else _module_without_tokens(child)
        for name, child in record.children.items()
    }
    if record.graph is None:
        return replace(record, children=children)
    return replace(record, children=children, graph=_Removal(record).graph())


class _Removal:
    """One pass over a graph: which values are tokens, and what replaces the values that were renamed."""

    def __init__(self, record: ModuleRecord) -> None:
        self._record = record
        self._nodes = () if record.graph is None else record.graph.nodes
        self._graphs = {node.name: str(node.target) for node in self._nodes if node.op == "get_attr"}
        self._tokens: set[str] = set()
        self._names = NodeNames(node.name for node in self._nodes)
        self._calls: dict[str, Node] = {}
        self._replaced: dict[str, Value] = {}

    def graph(self) -> Graph:
        kept = [changed for node in self._nodes if (changed := self._changed(node)) is not None]
        return Graph(tuple(node for node in kept if node.name not in self._tokens))

    def _changed(self, node: Node) -> Node | None:
        if node.target == WITH_EFFECTS:
            if len(node.args) < 2:
                raise ValueError(f"{node.name} calls nothing with effects")
            return self._plain_call(node, node.args[1], node.args[2:])
        if node.target == INVOKE_SUBGRAPH and len(node.args) > 2 and self._calls_effects(node):
            self._take_token(node.args[2])
            self._calls[node.name] = node
            return self._renamed(replace(node, args=(*node.args[:2], *node.args[3:])))
        if node.target == GETITEM and len(node.args) == 2 and type(node.args[0]) is Ref:
            call = self._calls.get(node.args[0].name)
            return self._renamed(node) if call is None else self._element(node, call)
        if node.op == "output":
            return self._renamed(replace(node, args=(self._results(node.args[0]),)))
        return self._renamed(node)

    def _plain_call(self, node: Node, operator: Value, args: tuple[Value, ...]) -> Node:
        if type(operator) is not OpName:
            raise ValueError(f"{node.name} calls something other than an operator with effects")
        self._take_token(node.args[0])
        self._calls[node.name] = node
        recorded = node.meta.value
        values = recorded[1:] if isinstance(recorded, tuple) else ()
        meta = replace(node.meta, value=values[0] if len(values) == 1 else values or None)
        name = self._names.of_target(operator.path.partition(f".{operator.namespace}.")[2])
        self._replaced[node.name] = Ref(name)
        return self._renamed(replace(node, name=name, target=operator, args=args, meta=meta))

    def _element(self, node: Node, call: Node) -> Node | None:
        """An element of a call's result: the token is dropped, an only result is the call itself."""
        index = node.args[1]
        if type(index) is not int:
            raise ValueError(f"{node.name} takes element {index!r} of a call with effects")
        if index == 0:
            self._tokens.add(node.name)
            return None
        recorded = call.meta.value
        single = call.target == WITH_EFFECTS and isinstance(recorded, tuple) and len(recorded) == 2
        if single:
            self._replaced[node.name] = self._replaced[call.name]
            return None
        return self._renamed(replace(node, args=(Ref(call.name), index - 1)))

    def _take_token(self, token: Value) -> None:
        if type(token) is Ref:
            self._tokens.add(token.name)

    def _calls_effects(self, node: Node) -> bool:
        target = node.args[0]
        path = self._graphs.get(target.name) if type(target) is Ref else None
        child = None if path is None else self._record.children.get(path)
        return child is not None and _has_effects(child)

    def _results(self, results: Value) -> Value:
        if type(results) is not tuple:
            return results
        return tuple(value for value in results if not (type(value) is Ref and value.name in self._tokens))

    def _renamed(self, node: Node) -> Node:
        """``node`` with the results of calls by their new names; ValueError where it uses a token as a value."""
        if not self._calls:
            return node
        return node.with_leaves(self._current)

    def _current(self, value: Value) -> Value:
        if type(value) is not Ref:
            return value
        if value.name in self._tokens:
            raise ValueError(f"the effect token {value.name} is used as a value")
        return self._replaced.get(value.name, value)
