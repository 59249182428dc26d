"""Generated folders that somebody changed: run refuses whatever gen would not have written, before any of it runs."""

import json
import os
import pickle
import sys
from pathlib import Path

import pytest
import torch

import fx2py
from fx2py.cli.app import main
from fx2py.digests import sha256_of
from tests.cli.conftest import Net
from tests.security.test_pickle_attacks import Call


@pytest.fixture
def mark(tmp_path):
    """A file that exists only if something of the folder ran."""
    path = tmp_path / "ran"
    yield path
    assert not path.exists()


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "graph.pt2"
    torch.export.save(torch.export.export(Net().eval(), (torch.randn(2, 4),)), path)
    fx2py.generate(path).write(tmp_path / "graph_fx2py")
    return tmp_path / "graph_fx2py"


@pytest.fixture
def run(monkeypatch, capsys):
    """The exit code and the messages of ``fx2py run FOLDER``."""

    def call(folder: Path) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["fx2py", "run", str(folder)])
        with pytest.raises(SystemExit) as exit_:
            main()
        return int(exit_.value.code or 0), capsys.readouterr().err

    return call


EDITS = {
    "import_before": ("import torch\n", "import torch\nimport os\n"),
    "from_import": ("import torch\n", "import torch\nfrom os import system\n"),
    "import_in_the_function": ("    check_inputs(x)\n", "    import os\n    check_inputs(x)\n"),
    "statement": ("import torch\n", "import torch\nopen('{mark}', 'w')\n"),
    "call": ("torch.relu(F", "torch.os.system('touch {mark}') or torch.relu(F"),
    "call_of_a_function": ("torch.relu(F", "torch.os.system(F"),
    "getattr_walk": ("torch.relu(F", "getattr(torch, 'os').system(F"),
    "evaluation": ("torch.relu(F", "eval(F"),
    "default": ("def execution_fn(x", "def execution_fn(x=open('{mark}', 'w')"),
    "annotation": ("def execution_fn(x", "def execution_fn(x: open('{mark}', 'w')"),
    "decorator": ("def execution_fn(x", "@torch.os.system\ndef execution_fn(x"),
    "redefined_load": ("def load(device", "def load(device=open('{mark}', 'w'), *"),
    "load_reads_another_file": ("read_weights(__file__", "read_weights('{mark}'"),
    "load_binds_another_module": (
        "import _runtime, _tables, execution_fn",
        "import _runtime, _tables, weights",
    ),
    "load_of_a_pickle": ("weights_only=True", "weights_only=False"),
    "runtime_statement": ("class Missing:\n", "class Missing:\n    open('{mark}', 'w')\n"),
    "runtime_class_search": ("importlib.import_module(module)", "importlib.import_module('antigravity')"),
    "bind": ("    modules = {", "    open('{mark}', 'w')\n    modules = {"),
    "end": ("END", "\nopen('{mark}', 'w')\n"),
    "bind_default": ("def bind(runtime", "def bind(runtime=open('{mark}', 'w')"),
    "bind_decorator": ("def bind(runtime", "@print\ndef bind(runtime"),
    "bind_result": (
        "tensors, device=None, submods=None):",
        "tensors, device=None, submods=None) -> print():",
    ),
    "bind_twice": (
        "TABLES",
        "\n\ndef bind(runtime, code, tensors, device=None, submods=None):\n    return open\n",
    ),
    "tables_statement": ("def bind(runtime", "open('{mark}', 'w')\n\n\ndef bind(runtime"),
    "tables_import": ("def bind(runtime", "import os\n\n\ndef bind(runtime"),
    "tables_end": ("TABLES", "\nopen('{mark}', 'w')\n"),
    "another_function_of_the_runtime": ("runtime.assemble(", "runtime.importlib.import_module("),
    "names": ("names = {", "names = {'x': open('{mark}', 'w'), "),
    "loop": ("    return runtime.assemble", "    while True:\n        pass\n    return runtime.assemble"),
    "second_definition": ("END", "\ndef execution_fn(x, *, weights):\n    return x\n"),
    "no_python": ("def execution_fn", "def def execution_fn"),
    "deep": ("torch.relu(F", "torch.relu(" + "(" * 100_000),
}


ENDS = {"END": "execution_fn.py", "TABLES": "_tables.py"}


def change(folder: Path, old: str, new: str) -> Path:
    """Replace what stands in one of the files, or add to the end of one; returns the file."""
    texts = {path: path.read_text() for path in sorted(folder.glob("*.py"))}
    path = folder / ENDS[old] if old in ENDS else next(path for path in texts if old in texts[path])
    path.write_text(texts[path] + new if old in ENDS else texts[path].replace(old, new, 1))
    return path


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_beyond_the_grammar_is_refused(name, folder, run, mark):
    old, new = EDITS[name]
    edited = change(folder, old, new.replace("{mark}", str(mark)))
    status, message = run(folder)
    assert status == 2
    assert str(edited) in message.replace("\n", "")
    assert message.count("error:") == 1
    assert "Traceback" not in message


def test_the_refusal_names_the_file_and_the_line(folder, run):
    code = folder / "execution_fn.py"
    code.write_text(code.read_text().replace("import torch\n", "import torch\nopen(1)\n"))
    assert f"{code}, line " in run(folder)[1].replace("\n", "")


def test_an_edit_within_the_grammar_runs(folder, run):
    change(folder, "torch.relu(F", "torch.sigmoid(F")
    assert run(folder)[0] == 0


def test_weights_that_are_a_pickle_are_refused(folder, run, mark):
    torch.save(Call(os.system, f"touch {mark}"), folder / "weights.pt")
    assert run(folder)[0] == 2


@pytest.mark.parametrize("layout", ["zip", "stream", "pickle"])
def test_a_pickle_under_the_right_hash_is_refused_too(layout, folder, run, mark):
    weights, manifest = folder / "weights.pt", folder / "manifest.json"
    attack = Call(os.system, f"touch {mark}")
    if layout == "pickle":
        weights.write_bytes(pickle.dumps(attack))
    else:
        torch.save(attack, weights, _use_new_zipfile_serialization=layout == "zip")
    entries = json.loads(manifest.read_text())
    entries["files"]["weights.pt"] = sha256_of(weights)
    manifest.write_text(json.dumps(entries))
    status, message = run(folder)
    assert status == 2
    assert str(weights.parent) in message.replace("\n", "")


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"schema": 99}', "[" * 100_000, '{"schema": "1"}'])
def test_a_damaged_manifest_is_refused(text, folder, run):
    (folder / "manifest.json").write_text(text)
    status, message = run(folder)
    assert status == 2
    assert "manifest.json" in message.replace("\n", "")
