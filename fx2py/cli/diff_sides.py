"""The other side of ``fx2py diff`` where it is no code of the graph: a module of the user's, saved results, another model."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from fx2py.artifact import Artifact, open_artifact
from fx2py.cli.diff_results import Diffed, named
from fx2py.cli.options import CaseOptions, SideOptions
from fx2py.cli.targets import is_generated, recorded_graph
from fx2py.compare.cases import cases_of
from fx2py.compare.diff import diff_sides, statements_of
from fx2py.compare.leaves import as_builtin_containers
from fx2py.compare.report import EquivalenceReport
from fx2py.compare.sides import CALLS, Side
from fx2py.compare.tolerance import Tolerance, manner_of
from fx2py.compare.versions import compare_versions
from fx2py.errors import ArtifactError, Fx2pyError, ReplayError
from fx2py.graph.data import GraphData
from fx2py.read import open_graph
from fx2py.replay.inputs import load_inputs, load_plain
from fx2py.replay.interpreter import Reference
from fx2py.trust import Policy

if TYPE_CHECKING:
    from fx2py.cli.diff import Ready


def code_compared(
    ready: Ready, cases: CaseOptions, asked: SideOptions, policy: Policy, close: Tolerance | None
) -> Diffed:
    """The comparison of code with the module or the results that were asked for instead of its graph."""
    own, manner = in_plain_containers(ready.pair.candidate), manner_of(close).of_another_program()
    if ready.pair.device is not None:  # the other side stays where it is
        own, manner = replace(own, device=torch.device(ready.pair.device)), manner.across_devices()
    count, calls = cases.count, CALLS
    if asked.results is not None:
        kind, named_so, other = "results", str(asked.results), results_side(asked.results)
        manner, count, calls = manner.across_devices(), 1, 1
    else:
        assert asked.against is not None
        kind, named_so, other = "against", asked.against, module_side(asked.against)
    tried = cases_of(ready.pair.data, ready.given, limit=count, seed=cases.seed, policy=policy)
    report = diff_sides(own, other, tried, manner, calls=calls)
    said = statements_of(ready.pair)
    return Diffed(
        *(ready.code, named_so, named(close)),
        replace(report, statements=said.differing, unreadable=said.unreadable),
        ready.texts,
        ready.pair.artifact.manifest.notes,
        kinds=("code", kind),
        edits=ready.pair.artifact.edits,
    )


def models_compared(
    paths: tuple[Path, Path], cases: CaseOptions, model: str | None, policy: Policy, close: Tolerance | None
) -> Diffed:
    """Two models: their statements, then their results where both take the same inputs."""
    opened = (_opened(paths[0], model, cases.device), _opened(paths[1], model, cases.device))
    versions = compare_versions(*opened)
    report = EquivalenceReport(obstacle="the two take other inputs")
    if versions.signatures is None:
        graphs = [_graph_of(each, path) for each, path in zip(opened, paths, strict=True)]
        data = graphs[0] or graphs[1]
        if data is None:
            hint = "Name the graph of one of them instead of its folder."
            raise ReplayError(f"the graphs of {paths[0]} and {paths[1]} are not there any more.", hint)
        given, device = tuple(map(load_inputs, cases.files or ())), cases.device
        tried = cases_of(data, given, limit=cases.count, seed=cases.seed, device=device, policy=policy)
        old, new = (_side_of(version, policy, device) for version in opened)
        report = diff_sides(old, new, tried, manner_of(close).of_another_program(), own_state=True)
    labels = (str(paths[0]), str(paths[1]))
    return Diffed(*labels, named(close), report, {}, kinds=("old", "new"), versions=versions)


def _opened(path: Path, model: str | None, device: str | None) -> GraphData | Artifact:
    if not is_generated(path):
        return open_graph(path, model=model)
    code = open_artifact(path).without_compiled()
    return code if device is None else code.to(device)


def _graph_of(version: GraphData | Artifact, path: Path) -> GraphData | None:
    """The graph, or that of a folder where it can be found."""
    if isinstance(version, GraphData):
        return version
    try:
        return recorded_graph(version, path)
    except ArtifactError:
        return None


def _side_of(version: GraphData | Artifact, policy: Policy, device: str | None) -> Side:
    """The interpreter of a graph or the code of a folder, on its own weights."""
    if isinstance(version, GraphData):
        reference = Reference(version, policy, device=device)
        return in_plain_containers(Side(reference, reference.tensors))
    return in_plain_containers(Side(version.bind(policy=policy), version.tensors))


def in_plain_containers(side: Side) -> Side:
    """A side whose results are in dicts, lists and tuples: the classes of containers are no part of the comparison."""
    return replace(side, call=_plain(side.call))


def _plain(call: Callable[..., object]) -> Callable[..., object]:
    return lambda *args, **kwargs: as_builtin_containers(call(*args, **kwargs))


# -- a module that the user's own code makes


def module_side(place: str) -> Side:
    """The module that ``FILE:NAME`` makes, with its parameters and buffers as state. Runs the file.

    Raises ReplayError that says what is missing or what the user's code raised.
    """
    file, _, name = place.rpartition(":")
    hint = "Name a function without parameters that returns the module: --against eager.py:build."
    build = getattr(_imported(Path(file)), name, None)
    if not callable(build):
        raise ReplayError(f"{file} has no function {name}.", hint)
    made = _run_of_user(build, f"{place} raised")
    if not callable(made):
        raise ReplayError(f"{place} returns {type(made).__name__}, which cannot be called.", hint)
    if not isinstance(made, torch.nn.Module):
        return in_plain_containers(Side(made))
    state = {**dict(made.named_parameters()), **dict(made.named_buffers())}
    return in_plain_containers(Side(_without_gradients(made), state, tuple(made.modules())))


def _imported(file: Path) -> Any:
    spec = spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module, loader = module_from_spec(spec), spec.loader
    sys.modules.setdefault(file.stem, module)  # classes of the file are found by its name, as by pickle
    sys.path.insert(0, str(file.resolve().parent))
    try:
        _run_of_user(lambda: loader.exec_module(module), f"{file} raised")
    finally:
        sys.path.remove(str(file.resolve().parent))
    return module


def _run_of_user(act: Callable[[], object], what: str) -> object:
    try:
        return act()
    except Fx2pyError:
        raise
    except Exception as error:  # whatever the user's own code raises
        raise ReplayError(f"{what} {type(error).__name__}: {error}.", "Mend the file.") from error


def _without_gradients(module: torch.nn.Module) -> Callable[..., object]:
    def call(*args: object, **kwargs: object) -> object:
        with torch.no_grad():
            return module(*args, **kwargs)

    return call


# -- saved results


def results_side(file: Path) -> Side:
    """Results that ``run --output`` saved; whatever it is called with. Raises ReplayError when the file holds none."""
    saved = load_plain(file, "results", "Save them with: fx2py run GRAPH --output FILE.")
    return Side(lambda *args, **kwargs: saved)
