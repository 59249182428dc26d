"""Readable dumps: what ``print_readable``, ``TORCH_LOGS``, ``TORCH_TRACE`` and the minifier write of graphs.

Such text holds no tensors: each parameter and buffer that the graph reads becomes an input of the graph.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path

import torch

from fx2py.digests import sha256_of
from fx2py.errors import UnknownFormatError
from fx2py.graph.data import Graph, GraphData, ModuleRecord, Node, Provenance, ValueMeta
from fx2py.graph.names import underscored_names
from fx2py.graph.values import Name, OpName, Ref, Value, references
from fx2py.read.dumps.meta import PrintedMetas, exact_constants, input_metas, state_metas
from fx2py.read.dumps.records import FoundGraph, graphs_of_log
from fx2py.read.dumps.text import Code, PrintedClass
from fx2py.read.forward.statements import Forward, read_method
from fx2py.read.forward.values import ForwardFault, parse_text
from fx2py.read.module_state import GRAPH_MODULE
from fx2py.read.node_names import NodeNames
from fx2py.read.pickled.files import faults_of
from fx2py.read.several import Entry, Graphs

_GUARDS = "_guards_fn"
_NAMES = {"device": Name("torch", "device")}
_FLAT = "the text does not hold the structure of inputs and outputs; the code takes and returns their leaves"
_UNCHECKED = "the text does not hold the checks of the inputs (_guards_fn); the code makes none"

_AS_CODE = "Log graphs as code: TORCH_LOGS=graph_code, aot_graphs or post_grad_graphs, or TORCH_TRACE."


@contextmanager
def dump_graphs(path: Path) -> Iterator[Graphs]:
    """The printed graphs of a file, each named after the place and title that a log gives it.

    What looks like a graph but is in another form, or is cut off, is included; reading it raises UnknownFormatError with
    file and line. So does a file without any printed graph.
    """
    with faults_of(path):
        found = graphs_of_log(path)
    if not found:
        raise UnknownFormatError(
            f"{path} prints no graph.",
            "Save what print_readable(print_output=False) returns, or a log of TORCH_LOGS=graph_code.",
        )
    sha256 = cache(partial(sha256_of, path))
    yield [Entry(each.name, each.kind, partial(_read, path, each, sha256), each.title) for each in found]


def _read(path: Path, found: FoundGraph, sha256: Callable[[], str]) -> GraphData:
    with faults_of(path):
        printed = found.printed
        if found.fault:
            raise ForwardFault(found.fault)
        if printed.root is None:
            raise UnknownFormatError(f"{path}: line {printed.number} {printed.fault}.", _AS_CODE)
        reader = _Dump()
        lifted = reader.read(printed.root)
        graph = _with_inputs(lifted, _inputs(printed.input_lines()))
    record = replace(lifted.record, graph=graph)
    notes = (*reader.notes, *_lifted_note(lifted))
    return GraphData(record, Provenance("readable text", str(path), sha256(), model=found.name), notes=notes)


@contextmanager
def _lines_of_the_file(code: Code) -> Iterator[None]:
    """Turns the line of a fault within a part of the text into the line of the file."""
    try:
        yield
    except ForwardFault as fault:
        if fault.line is None:
            raise
        number = code.numbers[min(fault.line, len(code.numbers)) - 1]
        raise ForwardFault(f"line {number} {fault.reason}") from None


class _Dump:
    """Reads printed classes, and notes what their text leaves out."""

    def __init__(self) -> None:
        self.notes: dict[str, None] = {}

    def read(self, printed: PrintedClass) -> Lifted:
        """The graph of a printed class and of those inside it, with the state that they read as inputs."""
        children = {child.name: self.read(child) for child in printed.children}
        if len(children) != len(printed.children):
            raise ForwardFault(f"the class {printed.name} prints two graphs of one name")
        code = printed.forward
        if not code.lines:
            raise ForwardFault(f"line {printed.number} begins the class {printed.name}, which has no forward")
        with _lines_of_the_file(code):
            forward = _forward(code, printed)
        if forward.flattens or forward.unflattens:
            self.notes[_FLAT] = None
        graph = Graph(tuple([node for node in forward.graph.nodes if not self._is_guard(node)]))
        _check_graphs_are_there(graph, children)
        constructor = printed.constructor
        return lift_state(graph, children, state_metas(constructor), exact_constants(constructor))

    def _is_guard(self, node: Node) -> bool:
        """Whether a node only calls the input checks of an exported program, which the text does not print."""
        if node.op != "call_module" or node.target != _GUARDS:
            return False
        self.notes[_UNCHECKED] = None
        return True


def _forward(code: Code, printed: PrintedClass) -> Forward:
    """The graph in the text of a method; ForwardFault where lines are missing."""
    code.check()
    match parse_text(code.text):
        case [ast.FunctionDef() as function]:
            forward = read_method(
                function, {**underscored_names(code.text), **_NAMES}, PrintedMetas(code.lines)
            )
        case _:
            raise ForwardFault(f"the class {printed.name} holds more than a graph")
    if not forward.returns:
        raise ForwardFault(
            "is the last of a graph that does not come to its return: the text is cut", len(code.lines)
        )
    lost = _never_dropped(forward)
    if lost:
        raise ForwardFault(
            f"returns while {lost} still holds a value, which FX would have dropped: lines are missing",
            len(code.lines),
        )
    return forward


def _never_dropped(forward: Forward) -> str:
    """A variable that is neither dropped nor returned in a text that drops others; an unused input is fine."""
    used = {name for node in forward.graph.nodes for name in references(*node.operands)}
    free = {node.name for node in forward.graph.placeholders} - used
    returned = set(references(*forward.graph.nodes[-1].operands))
    return next(iter(sorted(forward.kept - free - returned)), "")


def _check_graphs_are_there(graph: Graph, children: Mapping[str, Lifted]) -> None:
    """Raise ForwardFault for a higher-order operator that takes a graph which the text does not hold.

    FX annotates the tensors that it prints, not the graphs.
    """
    missing = {
        node.name: node.target
        for node in graph.nodes
        if node.op == "get_attr" and node.target not in children and node.meta.value is None
    }
    for node in graph.nodes:
        if type(node.target) is OpName and node.target.is_higher_order:
            for arg in node.args:
                if type(arg) is Ref and arg.name in missing:
                    raise ForwardFault(
                        f"{node.name} takes the graph {missing[arg.name]}, which the text does not hold: "
                        "it was cut, or was left out, as scripts to reproduce a fault leave nested graphs out"
                    )


def _inputs(code: Code) -> list[ValueMeta]:
    with _lines_of_the_file(code):
        return input_metas(code.text)


def _lifted_note(lifted: Lifted) -> tuple[str, ...]:
    if not lifted.state:
        return ()
    names = ", ".join(str(node.target) for node in lifted.state)
    return (f"the text holds no tensors; these are inputs of the code: {names}",)


def _with_inputs(lifted: Lifted, metas: list[ValueMeta]) -> Graph:
    """The graph with the shapes that a minifier's ``load_args`` makes recorded on its inputs, if the numbers of both agree."""
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

    A call of a printed graph passes on the state that it reads. Raises ForwardFault for a graph given to a higher-order
    operator that reads state, since the operator takes no further arguments for it. ``metas`` holds what is known of
    attributes; ``constants`` those whose values the text prints, which stay attributes.
    """
    lifting = _Lifting(graph, children, metas, constants)
    nodes = [changed for node in graph.nodes for changed in lifting.node(node)]
    state = tuple(lifting.state.values())
    lifted = Graph((*state, *nodes))
    records = {name: child.record for name, child in children.items()}
    record = ModuleRecord(GRAPH_MODULE, graph=lifted, buffers=dict(constants), children=records)
    return Lifted(record, lifted, state)


@dataclass(eq=False)
class _Lifting:
    """Rewrites the nodes of one graph."""

    graph: Graph
    children: Mapping[str, Lifted]
    metas: Mapping[str, ValueMeta]
    constants: Mapping[str, torch.Tensor]
    state: dict[str, Node] = field(default_factory=dict)
    renamed: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.targets = NodeNames(str(node.target).lstrip("*") for node in self.graph.placeholders)
        self.names = NodeNames(node.name for node in self.graph.nodes)

    def node(self, node: Node) -> Iterator[Node]:
        """The nodes that replace a node."""
        child = self.children.get(str(node.target)) if node.op in ("get_attr", "call_module") else None
        if node.op == "get_attr" and node.target in self.constants:
            yield node
        elif node.op == "get_attr" and child is None:
            placeholder = self._input(str(node.target), node)
            self.renamed[node.name] = placeholder.name
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
        return self._input(f"{path}.{inner.target}", replace(inner, name=self.names.fresh(inner.name)))

    def _input(self, path: str, node: Node) -> Node:
        """The placeholder of an attribute, which takes the name of the first node that reads it."""
        if path not in self.state:
            target = self.targets.fresh(node.name)
            known = self.metas.get(path)
            meta = node.meta if known is None else replace(node.meta, value=known)
            self.state[path] = Node(node.name, "placeholder", target, meta=meta)
        return self.state[path]

    def _in_new_names(self, node: Node) -> Node:
        """The node with each reference to an attribute replaced by its placeholder."""
        if not self.renamed:
            return node

        def follow(value: Value) -> Value:
            return Ref(self.renamed.get(value.name, value.name)) if type(value) is Ref else value

        return node.with_leaves(follow)
