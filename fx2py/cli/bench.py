"""``fx2py bench``: how fast each way to run a graph is."""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fx2py.cli import options, render
from fx2py.cli.device import check_device
from fx2py.cli.locate import is_generated, newest_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fx2py.bench import BenchReport
    from fx2py.graph.data import GraphData
    from fx2py.graph.values import Name
    from fx2py.trust import Policy


@dataclass(frozen=True, slots=True)
class Benched:
    """What was timed, and the report."""

    label: str
    report: BenchReport


def bench(
    source: Annotated[
        Path | None,
        typer.Argument(
            metavar="GRAPH_OR_FOLDER",
            help="A saved graph or a generated folder. Default: the newest *_fx2py here.",
        ),
    ] = None,
    inputs: options.InputsFile = None,
    device: options.Device = None,
    seed: options.Seed = 0,
    rounds: Annotated[int, typer.Option("--rounds", min=3, help="Time everything so often, in turn.")] = 15,
    model: options.ModelName = None,
    allow: options.Allow = None,
    allow_op: options.AllowOp = None,
    allow_class: options.AllowClass = None,
    trust: options.Trust = False,
    as_json: options.AsJson = False,
) -> None:
    """Time a graph in every way it can be run. With --trust torch loads the file too, and takes part."""
    check_device(device)
    admitted = options.policy(allow, allow_op, allow_class, trust)
    target = source or newest_folder(Path())

    from fx2py.trust.checked_kernels import checked_kernels

    with render.working(f"timing {target}"), checked_kernels(trusted=trust):
        done = _bench(target, _Request(inputs, device, seed, rounds, model), admitted)
    render.print_bench(done, as_json)


@dataclass(frozen=True, slots=True)
class _Request:
    """How to time: the options that are not about trust or printing."""

    inputs: Path | None
    device: str | None
    seed: int
    rounds: int
    model: str | None


def _bench(target: Path, request: _Request, policy: Policy) -> Benched:
    from fx2py.artifact import open_artifact
    from fx2py.bench import bench_graph
    from fx2py.cli.call import choose_inputs
    from fx2py.cli.locate import recorded_graph
    from fx2py.read import open_graph

    folder = open_artifact(target) if is_generated(target) else None
    data = open_graph(target, model=request.model) if folder is None else recorded_graph(folder, target)
    inputs = choose_inputs(lambda: data, request.inputs, request.seed, request.device, policy)
    live = _as_torch_loads_it(data) if policy.trust_all and request.device is None else None
    report = bench_graph(
        data, inputs, live=live, folder=folder, policy=policy, device=request.device, rounds=request.rounds
    )
    return Benched(str(target), report)


def _as_torch_loads_it(data: GraphData) -> Any:
    """The graph as torch's own object, which runs what the file says; only for a file that the user trusts.

    None where torch cannot load it; a note says so.
    """
    path = data.provenance.path
    if path is None:
        return None
    for module in {cls.module for cls in _container_classes(data)}:
        with suppress(ImportError):
            import_module(module)
    logging.disable(logging.CRITICAL)
    try:
        return _loaded(path, data.provenance.format)
    except Exception as error:  # torch's loaders raise whatever the file leads them to
        first_line = str(error).partition("\n")[0]
        render.print_note(f"torch cannot load {path}, so its own ways take no part: {first_line}")
        return None
    finally:
        logging.disable(logging.NOTSET)


def _container_classes(data: GraphData) -> Iterator[Name]:
    """The classes in which inputs and results come; torch's loader knows those alone that were imported."""
    convention = data.convention
    if convention is None:
        return
    trees = [tree for _, tree in (*convention.args, *convention.kwargs)]
    trees += [] if convention.output is None else [convention.output]
    while trees:
        tree = trees.pop()
        trees += tree.children
        if tree.cls is not None:
            yield tree.cls


def _loaded(path: str, saved_as: str) -> Any:
    import torch

    if saved_as == "pt2":
        return torch.export.load(path)
    if saved_as == "torch.save":
        loaded = torch.load(path, weights_only=False)
        return loaded if isinstance(loaded, torch.fx.GraphModule) else None
    return None
