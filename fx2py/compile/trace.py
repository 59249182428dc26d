"""Tracing: a generated piece becomes a graph of operators over its arguments and the tensors that it uses."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import fx
from torch._dispatch.python import enable_python_dispatcher
from torch._subclasses import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.experimental.symbolic_shapes import free_unbacked_symbols
from torch.utils import _pytree as pytree

from fx2py.artifact.compiled import TensorSpec
from fx2py.artifact.compiled_calls import is_ordinary, ordinary_state
from fx2py.graph.tensors import storage_of, storages_of
from fx2py.operators.interception import intercepted

Rebind = Callable[[Mapping[str, torch.Tensor]], Callable[..., object]]
"""Gives a piece bound to other tensors of the same names."""


class NotCompiledError(Exception):
    """A piece that cannot be compiled exactly; the text is the reason, as the end of a sentence."""


@dataclass(frozen=True, slots=True, eq=False)
class Traced:
    """A piece as operators: ``module`` takes ``inputs`` and then the ``weights``, and returns a tuple of tensors.

    ``is_single``: the piece itself returns one value, not a tuple. ``shares_memory``: a result aliases another value;
    ``returns_views``: a result aliases an input or weight.
    """

    module: fx.GraphModule
    inputs: tuple[torch.Tensor | torch.SymInt, ...]
    weights: tuple[tuple[str, torch.Tensor], ...]
    is_single: bool
    shares_memory: bool
    returns_views: bool

    @property
    def input_specs(self) -> tuple[TensorSpec | None, ...]:
        return tuple(
            TensorSpec.of(value) if isinstance(value, torch.Tensor) else None for value in self.inputs
        )

    @property
    def weight_specs(self) -> tuple[tuple[str, TensorSpec], ...]:
        return tuple((name, TensorSpec.of(tensor)) for name, tensor in self.weights)

    @property
    def devices(self) -> set[str]:
        tensors = (*self.inputs, *[tensor for _, tensor in self.weights])
        return {str(tensor.device) for tensor in tensors if isinstance(tensor, torch.Tensor)}

    @property
    def key(self) -> object:
        """Equal for pieces that one compiled function serves: the same operators on tensors of the same specs.

        A get_attr node is a constant that tracing met, whose numbers the text of the code does not show.
        """
        if any(node.op == "get_attr" for node in self.module.graph.nodes):
            return id(self)
        sizes = tuple([str(size) for value in self.inputs for size in _sizes(value)])
        kinds = (self.input_specs, tuple(spec for _, spec in self.weight_specs))
        return self.module.code, sizes, kinds, self.is_single, self.returns_views


def _sizes(value: torch.Tensor | torch.SymInt) -> tuple[object, ...]:
    return (*value.shape, *value.stride()) if isinstance(value, torch.Tensor) else (value,)


def trace(
    rebind: Rebind, args: Sequence[object], tensors: Mapping[str, torch.Tensor], mode: FakeTensorMode
) -> Traced:
    """Trace a piece on fake inputs and weights; raises NotCompiledError where compiled code would do something else."""
    inputs = [value for value in args if isinstance(value, torch.Tensor | torch.SymInt)]
    if len(inputs) < len(args):
        raise NotCompiledError("it takes something else than tensors")
    results: list[object] = (
        []
    )  # make_fx returns the graph alone; the structure of the result is read from here

    def flat(given: list[object], named: dict[str, torch.Tensor]) -> list[object]:
        results[:] = [rebind(named)(*given)]
        return pytree.tree_leaves(results)

    given = (*inputs, *tensors.values())
    with ordinary_state():
        # The Python dispatcher puts Python decompositions before C++ ones, which would guard on symbolic sizes.
        with mode, enable_python_dispatcher():
            module = make_fx(flat)(inputs, dict(tensors))
        if not is_ordinary():
            raise NotCompiledError("it leaves a mode switched for what follows")
    memory = TracedMemory(module.graph)
    owned = memory.of(given)
    if any(owned.intersection(memory.of(_written(node))) for node in module.graph.nodes):
        # Two values that the caller passes may alias, which a compiler of this piece alone cannot see.
        raise NotCompiledError("it changes what it is given in place")
    if memory.has_two_names():
        raise NotCompiledError("it waits for a tensor and then uses it by an older name")
    without_writes(module.graph, memory)
    module, weights = _pruned(module, len(inputs), tensors)
    returned = results[0] if isinstance(results[0], tuple) else (results[0],)
    if not all(isinstance(value, torch.Tensor | torch.SymInt) for value in returned):
        raise NotCompiledError("it returns something else than tensors")
    if free_unbacked_symbols((*inputs, *returned)):
        raise NotCompiledError("its sizes depend on the numbers in a tensor")
    is_single = not isinstance(results[0], tuple)
    made = memory.of(returned)
    returns_views = not made.isdisjoint(owned)
    tensors_made = sum(isinstance(value, torch.Tensor) for value in returned)
    return Traced(
        module, tuple(inputs), weights, is_single, returns_views or len(made) < tensors_made, returns_views
    )


def _written(node: fx.Node) -> list[object]:
    """The recorded values of the arguments that a node's operator writes to."""
    if not isinstance(node.target, torch._ops.OpOverload):
        return []
    named = {**dict(zip(_parameters(node.target), node.args, strict=False)), **node.kwargs}
    hidden = ("running_mean", "running_var") if node.target in _WRITES_STATISTICS else ()
    written = (
        named.get(parameter.name)
        for parameter in node.target._schema.arguments
        if parameter.name in hidden or (parameter.alias_info is not None and parameter.alias_info.is_write)
    )
    return [
        part.meta["val"]
        for value in written
        for part in pytree.tree_leaves(value)
        if isinstance(part, fx.Node)
    ]


