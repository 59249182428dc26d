"""What each row of ``make gpu`` does: ``python -m tests.gpu.rows ROW DEVICE``.

A row is a function of the device that returns what it measured, in a few words, or raises. What it imports it imports
itself, so that what one needs is no fault of another.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

from tests.gpu.processes import RESULT

ROOT = Path(__file__).parents[2]
ATTENTION = "aten::scaled_dot_product_attention"


class Skipped(Exception):
    """The row says nothing about this device; the text is the reason."""


# -- what the rows share ----------------------------------------------------------------------------------------------


def saved_model(folder: Path) -> tuple[Path, Any, Any]:
    """A transformer exported on the CPU as ``model.pt2``; its input and result there."""
    import torch

    model, x = on_device("cpu")
    torch.export.save(torch.export.export(model, (x,)), folder / "model.pt2")
    return folder / "model.pt2", x, model(x)


def on_device(device: str) -> tuple[Any, Any]:
    """The transformer and its input there."""
    from examples.compile_ahead import sample_input, transformer

    return transformer().requires_grad_(False).to(device), sample_input().to(device)


def command(*arguments: object, folder: Path) -> str:
    """What the command line prints; raises where it ends with another code than 0."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "fx2py", *map(str, arguments)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"fx2py {arguments[0]} ended with {done.returncode}: {done.stderr.strip()[-300:]}")
    return done.stdout


def synchronize(device: str) -> None:
    import torch

    if device != "cpu":
        torch.cuda.synchronize()


def microseconds(calls: dict[str, Callable[[], object]], device: str, rounds: int = 41) -> dict[str, float]:
    """The median time of a call of each, in interleaved rounds, with what it started on the device."""
    from fx2py.bench.timing import in_rounds

    def seconds(call: Callable[[], object]) -> float:
        synchronize(device)
        start = perf_counter()
        call()
        synchronize(device)
        return perf_counter() - start

    for _ in range(3):
        for call in calls.values():
            call()
    timings = in_rounds({name: partial(seconds, call) for name, call in calls.items()}, rounds)
    return {name: timing.seconds * 1e6 for name, timing in timings.items()}


def shown(times: dict[str, float]) -> str:
    return ", ".join(f"{name} {time:.1f} us" for name, time in times.items())


# -- the rows -----------------------------------------------------------------------------------------------------------


def tests(device: str) -> str:
    """The tests that are marked gpu."""
    if device == "cpu":
        raise Skipped("these tests need a GPU")
    files = [
        str(path.relative_to(ROOT))
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        if "mark.gpu" in path.read_text(encoding="utf-8")
    ]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", *files],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    last = (done.stdout.strip().splitlines() or [done.stderr.strip()[-200:]])[-1]
    if done.returncode:
        raise RuntimeError(f"pytest ended with {done.returncode}: {last}")
    return last.strip("= ")


def gen(device: str) -> str:
    """``fx2py gen`` of a saved graph, plain, split and with -O."""
    with tempfile.TemporaryDirectory() as place:
        path, _, _ = saved_model(Path(place))
        ways = {"plain": (), "split": ("--split-at", ATTENTION), "-O": ("-O",)}
        counts = {}
        for name, arguments in ways.items():
            printed = command("gen", path.name, "--json", *arguments, folder=Path(place))
            (written,) = json.loads(printed)["graphs"]
            counts[name] = f"{sum(target['calls'] for target in written['manifest']['targets'])} calls"
    return ", ".join(f"{name}: {count}" for name, count in counts.items())


def run(device: str) -> str:
    """``fx2py run --device``: everything is moved there, and the result is that of the CPU within rounding."""
    import torch

    with tempfile.TemporaryDirectory() as place:
        path, _, expected = saved_model(Path(place))
        report = json.loads(
            command("run", path.name, "--device", device, "--output", "out.pt", "--json", folder=Path(place))
        )
        found = torch.load(Path(place) / "out.pt", map_location="cpu", weights_only=True)
    places = {row["device"].partition(":")[0] for row in report["outputs"]}
    assert places == {device}, f"results are on {places}"
    result = found[0] if isinstance(found, tuple | list) else found
    torch.testing.assert_close(result, expected, rtol=1e-3, atol=1e-4)
    return f"results on {device}, at most {float((result - expected).abs().max()):.1e} from the CPU's"


