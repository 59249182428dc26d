"""The torch.compile backend: ``torch.compile(model, backend="fx2py", options={...})``.

Each graph that torch captures is split, its pieces are compiled by another backend, and generated code calls them.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any
from unittest.mock import patch
from weakref import WeakKeyDictionary

import torch
import torch.fx as fx
from torch._dispatch.python import enable_python_dispatcher
from torch._dynamo.backends.registry import list_backends, lookup_backend
from torch._dynamo.exc import InvalidBackend
from torch._dynamo.utils import counters, to_fake_tensor
from torch._guards import CompileContext, TracingContext, tracing
from torch._logging._internal import trace_structured
from torch._subclasses import FakeTensorMode
from torch.fx.experimental.symbolic_shapes import PropagateUnbackedSymInts, statically_known_true

from fx2py import artifact as _artifact
from fx2py.arguments import NAMED, PATH, Kind, require, shown
from fx2py.artifact import Artifact
from fx2py.artifact.execution import Bound
from fx2py.compile.symbolic import discarded_sizes
from fx2py.errors import EditedFolderError, OptionError, UnsupportedGraphError
from fx2py.operators.spelling import OpSpec, OpSpecs, each_of, require_known
from fx2py.program.options import GenerateOptions
from fx2py.read import open_graph
from fx2py.splitting.live import LivePiece, split_module, with_sizes_as_integers

_log = logging.getLogger(__name__)
_EAGER = "eager"


@dataclass(frozen=True, slots=True)
class BackendOptions:
    """What ``torch.compile(options=...)`` takes.

    ``split_at``: operators or modules to split each graph at. ``inner``: the backend that compiles the pieces, or
    ``"eager"`` to run them as generated code. ``dump``: a folder that gets a generated folder for each graph.
    """

    split_at: OpSpecs = ()
    inner: str = _EAGER
    dump: str | Path | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "split_at", each_of(self.split_at, "split_at"))
        for op in self.operators:
            require_known(op)
        require("dump", self.dump, PATH.or_none())
        _require_backend(self.inner)

    @classmethod
    def of(cls, options: Mapping[str, Any] | None) -> BackendOptions:
        """The options as given; raises OptionError for an unknown one and for a value of the wrong kind."""
        require("the options of the backend fx2py", options, NAMED.or_none())
        known = [field.name for field in fields(cls)]
        unknown = [name for name in options or {} if name not in known]
        if unknown:
            raise OptionError(
                f"the backend fx2py has no option {', '.join(map(repr, unknown))}.",
                f"Its options are {', '.join(known)}.",
            )
        return cls(**(options or {}))

    @property
    def operators(self) -> tuple[OpSpec, ...]:
        return each_of(self.split_at)


def _require_backend(inner: str) -> None:
    """Raise OptionError unless torch finds a backend under the name, or it is one itself."""
    require("inner", inner, _BACKEND)
    try:
        lookup_backend(inner)
    except InvalidBackend as error:
        raise OptionError(
            f"inner is {shown(inner)}, which is no backend of torch.compile.",
            f"torch has {', '.join(list_backends(exclude_tags=()))}.",
        ) from error


_BACKEND = Kind("the name of a backend", lambda value: isinstance(value, str) or callable(value))


def fx2py_backend(
    gm: fx.GraphModule, example_inputs: Sequence[object], *, options: Mapping[str, Any] | None = None
) -> Bound:
    """Generated code for a captured graph, over its compiled pieces; what torch.compile calls for each graph.

    An operator to split at that this graph does not hold cuts nothing: a model may have several graphs. Raises
    UnsupportedGraphError when the graph cannot be generated exactly.
    """
    wanted = BackendOptions.of(options)
    compiled: dict[str, Bound] = {}
    if wanted.inner != _EAGER:
        gm, compiled = _compiled(gm, example_inputs, wanted)
    elif wanted.operators:
        gm, _ = split_module(gm, wanted.operators, strict=False)
    artifact = _artifact.generate(open_graph(gm), GenerateOptions(keep_submodules=True, flat=True))
    trace_structured(
        "artifact",
        metadata_fn=lambda: {"name": "fx2py_execution_fn", "encoding": "string"},
        payload_fn=lambda: artifact.source,
    )
    if wanted.dump is not None:
        artifact = _dumped(artifact, Path(wanted.dump))
    return artifact.bind(submods=compiled)


def _compiled(
    gm: fx.GraphModule, example_inputs: Sequence[object], wanted: BackendOptions
) -> tuple[fx.GraphModule, dict[str, Bound]]:
    """The stitching graph and its pieces, compiled, by name."""
    mode = _fake_mode()
    gm = with_sizes_as_integers(gm)
    stitching, pieces = split_module(
        gm, wanted.operators, strict=False, for_compilers=True, whole_modes_from=torch.is_grad_enabled()
    )
    values = _recorded(gm, example_inputs, mode)
    compiled: dict[str, Bound] = {}
    for piece in pieces:
        compiled[piece.name], results = _compile(piece, wanted.inner, values, mode, piece is not pieces[-1])
        values.update(results)
    return stitching, compiled


class _Recording(PropagateUnbackedSymInts):
    """Runs a captured graph on fake tensors and keeps the value of each node, by its name."""

    def __init__(self, gm: fx.GraphModule, mode: FakeTensorMode) -> None:
        super().__init__(gm)
        self.values: dict[str, object] = {}
        self._mode = mode

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        self.values[n.name] = result
        return result

    def get_attr(self, target: Any, args: Any, kwargs: Any) -> object:
        found = super().get_attr(target, args, kwargs)
        return self._mode.from_tensor(found) if isinstance(found, torch.Tensor) else found


def _recorded(
    gm: fx.GraphModule, example_inputs: Sequence[object], mode: FakeTensorMode
) -> dict[str, object]:
    """The value of every node of a captured graph on fake tensors: the example inputs of the pieces."""
    inputs = [
        to_fake_tensor(value, mode) if isinstance(value, torch.Tensor) else value for value in example_inputs
    ]
    recording = _Recording(gm, mode)
    with torch.set_grad_enabled(torch.is_grad_enabled()), _rerunning(mode), mode, enable_python_dispatcher():
        recording.run(*inputs)
    return recording.values


@contextmanager
def _rerunning(mode: FakeTensorMode) -> Iterator[None]:
    """Run a captured graph again, on fake tensors over the parameters of the real modules that it calls.

    Each operator makes new symbols for sizes that depend on data, and ``PropagateUnbackedSymInts`` makes them equal to
    those of the graph.
    """
    with discarded_sizes(mode), patch.object(mode, "allow_non_fake_inputs", True):
        yield


def _compile(
    piece: LivePiece, inner: str, values: Mapping[str, Any], mode: FakeTensorMode, is_followed: bool
) -> tuple[Bound, dict[str, torch.Tensor]]:
    """A piece compiled by another backend, for the values that its inputs had when the graph was captured.

    And its results, where pieces follow it and it gives results of other strides than the graph records: inductor
    chooses the layout of what it returns, and guards the strides of what it is given.
    """
    inputs: list[Any] = [
        _as_input(values[node.name]) for node in piece.module.graph.find_nodes(op="placeholder")
    ]
    with _own_tracing_context(mode) as context:
        context.fakify_first_call = is_followed
        before = counters["aot_autograd"][
            "total"
        ]  # as DDPOptimizer tells whether the backend used AOT autograd
        compiled = lookup_backend(inner)(piece.module, inputs)
        if not is_followed or counters["aot_autograd"]["total"] == before:
            return compiled, {}
        # With fakify_first_call, AOT autograd's first call takes fake tensors and returns such, in the strides of inductor
        # (FakifiedOutWrapper in torch/_functorch/_aot_autograd/runtime_wrappers.py).
        with _rerunning(mode), mode:
            results = compiled(*inputs)
    return compiled, _restrided(piece, results, values)


def _restrided(
    piece: LivePiece, results: Sequence[object], values: Mapping[str, Any]
) -> dict[str, torch.Tensor]:
    """The tensors among the results of a piece, by name, if a stride differs from the recorded one; else none."""
    names = [node.name for node in piece.module.graph.output_node().all_input_nodes]
    tensors = {
        name: made for name, made in zip(names, results, strict=True) if isinstance(made, torch.Tensor)
    }
    strides = ((made.stride(), values[name].stride()) for name, made in tensors.items())
    same = all(statically_known_true(one == two) for pair in strides for one, two in zip(*pair, strict=True))
    return {} if same else tensors


def _as_input(value: object) -> object:
    """A recorded value, a tensor as a leaf: AOT autograd reads whether an input is one."""
    if not isinstance(value, torch.Tensor) or value.is_leaf:
        return value
    return value.detach().requires_grad_(value.requires_grad)


@contextmanager
def _own_tracing_context(mode: FakeTensorMode) -> Iterator[TracingContext]:
    """A tracing context for one piece, so that what its compiler notes there is not taken for the whole graph.

    The guards are those of the whole graph: a compiler that specialises a symbol of a piece guards the frame.
    """
    context = TracingContext(mode)
    whole = TracingContext.try_get()
    if whole is not None:
        context.guards_context = whole.guards_context
    with tracing(context):
        yield context


def _fake_mode() -> FakeTensorMode:
    """The mode in which dynamo captured the graph."""
    context = TracingContext.try_get()
    known = None if context is None else context.fake_mode
    return FakeTensorMode() if known is None else known


def _dumped(artifact: Artifact, folder: Path) -> Artifact:
    """The artifact in a folder named after the compilation, ``graph_0_0`` for the first graph of the first frame."""
    name = _name_in_compilation()
    try:
        return artifact.write(folder / f"graph_{name}")
    except (UnsupportedGraphError, EditedFolderError) as fault:
        _log.warning("fx2py: graph %s is not dumped: %s", name, fault.message)
        return artifact


_OUTSIDE = TracingContext(None)
"""Stands for the context of a graph that torch.compile did not capture."""
_graphs_in: WeakKeyDictionary[TracingContext, int] = WeakKeyDictionary()


def _name_in_compilation() -> str:
    """The number of the compilation, with ``_part_1`` for the second graph that it gives this backend, and so on.

    Dynamo compiles one graph by several calls of a backend for DDP, which cuts it into buckets.
    """
    context = TracingContext.try_get() or _OUTSIDE
    part = _graphs_in[context] = _graphs_in.get(context, -1) + 1
    number = re.sub(r"\W+", "_", str(CompileContext.current_compile_id() or "0"))
    return f"{number}_part_{part}" if part else number
