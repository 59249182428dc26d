"""The graphs of an exported archive as nodes, nested graphs as child modules, and the arguments of nodes as values.

Names are those that the nodes had when the graph was saved. The format has one entry for an operator with several
results; here, as in FX, each result that the graph used is a ``getitem`` node after the operator's own. Which class a
sequence had is not in the format: like torch's own reader (``GraphModuleDeserializer`` of torch/_export/serde/serialize.py),
every list is a list, and a list of integer lists is a list of tuples (launch grids).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import TypeAlias

from fx2py.graph.data import (
    Graph,
    ModuleRecord,
    Node,
    NodeMeta,
    NumberKind,
    SymMeta,
    TensorMeta,
    ValueMeta,
)
from fx2py.graph.names import dotted_name
from fx2py.graph.values import GETITEM, Dict, List, Opaque, Ref, Value
from fx2py.read.module_state import GRAPH_MODULE
from fx2py.read.node_names import NodeNames
from fx2py.read.origin import module_stack, source_line
from fx2py.read.pt2 import schema
from fx2py.read.pt2.schema import (
    DTYPES,
    LAYOUTS,
    MEMORY_FORMATS,
    coded,
    device_of,
    number_text,
    size_of,
)
from fx2py.read.pytree import class_name
from fx2py.typed_json import Choice, Damaged, each, exact, field, reader, typed

POSITIONAL, KEYWORD = 1, 2
"""``ArgumentKind`` of the schema."""
CONSTANTS: dict[str, type[int | float | bool | str]] = {
    "as_int": int,
    "as_float": float,
    "as_bool": bool,
    "as_string": str,
}
_CONSTANT_INPUTS = frozenset({*CONSTANTS, "as_none"})
_NAMED_INPUTS = frozenset({"as_tensor", "as_custom_obj", "as_sym_int", "as_sym_float", "as_sym_bool"})
_RESULT_LISTS = frozenset({"as_tensors", "as_sym_ints", "as_sym_floats", "as_sym_bools"})
_HIGHER_ORDER = "torch.ops.higher_order."


def read_graph(graph: schema.SavedGraph, constant_names: dict[int, str] | None = None) -> ModuleRecord:
    """A graph and the graphs nested in it; ``constant_names`` names inputs that are constants, by position.

    Raises Damaged with the place in the graph.
    """
    made = _GraphReader(graph)
    made.read_inputs(graph.inputs, constant_names or {})
    for index, node in enumerate(graph.nodes):
        try:
            made.read_node(_NODE(node))
        except Damaged as fault:
            raise Damaged(f"node {index} ({_target_of(node)}): {fault}") from None
    made.read_outputs(graph.outputs, graph.is_single_tensor_return)
    return ModuleRecord(GRAPH_MODULE, Graph(tuple(made.nodes)), children=made.children)


def _operator_name(target: str) -> str:
    """What ``torch.fx`` calls a node after (``_target_to_str`` of torch/fx/graph.py): files of torch 2.10 lack its name."""
    return target.rpartition(".ops.")[2].partition(".")[2] or target


def _name_in_unused(outputs: tuple[Choice, ...]) -> str | None:
    """The node's name, from that of a result which nothing uses: ``split_unused_1`` (``serialize_tensor_output``)."""
    for name, suffix in _results(outputs):
        if name.endswith(suffix):
            return name.removesuffix(suffix)
    return None


def _results(outputs: tuple[Choice, ...]) -> Iterator[tuple[str, str]]:
    """The name of each result, and what follows the node's name in it if nothing uses the result."""
    for index, result in enumerate(outputs):
        if result.tag in _RESULT_LISTS:
            place = () if _is_only_list(outputs) else (index,)
            for position, name in enumerate(each(result_name, result.value)):
                yield name, _unused("", *place, position)
        elif result.tag != "as_none":
            yield result_name(result.value), _unused("", index)


def _unused(node: str, *place: int) -> str:
    """What torch calls the result of a node at ``place`` if nothing uses it."""
    return "_".join([node, "unused", *map(str, place)])


def result_name(value: object) -> str:
    """The name of a result: a tensor's or object's ``name``, a symbolic number's ``as_name``."""
    return field(value, "as_name" if type(value) is dict and "as_name" in value else "name", str)


