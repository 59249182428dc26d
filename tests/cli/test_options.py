"""Options that several commands share are declared once, so that they mean and say the same everywhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import pytest
import typer
from typer.main import get_command
from typer.testing import CliRunner

from fx2py.cli.app import app
from fx2py.cli.options import expanded

OF_ITS_OWN = {
    "gen": {"--output", "--inputs"},
    "diff": {"--inputs"},
    "run": {"--output"},
    "split": {"--output"},
}
"""Options that a command has in a meaning of its own: a folder or a file to write, inputs that give shapes, or several."""


def declared(command: str) -> dict[str, tuple[object, ...]]:
    """What each option of a command is, by its long name."""
    parameters = get_command(app).commands[command].params  # type: ignore[attr-defined]
    own = OF_ITS_OWN.get(command, set())
    options = [each for each in parameters if each.param_type_name == "option" and not own & {*each.opts}]
    return {max(each.opts, key=len): (each.opts, each.help, each.default, each.metavar) for each in options}


@pytest.mark.parametrize("other", ["run", "diff", "bench", "split"])
def test_an_option_is_the_same_in_every_command(other: str) -> None:
    ours, theirs = declared("gen") | declared("run"), declared(other)
    shared = ours.keys() & theirs.keys()
    assert {"--model", "--json"} <= shared
    assert {name: ours[name] for name in shared} == {name: theirs[name] for name in shared}


@pytest.mark.parametrize("command", ["run", "diff", "bench", "gen"])
def test_commands_that_call_code_take_what_admits_names(command: str) -> None:
    assert {"--allow", "--allow-op", "--allow-class", "--trust"} <= declared(command).keys()


@dataclass(frozen=True)
class Group:
    first: Annotated[int, typer.Option("--first")] = 1
    second: Annotated[list[str] | None, typer.Option("--second")] = None


def test_a_command_gets_a_group_built_from_its_options() -> None:
    got = []

    def command(path: Annotated[str, typer.Argument()], *, group: Group, last: bool = False) -> None:
        got.append((path, group, last))

    command.__annotations__ |= {"group": Group}
    small = typer.Typer()
    small.command()(expanded(command))
    assert CliRunner().invoke(small, ["p", "--second", "a", "--second", "b", "--last"]).exit_code == 0
    assert CliRunner().invoke(small, ["p", "--first", "3"]).exit_code == 0
    assert got == [("p", Group(1, ["a", "b"]), True), ("p", Group(3), False)]
