"""Readable dumps: what ``print_readable``, ``TORCH_LOGS=graph_code`` and the minifier write of a graph.

Such text holds no tensors: each parameter and buffer that the graph reads becomes an input of the graph.
"""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path

from fx2py.errors import UnknownFormatError
from fx2py.graph.data import Graph, GraphData, Node, Provenance, ValueMeta
from fx2py.graph.names import underscored_names
from fx2py.graph.values import Name
from fx2py.read.dumps.meta import PrintedMetas, exact_constants, input_metas, state_metas
from fx2py.read.dumps.state import Lifted, lift_state
from fx2py.read.dumps.text import PrintedClass, input_lines, printed_classes
from fx2py.read.forward.statements import MAX_CODE, parse_text, read_method
from fx2py.read.forward.values import ForwardFault
from fx2py.read.origin import sha256_of
from fx2py.read.pickled.files import faults_of

_GUARDS = "_guards_fn"
_NAMES = {"device": Name("torch", "device")}
_FLAT = "the text does not hold the structure of inputs and outputs; the code takes and returns their leaves"
_UNCHECKED = "the text does not hold the checks of the inputs (_guards_fn); the code makes none"


def read_dump(path: Path, model: str | None = None) -> GraphData:
    """The graph in a readable dump; UnknownFormatError, naming the file, for text that FX does not print.

    ``model`` chooses among the graphs of a log by their titles.
    """
    with faults_of(path):
        if path.stat().st_size > MAX_CODE:
            raise ForwardFault("the text is too long")
        text = path.read_text("utf-8")
        name, printed = _chosen(path, printed_classes(text), model)
        reader = _Dump()
        lifted = reader.read(printed)
        graph = _with_inputs(lifted, input_metas(input_lines(text)))
    record = replace(lifted.record, graph=graph)
    notes = (*reader.notes, *_lifted_note(lifted))
    return GraphData(record, Provenance("readable text", str(path), sha256_of(path), model=name), notes=notes)


def _chosen(path: Path, found: dict[str, PrintedClass], model: str | None) -> tuple[str | None, PrintedClass]:
    names = ", ".join(found)
    if not found:
        raise UnknownFormatError(
            f"{path} prints no graph.", "Save what print_readable(print_output=False) returns."
        )
    if model is not None and model not in found:
        raise UnknownFormatError(f"{path} prints no graph {model!r}.", f"It prints: {names}.")
    if model is None and len(found) > 1:
        raise UnknownFormatError(
            f"{path} prints several graphs: {names}.",
            f"Choose one, for example with model={next(iter(found))!r}.",
        )
    return (model, found[model]) if model is not None else (None, next(iter(found.values())))


class _Dump:
    """Reads printed classes, and collects what their text cannot say."""

    def __init__(self) -> None:
        self.notes: dict[str, None] = {}

    def read(self, printed: PrintedClass) -> Lifted:
        """The graph of a printed class and of those inside it, with the state that they miss as inputs."""
        children = {child.name: self.read(child) for child in printed.children}
        if len(children) != len(printed.children):
            raise ForwardFault(f"the class {printed.name} prints two graphs of one name")
        text = printed.forward
        match parse_text(text):
            case [ast.FunctionDef() as function]:
                forward = read_method(function, {**underscored_names(text), **_NAMES}, PrintedMetas(text))
            case _:
                raise ForwardFault(f"the class {printed.name} holds more than a graph")
        if forward.flattens or forward.unflattens:
            self.notes[_FLAT] = None
        graph = Graph(tuple([node for node in forward.graph.nodes if not self._is_guard(node)]))
        constructor = printed.constructor
        return lift_state(graph, children, state_metas(constructor), exact_constants(constructor))

    def _is_guard(self, node: Node) -> bool:
        """Whether a node only calls the checks of an exported program, of which the text says nothing."""
        if node.op != "call_module" or node.target != _GUARDS:
            return False
        self.notes[_UNCHECKED] = None
        return True


def _lifted_note(lifted: Lifted) -> tuple[str, ...]:
    if not lifted.state:
        return ()
    names = ", ".join(str(node.target) for node in lifted.state)
    return (f"the text holds no tensors; these are inputs of the code: {names}",)


def _with_inputs(lifted: Lifted, metas: list[ValueMeta]) -> Graph:
    """The graph with what a minifier's script passes recorded of its inputs, where that fits them."""
    graph = lifted.graph
    inputs = graph.placeholders[len(lifted.state) :]
    if len(metas) != len(inputs):
        return graph
    known = {node.name: meta for node, meta in zip(inputs, metas, strict=True) if meta is not None}
    nodes = [
        replace(node, meta=replace(node.meta, value=known[node.name])) if node.name in known else node
        for node in graph.nodes
    ]
    return Graph(tuple(nodes))
