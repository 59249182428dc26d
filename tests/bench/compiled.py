"""Pieces that were compiled ahead, against the same pieces called through torch.compile."""

from __future__ import annotations

import os
import runpy
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from time import thread_time
from typing import Any

import torch
from torch.export import ExportedProgram

import fx2py
from fx2py.artifact import kernels
from fx2py.bench.timing import interleave, too_noisy
from fx2py.bench.ways import flat_graph_module
from tests.bench.rows import Row
from tests.checking import assert_same

EXAMPLE = runpy.run_path(str(Path(__file__).parents[2] / "examples" / "compile_ahead.py"))


def rows() -> Iterator[Row]:
    model, x = EXAMPLE["transformer"](), EXAMPLE["sample_input"]()
    with torch.no_grad(), tempfile.TemporaryDirectory() as place:
        os.environ.setdefault("XDG_STATE_HOME", place)
        program = torch.export.export(model, (x,))
        artifact = _compiled(program, Path(place) / "transformer_fx2py")
        ways: dict[str, Callable[[torch.Tensor], Any]] = {
            "bare kernels": artifact.bind(submods=_bare(artifact)),
            "fx2py": artifact.bind(),
            "torch.compile on each piece": _compiled_by_torch(program),
            "torch.compile on the whole": torch.compile(flat_graph_module(program)),
        }
        (expected,) = ways["torch.compile on each piece"](x)
        for name in ("bare kernels", "fx2py"):
            assert_same(ways[name](x), expected, name)
        (whole,) = ways["torch.compile on the whole"](x)
        torch.testing.assert_close(whole, expected)
        calls = {name: partial(way, x) for name, way in ways.items()}
        timings = interleave(calls, rounds=101, clock=thread_time)
    yield from _rows({name: timing.seconds for name, timing in timings.items()}, artifact, too_noisy(timings))


def _rows(seconds: dict[str, float], artifact: fx2py.Artifact, noise: str) -> Iterator[Row]:
    pieces = len(artifact.manifest.submodules)
    floor = seconds["bare kernels"]
    gaps = {name: (seconds[name] - floor) / pieces for name in ("fx2py", "torch.compile on each piece")}
    detail = ", ".join(f"{name} {time * 1e6:.0f} us" for name, time in seconds.items())
    gap = "; gap per submodule: " + ", ".join(f"{name} {time * 1e6:.1f} us" for name, time in gaps.items())
    for name, bar in (("torch.compile on each piece", 1.0), ("torch.compile on the whole", None)):
        what = f"{pieces} compiled pieces: {name} / fx2py"
        yield Row(what, seconds[name] / seconds["fx2py"], f"{detail}{gap} {noise}".strip(), at_least=bar)


def _compiled(program: ExportedProgram, folder: Path) -> fx2py.Artifact:
    options = fx2py.GenerateOptions(split_at=(EXAMPLE["ATTENTION"],), compile="inductor")
    fx2py.generate(program, options=options).write(folder)
    return fx2py.open_artifact(folder)


def _bare(artifact: fx2py.Artifact) -> dict[str, Callable[..., Any]]:
    """Each piece as its compiled function, with nothing around it."""
    compiled = artifact.manifest.compiled
    assert compiled is not None
    bare: dict[str, Callable[..., Any]] = {}
    for piece in compiled.pieces:
        function = kernels.load(artifact.compiled_files[piece.file], direct=piece.is_direct)
        weights = [artifact.tensors[name] for name, _ in piece.weights]
        bare[piece.name] = _calling(function, weights, piece.is_single)
    return bare


def _calling(function: kernels.Boxed, weights: list[torch.Tensor], is_single: bool) -> Callable[..., Any]:
    if is_single:
        return lambda *args: function([*args, *weights])[0]
    return lambda *args: function([*args, *weights])


def _compiled_by_torch(program: ExportedProgram) -> torch.nn.Module:
    """The same pieces, each called as torch.compile calls it, in torch's own stitching module."""
    split = fx2py.split(flat_graph_module(program), [EXAMPLE["ATTENTION"]])
    for name, piece in list(split.named_children()):
        if name.startswith("submod_"):
            setattr(split, name, torch.compile(piece))
    return split