class _GraphReader:
    """One graph being read: its nodes so far, what their names are, and the nested graphs that they call."""

    def __init__(self, graph: schema.SavedGraph) -> None:
        self.nodes: list[Node] = []
        self.children: dict[str, ModuleRecord | None] = {}
        self._sources: dict[str, object] = {}
        # The nodes of one line share its text, and so do those of a module: each text is parsed once.
        self._source_line, self._module_stack = cache(source_line), cache(module_stack)
        self._names = NodeNames()
        self._known: dict[str, Ref] = {}
        self._metas = _ValueMetas(graph)

    def ref(self, name: str) -> Ref:
        found = self._known.get(name)
        if found is None:
            raise Damaged(f"uses {name!r:.60}, which no earlier node computes")
        return found

    def knows(self, name: str) -> bool:
        return name in self._known

    def graph(self, argument: object) -> Ref:
        """A nested graph becomes a child module, and the argument a node that reads it."""
        path, nested = field(argument, "name", str), field(argument, "graph", object)
        if path not in self.children:
            self._sources[path] = nested
            self.children[path] = read_graph(typed(schema.SavedGraph, nested))
        elif self._sources[path] != nested:
            raise Damaged(f"has two different nested graphs named {path!r:.60}")
        name = self._new_name(path)
        self.nodes.append(Node(name, "get_attr", path))
        return Ref(name)

    def read_inputs(self, inputs: tuple[Choice, ...], constant_names: dict[int, str]) -> None:
        for index, given in enumerate(inputs):
            if given.tag in _CONSTANT_INPUTS:
                self._add_constant_input(constant_names.get(index) or f"arg{index}")
            elif given.tag in _NAMED_INPUTS:
                name = result_name(given.value)
                self._append(Node(name, "placeholder", name, meta=NodeMeta(self._metas.of(name))))
            else:
                raise Damaged(f"has the unknown kind of input {given.tag!r:.40}")

    def _add_constant_input(self, name: str) -> None:
        self.nodes.append(Node(self._new_name(name), "placeholder", name))

    def read_node(self, call: schema.SavedNode) -> None:
        args, kwargs = self._arguments(call.inputs)
        name, single = self._name_and_form(call)
        meta = self._origin(call.metadata or {}, self._result_meta(call.outputs, single))
        node = Node(name, "call_function", dotted_name(call.target), args, kwargs, meta)
        self._append(node)
        if not single and _is_only_list(call.outputs):
            for index, result in enumerate(each(result_name, call.outputs[0].value)):
                self._add_result(node, index, result)
        elif not single:
            self._add_results(node, call.outputs)

    def _origin(self, metadata: dict[str, object], value: ValueMeta) -> NodeMeta:
        trace = exact(metadata.get("stack_trace") or "", str)
        stack = exact(metadata.get("nn_module_stack") or "", str)
        return NodeMeta(value, self._source_line(trace), self._module_stack(stack))

    def _arguments(
        self, inputs: tuple[schema.NamedArgument, ...]
    ) -> tuple[tuple[Value, ...], tuple[tuple[str, Value], ...]]:
        """The arguments, positional or by keyword as in the call that was saved."""
        args: list[Value] = []
        kwargs: list[tuple[str, Value]] = []
        for given in inputs:
            value = argument(given.arg, self)
            if given.kind == POSITIONAL:
                args.append(value)
            elif given.kind == KEYWORD:
                kwargs.append((given.name, value))
            else:
                raise Damaged(f"does not say how argument {given.name!r:.40} is passed")
        return tuple(args), tuple(kwargs)

    def _name_and_form(self, call: schema.SavedNode) -> tuple[str, bool]:
        """The node's name, and whether its one result is the node itself rather than an element of it."""
        outputs = call.outputs
        in_tuple = call.target.startswith(_HIGHER_ORDER) and call.is_hop_single_tensor_return is False
        single = len(outputs) == 1 and outputs[0].tag not in _RESULT_LISTS and not in_tuple
        if single and outputs[0].tag != "as_none":
            return result_name(outputs[0].value), True
        return call.name or _name_in_unused(outputs) or self._new_name(_operator_name(call.target)), single

    def _result_meta(self, outputs: tuple[Choice, ...], single: bool) -> ValueMeta:
        if single or _is_only_list(outputs):
            return self._metas.of_output(outputs[0])
        return tuple(self._metas.of_output(output) for output in outputs) or None

    def _add_results(self, node: Node, results: tuple[Choice, ...]) -> None:
        """A getitem node for each result that the graph used."""
        for index, result in enumerate(results):
            if result.tag in _RESULT_LISTS:
                self._add_list_result(node, index, each(result_name, result.value))
            elif result.tag != "as_none":
                self._add_result(node, index, result_name(result.value))

    def _add_result(self, node: Node, index: int, name: str) -> None:
        """A getitem node unless the graph did not use it, which torch marks by the name (``serialize_tensor_output``)."""
        if name != _unused(node.name, index):
            self._add_getitem(node, index, name)

    def _add_list_result(self, node: Node, index: int, names: tuple[str, ...]) -> None:
        used = [
            (position, name)
            for position, name in enumerate(names)
            if name != _unused(node.name, index, position)
        ]
        if used:
            element = Node(self._new_name("getitem"), "call_function", GETITEM, (Ref(node.name), index))
            self.nodes.append(element)
            for position, name in used:
                self._add_getitem(element, position, name)

    def _add_getitem(self, node: Node, index: int, name: str) -> None:
        meta = NodeMeta(self._metas.of(name), node.meta.source, node.meta.stack)
        self._append(Node(name, "call_function", GETITEM, (Ref(node.name), index), meta=meta))

    def _new_name(self, candidate: str) -> str:
        """A name for a node that has none in the file, which no earlier node has and no later result will have."""
        name = self._names.fresh(candidate)
        while self._metas.knows(name):
            name = self._names.fresh(candidate)
        return name

    def _append(self, node: Node) -> None:
        if node.name in self._known:
            raise Damaged(f"defines {node.name!r:.60} twice")
        self._names.take(node.name)
        self._known[node.name] = Ref(node.name)
        self.nodes.append(node)

    def read_outputs(self, outputs: tuple[Choice, ...], single: bool) -> None:
        values = tuple([argument(output, self) for output in outputs])
        if single and len(values) != 1:
            raise Damaged("returns several values where it says that it returns one")
        name = self._names.fresh("output")
        self.nodes.append(Node(name, "output", "output", (values[0] if single else values,)))


