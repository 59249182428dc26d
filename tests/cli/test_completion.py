"""Completion of options and files, as each shell asks for it, and help that shows what each option takes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

BASH = {"_FX2PY_COMPLETE": "complete_bash", "COMP_CWORD": "2"}
ZSH = {"_FX2PY_COMPLETE": "complete_zsh"}
FISH = {"_FX2PY_COMPLETE": "complete_fish", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}


def answer(variables: dict[str, str]) -> str:
    command = [sys.executable, "-m", "fx2py"]
    done = subprocess.run(command, env=os.environ | variables, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.stdout


def asked(shell: dict[str, str], line: str) -> str:
    words = "COMP_WORDS" if shell is BASH else "_TYPER_COMPLETE_ARGS"
    return answer({**shell, words: line})


@pytest.mark.parametrize("shell", [BASH, ZSH, FISH], ids=["bash", "zsh", "fish"])
def test_options_are_completed(shell):
    found = asked(shell, "fx2py gen --st")
    assert "--stdout" in found
    assert "--stages" in found
    assert "--json" not in found


@pytest.mark.parametrize("shell", [BASH, ZSH, FISH], ids=["bash", "zsh", "fish"])
def test_files_are_left_to_the_shell(shell):
    assert "--" not in asked(shell, "fx2py gen mod")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_each_shell_is_shown(fx2py, shell, monkeypatch):
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    shown = fx2py("--show-completion", shell)
    assert shown.code == 0
    assert f"_FX2PY_COMPLETE=complete_{shell}" in shown.out


@pytest.mark.parametrize("command", [(), ("gen",), ("run",), ("diff",), ("bench",), ("split",)])
def test_help_shows_no_type_behind_a_flag(fx2py, command):
    shown = fx2py(*command, "--help")
    assert shown.code == 0
    assert "<bool>" not in shown.out
