"""The script for a machine with a CUDA device, on one without: its sentence, its processes, and its rows on the CPU."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tests.gpu.processes import RESULT, Outcome, in_processes, table
from tests.gpu.rows import ROWS

ROOT = Path(__file__).parents[2]


def script(*arguments: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.gpu", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


@pytest.mark.skipif(torch.cuda.is_available(), reason="shows what happens without a GPU")
def test_without_a_device_it_says_so_in_one_sentence() -> None:
    done = script()
    assert (done.stdout, done.stderr) == ("No CUDA device is here, so nothing was run.\n", "")
    assert done.returncode == int(Path("/dev/nvidiactl").exists())


def test_a_row_that_there_is_not_is_an_error_that_names_the_rows() -> None:
    done = script("--device", "cpu", "nothing")
    assert done.returncode == 2
    assert "there is no row nothing; the rows are gen, run" in done.stderr


def test_rows_on_the_cpu_end_in_a_table() -> None:
    done = script("--device", "cpu", "gap", "tests")
    assert done.returncode == 0, done.stdout
    assert done.stdout.startswith(f"torch {torch.__version__}")
    rows = done.stdout.partition("\n\n")[2].splitlines()
    assert [row.split()[:2] for row in rows[2:]] == [["gap", "ok"], ["tests", "skipped"]]


@pytest.mark.slow
@pytest.mark.parametrize("name", ROWS)
def test_every_row_is_right_on_the_cpu(name: str) -> None:
    done = script("--device", "cpu", name, timeout=400)
    assert done.returncode == 0, done.stdout


# -- a process that does not do what it should -------------------------------------------------------------------------


BODIES = {
    "fine": f"import os; open(os.environ['{RESULT}'], 'w').write('ok 3 things')",
    "raises": "print('some'); raise ValueError('no such thing')",
    "exits": "raise SystemExit('half\\nway')",
    "says nothing": "pass",
    "dies": "import os; os.kill(os.getpid(), 9)",
    "hangs": "import time; print('began', flush=True); time.sleep(600)",
    "escapes": f"import os; open(os.environ['{RESULT}'], 'w').write('ok \\x1b[31mred\\nline')",
    "after all": f"import os; open(os.environ['{RESULT}'], 'w').write('skipped not for this')",
}


def command(name: str) -> list[str]:
    return [sys.executable, "-c", BODIES[name]]


def test_each_row_ends_in_its_own_way_and_the_others_go_on() -> None:
    outcomes = in_processes(dict.fromkeys(BODIES, 5.0), command, budget=120.0)
    assert [(each.name, each.kind, each.is_bad) for each in outcomes] == [
        ("fine", "ok", False),
        ("raises", "failed", True),
        ("exits", "failed", True),
        ("says nothing", "failed", True),
        ("dies", "failed", True),
        ("hangs", "too long", True),
        ("escapes", "ok", False),
        ("after all", "skipped", False),
    ]
    details = {each.name: each.detail for each in outcomes}
    assert details["fine"] == "3 things"
    assert details["raises"] == "exit code 1: ValueError: no such thing"
    assert details["dies"].startswith("killed by SIGKILL")
    assert details["hangs"].endswith("it printed last: began")
    assert details["escapes"] == "[31mred line"


def test_when_the_time_of_all_is_over_the_rest_is_not_begun() -> None:
    start = time.monotonic()
    outcomes = in_processes({"hangs": 60.0, "fine": 60.0}, command, budget=2.0)
    assert [each.kind for each in outcomes] == ["too long", "no time left"]
    assert time.monotonic() - start < 20


def test_a_process_that_a_row_started_ends_with_it(tmp_path: Path) -> None:
    file = tmp_path / "alive"
    child = f"import time; [(time.sleep(0.1), open({str(file)!r}, 'a').write('x')) for _ in range(600)]"
    BODIES["starts another"] = (
        f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {child!r}]); time.sleep(600)"
    )
    in_processes({"starts another": 3.0}, command, budget=10.0)
    size = file.stat().st_size if file.exists() else 0
    time.sleep(0.5)
    assert (file.stat().st_size if file.exists() else 0) == size


def test_the_table_has_a_line_for_each_row() -> None:
    outcomes = [Outcome("gen", "ok", "fine", 1.23), Outcome("a long name", "too long", "", 60)]
    assert table(outcomes).splitlines() == [
        "row          outcome   seconds  what it printed",
        "-----------------------------------------------",
        "gen          ok            1.2  fine",
        "a long name  too long     60.0",
    ]
