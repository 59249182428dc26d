"""Nothing from a file steers a terminal, fakes a line of fx2py or gets into a document, whoever writes it."""

from __future__ import annotations

import copy
import json
import os
import random
import re
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import fx, nn

import fx2py as library
from tests.security.test_every_text import changed, positions
from tests.security.test_pt2_attacks import Small

HOSTILE = "\x1b[31m[bold]a[/bold]\u202e\x07\nequivalent: forged"
SAMPLES = 60


def saved(target: Any, args: Any, path: Path, kwargs: Any = lambda x: {}) -> Path:
    """A graph that calls a function for what it does, and returns its input."""
    graph = fx.Graph()
    x = graph.placeholder("x")
    graph.call_function(target, args(x), kwargs(x))
    graph.output(x)
    torch.save(fx.GraphModule(nn.Module(), graph), path)
    torch.save((torch.ones(2),), path.with_name("in.pt"))
    return path


@pytest.fixture
def printing(here: Path) -> Path:
    path = here / "printing.pt"
    return saved(torch.ops.higher_order.print, lambda x: (HOSTILE + " {x}",), path, lambda x: {"x": x})


def assert_clean(text: str) -> None:
    """Lines without control characters, none of them forged."""
    assert all(line.isprintable() for line in text.split("\n")), ascii(text)
    assert not any(line.startswith("equivalent: forged") for line in text.split("\n")), text


@pytest.mark.parametrize("command", ["run", "diff"])
def test_what_a_graph_prints_is_marked_and_escaped_beside_the_document(fx2py, printing, command) -> None:
    result = fx2py(command, printing, "--inputs", printing.with_name("in.pt"), "--json")
    assert result.code == 0
    json.loads(result.out)
    assert "| \\x1b[31m[bold]a[/bold]\\u202e\\x07\n| equivalent: forged tensor([1., 1.])\n" in result.err
    assert_clean(result.err)


def test_what_a_kernel_writes_to_descriptor_1_is_not_in_the_document(printing: Path) -> None:
    script = (
        "import os, fx2py.cli.call as call\n"
        "reason = call.refusing\n"
        "def refusing(*args):\n"
        "    os.write(1, b'\\x1b[31mC level\\n' + b'x' * 100_000)\n"
        "    return reason(*args)\n"
        "call.refusing = refusing\n"
        "from fx2py.cli.app import main; main()\n"
    )
    command = [sys.executable, "-c", script, "run", str(printing), "--inputs", "in.pt", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=printing.parent)
    assert json.loads(done.stdout)["outputs"][0]["shape"] == [2]
    assert "| \\x1b[31mC level\n| xxx" in done.stderr
    assert "| ... 34477 more bytes\n" in done.stderr
    assert_clean(done.stderr)


def test_what_a_child_process_writes_is_not_in_the_document(printing: Path) -> None:
    script = (
        "import subprocess, fx2py.cli.call as call\n"
        "refusing = call.refusing\n"
        "call.refusing = lambda *args: (subprocess.run(['echo', 'from a child']), refusing(*args))[1]\n"
        "from fx2py.cli.app import main; main()\n"
    )
    command = [sys.executable, "-c", script, "run", str(printing), "--inputs", "in.pt", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=printing.parent)
    json.loads(done.stdout)
    assert "| from a child\n" in done.stderr


def test_on_a_terminal_too_what_a_graph_prints_is_escaped(printing: Path) -> None:
    pty = pytest.importorskip("pty")
    parent, child = pty.openpty()
    command = [sys.executable, "-m", "fx2py", "run", str(printing), "--inputs", "in.pt"]
    process = subprocess.Popen(command, stdout=child, stderr=child, cwd=printing.parent)
    os.close(child)
    shown = _everything(parent)
    assert process.wait() == 0
    assert "| \\x1b[31m[bold]a[/bold]\\u202e\\x07" in shown
    assert "| equivalent: forged" in shown
    assert "\x1b[31m" not in shown
    assert "\u202e" not in shown


def _everything(descriptor: int) -> str:
    parts = []
    try:
        while part := os.read(descriptor, 1 << 16):
            parts.append(part)
    except OSError:
        pass  # the other end was closed
    os.close(descriptor)
    return b"".join(parts).decode()


