"""``fx2py run``: bind a graph or a generated folder, call it, show what came out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fx2py.cli import launch, options, results, sandbox
from fx2py.cli.messages import written
from fx2py.cli.results import Memory, Ran

if TYPE_CHECKING:
    from collections.abc import Callable

    from fx2py.artifact import Artifact, Manifest
    from fx2py.distributed.launcher import Rank
    from fx2py.replay.inputs import Inputs
    from fx2py.trust import Policy


def run(
    source: options.SourcePath = None,
    *,
    inputs: options.InputOptions,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Save the result with torch.save.")
    ] = None,
    repeat: Annotated[
        int, typer.Option("--repeat", min=1, metavar="N", help="Call N times; the time shown is the median.")
    ] = 1,
    verbose: options.Verbose = False,
    memory: Annotated[
        bool, typer.Option("--memory", help="Measure the peak memory of the results in one more call.")
    ] = False,
    code: options.CodeOptions,
    trust: options.TrustOptions,
    sandboxed: options.SandboxOptions,
    as_json: options.AsJson = False,
) -> None:
    """Run a graph on given, stored or made inputs and show the results."""
    rank = launch.asked_rank(source, inputs.file, output)

    def work(lock_in: sandbox.LockIn, descriptor: int | None) -> None:
        doing = f"running {source or 'the newest folder'}"
        with sandbox.at_work(lock_in, doing, trust, rank) as (ranks, policy):
            ready = ranks.agree(lambda: _prepare(source, inputs, output, code, policy, rank))
            ranks.form_groups(ready.artifact)
            ran = ranks.gather(ranks.agree(lambda: _call(ready, inputs.seed, repeat, memory, descriptor)))
        results.print_run(ran, verbose, as_json)

    sandbox.perform(
        work,
        sandboxed,
        rank=rank,
        device=inputs.device,
        reads=[source, inputs.file],
        writes=output,
        as_json=as_json,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _BoundRun:
    """The bound code and its inputs before the first call: whatever can be refused has been checked."""

    target: Path
    artifact: Artifact
    execute: Callable[..., object]
    inputs: Inputs
    output: Path | None


def _prepare(
    source: Path | None,
    asked: options.InputOptions,
    output: Path | None,
    code: options.CodeOptions,
    policy: Policy,
    rank: Rank | None,
) -> _BoundRun:
    import torch

    from fx2py.cli.call import choose_inputs
    from fx2py.cli.targets import open_subject

    device = launch.own_device(asked.device, rank)
    target = launch.own_graph(source, rank)
    own_output = launch.own_output(output, rank)
    subject = open_subject(target, code.model, code.generating())
    file = launch.own_input(asked.file, rank)
    inputs = choose_inputs(subject.graph, subject.artifact, file, asked.seed, device, policy)
    execute = subject.artifact.bind(device, policy=policy)
    if not _may_ask_for_gradients(subject.artifact.manifest):
        execute = torch.no_grad()(execute)
    return _BoundRun(target, subject.artifact, execute, inputs, own_output)


def _may_ask_for_gradients(manifest: Manifest) -> bool:
    """Whether the code calls functions that name gradients, or modules of unknown code, which may switch them on."""
    called = (entry.cls for entry in manifest.submodules if entry.mode == "called")
    return any("grad" in target.name for target in manifest.targets) or not all(
        cls.startswith("torch.nn.") for cls in called
    )


def _call(ready: _BoundRun, seed: int, repeat: int, memory: bool, descriptor: int | None) -> Ran:
    import torch

    from fx2py.cli.call import bindings, summarize, timed
    from fx2py.compare.leaves import as_builtin_containers

    execute, inputs = ready.execute, ready.inputs
    torch.manual_seed(seed)
    result, seconds = timed(execute, inputs)
    returned = as_builtin_containers(result)
    outputs = tuple(summarize(returned))
    if ready.output is not None:
        with written(ready.output, descriptor) as file:
            torch.save(returned, file)
    more = [timed(execute, inputs)[1] for _ in range(repeat - 1)]
    return Ran(
        str(ready.target),
        inputs.source,
        outputs,
        (seconds, *more),
        ready.output,
        bindings(ready.artifact, execute),
        _memory(ready.artifact, execute, inputs) if memory else None,
        ready.artifact.manifest.notes,
        ready.artifact.edits,
    )


def _memory(artifact: Artifact, execute: Callable[..., object], inputs: Inputs) -> Memory:
    from fx2py.replay.memory import measured_peak

    plan = artifact.manifest.memory
    return Memory(plan.planned_peak, plan.unknown, measured_peak(execute, inputs.args, inputs.kwargs))
