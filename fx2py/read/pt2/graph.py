"""The graphs of an exported archive as nodes, nested graphs as child modules.

Names are those that the nodes had when the graph was saved. The format has one entry for an operator with several
results; here, as in FX, each result that the graph used is a ``getitem`` node behind the operator's own.
"""

from __future__ import annotations

from typing import Any

from fx2py.graph.data import Graph, ModuleRecord, Node, NodeMeta, SourceLine, SymMeta, TensorMeta, ValueMeta
from fx2py.graph.names import dotted_name
from fx2py.graph.symbols import expression_text
from fx2py.graph.values import GETITEM, Ref, Value
from fx2py.read.documents import exactly, field, optional, union
from fx2py.read.module_state import GRAPH_MODULE
from fx2py.read.node_names import NodeNames
from fx2py.read.origin import innermost_module, source_line
from fx2py.read.pt2.arguments import argument
from fx2py.read.pt2.types import DTYPES, coded, device_of
from fx2py.typed_json import Damaged

POSITIONAL, KEYWORD = 1, 2

_CONSTANT_INPUTS = frozenset({"as_int", "as_float", "as_bool", "as_none", "as_string"})
_NAMED_INPUTS = frozenset({"as_tensor", "as_custom_obj", "as_sym_int", "as_sym_float", "as_sym_bool"})
_RESULT_LISTS = frozenset({"as_tensors", "as_sym_ints", "as_sym_floats", "as_sym_bools"})
_HIGHER_ORDER = "torch.ops.higher_order."


def read_graph(record: Any, constant_names: dict[int, str] | None = None) -> ModuleRecord:
    """The graph that a ``Graph`` object describes; ``constant_names`` names inputs that are constants, by position.

    Raises Damaged with the place in the graph.
    """
    reader = _GraphReader(record)
    reader.read_inputs(field(record, "inputs", list), constant_names or {})
    for index, node in enumerate(field(record, "nodes", list)):
        try:
            reader.read_node(node)
        except Damaged as fault:
            raise Damaged(f"node {index} ({_target_of(node)}): {fault}") from None
    reader.read_outputs(field(record, "outputs", list), record.get("is_single_tensor_return") is True)
    return ModuleRecord(GRAPH_MODULE, Graph(tuple(reader.nodes)), children=reader.children)


def result_name(value: Any) -> str:
    """The name of a result: a tensor's or object's ``name``, a symbolic number's ``as_name``."""
    if type(value) is dict and "as_name" in value:
        return field(value, "as_name", str)
    return field(value, "name", str)