class _ValueMetas:
    """What a graph records of its values, by name; each is read when it is asked for."""

    def __init__(self, graph: schema.SavedGraph) -> None:
        self._tensors = graph.tensor_values
        self._symbols: dict[NumberKind, dict[str, Choice]] = {
            "int": graph.sym_int_values or {},
            "float": graph.sym_float_values or {},
            "bool": graph.sym_bool_values or {},
        }

    def knows(self, name: str) -> bool:
        return name in self._tensors or any(name in table for table in self._symbols.values())

    def of(self, name: str) -> ValueMeta:
        if name in self._tensors:
            return _tensor_meta(self._tensors[name])
        for kind, table in self._symbols.items():
            if name in table:
                return SymMeta(kind, number_text(table[name]))
        return None

    def of_output(self, output: Choice) -> ValueMeta:
        if output.tag == "as_none":
            return None
        if output.tag in _RESULT_LISTS:
            return tuple(self.of(name) for name in each(result_name, output.value))
        return self.of(result_name(output.value))


def _tensor_meta(meta: schema.SavedTensor) -> TensorMeta:
    return TensorMeta(
        coded(DTYPES, meta.dtype),
        tuple([size_of(size) for size in meta.sizes]),
        device_of(meta.device),
        tuple([size_of(size) for size in meta.strides]),
        meta.requires_grad,
    )


def _is_only_list(outputs: tuple[Choice, ...]) -> bool:
    return len(outputs) == 1 and outputs[0].tag in _RESULT_LISTS


def _target_of(record: object) -> str:
    target = record.get("target") if isinstance(record, dict) else None
    return f"{target!s:.80}"


# -- arguments -----------------------------------------------------------------------------------------------------

