"""Live GraphModules as GraphData: the nodes are read, never the generated text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
import torch.fx as fx
from torch.fx.graph import CodeGen, _PyTreeCodeGen

from fx2py.errors import Finding, UnsupportedGraphError
from fx2py.graph.data import (
    NO_META,
    CallingConvention,
    Graph,
    GraphData,
    ModuleFrame,
    ModuleRecord,
    Node,
    NodeMeta,
    NumberKind,
    Provenance,
    SymMeta,
    Target,
    TensorMeta,
    ValueMeta,
)
from fx2py.graph.names import callable_name
from fx2py.graph.objects import Symbolic, constant_of, expression_of, target_of, value_of
from fx2py.graph.values import Name, Value
from fx2py.read.live.guards import GUARDS_CLASS, graph_of_guards
from fx2py.read.module_state import CALL_HOOKS, GRAPH_MODULE, MODULE_STATE, ROOT_HOOKS
from fx2py.read.origin import RECORDED_KEYS, module_frame, source_line
from fx2py.read.pytree import Signature, convention_of, tree_of_spec
from fx2py.recursion import deep_calls


def read_graph_module(gm: fx.GraphModule) -> GraphData:
    """The graph and modules of a live GraphModule; tensors are the module's own.

    Raises UnsupportedGraphError for a code generator whose calling convention is not known.
    """
    root = module_record(gm)
    provenance = Provenance("live", torch_version=str(torch.__version__))
    notes = (ROOT_HOOKS.format(", ".join(root.hooks)),) if root.hooks else ()
    return GraphData(root, provenance, convention=root.convention, notes=notes)


@deep_calls()
def module_record(module: torch.nn.Module) -> ModuleRecord:
    """A live module of any class, and all below it."""
    return _Modules().record(module)


def graph_of(graph: fx.Graph) -> Graph:
    """The nodes of a live graph."""
    named: dict[int, Target] = {}
    return Graph(tuple([_node(node, named) for node in graph.nodes]))


def _node(node: fx.Node, named: dict[int, Target]) -> Node:
    """One node; ``named`` keeps the names of the functions that are called, by identity."""
    target: Target = str(node.target)
    if node.op == "call_function":
        key = id(node.target)
        target = named[key] if key in named else named.setdefault(key, target_of(node.target))
    kwargs = tuple([(key, value_of(value)) for key, value in node.kwargs.items()]) if node.kwargs else ()
    args = tuple([value_of(value) for value in node.args])
    return Node(node.name, node.op, target, args, kwargs, meta_of(node))  # type: ignore[arg-type]


class _Modules:
    """Records of modules; a module that is reached twice gives one record."""

    def __init__(self) -> None:
        self._records: dict[int, ModuleRecord] = {}
        self._open: set[int] = set()

    def record(self, module: torch.nn.Module) -> ModuleRecord:
        key = id(module)
        if key not in self._records:
            if key in self._open:
                raise _unsupported("the modules", "a module contains itself")
            self._open.add(key)
            self._records[key] = self._new(module)
            self._open.remove(key)
        return self._records[key]

    def _new(self, module: torch.nn.Module) -> ModuleRecord:
        cls = _class_name(module)
        guards = graph_of_guards(module.__dict__.get("forward")) if cls == GUARDS_CLASS else None
        if guards is not None:
            return ModuleRecord(GRAPH_MODULE, guards, module.training)
        graph = module.graph if isinstance(module, fx.GraphModule) else None
        children = {
            name: None if child is None else self.record(child) for name, child in module._modules.items()
        }
        return ModuleRecord(
            cls=cls,
            graph=None if graph is None else graph_of(graph),
            training=module.training,
            parameters=dict(module._parameters),
            buffers=dict(module._buffers),
            non_persistent=frozenset(module._non_persistent_buffers_set),
            children=children,
            attributes=_attributes(module),
            hooks=tuple(name for name in CALL_HOOKS if module.__dict__.get(name)),
            original=module,
            convention=None if graph is None else _convention(graph),
        )


def _class_name(module: torch.nn.Module) -> Name:
    if isinstance(module, fx.GraphModule):
        return GRAPH_MODULE
    cls = type(module)
    name = callable_name(cls)
    return name if isinstance(name, Name) else Name(cls.__module__, cls.__qualname__)


def _attributes(module: torch.nn.Module) -> dict[str, Value]:
    """The attributes that the module's class or its user set, without torch's own."""
    skipped = MODULE_STATE[isinstance(module, fx.GraphModule)]
    return {name: value_of(value) for name, value in module.__dict__.items() if name not in skipped}


def _convention(graph: fx.Graph) -> CallingConvention | None:
    """How the graph is called, by the exact class of its code generator: a subclass may generate another signature."""
    codegen = graph._codegen
    if codegen._body_transformer is not None:
        raise _unsupported("the graph", "its code generator rewrites the code (on_generate_code)")
    cls = type(codegen)
    try:
        count = len(graph.find_nodes(op="placeholder"))
        return convention_of(f"{cls.__module__}.{cls.__qualname__}", _signature(codegen), count)
    except ValueError as error:
        raise _unsupported("the signature", str(error)) from None


def _signature(codegen: CodeGen) -> Signature | None:
    info = codegen.pytree_info if isinstance(codegen, _PyTreeCodeGen) else None
    if info is None:
        return None
    output = None if info.out_spec is None else tree_of_spec(info.out_spec)
    return info.orig_args, tree_of_spec(info.in_spec), output


def _unsupported(place: str, reason: str) -> UnsupportedGraphError:
    return UnsupportedGraphError((Finding(place, reason),))


# -- what nodes record ---------------------------------------------------------------------------------------------

_NUMBER_KINDS: dict[type, NumberKind] = {torch.SymInt: "int", torch.SymFloat: "float", torch.SymBool: "bool"}


def meta_of(node: fx.Node) -> NodeMeta:
    """What a live node records of its result and of its source."""
    meta = node.meta
    if not meta and node.type is None:
        return NO_META
    trace, stack = meta.get("stack_trace"), meta.get("nn_module_stack")
    return NodeMeta(
        value=recorded(next((meta[key] for key in RECORDED_KEYS if key in meta), None)),
        source=source_line(trace) if type(trace) is str else None,
        stack=_stack(stack) if isinstance(stack, Mapping) else (),
        annotation="" if node.type is None else _annotation(node.type),
    )


def recorded(result: object) -> ValueMeta:
    """The shape, dtype and expressions that a recorded result shows; None where it is neither tensor nor number."""
    if isinstance(result, torch.Tensor):
        return _tensor_meta(result) if result.layout is not torch.strided or not result.is_nested else None
    if isinstance(result, fx.passes.shape_prop.TensorMetadata):
        return TensorMeta(
            result.dtype, _sizes(result.shape), None, _sizes(result.stride), result.requires_grad
        )
    if isinstance(result, Symbolic):
        return SymMeta(_NUMBER_KINDS[type(result)], expression_of(result))
    if isinstance(result, tuple | list):
        return tuple([recorded(part) for part in result])
    return None


def _tensor_meta(tensor: torch.Tensor) -> TensorMeta:
    stride = _sizes(tensor.stride()) if tensor.layout is torch.strided else None
    return TensorMeta(tensor.dtype, _sizes(tensor.shape), tensor.device, stride, tensor.requires_grad)


def _sizes(sizes: Iterable[int | torch.SymInt]) -> tuple[int | str, ...]:
    return tuple([_size(size) if isinstance(size, torch.SymInt) else int(size) for size in sizes])


def _size(size: torch.SymInt) -> int | str:
    constant = constant_of(size)
    return expression_of(size) if constant is None else int(constant)


def _stack(recorded: Mapping[object, object]) -> tuple[ModuleFrame, ...]:
    """A module stack; the class of a module is recorded as itself or as its path."""
    frames = []
    for key, entry in recorded.items():
        if isinstance(key, str) and isinstance(entry, tuple) and len(entry) == 2 and type(entry[0]) is str:
            cls = entry[1]
            path = f"{cls.__module__}.{cls.__qualname__}" if isinstance(cls, type) else str(cls)
            frames.append(module_frame(key, entry[0], path))
    return tuple(frames)


def _annotation(annotation: object) -> str:
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)