class _GraphReader:
    """One graph being read: its nodes so far, what their names are, and the nested graphs that they call."""

    def __init__(self, record: Any) -> None:
        self.nodes: list[Node] = []
        self.children: dict[str, ModuleRecord | None] = {}
        self._sources: dict[str, Any] = {}
        self._origins: dict[tuple[str, str], tuple[SourceLine | None, str]] = {}
        self._names = NodeNames()
        self._known: dict[str, Ref] = {}
        self._metas = _ValueMetas(record)

    def ref(self, name: Any) -> Ref:
        found = self._known.get(exactly(name, str))
        if found is None:
            raise Damaged(f"uses {name!r:.60}, which no earlier node computes")
        return found

    def knows(self, name: Any) -> bool:
        return name in self._known

    def graph(self, record: Any) -> Ref:
        """A nested graph becomes a child module, and the argument a node that reads it."""
        path, source = field(record, "name", str), field(record, "graph", dict)
        if path not in self.children:
            self._sources[path] = source
            self.children[path] = read_graph(source)
        elif self._sources[path] != source:
            raise Damaged(f"has two different nested graphs named {path!r:.60}")
        name = self._names.fresh(path)
        self.nodes.append(Node(name, "get_attr", path))
        return Ref(name)

    def read_inputs(self, inputs: list[Any], constant_names: dict[int, str]) -> None:
        for index, record in enumerate(inputs):
            choice, value = union(record)
            if choice in _CONSTANT_INPUTS:
                self._add_constant_input(constant_names.get(index) or f"arg{index}")
            elif choice in _NAMED_INPUTS:
                name = result_name(value)
                self._append(Node(name, "placeholder", name, meta=NodeMeta(self._metas.of(name))))
            else:
                raise Damaged(f"has the unknown kind of input {choice!r:.40}")

    def _add_constant_input(self, name: str) -> None:
        self.nodes.append(Node(self._names.fresh(name), "placeholder", name))

    def read_node(self, record: Any) -> None:
        target = field(record, "target", str)
        outputs = [union(output) for output in field(record, "outputs", list)]
        args, kwargs = self._arguments(field(record, "inputs", list))
        name, single = self._name_and_form(record, target, outputs)
        meta = self._origin(optional(record, "metadata", dict) or {}, self._result_meta(outputs, single))
        node = Node(name, "call_function", dotted_name(target), args, kwargs, meta)
        self._append(node)
        if not single and outputs:
            results = outputs[0][1] if _is_only_list(outputs) else outputs
            self._add_results(node, exactly(results, list))

    def _origin(self, metadata: dict[str, Any], value: ValueMeta) -> NodeMeta:
        """Where a node comes from; most nodes of a line share its texts, which are read once."""
        texts = (metadata.get("stack_trace") or "", metadata.get("nn_module_stack") or "")
        if texts not in self._origins:
            trace, stack = (exactly(text, str) for text in texts)
            self._origins[texts] = (source_line(trace), innermost_module(stack))
        return NodeMeta(value, *self._origins[texts])

    def _arguments(self, inputs: list[Any]) -> tuple[tuple[Value, ...], tuple[tuple[str, Value], ...]]:
        """As the call was written, which every version of the format that is read here records."""
        args: list[Value] = []
        kwargs: list[tuple[str, Value]] = []
        for record in inputs:
            name, kind = field(record, "name", str), record.get("kind")
            value = argument(record.get("arg"), self)
            if kind == POSITIONAL:
                args.append(value)
            elif kind == KEYWORD:
                kwargs.append((name, value))
            else:
                raise Damaged(f"does not say how argument {name!r:.40} is passed")
        return tuple(args), tuple(kwargs)

    def _name_and_form(self, record: Any, target: str, outputs: list[tuple[str, Any]]) -> tuple[str, bool]:
        """The node's name, and whether its one result is the node itself rather than an element of it."""
        in_tuple = target.startswith(_HIGHER_ORDER) and record.get("is_hop_single_tensor_return") is False
        single = len(outputs) == 1 and outputs[0][0] not in _RESULT_LISTS and not in_tuple
        if single and outputs[0][0] != "as_none":
            return result_name(outputs[0][1]), True
        return optional(record, "name", str) or self._names.of_target(target.rpartition(".ops.")[2]), single

    def _result_meta(self, outputs: list[tuple[str, Any]], single: bool) -> ValueMeta:
        if single:
            return self._metas.of_output(*outputs[0])
        if _is_only_list(outputs):
            return self._metas.of_output(*outputs[0])
        return tuple(self._metas.of_output(*output) for output in outputs) or None

    def _add_results(self, node: Node, results: list[Any]) -> None:
        """A getitem node for each result that the graph used; torch marks the others by their name."""
        for index, result in enumerate(results):
            choice, value = result if type(result) is tuple else ("as_tensor", result)
            if choice == "as_none":
                continue
            if choice in _RESULT_LISTS:
                self._add_list_result(node, index, exactly(value, list))
            elif result_name(value) != f"{node.name}_unused_{index}":
                self._add_getitem(node, index, result_name(value))

    def _add_list_result(self, node: Node, index: int, results: list[Any]) -> None:
        used = [
            (position, result_name(result))
            for position, result in enumerate(results)
            if result_name(result) != f"{node.name}_unused_{index}_{position}"
        ]
        if used:
            element = Node(self._names.fresh("getitem"), "call_function", GETITEM, (Ref(node.name), index))
            self.nodes.append(element)
            for position, name in used:
                self._add_getitem(element, position, name)

    def _add_getitem(self, node: Node, index: int, name: str) -> None:
        meta = NodeMeta(self._metas.of(name), node.meta.source, node.meta.module)
        self._append(Node(name, "call_function", GETITEM, (Ref(node.name), index), meta=meta))

    def _append(self, node: Node) -> None:
        if node.name in self._known:
            raise Damaged(f"defines {node.name!r:.60} twice")
        self._names.fresh(node.name)
        self._known[node.name] = Ref(node.name)
        self.nodes.append(node)

    def read_outputs(self, outputs: list[Any], single: bool) -> None:
        values = tuple([argument(output, self) for output in outputs])
        if single and len(values) != 1:
            raise Damaged("returns several values where it says that it returns one")
        name = self._names.fresh("output")
        self.nodes.append(Node(name, "output", "output", (values[0] if single else values,)))


class _ValueMetas:
    """What a graph records of its values, by name; each is read when it is asked for."""

    def __init__(self, record: Any) -> None:
        self._tensors = field(record, "tensor_values", dict)
        self._symbols = {
            "int": optional(record, "sym_int_values", dict) or {},
            "float": optional(record, "sym_float_values", dict) or {},
            "bool": optional(record, "sym_bool_values", dict) or {},
        }

    def of(self, name: str) -> ValueMeta:
        if name in self._tensors:
            return tensor_meta(self._tensors[name])
        for kind, table in self._symbols.items():
            if name in table:
                return SymMeta(kind, size_text(table[name]))  # type: ignore[arg-type]
        return None

    def of_output(self, choice: str, value: Any) -> ValueMeta:
        if choice == "as_none":
            return None
        if choice in _RESULT_LISTS:
            return tuple(self.of(result_name(item)) for item in exactly(value, list))
        return self.of(result_name(value))


def tensor_meta(record: Any) -> TensorMeta:
    """The recorded dtype, sizes, strides and device of a tensor."""
    return TensorMeta(
        coded(DTYPES, record.get("dtype") if type(record) is dict else None),
        tuple([size(item) for item in field(record, "sizes", list)]),
        device_of(record.get("device")),
        tuple([size(item) for item in field(record, "strides", list)]),
        record.get("requires_grad") is True,
    )


def size(record: Any) -> int | str:
    """One dimension: an int, or the text of its expression."""
    choice, value = union(record)
    return value if choice == "as_int" and type(value) is int else _expression(choice, value)


def size_text(record: Any) -> str:
    """A symbolic number as text, also where it is a plain one."""
    choice, value = union(record)
    return str(value) if type(value) in (int, float, bool) else _expression(choice, value)


def _expression(choice: str, value: Any) -> str:
    if choice != "as_expr":
        raise Damaged(f"has the unknown size {choice!r:.40}")
    try:
        return expression_text(field(value, "expr_str", str))
    except ValueError as error:
        raise Damaged(str(error)) from None


def _is_only_list(outputs: list[tuple[str, Any]]) -> bool:
    return len(outputs) == 1 and outputs[0][0] in _RESULT_LISTS


def _target_of(record: Any) -> str:
    target = record.get("target") if type(record) is dict else None
    return f"{target!s:.80}"