def _parameters(operator: torch._ops.OpOverload) -> list[str]:
    return [parameter.name for parameter in operator._schema.arguments]


_WRITES_STATISTICS = frozenset(
    {
        torch.ops.aten.native_batch_norm.default,
        torch.ops.aten.cudnn_batch_norm.default,
        torch.ops.aten.miopen_batch_norm.default,
    }
)
"""Operators that write to the running statistics in training, which their schemas do not mark (``Tensor?``, no ``!``)."""


def storages(values: Iterable[object]) -> set[int]:
    """The storages of the tensors among some values; NotCompiledError for a tensor that has none, as one of mkldnn."""
    found = [storages_of(value) for value in values if isinstance(value, torch.Tensor)]
    if None in found:
        raise NotCompiledError("it takes or returns a tensor whose storage is not known")
    return set().union(*filter(None, found))


def _pruned(
    module: fx.GraphModule, inputs: int, tensors: Mapping[str, torch.Tensor]
) -> tuple[fx.GraphModule, tuple[tuple[str, torch.Tensor], ...]]:
    """The traced module over the tensors that it uses, which come second; its parameters are numbered, so that the code
    of equal pieces is the same text."""
    graph = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    weights: list[tuple[str, torch.Tensor]] = []
    placeholders = module.graph.find_nodes(op="placeholder")
    for node, named in zip(placeholders, (*[None] * inputs, *tensors.items()), strict=True):
        if named is None or node.users:
            copies[node] = graph.placeholder(f"arg{len(copies)}")
            copies[node].meta = dict(node.meta)
            weights += [] if named is None else [named]
    for node in module.graph.nodes:
        if node.op == "output":
            graph.output(tuple(fx.map_arg(node.args[0], copies.__getitem__)))
        elif node.op != "placeholder":
            copies[node] = graph.node_copy(node, copies.__getitem__)
    return fx.GraphModule(module, graph), tuple(weights)


# -- collectives, over fake tensors: nothing is communicated


def returning_waited() -> AbstractContextManager[object]:
    """``wait_tensor`` returns its argument, as its kernel does, so that a write to the result is one to the argument.

    Its meta kernel returns ``torch.empty_like`` (``_wait_tensor_meta`` in torch/distributed/_functional_collectives.py).
    """
    return intercepted(
        lambda operator, args, kwargs: args[0] if _is_wait(operator) else operator(*args, **kwargs)
    )


class TracedMemory:
    """Which values of a traced graph share memory: those of one storage, and the operand and result of ``wait_tensor``."""

    def __init__(self, graph: fx.Graph) -> None:
        self._waits = [node for node in graph.nodes if _is_wait(node.target)]
        self._owner: dict[int, int] = {}
        for node in self._waits:
            (owner,) = self.of([node.args[0].meta["val"]])
            self._owner[storage_of(node.meta["val"])] = owner

    def of(self, values: Iterable[object]) -> set[int]:
        """The storages of the tensors among some values; a waited tensor counts as its operand's."""
        own = (storage_of(value) for value in values if isinstance(value, torch.Tensor))
        return {self._owner.get(storage, storage) for storage in own}

    def has_two_names(self) -> bool:
        """Whether a ``wait_tensor`` is followed by uses of its operand, which compilers take for another tensor."""
        return any(map(self.has_older_name, self._waits))

    def has_older_name(self, node: fx.Node) -> bool:
        """Whether an earlier node that aliases the result of ``node`` is used after it."""
        nodes = list(node.graph.nodes)
        place = {each: index for index, each in enumerate(nodes)}
        shared = self.of(pytree.tree_leaves(node.meta.get("val")))
        older = (
            each
            for each in nodes[: place[node]]
            if shared & self.of(pytree.tree_leaves(each.meta.get("val")))
        )
        return any(place[user] > place[node] for each in older for user in each.users)


def without_writes(graph: fx.Graph, memory: TracedMemory) -> None:
    """Replace collectives that write to their operand by those that return a new tensor, where nothing reads the operand.

    inductor expects a functionalized graph, and make_fx does not functionalize. The lowerings of
    torch/_inductor/comm_lowering.py write to the operand's buffer again where nothing else needs it.
    """
    for node in graph.nodes:
        name = _WRITING.get(_name(node.target))
        if name is not None and not memory.has_older_name(node):
            node.target = getattr(torch.ops._c10d_functional, name).default


def _is_wait(target: object) -> bool:
    return _name(target) == "wait_tensor"


def _name(target: object) -> str:
    """The name of a collective without its namespace; '' for anything else."""
    if not isinstance(target, torch._ops.OpOverload) or target.namespace != "_c10d_functional":
        return ""
    return target._opname


_WRITING = {
    "all_reduce_": "all_reduce",
    "all_reduce_coalesced_": "all_reduce_coalesced",
    "broadcast_": "broadcast",
}
"""Collectives that write to their operand, each with the one that returns a new tensor."""
