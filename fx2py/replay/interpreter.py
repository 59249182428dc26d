"""The reference run: a graph executed node by node from its data, independently of generated code."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from typing import Any, Protocol

import torch

from fx2py.errors import ReplayError, refusals_name
from fx2py.graph.data import CallingConvention, Graph, GraphData, ModuleRecord, Node
from fx2py.graph.tensors import TensorCopies
from fx2py.graph.values import Live, Name, OpName, TensorValue, Value, references
from fx2py.replay.contract import checks_of
from fx2py.replay.devices import Moved
from fx2py.replay.objects import Env, ModuleBuilder, ObjectBuilder, Tensors
from fx2py.replay.running import RunningModules, passed_as_values
from fx2py.replay.signature import bind_parameters, bind_placeholders, flatten_inputs, unflatten
from fx2py.runtime import graph_module
from fx2py.trust import Policy
from fx2py.trust.graphs import check_graph


class Observer(Protocol):
    """Is told of each node that runs, by its path (``submodule.node``), with the values of its arguments in order.

    Placeholders are not told of; the result of a nested graph is the value of its node ``output``.
    """

    def before(self, path: str, node: Node, operands: tuple[object, ...]) -> None:
        """The node is about to run."""

    def after(self, path: str, node: Node, value: object, operands: tuple[object, ...]) -> None:
        """The node has given ``value``."""


@dataclass(frozen=True, slots=True)
class _Step:
    """A node, the callable of a call_function, and the names of the values whose last use the node is."""

    node: Node
    function: Callable[..., object] | None
    dead: tuple[str, ...]


class Reference:
    """A graph as a callable with its own calling convention; ``tensors`` holds the tensors that it reads and may change.

    ``policy`` resolves names when the reference is built, so that an untrusted graph is refused before any of it runs.
    ``device`` moves weights and replaces every device in the graph; ``submods`` replaces modules by path.

    Raises UntrustedTargetError, and ReplayError where a module, an input or an operator is missing.
    """

    def __init__(
        self,
        data: GraphData,
        policy: Policy | None = None,
        *,
        device: torch.device | str | None = None,
        submods: Mapping[str, Callable[..., object]] | None = None,
        observe: Observer | None = None,
    ) -> None:
        self._data = data
        self._policy = Policy() if policy is None else policy
        self._device = None if device is None else torch.device(device)
        self._submods = dict(submods or {})
        self._observe = observe
        self._bound: Tensors = _unchanged if self._device is None else TensorCopies(self._device)
        self._modules = ModuleBuilder(self._policy, self._device, self._bound)
        self._subgraphs: dict[int, torch.fx.GraphModule] = {}
        self._plans: dict[int, tuple[_Step, ...]] = {}
        self._objects: dict[int, frozenset[str]] = {}
        self._running = RunningModules(data.root)
        self._moved = None if self._device is None else Moved(self._device)
        self._check_submods()
        self._checks = checks_of(data.contract, data.convention)
        with refusals_name(data.provenance.path):
            for _, record in data.root.walk():
                if record.graph is not None:
                    check_graph(record, record.graph, self._policy, is_root=record is data.root)
                    self._check_reads(record)
                    self._plans[id(record)] = self._plan(record.graph)
                    self._objects[id(record)] = passed_as_values(record.graph)
        self.tensors: Mapping[str, torch.Tensor] = {
            path: self._bound(tensor) for path, tensor in _recorded_tensors(data.root)
        }

    def __call__(self, *args: object, **kwargs: object) -> object:
        device = contextlib.nullcontext() if self._device is None else self._device
        with device, refusals_name(self._data.provenance.path):
            return self._call_graph(self._data.root, "", args, kwargs)

    def tensors_by(self, names: Iterable[str]) -> dict[str, torch.Tensor]:
        """``tensors`` with those at these names first, under these names: a shared tensor has several."""
        asked = {name: _tensor_at(self._data.root, name) for name in names}
        found = {name: self._bound(tensor) for name, tensor in asked.items() if tensor is not None}
        known = {id(tensor) for tensor in found.values()}
        return found | {name: tensor for name, tensor in self.tensors.items() if id(tensor) not in known}

    def _check_submods(self) -> None:
        known = {path for path, _ in self._data.root.walk() if path}
        surplus = [path for path in self._submods if path not in known]
        if surplus:
            raise ReplayError(
                f"the graph has no submodule {', '.join(map(repr, surplus))}.",
                f"Its submodules are: {', '.join(sorted(known)) or 'none'}.",
            )

    def _check_reads(self, record: ModuleRecord) -> None:
        """Refuse attributes that are read from a module whose own code may replace them: its class decides what they are."""
        nodes = record.graph.nodes if record.graph is not None else ()
        # The first path of a call is that of the module that it calls, which nothing reads.
        for path in (path for node in nodes for path in list(node.paths)[node.op == "call_module" :]):
            owner = self._running.owner(record, path)
            if owner:
                self._policy.check_read(path.removeprefix(f"{owner}."))

    def _plan(self, graph: Graph) -> tuple[_Step, ...]:
        """The nodes with their functions resolved and the last use of each value."""
        nodes = graph.nodes
        last_use = {node.name: index for index, node in enumerate(nodes)}
        for index, node in enumerate(nodes):
            last_use.update(dict.fromkeys(references(*node.operands), index))
        dead: list[list[str]] = [[] for _ in nodes]
        for name, index in last_use.items():
            dead[index].append(name)
        return tuple(
            _Step(node, self._function(node), tuple(names)) for node, names in zip(nodes, dead, strict=True)
        )

    def _function(self, node: Node) -> Callable[..., object] | None:
        if node.op != "call_function":
            return None
        target = node.target
        if not isinstance(target, Name | OpName | Live):
            raise ReplayError(f"the node {node.name!r} calls {target}, which is an object that has no name.")
        found: Callable[..., object] = (
            target.value if isinstance(target, Live) else self._policy.resolve(target)
        )
        return found

    def _call_graph(
        self, record: ModuleRecord, path: str, args: Sequence[object], kwargs: Mapping[str, object]
    ) -> object:
        values = ObjectBuilder(
            self._policy, self._device, self._bound, partial(self._attribute, record, path)
        )
        convention = self._data.convention if record is self._data.root else record.convention
        env = self._inputs(record, convention, values, args, kwargs)
        del args, kwargs
        result = None
        for step in self._plans[id(record)]:
            node = step.node
            if node.op == "output":
                result = self._value(record, path, step, values, env)
            elif node.op != "placeholder":
                env[node.name] = self._value(record, path, step, values, env)
            for name in step.dead:
                env.pop(name, None)
        if convention is None or convention.output is None:
            return result
        return unflatten(convention.output, _leaves(convention, result), values.constant)

    def _inputs(
        self,
        record: ModuleRecord,
        convention: CallingConvention | None,
        values: ObjectBuilder,
        args: Sequence[object],
        kwargs: Mapping[str, object],
    ) -> dict[str, object]:
        """The value of each placeholder, by node name."""
        placeholders = record.graph.placeholders if record.graph is not None else ()
        if convention is None:
            env = bind_placeholders(placeholders, args, kwargs, values.constant)
        else:
            given = bind_parameters(convention, args, kwargs)
            checks = self._checks if record is self._data.root else None
            leaves = flatten_inputs(convention, given, values.constant, exact=checks is not None)
            if checks is not None:
                checks(leaves, given)
            if len(leaves) != len(placeholders):
                raise ReplayError(f"the graph has {len(placeholders)} inputs, its signature {len(leaves)}.")
            env = {node.name: leaf for node, (_, leaf) in zip(placeholders, leaves, strict=True)}
        return env

    def _value(self, record: ModuleRecord, path: str, step: _Step, values: ObjectBuilder, env: Env) -> object:
        """What a node gives, told to the observer."""
        node, observe = step.node, self._observe
        args = values.each(node.args, env)
        kwargs = {key: values(value, env) for key, value in node.kwargs}
        if observe is None:
            return self._call(record, path, step, args, kwargs)
        operands = (*args, *kwargs.values())
        observe.before(_join(path, node.name), node, operands)
        value = self._call(record, path, step, args, kwargs)
        observe.after(_join(path, node.name), node, value, operands)
        return value

    def _call(
        self, record: ModuleRecord, path: str, step: _Step, args: list[Any], kwargs: dict[str, object]
    ) -> object:
        node = step.node
        if node.op == "output":
            return args[0] if args else None
        if node.op == "get_attr":
            return self._attribute(record, path, str(node.target), node.name in self._objects[id(record)])
        if node.op == "call_module":
            return self._call_module(record, path, str(node.target), args, kwargs)
        method = str(node.target)
        if self._moved is not None:
            method, args, kwargs = self._moved(node, args, kwargs)
        if step.function is not None:
            return step.function(*args, **kwargs)
        return getattr(args[0], method)(*args[1:], **kwargs)

    def _call_module(
        self,
        record: ModuleRecord,
        path: str,
        target: str,
        args: Sequence[object],
        kwargs: Mapping[str, object],
    ) -> object:
        place = _join(path, target)
        if place in self._submods:
            return self._submods[place](*args, **kwargs)
        child = self._find(record, target)
        if not isinstance(child, ModuleRecord):
            raise ReplayError(f"the graph calls {place!r}, which is no module.")
        if child.graph is None or child.hooks:
            return self._modules(child, place)(*args, **kwargs)
        return self._call_graph(child, place, args, kwargs)

    def _attribute(self, record: ModuleRecord, path: str, target: str, as_object: bool = False) -> object:
        """The value of a ``get_attr``: a bound tensor, a module, a nested graph as an operand, or a constant."""
        place = _join(path, target)
        if place in self._submods:
            return self._submods[place]
        owner = self._running.owner(record, target)
        if owner:
            module = self._attribute(record, path, owner, as_object=True)
            return attrgetter(target.removeprefix(f"{owner}."))(module)
        found = self._find(record, target)
        if isinstance(found, torch.Tensor):
            return self._bound(found)
        if not isinstance(found, ModuleRecord):
            return ObjectBuilder(self._policy, self._device, self._bound, _no_reference).constant(found)
        if found.graph is None or found.hooks or as_object:
            return self._modules(found, place)
        if id(found) not in self._subgraphs:
            self._subgraphs[id(found)] = graph_module(partial(self._call_subgraph, found, place))
        return self._subgraphs[id(found)]

    def _call_subgraph(self, record: ModuleRecord, path: str, *args: object) -> object:
        return self._call_graph(record, path, args, {})

    def _find(self, record: ModuleRecord, target: str) -> ModuleRecord | torch.Tensor | Value:
        try:
            found: ModuleRecord | torch.Tensor | Value = record.find(target)
            return found
        except KeyError as error:
            raise ReplayError(f"the graph uses {target!r}, but the file holds nothing there.") from error


def _tensor_at(root: ModuleRecord, path: str) -> torch.Tensor | None:
    try:
        found = root.find(path)
    except KeyError:
        return None
    held = found.tensor if isinstance(found, TensorValue) else found
    return held if isinstance(held, torch.Tensor) else None


def _recorded_tensors(root: ModuleRecord) -> Iterator[tuple[str, torch.Tensor]]:
    """Every parameter, buffer and tensor attribute below the root, each tensor once, by its first path."""
    seen: set[int] = set()
    for path, record in root.walk():
        attributes = {k: v.tensor for k, v in record.attributes.items() if isinstance(v, TensorValue)}
        for name, tensor in {**record.parameters, **record.buffers, **attributes}.items():
            if tensor is not None and id(tensor) not in seen:
                seen.add(id(tensor))
                yield _join(path, name), tensor


def _leaves(convention: CallingConvention, result: object) -> Iterator[object]:
    expected = convention.output.leaf_count if convention.output is not None else 0
    if not isinstance(result, (tuple, list)) or len(result) != expected:
        raise ReplayError(f"the graph's result does not have the {expected} parts of its output structure.")
    return iter(result)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _unchanged(tensor: torch.Tensor) -> torch.Tensor:
    return tensor


def _no_reference(path: str) -> object:
    raise ReplayError(f"an attribute refers to {path!r}, which only a graph can do.")
