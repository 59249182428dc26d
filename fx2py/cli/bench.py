"""``fx2py bench``: the time of a call for each way to run a graph."""

from __future__ import annotations

import logging
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fx2py.cli import launch, options, results
from fx2py.cli.messages import print_note, working
from fx2py.cli.results import Benched
from fx2py.cli.targets import is_generated, newest_folder, recorded_graph
from fx2py.errors import Fx2pyError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fx2py.bench import LiveSource
    from fx2py.graph.data import GraphData
    from fx2py.graph.values import Name
    from fx2py.trust import Policy


def bench(
    source: options.SourcePath = None,
    *,
    inputs: options.InputOptions,
    rounds: Annotated[
        int, typer.Option("--rounds", min=3, metavar="N", help="Time everything N times, in turn.")
    ] = 15,
    model: options.ModelName = None,
    trust: options.TrustOptions,
    verbose: options.Verbose = False,
    as_json: options.AsJson = False,
) -> None:
    """Time a graph in every way it can be run. With --trust torch loads the file too, and takes part."""
    launch.own_device(inputs.device, None)
    policy = trust.policy()
    target = source or newest_folder(Path())

    from fx2py.trust.checked_kernels import checked_kernels

    with working(f"timing {target}"), checked_kernels(trusted=trust.trust):
        done = _bench(target, model, inputs, rounds, policy)
    results.print_bench(done, verbose, as_json)


def _bench(
    target: Path, model: str | None, asked: options.InputOptions, rounds: int, policy: Policy
) -> Benched:
    from fx2py.artifact import open_artifact
    from fx2py.bench import bench_graph
    from fx2py.cli.call import choose_inputs, place_in_code, raised
    from fx2py.read import open_graph

    folder = open_artifact(target) if is_generated(target) else None
    data = open_graph(target, model=model) if folder is None else recorded_graph(folder, target)
    inputs = choose_inputs(lambda: data, folder, asked.file, asked.seed, asked.device, policy)
    live = _as_torch_loads_it(data) if policy.trust_all and asked.device is None else None
    try:
        report = bench_graph(
            data, inputs, live=live, folder=folder, policy=policy, device=asked.device, rounds=rounds
        )
    except Fx2pyError:
        raise
    except Exception as error:
        if not place_in_code(error):
            raise
        raise raised(error, f"the graph raised {type(error).__name__}: {error}", inputs) from error
    return Benched(str(target), report, () if folder is None else folder.edits)


def _as_torch_loads_it(data: GraphData) -> LiveSource | None:
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
        print_note(f"torch cannot load {path}, so its own ways take no part: {first_line}")
        return None
    finally:
        logging.disable(logging.NOTSET)


def _container_classes(data: GraphData) -> Iterator[Name]:
    """The classes of the containers in inputs and results.

    torch.export.load knows only containers that are registered as pytrees, which the modules of most do when imported.
    """
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


def _loaded(path: str, saved_as: str) -> LiveSource | None:
    import torch

    if saved_as == "pt2":
        return torch.export.load(path)
    if saved_as == "torch.save":
        loaded = torch.load(path, weights_only=False)
        return loaded if isinstance(loaded, torch.fx.GraphModule) else None
    return None