def diff(device: str) -> str:
    """``fx2py diff --device``: bit for bit, plain, split and with -O."""
    with tempfile.TemporaryDirectory() as place:
        path, _, _ = saved_model(Path(place))
        for name, arguments in {"plain": (), "split": ("--split-at", ATTENTION), "fast": ("-O",)}.items():
            command("gen", path.name, "-o", name, *arguments, folder=Path(place))
            chosen = ("-O",) if name == "fast" else ()
            report = json.loads(
                command("diff", path.name, name, "--device", device, "--json", *chosen, folder=Path(place))
            )
            assert report["equal"], name
    return "plain, split and -O equal the graph, bit for bit"


def backend(device: str) -> str:
    """``torch.compile(backend="fx2py")``: inference and training, over generated and over compiled pieces."""
    import torch

    said = []
    for inner in ("eager", "inductor"):
        for split_at in ((), (ATTENTION,)):
            torch._dynamo.reset()
            model, x = on_device(device)
            options: Any = {"inner": inner, "split_at": split_at}
            compiled = torch.compile(model, backend="fx2py", options=options)
            with torch.no_grad():
                torch.testing.assert_close(compiled(x), model(x), rtol=1e-3, atol=1e-4)
            said.append(f"{inner}{' split' if split_at else ''}")
    torch._dynamo.reset()
    model, x = on_device(device)
    model.requires_grad_(True)
    expected = torch.autograd.grad(model(x).sum(), list(model.parameters()))
    training: Any = {"split_at": (ATTENTION,)}
    compiled = torch.compile(model, backend="fx2py", options=training)
    found = torch.autograd.grad(compiled(x).sum(), list(model.parameters()))
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)
    return f"as torch's eager mode: {', '.join(said)}, training"


def compiled_folder(device: str, folder: Path) -> Any:
    """The transformer, exported on the device, split and compiled, as an artifact that was opened again."""
    import torch

    import fx2py

    model, x = on_device(device)
    options = fx2py.GenerateOptions(split_at=(ATTENTION,), compile="inductor")
    artifact = fx2py.generate(torch.export.export(model, (x,)), options=options)
    notes = [note for note in artifact.manifest.notes if "stays generated" in note]
    assert not notes, notes[0]
    artifact.write(folder)
    torch.save((x.cpu(), model(x).cpu()), folder.parent / "expected.pt")
    return fx2py.open_artifact(folder)


_ELSEWHERE = """
import sys, torch, fx2py
from fx2py.artifact import submodule_table
from fx2py.artifact.compiled_calls import is_compiled
artifact = fx2py.open_artifact(sys.argv[1])
assert artifact.compiled_fault() == "", artifact.compiled_fault()
x, expected = torch.load(sys.argv[2], weights_only=True)
with torch.no_grad():
    execute = artifact.bind()
    pieces = submodule_table(execute)
    assert all(map(is_compiled, pieces)), "pieces run as generated code"
    torch.testing.assert_close(execute(x.to(sys.argv[3])).cpu(), expected, rtol=1e-3, atol=1e-4)
print(len(pieces))
"""


def pieces(device: str) -> str:
    """``gen --compile inductor``: the pieces run in another process, which compiles nothing."""
    with tempfile.TemporaryDirectory() as place:
        artifact = compiled_folder(device, Path(place) / "code")
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", _ELSEWHERE, "code", "expected.pt", device],
            cwd=place,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"another process: {done.stderr.strip().splitlines()[-1]}")
        files = len(artifact.compiled_files)
    return f"{done.stdout.strip()} pieces in {files} files, all compiled code in another process"


def captured(execute: Callable[..., Any], x: Any) -> Callable[[Any], Any]:
    """A call captured in a CUDA graph, as a function of another input."""
    import torch

    static = x.clone()
    with torch.no_grad():
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            execute(static)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            result = execute(static)

    def replay(given: Any) -> Any:
        static.copy_(given)
        graph.replay()
        return result

    return replay


def capture(device: str) -> str:
    """A stitched call in a CUDA graph, plain, with -O, of compiled pieces, and by the functions for engines."""
    import torch

    model, x = on_device(device)
    with tempfile.TemporaryDirectory() as place, torch.no_grad():
        ways = stitched_ways(device, Path(place))
        for execute in ways.values():
            torch.testing.assert_close(first(execute(x)), model(x), rtol=1e-3, atol=1e-4)
        if device == "cpu":
            raise Skipped(f"{len(ways)} stitched calls are right; CUDA graphs are of CUDA")
        times: dict[str, float] = {}
        for name, execute in ways.items():
            replay = captured(execute, x)
            for given in (x * 2, x - 1):
                replayed, called = replay(given), execute(given)
                assert torch.equal(first(replayed), first(called)), f"{name}: the replay gives other values"
            calls: dict[str, Callable[[], object]] = {
                f"{name}": partial(execute, x),
                f"{name} replayed": partial(replay, x),
            }
            times |= microseconds(calls, device)
    return f"equal bits; {shown(times)}"


