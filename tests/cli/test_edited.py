"""Commands that run an edited folder say so, and show the lines."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest


@pytest.mark.parametrize("command", [["run"], ["diff"], ["bench", "--rounds", "3"]])
def test_commands_say_how_many_lines_were_edited_and_show_them(
    command: list[str], fx2py: Any, here: Path, saved: Path
) -> None:
    fx2py("gen", saved / "net.pt2")
    code = here / "net_fx2py" / "execution_fn.py"
    code.write_text(code.read_text().replace("    return", "    print(hidden.shape)\n    return", 1))
    name, *rest = command
    shown = fx2py(name, "net_fx2py", *rest, "--verbose").out
    assert "1 line of execution_fn.py" in shown
    assert "print(hidden.shape)" in shown
    assert "print(hidden.shape)" not in fx2py(name, "net_fx2py", *rest).out
    (edit,) = json.loads(fx2py(name, "net_fx2py", *rest, "--json").out)["edited"]
    assert (edit["file"], edit["lines"]) == ("execution_fn.py", 1)


def test_watch_compares_again_when_the_code_changes_and_ends_with_the_last_verdict(
    fx2py: Any, here: Path, saved: Path
) -> None:
    fx2py("gen", saved / "net.pt2")
    code = here / "net_fx2py" / "execution_fn.py"
    command = [sys.executable, "-m", "fx2py", "diff", "--watch", "--cases", "1"]
    watching = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=partial(
            signal.signal, signal.SIGINT, signal.SIG_DFL
        ),  # a job in the background ignores it
    )
    try:
        assert watching.stdout is not None
        assert "equivalent" in next(watching.stdout)
        time.sleep(0.5)
        code.write_text(code.read_text().replace("torch.relu(", "torch.sigmoid("))
        assert any(line.startswith("different") for line in watching.stdout)
        while "edited" not in next(watching.stdout):
            pass
        time.sleep(0.5)
        watching.send_signal(signal.SIGINT)
        _, remarks = watching.communicate(timeout=60)
    finally:
        watching.kill()
    assert watching.returncode == 1
    assert remarks.count("Watching") == 2
    assert "Traceback" not in remarks


def test_watch_prints_no_documents(fx2py: Any, here: Path, saved: Path) -> None:
    assert fx2py("diff", saved / "net.pt2", "--watch", "--json").code == 2
