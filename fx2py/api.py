"""The public functions of the library, one for each task."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeAlias

import torch
import torch.fx as fx
from torch.export import ExportedProgram

from fx2py import artifact as _artifact
from fx2py.arguments import ARGUMENTS, CALL, NAMED, NUMBER, PATH, TEXT, instance_of, require, shown
from fx2py.artifact import Artifact
from fx2py.compare import EquivalenceReport, Tolerance
from fx2py.compare.diff import bind_pair, diff_pair
from fx2py.compare.tolerance import manner_of
from fx2py.errors import Fx2pyError, UnknownFormatError
from fx2py.graph.data import GraphData
from fx2py.graph_file import writing
from fx2py.operators.devices import present_device
from fx2py.operators.spelling import OpSpecs
from fx2py.program.options import DEFAULT, GenerateOptions
from fx2py.read import open_every_graph, open_graph
from fx2py.replay.inputs import Inputs
from fx2py.splitting.live import split_module
from fx2py.trust import Policy

Arguments: TypeAlias = tuple[tuple[object, ...], Mapping[str, object]]
Source: TypeAlias = "str | os.PathLike[str] | fx.GraphModule | ExportedProgram | GraphData"


def generate(
    source: Source,
    *,
    model: str | None = None,
    options: GenerateOptions = DEFAULT,
    inputs: Arguments | None = None,
    policy: Policy | None = None,
) -> Artifact:
    """Generate code from a saved graph (a path) or a live GraphModule or ExportedProgram.

    ``model`` chooses among several graphs in one file. A file is read as data; nothing in it is executed, unless
    ``options.compile`` asks for compiled pieces: then the code runs without numbers, on the shapes of ``inputs``
    (``(args, kwargs)``) or on those that the graph records, and ``policy`` says which names of a file may become
    callables. Raises UnknownFormatError when the file holds no graph, UnsupportedGraphError when it cannot be generated
    exactly, ReplayError when it cannot be compiled.
    """
    _require_generating(options, inputs, policy)
    return _generate(_graph(source, model), options, inputs, policy)


def generate_each(
    path: str | os.PathLike[str],
    *,
    options: GenerateOptions = DEFAULT,
    inputs: Arguments | None = None,
    policy: Policy | None = None,
) -> Iterator[tuple[str, Artifact | Fx2pyError]]:
    """Generate code from every graph of a file, one after the other: its name and the artifact, or why there is none.

    A name is what ``model`` chooses the graph by elsewhere; that of the only graph of a file may be empty. Raises
    UnknownFormatError for a file without a graph; the rest is as for ``generate``.
    """
    _require_generating(options, inputs, policy)
    require("path", path, PATH)
    return _each_generated(Path(path), options, inputs, policy)


def _each_generated(
    path: Path, options: GenerateOptions, inputs: Arguments | None, policy: Policy | None
) -> Iterator[tuple[str, Artifact | Fx2pyError]]:
    for name, found in open_every_graph(path):
        try:
            made = found if isinstance(found, Fx2pyError) else _generate(found, options, inputs, policy)
        except Fx2pyError as fault:
            made = fault
        yield name, made


def _require_generating(options: object, inputs: object, policy: object) -> None:
    require("options", options, instance_of(GenerateOptions))
    require("inputs", inputs, CALL.or_none())
    require("policy", policy, _POLICY)


def _generate(
    graph: GraphData, options: GenerateOptions, inputs: Arguments | None, policy: Policy | None
) -> Artifact:
    artifact = _artifact.generate(graph, options)
    if options.compile is None:
        return artifact
    from fx2py.compile.pieces import compile_pieces

    return compile_pieces(
        graph, artifact, None if inputs is None else Inputs(tuple(inputs[0]), inputs[1]), policy
    )


def split(gm: fx.GraphModule, ops: OpSpecs) -> fx.GraphModule:
    """A GraphModule that calls ``submod_0``, ``submod_1``, ...: each named operator alone, and what stands between them.

    ``ops`` is one operator or several, each a text (``"aten::linear"``, ``"torch.nn.functional.linear"``, the path of
    a module) or the function itself; it is found at whatever level the graph was traced. Weights and modules stay those of ``gm``. Raises
    SplitError when one is nowhere in the graph.
    """
    require("gm", gm, instance_of(fx.GraphModule), _TO_SPLIT)
    return split_module(gm, ops)[0]


_POLICY = instance_of(Policy).or_none()
_TO_SPLIT = "Split an exported program or a file with GenerateOptions(split_at=(OP,)), or ep.module()."


def save_graph(source: Source, path: str | os.PathLike[str], *, model: str | None = None) -> None:
    """Write a graph to a file of fx2py's own, which every function here opens as data, whatever it was read from.

    Keeps what the graph records: weights with their sharing, nested graphs, symbolic sizes, example inputs, source
    lines. Raises UnsupportedGraphError, naming every node, when the graph holds what is no data, such as a lambda.
    """
    require("path", path, PATH)
    writing.save_graph(_graph(source, model), path)


def diff(
    source: Source,
    artifact: Artifact | None = None,
    args: tuple[object, ...] = (),
    kwargs: Mapping[str, object] | None = None,
    *,
    model: str | None = None,
    device: str | torch.device | None = None,
    cases: int | None = None,
    close: Tolerance | None = None,
    seed: int = 0,
    policy: Policy | None = None,
) -> EquivalenceReport:
    """Compare generated code (``artifact``, else made now) with the graph itself on several cases, two calls in a row each.

    The first case are ``args`` and ``kwargs``, else the inputs stored beside the graph; others are made from what the
    graph records. ``cases`` says how many there are. Results are compared bit for bit, or within ``close``. ``policy``
    says which names of a file may become callables; live objects need none. A difference is a result, not an exception:
    see ``report.verdict``. Raises UntrustedTargetError or ReplayError when either side cannot be bound, or there is
    nothing to take inputs from.
    """
    require(
        "artifact",
        artifact,
        instance_of(Artifact).or_none(),
        "Open a folder with fx2py.open_artifact(folder).",
    )
    require("args", args, ARGUMENTS)
    require("kwargs", kwargs, NAMED.or_none())
    require("cases", cases, NUMBER.or_none())
    require(
        "close", close, instance_of(Tolerance).or_none(), "fx2py.Tolerance() has torch.testing's tolerances."
    )
    require("seed", seed, NUMBER)
    require("policy", policy, _POLICY)
    if device is not None:
        device = present_device(device)
    graph = _graph(source, model)
    gate = policy or Policy(trust_all=graph.provenance.path is None)
    pair = bind_pair(graph, artifact or _artifact.generate(graph), device=device, policy=gate)
    given = (Inputs(tuple(args), kwargs or {}, name="given inputs"),) if args or kwargs is not None else ()
    return diff_pair(pair, given, cases=cases, seed=seed, manner=manner_of(close))


def _graph(source: Source, model: str | None) -> GraphData:
    require("model", model, TEXT.or_none())
    if isinstance(source, GraphData):
        return source
    if isinstance(source, fx.GraphModule | ExportedProgram):
        return open_graph(source, model=model)
    if not isinstance(source, str | os.PathLike):
        hint = "Trace or export a model first: torch.fx.symbolic_trace(model) or torch.export.export(model, args)."
        raise UnknownFormatError(f"{shown(source)} is neither a graph nor the path of one.", hint)
    return open_graph(Path(source), model=model)
