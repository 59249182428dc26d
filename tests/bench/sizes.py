"""Memory, time and disk for models of gigabytes: ``python -m tests.bench.sizes [README [NAME...]]`` (``make bench-sizes``).

Each command runs in a process of its own, which is asked while it runs for what it has in memory: anonymous pages, and
pages of the files that it maps. Linux only. This process imports no torch, so that nothing of it counts.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.bench.rows import Row, put_between

START, END = "<!-- bench-sizes -->\n", "<!-- /bench-sizes -->"
MEBI, GIGA = 2**20, 10**9
NAMES = ("llama", "mixtral", "vit", "t5", "unet_block", "whisper")
"""The first one, of 2.5 GB, has the bars to meet."""
ADMITTED = {"mixtral": ("--allow-op", "transformers")}
_LOAD = "import sys, torch; program = torch.export.load(sys.argv[1])"
_CALL = f"""{_LOAD}
args, kwargs = program.example_inputs
module = program.module()
with torch.no_grad():
    module(*args, **kwargs)"""
_EVERY_SECONDS = 0.01


@dataclass(frozen=True, slots=True)
class Used:
    """What a process took: its peak in memory, of that the most in anonymous pages, both in MiB, and its processor's seconds."""

    peak: int
    anonymous: int
    seconds: float

    def __str__(self) -> str:
        return f"{self.peak:,} ({self.anonymous:,})"


class FailedError(Exception):
    """A process ended with another exit code than 0."""


def used_by(*arguments: str) -> Used:
    """Run Python with these arguments to its end."""
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen([sys.executable, *arguments], stdout=output, stderr=output)
        peak = anonymous = 0
        while (ended := os.wait4(process.pid, os.WNOHANG))[0] == 0:
            found = _in_memory(process.pid)
            peak, anonymous = max(peak, found.get("VmHWM", 0)), max(anonymous, found.get("RssAnon", 0))
            time.sleep(_EVERY_SECONDS)
        _, status, usage = ended
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            output.seek(0)
            raise FailedError(
                f"{' '.join(arguments)} ended with {process.returncode}:\n{output.read()[-2000:]}"
            )
    return Used(peak // 1024, anonymous // 1024, usage.ru_utime + usage.ru_stime)


def _in_memory(process: int) -> dict[str, int]:
    """Lines of /proc/PID/status that count KiB; none when the process has ended."""
    try:
        text = Path(f"/proc/{process}/status").read_text("ascii")
    except OSError:
        return {}
    return {name: int(count) for name, count in re.findall(r"^(\w+):\s+(\d+) kB$", text, re.MULTILINE)}


@dataclass(frozen=True, slots=True)
class Measured:
    """One model: the bytes of its file, and what each command took; ``run`` and ``diff`` are those of the folder."""

    name: str
    file: int
    load: Used
    call: Used
    gen: Used
    run: Used
    diff: Used

    def ratios(self, torch: Used) -> tuple[Row, ...]:
        """What has a bar: ``torch`` is what importing it takes."""
        beyond = (self.gen.peak - torch.peak) * MEBI / GIGA
        return (
            Row("gen, GB beyond import torch", beyond, at_most=1.0),
            Row("gen, CPU / torch.export.load", self.gen.seconds / self.load.seconds, at_most=0.6),
            Row("run / ep.module(), resident", self.run.peak / self.call.peak, at_most=1.2),
            Row("diff / run, resident", self.diff.peak / self.run.peak, at_most=1.5),
        )


def measured(name: str, place: Path) -> Measured:
    """Export a model to a file in ``place``, run each command on it, and delete what was written."""
    file, folder = place / f"{name}.pt2", place / f"{name}_fx2py"
    admitted = ADMITTED.get(name, ())
    command = ("-m", "fx2py")
    try:
        used_by("-m", "tests.bench.large_models", name, str(file))
        return Measured(
            name,
            file.stat().st_size,
            load=used_by("-c", _LOAD, str(file)),
            call=used_by("-c", _CALL, str(file)),
            gen=used_by(*command, "gen", str(file), "-o", str(folder)),
            run=used_by(*command, "run", str(folder), *admitted),
            diff=used_by(*command, "diff", str(file), str(folder), *admitted),
        )
    finally:
        file.unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)


def tables(models: list[Measured], torch: Used) -> str:
    """What was measured as tables of a README: the bars, then what each command took."""
    first = models[0]
    lines = [f"| {first.name}, {first.file / GIGA:.1f} GB | result | bar | met |", "|---|---:|---|---|"]
    for row in first.ratios(torch):
        lines.append(f"| {row.what} | {row.value:.2f} | {row.bar} | {'yes' if row.met else 'no'} |")
    lines += ["", f"Peak MiB (anonymous); `import torch` takes {torch}.", ""]
    lines += ["| | GB | ep.module() | gen | run | diff |", "|---|---:|---:|---:|---:|---:|"]
    for each in models:
        used = " | ".join(map(str, (each.call, each.gen, each.run, each.diff)))
        lines.append(f"| {each.name} | {each.file / GIGA:.1f} | {used} |")
    lines += ["", "| CPU seconds | load | and call | gen | run | diff |", "|---|---:|---:|---:|---:|---:|"]
    for each in models:
        seconds = (each.load, each.call, each.gen, each.run, each.diff)
        lines.append(f"| {each.name} | {' | '.join(f'{used.seconds:.1f}' for used in seconds)} |")
    return "\n".join(lines) + "\n"


def main(readme: str | None = None, *names: str) -> int:
    torch = used_by("-c", "import torch")
    models: list[Measured] = []
    with tempfile.TemporaryDirectory() as place:
        for name in names or NAMES:
            models.append(measured(name, Path(place)))
            print(f"{name}: gen, run and diff are done, all results are equal", file=sys.stderr)
    table = tables(models, torch)
    print(table)
    if readme is not None:
        put_between(Path(readme), START, END, table)
    return 0 if all(row.met for row in models[0].ratios(torch)) else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