@pytest.mark.parametrize(
    ("target", "args"),
    [
        (torch._assert, lambda x: (False, HOSTILE)),
        (torch.nn.functional.interpolate, lambda x: (x, None, 2.0, HOSTILE)),
    ],
)
@pytest.mark.parametrize("command", ["run", "diff"])
def test_what_a_graph_raises_is_escaped(fx2py, here, command, target, args) -> None:
    path = saved(target, args, here / "raising.pt")
    result = fx2py(command, path, "--inputs", "in.pt")
    assert_clean(result.out)
    assert_clean(result.err)
    assert "forged" in result.out + result.err
    document = json.loads(fx2py(command, path, "--inputs", "in.pt", "--json").out)
    assert "forged" in (document["error"] if command == "run" else document["raised"]["graph"])


def test_warnings_are_escaped(fx2py, here, monkeypatch) -> None:
    path = saved(torch.relu, lambda x: (x,), here / "warning.pt")

    def warning(*args: Any) -> Any:
        warnings.warn(HOSTILE, stacklevel=1)
        return original(*args)

    from fx2py.cli import call

    original = call.refusing
    monkeypatch.setattr(call, "refusing", warning)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = lambda message, *_: print(message, file=sys.stderr)
        result = fx2py("run", path, "--inputs", "in.pt")
    assert "| equivalent: forged" in result.err
    assert_clean(result.err)


def test_a_traceback_is_escaped(fx2py, here) -> None:
    path = saved(torch._assert, lambda x: (False, HOSTILE), here / "raising.pt")
    result = fx2py("--debug", "run", path, "--inputs", "in.pt")
    assert result.code == 2
    assert "Traceback" in result.err
    assert_clean(result.err.replace("\nequivalent: forged", ""))


@pytest.mark.parametrize("command", ["gen", "run", "diff", "split"])
def test_a_hostile_text_in_any_place_of_a_file_is_shown_escaped(fx2py, here, command) -> None:
    program = torch.export.export(Small(), (torch.ones(3, 2),))
    torch.export.save(program, here / "original.pt2")
    with zipfile.ZipFile(here / "original.pt2") as archive:
        members = {member: archive.read(member) for member in archive.namelist()}
    model = next(member for member in members if member.endswith("models/model.json"))
    document = json.loads(members[model])
    places = random.Random(command).sample(list(positions(document)), SAMPLES)
    for number, place in enumerate(places):
        path = here / f"graph{number}.pt2"
        text = json.dumps(changed(copy.deepcopy(document), place, HOSTILE)).encode()
        with zipfile.ZipFile(path, "w") as archive:
            for member, data in {**members, model: text}.items():
                archive.writestr(member, data)
        result = fx2py(command, path, *(["--at", "aten::linear"] if command == "split" else []))
        assert_clean(result.out)
        assert_clean(result.err)


def test_a_pickled_text_in_any_place_is_shown_escaped(fx2py, here) -> None:
    module = nn.Module()
    module.register_buffer("w", torch.ones(2))
    module.note = HOSTILE
    graph = fx.Graph()
    x = graph.placeholder("x")
    graph.output({HOSTILE: graph.call_function(torch.add, (x, graph.get_attr("w"))), "text": HOSTILE})
    torch.save(fx.GraphModule(module, graph), here / "texts.pt")
    torch.save((torch.ones(2),), here / "in.pt")
    for arguments in (["gen"], ["run", "--inputs", "in.pt"], ["diff", "--inputs", "in.pt"]):
        for more in ([], ["--json"]):
            result = fx2py(arguments[0], "texts.pt", *arguments[1:], *more)
            assert result.code == 0, result.err
            assert_clean(result.out)
            assert_clean(result.err)
            if more:
                json.loads(result.out)


def test_only_the_terminal_writes() -> None:
    """Whatever comes to a screen or into a document goes through one file, which escapes it."""
    package = Path(library.__file__).parent
    writers = {package / "cli" / "terminal.py", package / "cli" / "streams.py"}
    writers.add(package / "emit" / "embedded.py")  # the text of a file that runs without fx2py
    writing = re.compile(r"\bsys\.(__)?std(out|err)\b|(?<![\w.])print\(|\bConsole\(|\becho\(|os\.write\(")
    for path in set(package.rglob("*.py")) - writers:
        assert not writing.search(path.read_text(encoding="utf-8")), path
