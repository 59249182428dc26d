"""``fx2py run``: bind a graph or a generated folder, call it, show what came out."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fx2py.cli import launch, options, render
from fx2py.cli.apart import LockIn, Sandbox, not_locked, require_simple, run_apart
from fx2py.cli.device import check_device
from fx2py.errors import ReplayError

if TYPE_CHECKING:
    from collections.abc import Callable

    from fx2py.artifact import Artifact, Manifest
    from fx2py.cli.summary import Summary
    from fx2py.distributed.launcher import Rank
    from fx2py.program.options import GenerateOptions
    from fx2py.replay.inputs import Inputs
    from fx2py.trust import Policy


@dataclass(frozen=True, slots=True)
class Ran:
    """What was run on what, what came out, the seconds of each call, how each submodule was bound, and notes."""

    label: str
    inputs: str
    outputs: tuple[Summary, ...]
    seconds: tuple[float, ...]
    saved: Path | None = None
    bindings: tuple[tuple[str, str], ...] = ()
    memory: Memory | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Memory:
    """The peak bytes of a call's own results: as planned (None where ``unknown`` says why) and as measured."""

    planned: int | None
    unknown: str
    measured: int


def run(
    source: Annotated[
        Path | None,
        typer.Argument(
            metavar="GRAPH_OR_FOLDER",
            help="A saved graph or a generated folder. Default: the newest *_fx2py here.",
        ),
    ] = None,
    inputs: options.InputsFile = None,
    device: options.Device = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Save the result with torch.save.")
    ] = None,
    seed: options.Seed = 0,
    repeat: Annotated[
        int, typer.Option("--repeat", min=1, help="Call so often; the time is the median.")
    ] = 1,
    verbose: Annotated[bool, typer.Option("--verbose", help="Show how each submodule is bound.")] = False,
    memory: Annotated[
        bool, typer.Option("--memory", help="Measure the peak memory of the results in one more call.")
    ] = False,
    model: options.ModelName = None,
    exact_ops: options.ExactOps = False,
    optimize: options.Optimize = False,
    allow: options.Allow = None,
    allow_op: options.AllowOp = None,
    allow_class: options.AllowClass = None,
    trust: options.Trust = False,
    sandbox: options.Sandbox = False,
    sandbox_memory: options.SandboxMemory = 8.0,
    sandbox_seconds: options.SandboxSeconds = 600.0,
    as_json: options.AsJson = False,
) -> None:
    """Run a graph on given, stored or made inputs and show the results."""
    rank = launch.asked_rank(source, inputs, output)

    def work(lock_in: LockIn, descriptor: int | None = None) -> None:
        admitted = options.policy(allow, allow_op, allow_class, trust)

        from fx2py.program.options import GenerateOptions
        from fx2py.trust.checked_kernels import checked_kernels

        wanted = GenerateOptions(exact_ops=exact_ops, optimize=optimize)
        request = _Request(inputs, device, output, seed, repeat, model, wanted, memory, descriptor)
        lock_in()
        working = render.working(f"running {source or 'the newest folder'}")
        with working, checked_kernels(trusted=trust), launch.world(rank) as ranks:
            ready = ranks.agree(lambda: _prepare(source, request, admitted, rank))
            ranks.form_groups(ready.artifact)
            ran = ranks.gather(ranks.agree(lambda: _call(ready, request)))
        render.print_run(ran, verbose, as_json)

    if not sandbox:
        work(not_locked)
        return
    require_simple(rank, device)
    with _descriptor_of(output) as kept:
        limits = Sandbox(sandbox_memory, sandbox_seconds)
        run_apart(lambda lock_in: work(lock_in, kept), limits, [source, inputs], kept=kept, as_json=as_json)


@contextmanager
def _descriptor_of(output: Path | None) -> Iterator[int | None]:
    """What the child of a sandbox writes the result to, which it could not open itself; whole or not at all."""
    if output is None:
        yield None
        return
    from fx2py.files import whole_file

    try:
        with whole_file(output) as staging:
            descriptor = os.open(staging, os.O_WRONLY)
            try:
                yield descriptor
            finally:
                os.close(descriptor)
    except OSError as error:
        raise _unsaved(output, error) from None


@dataclass(frozen=True, slots=True)
class _Request:
    """How to run: the options that are not about trust or printing."""

    inputs: Path | None
    device: str | None
    output: Path | None
    seed: int
    repeat: int
    model: str | None
    options: GenerateOptions
    memory: bool
    descriptor: int | None


@dataclass(frozen=True, slots=True, eq=False)
class _Ready:
    """What is called on what, before anything was: all that can be refused was not."""

    target: Path
    artifact: Artifact
    execute: Callable[..., Any]
    inputs: Inputs
    output: Path | None


def _prepare(source: Path | None, request: _Request, policy: Policy, rank: Rank | None) -> _Ready:
    import torch

    from fx2py.cli.call import choose_inputs
    from fx2py.cli.subject import open_subject

    device = launch.own_device(request.device, rank)
    check_device(device)
    target = launch.own_graph(source, rank)
    output = launch.own_output(request.output, rank)
    subject = open_subject(target, request.model, request.options)
    inputs = choose_inputs(
        subject.graph, launch.own_input(request.inputs, rank), request.seed, device, policy
    )
    execute = subject.artifact.bind(device, policy=policy)
    if not _may_ask_for_gradients(subject.artifact.manifest):
        execute = torch.no_grad()(execute)
    return _Ready(target, subject.artifact, execute, inputs, output)


def _may_ask_for_gradients(manifest: Manifest) -> bool:
    """Whether the code calls what speaks of gradients, or modules of whose code nothing is known."""
    called = (entry.cls for entry in manifest.submodules if entry.mode == "called")
    return any("grad" in target.name for target in manifest.targets) or not all(
        cls.startswith("torch.nn.") for cls in called
    )


def _call(ready: _Ready, request: _Request) -> Ran:
    import torch

    from fx2py.cli.call import bindings, timed
    from fx2py.cli.summary import plain, summarize

    execute, inputs = ready.execute, ready.inputs
    torch.manual_seed(request.seed)
    result, seconds = timed(execute, inputs)
    returned = plain(result)
    outputs = tuple(summarize(returned))
    if ready.output is not None:
        _save(returned, ready.output, request.descriptor)
    more = [timed(execute, inputs)[1] for _ in range(request.repeat - 1)]
    bound = bindings(ready.artifact, execute)
    memory = _memory(ready.artifact, execute, inputs) if request.memory else None
    notes = ready.artifact.manifest.notes
    return Ran(
        str(ready.target), inputs.source, outputs, (seconds, *more), ready.output, bound, memory, notes
    )


def _memory(artifact: Artifact, execute: Callable[..., Any], inputs: Inputs) -> Memory:
    from fx2py.replay.memory import measured_peak

    plan = artifact.manifest.memory
    return Memory(plan.planned_peak, plan.unknown, measured_peak(execute, inputs.args, inputs.kwargs))


def _save(result: Any, path: Path, descriptor: int | None) -> None:
    """``torch.save`` to ``path``, whole or not at all, or to what is open as ``descriptor``."""
    import torch

    from fx2py.files import whole_file

    try:
        if descriptor is not None:
            with os.fdopen(descriptor, "wb") as file:
                torch.save(result, file)
            return
        with whole_file(path) as staging:
            torch.save(result, staging)
    except (OSError, RuntimeError) as error:
        raise _unsaved(path, error) from None


def _unsaved(path: Path, error: Exception) -> ReplayError:
    return ReplayError(f"the result cannot be saved to {path}: {error}.", "Choose another --output.")