def stitched_ways(device: str, folder: Path) -> dict[str, Callable[..., Any]]:
    """The transformer cut at its attention, as callables that stitch the pieces."""
    import torch

    import fx2py

    model, x = on_device(device)
    program = torch.export.export(model, (x,))
    plain = fx2py.GenerateOptions(split_at=(ATTENTION,))
    fast = fx2py.GenerateOptions(split_at=(ATTENTION,), optimize=True)
    return {
        "stitched": fx2py.generate(program, options=plain).bind(),
        "-O": fx2py.generate(program, options=fast).bind(),
        "compiled": compiled_folder(device, folder / "code").bind(),
        "engine": engine(model),
    }


def first(result: Any) -> Any:
    return result[0] if isinstance(result, tuple | list) else result


def engine(model: Any) -> Callable[..., Any]:
    """The transformer by the functions of ``fx2py.integrations.vllm``, over pieces that are called."""
    import torch

    from fx2py.integrations import vllm

    stitched, parts = vllm.split_graph(torch.fx.symbolic_trace(model), [ATTENTION])
    calls = {part.submod_name: part.graph.forward for part in parts}
    for part in parts:
        setattr(stitched, part.submod_name, torch.nn.Identity())
    code, names, consts = vllm.generate_execution_code(stitched)
    return vllm.compile_execution_fn(code, calls, names, consts)


def gap(device: str) -> str:
    """The time between two pieces: modules that do nothing, on the host; and compiled pieces, with torch.compile's."""
    import torch

    import fx2py
    from fx2py.bench.ways import chain

    class Nothing(torch.nn.Module):
        def forward(self, x: Any) -> Any:
            return x

    class Leaves(torch.fx.Tracer):
        def is_leaf_module(self, module: torch.nn.Module, name: str) -> bool:
            return isinstance(module, Nothing)

    count = 64
    model = torch.nn.Sequential(*[Nothing() for _ in range(count)])
    graph_module = torch.fx.GraphModule(model, Leaves().trace(model))
    x = torch.ones(1, device=device)
    ways: dict[str, Callable[..., Any]] = {
        "FX GraphModule": graph_module,
        "hand-written": chain([step.forward for step in model]),
        "fx2py": fx2py.generate(graph_module).bind(),
    }

    def many(way: Callable[..., Any]) -> list[Any]:
        return [way(x) for _ in range(100)]  # more than what waiting takes

    with torch.no_grad():
        times = microseconds({name: partial(many, way) for name, way in ways.items()}, device)
    return ", ".join(f"{name} {time * 10 / count:.0f} ns" for name, time in times.items()) + " a piece"


def compiled_gap(device: str) -> str:
    """Compiled pieces called by fx2py, beside the same pieces called by torch.compile each."""
    import torch

    import fx2py

    model, x = on_device(device)
    with tempfile.TemporaryDirectory() as place, torch.no_grad():
        ahead = compiled_folder(device, Path(place) / "code").bind()
        split = fx2py.split(torch.export.export(model, (x,)).module(), [ATTENTION])
        for name, piece in list(split.named_children()):
            if name.startswith("submod_"):
                setattr(split, name, torch.compile(piece))
        times = microseconds({"fx2py": lambda: ahead(x), "torch.compile each": lambda: split(x)}, device)
    return shown(times)


@dataclass(frozen=True)
class Row:
    """What a row does, and the seconds after which it is stopped."""

    measure: Callable[[str], str]
    limit: float


ROWS = {
    "gen": Row(gen, 60),
    "run": Row(run, 60),
    "diff": Row(diff, 75),
    "capture": Row(capture, 90),
    "pieces": Row(pieces, 90),
    "gap": Row(gap, 45),
    "compiled-gap": Row(compiled_gap, 90),
    "backend": Row(backend, 100),
    "tests": Row(tests, 100),
}
"""In the order of what is wanted most, should time run out."""


def main(name: str, device: str) -> None:
    try:
        said = f"ok {ROWS[name].measure(device)}"
    except Skipped as reason:
        said = f"skipped {reason}"
    Path(os.environ[RESULT]).write_text(said, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
