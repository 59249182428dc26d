"""``make gpu``: what runs on a CUDA device, each row in a process of its own, and a table at the end.

    python -m tests.gpu [--device cuda] [ROW...]

Where there is no such device it says so in one sentence. A row that fails, hangs or crashes is a line of the table, and
the others go on; the exit code is 1 then. Nothing is installed: the Python needs torch, of whatever version, and what
``NEEDED`` lists. Imported are only files of this repository and of that Python.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

from tests.gpu.processes import in_processes, table
from tests.gpu.rows import ROWS

NEEDED = ("black", "rich", "typer")
BUDGET = 345.0
"""Seconds for all rows; with the start that is less than six minutes."""
_DRIVER = Path("/dev/nvidiactl")
_PATIENCE = 90
_NO_DEVICE = 3
_ASK = (
    "import sys, torch\n"
    f"if sys.argv[1] == 'cuda' and not torch.cuda.is_available(): sys.exit({_NO_DEVICE})\n"
    "name = torch.cuda.get_device_name() if sys.argv[1] == 'cuda' else 'the CPU'\n"
    "print(f'torch {torch.__version__} (CUDA {torch.version.cuda}) on {name}')\n"
)


def main() -> int:
    options = argparse.ArgumentParser(prog="python -m tests.gpu")
    options.add_argument("rows", nargs="*", metavar="ROW", help=f"of {', '.join(ROWS)}; all without any")
    options.add_argument("--device", default="cuda")
    wanted = options.parse_args()
    unknown = [name for name in wanted.rows if name not in ROWS]
    if unknown:
        options.error(f"there is no row {', '.join(unknown)}; the rows are {', '.join(ROWS)}")
    if importlib.util.find_spec("torch") is None:
        print(f"No CUDA device was asked for: {sys.executable} has no torch.")
        return int(_DRIVER.exists())
    code, said = _asked(wanted.device)
    if code:
        reason = "" if code == _NO_DEVICE else f" (torch cannot be asked: {said})"
        print(f"No CUDA device is here, so nothing was run{reason}.")
        return int(_DRIVER.exists())
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        print(
            f"{sys.executable} lacks {', '.join(missing)}: install them, or name their folder in PYTHONPATH."
        )
        return 1
    print(f"{said}, Python {sys.version.split()[0]}", flush=True)
    limits = {name: row.limit for name, row in ROWS.items() if not wanted.rows or name in wanted.rows}
    outcomes = in_processes(limits, lambda name: _command(name, wanted.device), BUDGET)
    print(f"\n{table(outcomes)}")
    return int(any(outcome.is_bad for outcome in outcomes))


def _command(name: str, device: str) -> list[str]:
    return [sys.executable, "-W", "ignore", "-m", "tests.gpu.rows", name, device]


def _asked(device: str) -> tuple[int, str]:
    """What torch says of the device, in a process of its own: 0 and its names, or a code and the reason."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", _ASK, device],
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return 1, f"no answer in {_PATIENCE} seconds"
    lines = (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines()
    return done.returncode, lines[-1] if lines else ""


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
