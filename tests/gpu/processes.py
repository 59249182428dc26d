"""Rows of a table, each made by a process of its own that may fail, hang or crash."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

RESULT = "FX2PY_GPU_RESULT"
"""The environment variable that names the file in which a process leaves its line."""
_LONGEST = 160


@dataclass(frozen=True)
class Outcome:
    """How a row ended: ``ok``, ``skipped``, ``failed``, ``too long`` or ``no time left``; what it says, its seconds."""

    name: str
    kind: str
    detail: str
    seconds: float

    @property
    def is_bad(self) -> bool:
        return self.kind not in ("ok", "skipped")


def in_processes(
    limits: Mapping[str, float], command: Callable[[str], list[str]], budget: float
) -> list[Outcome]:
    """Run the command of each name, one after the other, each for its limit of seconds, all for ``budget``.

    Each prints a line as soon as it ends. A process ends with code 0 and leaves ``ok ...`` or ``skipped ...`` in a file.
    """
    end = time.monotonic() + budget
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory(prefix="fx2py-gpu-", ignore_cleanup_errors=True) as place:
        for name, limit in limits.items():
            left = end - time.monotonic()
            if left < 1:
                outcomes.append(Outcome(name, "no time left", "", 0.0))
                continue
            outcomes.append(_in_process(name, command(name), min(limit, left), Path(place)))
            print(f"{name}: {outcomes[-1].kind} {outcomes[-1].detail}", flush=True)
    return outcomes


def _in_process(name: str, command: list[str], limit: float, place: Path) -> Outcome:
    result, printed = place / f"{name}.result", place / f"{name}.printed"
    environment = {**os.environ, RESULT: str(result), "XDG_STATE_HOME": str(place / "state")}
    start = time.monotonic()
    with printed.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
        try:
            code: int | None = process.wait(limit)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            with contextlib.suppress(ProcessLookupError):  # and what it started, which may hold the device
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return _outcome(name, code, result, printed, time.monotonic() - start)


def _outcome(name: str, code: int | None, result: Path, printed: Path, seconds: float) -> Outcome:
    said = result.read_text(encoding="utf-8") if result.exists() else ""
    kind, _, detail = said.partition(" ")
    if code == 0 and kind in ("ok", "skipped"):
        return Outcome(name, kind, _one_line(detail), seconds)
    last = _one_line(_last_line(printed.read_text(encoding="utf-8", errors="replace")))
    if code is None:
        return Outcome(name, "too long", f"stopped after {seconds:.0f} s; it printed last: {last}", seconds)
    return Outcome(name, "failed", f"{_ending(code)}: {last}", seconds)


def _ending(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"


def _last_line(text: str) -> str:
    """The last line that says something: of a traceback, the error."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.partition(":")[0].endswith(("Error", "Exception", "error"))]
    return (errors or lines or ["nothing"])[-1]


def _one_line(text: str) -> str:
    plain = "".join(sign if sign.isprintable() else " " for sign in text).strip()
    return plain if len(plain) <= _LONGEST else f"{plain[:_LONGEST]}..."


def table(outcomes: list[Outcome]) -> str:
    """The outcomes, a line each."""
    rows = [("row", "outcome", "seconds", "what it printed")]
    rows += [(each.name, each.kind, f"{each.seconds:.1f}", each.detail) for each in outcomes]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = [
        "  ".join(
            [
                f"{row[0]:<{widths[0]}}",
                f"{row[1]:<{widths[1]}}",
                f"{row[2]:>{widths[2]}}",
                row[3],
            ]
        ).rstrip()
        for row in rows
    ]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])
