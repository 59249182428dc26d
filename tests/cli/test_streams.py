"""Output that cannot be written is no fault of fx2py, and no verdict on a graph."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fx2py.cli.streams import PIPE_CLOSED

COMMAND = [sys.executable, "-c", "from fx2py.cli.app import main; main()"]


def run(arguments: list[str], **streams: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], stderr=subprocess.PIPE, text=True, check=False, **streams)  # type: ignore[call-overload]


@pytest.mark.parametrize("more", [[], ["--json"], ["--stdout"]])
def test_a_full_disk_behind_stdout_is_one_message(saved: Path, here: Path, more: list[str]) -> None:
    with open("/dev/full", "w") as full:
        done = run(["gen", str(saved / "net.pt2"), *more], stdout=full)
    assert done.returncode == 2
    assert "the output cannot be written: No space left on device." in done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_a_reader_that_is_gone_is_no_verdict(saved: Path, here: Path) -> None:
    process = subprocess.Popen(
        [*COMMAND, "diff", str(saved / "net.pt2")], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.close()
    _, error = process.communicate()
    assert process.returncode == PIPE_CLOSED
    assert error == b""


def test_without_stdout_the_folder_is_written_all_the_same(saved: Path, here: Path) -> None:
    script = (
        f"exec >&-; exec {sys.executable} -c 'from fx2py.cli.app import main; main()' gen {saved / 'net.pt2'}"
    )
    assert subprocess.run(["bash", "-c", script], check=False).returncode == 0
    assert (here / "net_fx2py" / "execution_fn.py").is_file()
