"""``--json``: stdout holds one JSON document of every command that ends in an error, whatever the error."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

COMMANDS = {
    "gen": ["gen", "GRAPH", "--compile", "inductor"],
    "show": ["show", "GRAPH"],
    "run": ["run", "GRAPH"],
    "diff": ["diff", "GRAPH"],
    "bench": ["bench", "GRAPH", "--rounds", "3"],
    "split": ["split", "GRAPH", "--at", "torch.sin"],
}


def named(command: str, graph: object) -> list[object]:
    return [graph if word == "GRAPH" else word for word in COMMANDS[command]]


def assert_document(result, code: int, *mentions: str) -> dict[str, object]:
    """One document on stdout that says what the message on stderr says; the exit code is that of the error."""
    document = json.loads(result.out)
    assert result.code == document["exit_code"] == code
    for mention in mentions:
        assert mention in document["error"]
        assert mention in result.err
    return document


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "gen"])
def test_a_file_that_is_not_there(command, fx2py, here):
    document = assert_document(fx2py(*named(command, "nowhere.pt"), "--json"), 2, "nowhere.pt does not exist")
    assert document["hint"] == "Check the path."


def test_gen_lists_what_failed_beside_what_did_not(fx2py, here, saved):
    document = json.loads(fx2py("gen", "nowhere.pt", saved / "net.pt", "--json").out)
    assert [each["graph"] for each in document["graphs"]] == [str(saved / "net.pt")]
    assert [each["error"] for each in document["failures"]] == ["nowhere.pt does not exist."]


def test_gen_that_writes_nothing_at_all(fx2py, here, saved):
    result = fx2py("gen", saved / "net.pt2", saved / "net.pt", "--json")
    assert_document(result, 2, "would both be written to")


@pytest.mark.parametrize("command", COMMANDS)
def test_an_option_that_there_is_not(command, fx2py, here):
    result = fx2py(*named(command, "x.pt"), "--json", "--no-such-option")
    assert_document(result, 2, "--no-such-option")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_value_that_an_option_does_not_take(command, fx2py, here):
    more = {"gen": ["--compile", "gcc"], "split": []}.get(command, ["--seed", "many"])
    arguments = ["split", "--json"] if command == "split" else [*named(command, "x.pt"), "--json", *more]
    assert_document(fx2py(*arguments), 2)


@pytest.mark.parametrize("arguments", [["--no-such-option", "run", "--json"], ["no-such-command", "--json"]])
def test_a_command_line_that_names_no_command(arguments, fx2py):
    assert_document(fx2py(*arguments), 2, "no-such")


def test_options_that_exclude_each_other(fx2py, here, saved):
    assert_document(fx2py("gen", saved / "net.pt", "--stdout", "--json"), 2, "drop -o")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_fault_of_fx2py_itself(command, fx2py, here, saved, monkeypatch):
    def broken(*args, **kwargs):
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr("fx2py.read.open_graph", broken)
    monkeypatch.setattr("fx2py.api.open_graph", broken)
    result = fx2py(*named(command, saved / "net.pt2"), "--json")
    document = assert_document(result, 70, "internal error: ZeroDivisionError: division by zero")
    assert "Please report it" in document["hint"]


@pytest.mark.parametrize("command", ["run", "diff", "bench"])
def test_a_name_that_is_not_admitted_is_told_with_the_option_that_admits_it(command, fx2py, here, tmp_path):
    graph = torch.fx.Graph()
    graph.output(graph.call_function(json.dumps, (graph.placeholder("x"),)))
    torch.save(torch.fx.GraphModule(torch.nn.Module(), graph), "foreign.pt")
    torch.save((torch.ones(1),), "in.pt")
    document = assert_document(
        fx2py(*named(command, "foreign.pt"), "--inputs", "in.pt", "--json"), 2, "json.dumps"
    )
    assert "--allow json.dumps" in document["hint"]


def test_the_traceback_stays_on_stderr(fx2py, here):
    result = fx2py("--debug", "run", "nowhere.pt", "--json")
    assert_document(result, 2, "nowhere.pt")
    assert "Traceback" in result.err


def test_without_json_stdout_is_empty(fx2py, here):
    for command in COMMANDS:
        assert fx2py(*named(command, "nowhere.pt")).out == ""


def test_a_reader_that_is_gone_ends_the_command(here: Path) -> None:
    """The document of an error meets a closed pipe as any result does."""
    command = [sys.executable, "-m", "fx2py", "run", "nowhere.pt", "--json"]
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert done.returncode == 141
    assert done.stderr.count("error: ") == 1
    assert "Traceback" not in done.stderr


def test_a_full_disk_is_told_once_on_stderr(here: Path) -> None:
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "fx2py", "run", "nowhere.pt", "--json"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert "nowhere.pt does not exist" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_folder_that_is_damaged(fx2py, here):
    (here / "net_fx2py").mkdir()
    (here / "net_fx2py" / "manifest.json").write_text("{")
    for command in ("run", "diff", "bench"):
        assert_document(fx2py(command, "net_fx2py", "--json"), 2, "net_fx2py")
