"""Runs the command line under an audit hook: ``python -m tests.security.audited CALLS.json RESULTS.json``.

CALLS is a list of argument lists. RESULTS holds for each the exit code, what was printed, and what it did that a
reader of data has no need to do: processes, libraries, sockets, writes, foreign imports, executed text of a graph.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

FORBIDDEN = (
    *("os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty", "subprocess.Popen"),
    *("ctypes.dlopen", "socket.connect", "socket.bind", "urllib.Request", "webbrowser.open", "pty.spawn"),
    *("pickle.find_class", "os.remove", "shutil.copyfile"),
)
TRAPS = frozenset({"antigravity", "this", "trap_of_a_graph"})
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class Hook:
    """Collects what happens between ``start`` and ``stop``."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.writes: list[str] = []
        self._on = False
        sys.addaudithook(self._seen)

    def _seen(self, event: str, args: tuple[Any, ...]) -> None:
        if not self._on:
            return
        if event in FORBIDDEN:
            self.events.append(f"{event} {args!r}"[:200])
        elif event == "import" and str(args[0]).partition(".")[0] in TRAPS:
            self.events.append(f"import {args[0]}")
        elif event == "exec" and getattr(args[0], "co_filename", "").startswith("<eval_with_key>"):
            self.events.append(f"exec {args[0].co_filename}")
        elif event == "open" and isinstance(args[2], int) and args[2] & _WRITES:
            self.writes.append(str(args[0]))

    def start(self) -> None:
        self.events, self.writes, self._on = [], [], True

    def stop(self) -> None:
        self._on = False


def call(arguments: list[str], hook: Hook) -> dict[str, Any]:
    """One command in an empty folder of its own."""
    from fx2py.cli.app import main

    sys.argv = ["fx2py", *arguments]
    out, err = io.StringIO(), io.StringIO()
    code: Any = None
    before = set(Path.cwd().iterdir())
    started = time.process_time()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        hook.start()
        try:
            main()
        except SystemExit as exit_:
            code = exit_.code
        finally:
            hook.stop()
    return {
        "code": code or 0,
        "out": out.getvalue(),
        "err": err.getvalue(),
        "events": hook.events,
        "writes": hook.writes,
        "left": sorted(path.name for path in set(Path.cwd().iterdir()) - before),
        "seconds": time.process_time() - started,
    }


def run() -> None:
    """All calls in order; the first ones may be harmless, so that everything is imported before it counts."""
    calls, results = (Path(argument) for argument in sys.argv[1:3])
    hook = Hook()
    done = [call(arguments, hook) for arguments in json.loads(calls.read_text())]
    results.write_text(json.dumps(done))


if __name__ == "__main__":
    run()
