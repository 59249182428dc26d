"""How text gets onto a screen and into a pipe."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from fx2py.cli.terminal import print_code, print_facts


def on_a_screen() -> Console:
    return Console(
        file=io.StringIO(), force_terminal=True, color_system="standard", width=60, highlight=False
    )


def text_of(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_of_a_fact_only_the_name_is_bold() -> None:
    console = on_a_screen()
    print_facts(console, {"graph": "a.pt", "calls": "3"})
    assert text_of(console) == "\x1b[1mgraph  \x1b[0ma.pt\n\x1b[1mcalls  \x1b[0m3\n"


def test_code_is_highlighted_on_a_screen_and_plain_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    screen = on_a_screen()
    print_code(screen, "def f(x):\n    return x\n")
    assert "\x1b[" in text_of(screen)
    print_code(Console(file=io.StringIO()), "def f(x):\n    return x\n\n")
    assert capsys.readouterr().out == "def f(x):\n    return x\n"
