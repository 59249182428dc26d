"""Commands that run an edited folder say so, and show the lines."""

from __future__ import annotations

import json
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
