"""Every example runs as a newcomer would run it and shows what it promises."""

import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import fx2py
from tests.distributed.ranks import torchrun

EXAMPLES = Path(__file__).parents[2] / "examples"


def run_example(name, *arguments):
    """Runs the script in this process, which spares a second import of torch."""
    before = sys.argv
    sys.argv = [name, *map(str, arguments)]
    try:
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
    finally:
        sys.argv = before


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")
    run_example("export_model.py", folder)
    return folder


def test_export_model_writes_two_graphs_that_come_out_equal(exported):
    tokens = {
        "input_ids": torch.randint(0, 1000, (1, 16)),
        "attention_mask": torch.ones(1, 16, dtype=torch.int64),
    }
    assert fx2py.diff(exported / "tiny_bert.pt2", kwargs=tokens).equal
    assert fx2py.diff(exported / "residual_block.pt", args=(torch.randn(1, 8, 4, 4),)).equal


def test_run_without_fx2py(exported, tmp_path):
    folder = tmp_path / "tiny_bert_fx2py"
    fx2py.generate(exported / "tiny_bert.pt2").write(folder)
    script = EXAMPLES / "run_without_fx2py.py"
    done = subprocess.run([sys.executable, script, folder], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "pooler_output (1, 64) without fx2py: True\n"


def test_generate_from_python(capsys):
    run_example("generate_from_python.py")
    out = capsys.readouterr().out
    assert "def execution_fn(" in out
    assert "bit for bit equal: True" in out
    files = "__init__.py, __main__.py, _runtime.py, _tables.py, execution_fn.py, manifest.json, weights.pt"
    assert f"written: {files}" in out


def test_bind_submodules(capsys):
    run_example("bind_submodules.py")
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()] == [
        "layer 0",
        "layer 1",
        "layer 2",
    ]


def test_inspect_untrusted_file(capsys):
    run_example("inspect_untrusted_file.py")
    out = capsys.readouterr().out
    assert "system(" in out
    assert "refused:" in out
    assert "nothing was executed" in out


def test_tensor_parallel(tmp_path, capsys):
    run_example("tensor_parallel.py", tmp_path)
    _, diff, run = capsys.readouterr().out.splitlines()
    for command in (diff, run):
        _, option, size, _, module, *arguments = shlex.split(command)
        assert (option, module) == ("--nproc-per-node", "fx2py")
        done = torchrun(int(size), *arguments, folder=tmp_path)
        assert done.returncode == 0, done.stderr
    expected = torch.load(tmp_path / "expected.pt")
    for rank in (0, 1):
        torch.testing.assert_close(torch.load(tmp_path / f"out.rank{rank}.pt"), expected)


@pytest.mark.slow
def test_compile_ahead(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    run_example("compile_ahead.py", tmp_path)
    assert capfd.readouterr().out.splitlines() == [
        "compiled: 7 pieces by inductor, 4 of them different",
        "in another process, not used: nothing",
        "the compiled pieces gave what the model gives",
    ]
    assert (tmp_path / "transformer_fx2py" / "compiled").is_dir()


def test_every_example_is_run_here():
    tested = {"export_model.py", "run_without_fx2py.py", "generate_from_python.py"}
    tested |= {"bind_submodules.py", "inspect_untrusted_file.py", "tensor_parallel.py", "compile_ahead.py"}
    assert {path.name for path in EXAMPLES.glob("*.py")} == tested
