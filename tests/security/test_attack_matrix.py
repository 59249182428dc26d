"""Every attack through every command: refused with one message, or inert; nothing runs, nothing else is written."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.security.attack_files import TARGETS, TRAP, attacks

ATTACKS = attacks()
COMMANDS = ("gen", "run", "diff")
REFUSED, DIFFERENT, NOT_COMPARED = 2, 1, 3
SECONDS = 20
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def matrix(tmp_path_factory):
    """What each command did with each attack, all of them in one other process."""
    root = tmp_path_factory.mktemp("attacks")
    here, mark = root / "here", root / "mark"
    here.mkdir()
    (here / f"{TRAP}.py").write_text(f"open({str(mark)!r}, 'w')\ndef f(*args): pass\n")
    harmless = root / "harmless.pt"
    torch.save(torch.fx.symbolic_trace(torch.nn.Linear(2, 2)), harmless)
    paths = {}
    for number, (name, writer) in enumerate(ATTACKS.items()):
        folder = root / f"{number}"
        folder.mkdir()
        paths[name] = writer(folder, mark)
    calls = [[command, str(harmless), *_output(command, "harmless")] for command in COMMANDS]
    keys = [(name, command) for name in paths for command in COMMANDS]
    inputs = root / "inputs.pt"
    torch.save((torch.ones(2),), inputs)
    calls += [
        [command, str(paths[name]), *_output(command, name), *_inputs(command, name, inputs)]
        for name, command in keys
    ]
    results = _audited(calls, root, here)[len(COMMANDS) :]
    assert not mark.exists()
    return {key: {**done, "path": paths[key[0]]} for key, done in zip(keys, results, strict=True)}


def _output(command, name):
    return ["-o", f"generated_{name.replace('/', '_')}"] if command == "gen" else []


def _inputs(command, name, inputs):
    """Without inputs, graphs that record no shapes are refused before anything of them runs."""
    return ["--inputs", str(inputs)] if command != "gen" and name.startswith("walk") else []


def _audited(calls, root, here):
    listed, results = root / "calls.json", root / "results.json"
    listed.write_text(json.dumps(calls))
    repository = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": f"{repository}{os.pathsep}{here}"}
    command = [sys.executable, "-m", "tests.security.audited", str(listed), str(results)]
    subprocess.run(command, cwd=here, env=environment, check=True, timeout=600)
    return json.loads(results.read_text())


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_refused_or_inert(name, command, matrix):
    done = matrix[name, command]
    assert done["events"] == []
    assert done["code"] in (0, DIFFERENT, REFUSED, NOT_COMPARED), done["err"]
    assert done["seconds"] < SECONDS
    assert "Traceback" not in done["err"]
    if done["code"] == REFUSED:
        assert done["left"] == []
        assert done["writes"] == []
        assert done["err"].count("error:") == 1
    if command == "gen" and done["code"] == REFUSED:
        assert str(done["path"]) in done["err"].replace("\n", "")


@pytest.mark.parametrize("name", [name for name in ATTACKS if name.startswith("walk")])
@pytest.mark.parametrize("command", ["run", "diff"])
def test_what_a_graph_computes_is_not_called(name, command, matrix):
    assert matrix[name, command]["code"] == REFUSED
    assert "Read the code first; to admit it, pass --" in matrix[name, command]["err"]


@pytest.mark.parametrize("command", ["run", "diff"])
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("format_", ["saved", "exported", "printed"])
def test_a_function_that_no_graph_may_call_is_refused_when_it_would_run(format_, target, command, matrix):
    assert matrix[f"target_{format_}-{target}", command]["code"] == REFUSED