_Argument: TypeAlias = Callable[[object, _GraphReader], Value]
_NODE, _CHOICE = reader(schema.SavedNode), reader(Choice)


def argument(given: Choice, graph: _GraphReader) -> Value:
    """The value of one ``Argument``; Damaged for a choice that schema version 8 does not have."""
    read = _ARGUMENTS.get(given.tag)
    if read is None:
        raise Damaged(f"has the unknown kind of argument {given.tag!r:.40}")
    return read(given.value, graph)


def _literal(kind: type[int] | type[bool] | type[str] | type[float]) -> _Argument:
    read = reader(kind)
    return lambda value, graph: read(value)


def _many(read: _Argument) -> _Argument:
    return lambda value, graph: List(each(lambda item: read(item, graph), value))


def _tensor(value: object, graph: _GraphReader) -> Value:
    return graph.ref(field(value, "name", str))


def _optional_tensor(value: object, graph: _GraphReader) -> Value:
    given = _CHOICE(value)
    if given.tag == "as_none":
        return None
    if given.tag != "as_tensor":
        raise Damaged(f"has the unknown optional tensor {given.tag!r:.40}")
    return _tensor(given.value, graph)


def _symbolic(tag: str, literal: _Argument) -> _Argument:
    """A symbolic number: another node's result, or a literal under a tag of its own."""

    def read(value: object, graph: _GraphReader) -> Value:
        given = _CHOICE(value)
        if given.tag == "as_name":
            return graph.ref(given.read(str))
        if given.tag != tag:
            raise Damaged(f"has the unknown symbolic number {given.tag!r:.40}")
        return literal(given.value, graph)

    return read


def _complex(value: object, graph: _GraphReader) -> Value:
    return complex(field(value, "real", float), field(value, "imag", float))


def _named(value: object, graph: _GraphReader) -> Value:
    given = typed(dict[str, Choice], value)
    return Dict(tuple([(key, argument(item, graph)) for key, item in given.items()]))


def _custom_object(value: object, graph: _GraphReader) -> Value:
    name = field(value, "name", str)
    return graph.ref(name) if graph.knows(name) else Opaque(class_name(field(value, "class_fqn", str)), name)


_INT, _BOOL, _TEXT, _FLOAT = _literal(int), _literal(bool), _literal(str), _literal(float)
_SYM_INT, _SYM_FLOAT, _SYM_BOOL = (
    _symbolic("as_int", _INT),
    _symbolic("as_float", _FLOAT),
    _symbolic("as_bool", _BOOL),
)
_ARGUMENTS: dict[str, _Argument] = {
    "as_none": lambda value, graph: None,
    "as_tensor": _tensor,
    "as_tensors": _many(_tensor),
    "as_nested_tensors": _many(_many(_tensor)),
    "as_optional_tensor": _optional_tensor,
    "as_optional_tensors": _many(_optional_tensor),
    "as_int": _INT,
    "as_ints": _many(_INT),
    "as_int_lists": _many(lambda value, graph: typed(tuple[int, ...], value)),
    "as_float": _FLOAT,
    "as_floats": _many(_FLOAT),
    "as_float_lists": _many(_many(_FLOAT)),
    "as_bool": _BOOL,
    "as_bools": _many(_BOOL),
    "as_string": _TEXT,
    "as_strings": _many(_TEXT),
    "as_complex": _complex,
    "as_sym_int": _SYM_INT,
    "as_sym_ints": _many(_SYM_INT),
    "as_sym_float": _SYM_FLOAT,
    "as_sym_floats": _many(_SYM_FLOAT),
    "as_sym_bool": _SYM_BOOL,
    "as_sym_bools": _many(_SYM_BOOL),
    "as_scalar_type": lambda value, graph: coded(DTYPES, value),
    "as_layout": lambda value, graph: coded(LAYOUTS, value),
    "as_memory_format": lambda value, graph: coded(MEMORY_FORMATS, value),
    "as_device": lambda value, graph: device_of(typed(schema.SavedDevice, value)),
    "as_graph": lambda value, graph: graph.graph(value),
    "as_operator": lambda value, graph: dotted_name(typed(str, value)),
    "as_string_to_argument": _named,
    "as_custom_obj": _custom_object,
}
