"""Looks at values in edited code, under a command: what is shown where, and that leaving the debugger is no fault."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch


@pytest.fixture
def edited(fx2py, here: Path, saved: Path):
    """A folder whose code has lines added after its first call."""
    fx2py("gen", saved / "net.pt2", "--flat")
    source = here / "net_fx2py" / "execution_fn.py"
    text = source.read_text()

    def edit(*lines: str) -> Path:
        added = "".join(f"    {line}\n" for line in lines)
        place = "    relu = torch.relu(linear)"
        assert place in text
        source.write_text(text.replace(place, f"{added}{place}"))
        return source

    return edit


def talk(*arguments: str, says: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command whose user says these lines."""
    command = [sys.executable, "-m", "fx2py", *arguments]
    env = {**os.environ, "COLUMNS": "200", **environment}
    return subprocess.run(command, input=says, capture_output=True, text=True, env=env, check=False)


def test_what_edited_code_prints_stands_beside_the_result(edited, fx2py) -> None:
    edited('print(linear.shape, f"{linear.dtype}")')
    result = fx2py("run", "--json")
    assert result.code == 0
    assert "| torch.Size([2, 3]) torch.float32" in result.err
    assert json.loads(result.out)["ran"] == "net_fx2py"


@pytest.mark.parametrize("command", ["run", "bench"])
def test_an_assertion_that_fails_is_told_with_its_line(command: str, edited, fx2py) -> None:
    source = edited('assert linear.max() > 100, f"only {linear.shape}"')
    line = source.read_text()[: source.read_text().index("assert linear")].count("\n") + 1
    result = fx2py(command, "net_fx2py")
    assert result.code == 2
    assert "AssertionError: only torch.Size([2, 3])" in result.err
    assert f"execution_fn.py, line {line})" in result.err.replace("\n", "")


@pytest.mark.parametrize("last", ["q\n", "quit\n", "exit\n", ""])
def test_leaving_the_debugger_is_no_fault(last: str, edited) -> None:
    edited("breakpoint()")
    done = talk("run", says=f"p linear.shape\n{last}")
    assert done.returncode == 0
    assert "torch.Size([2, 3])" in done.stderr
    assert "left in the debugger" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_run_goes_on_after_the_debugger(edited) -> None:
    edited("breakpoint()")
    done = talk("run", "--json", says="n\np relu.min().item()\nc\n")
    assert done.returncode == 0
    assert json.loads(done.stdout)["ran"] == "net_fx2py"
    assert "(Pdb) 0.0\n" in done.stderr


def test_a_comparison_that_was_left_has_compared_nothing(edited) -> None:
    edited("breakpoint()")
    done = talk("diff", "--json", says="q\n")
    assert done.returncode == 3
    left = {"left": "in the debugger, before the end", "exit_code": 3}
    assert json.loads(done.stdout) == left | {"verdict": "not compared", "equal": False}


def test_where_nobody_can_answer_the_run_goes_on(edited) -> None:
    edited("breakpoint()")
    done = talk("diff", "--json", says="")
    assert done.returncode == 0
    assert json.loads(done.stdout)["verdict"] == "equivalent"
    assert "passed over" in done.stderr


def test_nothing_that_lies_here_or_stands_in_the_environment_is_run_at_a_breakpoint(
    edited, here: Path
) -> None:
    edited("breakpoint()")
    (here / ".pdbrc").write_text("!open('mark', 'w')\n")
    (here / "evil.py").write_text("open('mark', 'w')\n")
    done = talk(
        "run",
        says="c\n",
        PYTHONBREAKPOINT="evil.stop",
        PYTHONPATH=f"{os.environ.get('PYTHONPATH', '')}:{here}",
    )
    assert done.returncode == 0
    assert not (here / "mark").exists()


def test_text_of_a_file_does_not_steer_the_terminal_by_way_of_the_debugger(edited) -> None:
    edited("breakpoint()", "del_me = linear + 1  # \x1b[2J")
    done = talk("run", says="l\nc\n")
    assert done.returncode == 0
    assert "\\x1b[2J" in done.stderr
    assert "\x1b[2J" not in done.stderr


def test_breakpoints_can_be_turned_off(edited) -> None:
    edited("breakpoint()")
    done = talk("run", says="", PYTHONBREAKPOINT="0")
    assert done.returncode == 0
    assert "ran" in done.stdout


def test_in_a_sandbox_breakpoints_are_passed_over(edited, here: Path) -> None:
    edited("breakpoint()")
    torch.save((torch.ones(2, 4),), here / "in.pt")
    done = talk("run", "--sandbox", "--inputs", "in.pt", says="")
    if "no sandbox" in done.stderr:
        pytest.skip("this system has no sandbox")
    assert done.returncode == 0
    assert "passed over" in done.stderr
