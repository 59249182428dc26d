"""``python -m tests.artifact.kills [COUNT]``: kills writers of one folder at random moments; raises where anything is left.

After each kill the folder is one of those that were being written, and the next writer leaves nothing beside it.
"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import torch

import fx2py

WRITER = """
import sys
import fx2py
from tests.artifact.test_write import scaled

artifacts = [fx2py.generate(scaled(float(factor))) for factor in (2, 3)]
print("ready", flush=True)
while True:
    for artifact in artifacts:
        artifact.write(sys.argv[1])
"""


def killed_writers(target: Path, delays: Iterable[float]) -> None:
    """Start a process that writes a folder again and again, and kill it after each of these times; the folder is whole."""
    for delay in delays:
        command = [sys.executable, "-c", WRITER, str(target)]
        writer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
        time.sleep(delay)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        if target.exists():
            result = fx2py.open_artifact(target).bind()(torch.ones(3))
            assert result.tolist() in ([1.0] * 3, [2.0] * 3, [3.0] * 3)


def main(count: int) -> None:
    """Kill that many writers, each up to a fifth of a second after it began."""
    moments = random.Random(0)
    with tempfile.TemporaryDirectory() as folder:
        target, graph = Path(folder) / "out", Path(folder) / "graph.pt"
        torch.save(torch.fx.symbolic_trace(torch.nn.ReLU()), graph)
        for number in range(count):
            killed_writers(target, [moments.uniform(0, 0.2)])
            fx2py.generate(graph).write(target)
            stray = [path.name for path in Path(folder).iterdir() if path not in (target, graph)]
            if stray:
                raise SystemExit(f"kill {number} left {', '.join(stray)}")
    print(f"{count} writers were killed: nothing half-written, nothing stray after the next one")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 50)
