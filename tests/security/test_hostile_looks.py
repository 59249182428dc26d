"""Looks at values that reach for more: whatever ``print``, ``assert`` and f-strings are given is data, named in the text."""

from __future__ import annotations

import builtins
import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import fx2py
from fx2py.errors import ArtifactError, UntrustedTargetError
from fx2py.program.options import GenerateOptions
from tests.artifact.test_usual_edits import Model, X

LOOKS = {
    "a call that is not admitted": "print(torch.os.system('true'))",
    "one in an assertion": "assert torch.os.system('true') == 0",
    "one in the text of an assertion": "assert True, torch.os.system('true')",
    "one in a formatted text": "print(f\"{torch.os.system('true')}\")",
    "one in a formatted text in a formatted text": "print(f\"{f'{eval(chr(49))}'}\")",
    "one in a format": "print(f\"{1:{eval('1')}}\")",
    "a computed format": 'w = 5\nprint(f"{1:>{w}}")',
    "one under a condition": "if x is None:\n    torch.os.system('true')",
    "one as a condition": "if torch.os.system('true'):\n    pass",
    "one after or": "assert True or torch.os.system('true')",
    "one in a choice": "print(1 if True else torch.os.system('true'))",
    "one in a comparison": "assert 1 < 2 < torch.os.getpid()",
    "an import by its function": "print(__import__('os').system('true'))",
    "builtins by name": "print(__builtins__)",
    "a function as a value": "print(eval)",
    "a method as a value": "print(x.register_hook)",
    "a module as a value": "print(torch)",
    "a class as a value": "print(torch.Tensor)",
    "a hidden attribute": "print(x.__class__)",
    "hidden attributes in a formatted text": "print(f'{x.__class__.__init__.__globals__}')",
    "an attribute by a computed name": "print(getattr(x, f'__cla{\"ss\"}__'))",
    "a method by a computed name": "getattr(x, 'register' + '_hook')(print)",
    "an attribute that is set": "x.__class__ = print",
    "str.format": "print('{0.__class__}'.format(x))",
    "format_map": "print('{x.__class__}'.format_map({'x': x}))",
    "a percent format of a hidden attribute": "print(('%s' % x).__class__)",
    "a file to print to": "print(x, file=open('mark', 'w'))",
    "a value as a file": "print(x, file=x)",
    "a separator that is computed": "print(x, sep=f'{x}')",
    "keywords from a dict": "print(**{'file': x})",
    "arguments from a list": "print(*[x])",
    "arguments of breakpoint": "breakpoint(x)",
    "keywords of breakpoint": "breakpoint(header='x')",
    "the debugger itself": "__import__('pdb').set_trace()",
    "the hook of breakpoint": "torch.sys.breakpointhook()",
    "print in another's place": "print = eval\nprint('1')",
    "format in another's place": "format = eval\nprint(f'{1}')\nformat('1')",
    "an assignment inside": "print(y := eval('1'))",
    "an assignment inside an assertion": "assert (torch := x) is not None",
    "a function without a name": "print((lambda: 1)())",
    "a comprehension": "print([eval(c) for c in '12'])",
    "a generator": "print(any(eval(c) for c in '12'))",
    "await": "print(await x)",
    "yield": "print((yield))",
    "the result of a choice called": "(x.relu if True else x.relu)()",
    "the result of an item called": "[eval][0]('1')",
    "the result of a call called": "print(x.relu()())",
    "a starred formatted value": "print(f'{*x,}', *x)",
    "a function passed to max": "print(max([1], key=eval))",
    "the submodule of an import": "print(torch.distributed.rpc)",
    "a global statement": "global print",
    "an import": "import os",
    "a try": "try:\n    pass\nexcept eval('1'):\n    pass",
    "a with": "with x:\n    pass",
    "a raise": "raise eval('1')",
    "a deletion under a condition": "if True:\n    del x",
    "an assignment under a condition": "if True:\n    y = x",
    "an assignment under else": "if True:\n    pass\nelse:\n    y = x",
    "a loop under a condition": "if True:\n    while True:\n        pass",
    "a return under a condition": "if True:\n    return x",
    "an annotation": "y: eval('1') = x",
    "a file written by a tensor": "x.tofile('mark')",
    "numpy by way of a tensor": "print(x.numpy().tofile('mark'))",
    "a dispatch mode": "print(x.__torch_function__)",
    "a hook on an input": "x.register_hook(print)",
    "a write in an assertion, which -O leaves out": "assert x.add_(1) is not None",
    "a write after or": "assert x.sum() > 1e6 or x.add_(1) is not None",
    "a write by out=": "print(torch.add(x, 1, out=x))",
    "a write by inplace=": "if x.sum() > 1e6:\n    print(F.relu(x, inplace=True))",
    "a write asked for by place": "print(F.hardtanh(x, -1.0, 1.0, True))",
    "memory beyond a tensor": "print(x.data_ptr(), x.storage())",
}


@pytest.fixture(scope="module", params=["flat", "structured"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = torch.export.export(Model().eval(), (X,))
    path = tmp_path_factory.mktemp(request.param) / "model_fx2py"
    options = GenerateOptions(flat=request.param == "flat", comments=False)
    fx2py.generate(program, options=options).write(path)
    return path


def with_lines(folder: Path, added: str, place: str = "check_inputs(x)\n") -> fx2py.Artifact:
    """The folder opened with lines added at the beginning of its entry."""
    source = folder / "execution_fn.py"
    text = source.read_text()
    indented = "".join(f"    {line}\n" for line in added.splitlines())
    assert place in text
    source.write_text(text.replace(place, f"{place}{indented}"))
    try:
        return fx2py.open_artifact(folder)
    finally:
        source.write_text(text)


@pytest.mark.parametrize("name", LOOKS)
def test_a_look_that_reaches_further_is_refused_before_anything_runs(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    artifact = with_lines(folder, LOOKS[name])
    with pytest.raises((ArtifactError, UntrustedTargetError)):
        artifact.bind(policy=fx2py.Policy())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "deep", ["-" * 3000 + "x", "x" + ".T" * 900, "x" + " + x" * 900, "(" * 90 + "x" + ")" * 90]
)
def test_expressions_nested_deeply_are_read_or_refused(deep: str, folder: Path) -> None:
    artifact = with_lines(folder, f"print({deep})")
    with contextlib.suppress(ArtifactError):
        artifact.bind(policy=fx2py.Policy())


def test_names_of_builtins_that_a_local_variable_takes_are_that_variable(folder: Path) -> None:
    artifact = with_lines(folder, "repr = x.mean()\nformat = repr + 1\nprint(f'{format:.2f}', repr)")
    artifact.bind(policy=fx2py.Policy())(X)


def test_a_function_named_like_a_builtin_is_refused(folder: Path) -> None:
    artifact = with_lines(folder, "print(x)")
    for name in ("print", "format", "breakpoint", "repr", "bool", "str"):
        text = artifact.source.replace(
            "def execution_fn(", f"def {name}(x):\n    return x\n\n\ndef execution_fn("
        )
        changed = artifact.__class__(
            text, artifact.manifest, artifact.tensors, artifact.tables, folder=folder
        )
        with pytest.raises(ArtifactError, match="hides what the file has"):
            changed.bind(policy=fx2py.Policy())


def test_an_assertion_counts_for_nothing_that_is_relied_on(folder: Path, tmp_path: Path) -> None:
    """Under ``python -O`` there are none: what is refused, and what is computed, is the same."""
    good = with_lines(folder, "assert x.shape == (2, 8)\ny = x.mean()\nassert y < 9")
    bad = with_lines(folder, "assert torch.os.system('true') == 0")
    good.write(tmp_path / "good")
    bad.write(tmp_path / "bad")
    script = (
        "import sys, torch, fx2py\n"
        "good, bad = (fx2py.open_artifact(sys.argv[1] + name) for name in ('/good', '/bad'))\n"
        "print(good.bind(policy=fx2py.Policy())(torch.ones(2, 8)).shape)\n"
        "try:\n    bad.bind(policy=fx2py.Policy())\nexcept fx2py.errors.UntrustedTargetError:\n    print('refused')\n"
    )
    command = [sys.executable, "-O", "-c", script, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "torch.Size([2, 4])\nrefused\n"


def test_a_breakpoint_imports_and_runs_nothing_that_the_environment_or_the_folder_names(
    folder: Path, tmp_path: Path
) -> None:
    artifact = with_lines(folder, "breakpoint()\ny = x + 1")
    artifact.write(tmp_path / "out")
    (tmp_path / "evil.py").write_text("open('mark', 'w')\ndef stop(): open('mark', 'w')\n")
    (tmp_path / ".pdbrc").write_text("!open('mark', 'w')\n")
    script = (
        "import torch, fx2py\n"
        "try:\n"
        "    fx2py.open_artifact('out').bind(policy=fx2py.Policy())(torch.ones(2, 8))\n"
        "except __import__('bdb').BdbQuit:\n    print('left')\n"
    )
    env = {**os.environ, "PYTHONBREAKPOINT": "evil.stop"}
    command = [sys.executable, "-c", script]
    done = subprocess.run(
        command, input="p x.shape\nq\n", capture_output=True, text=True, cwd=tmp_path, env=env
    )
    assert "torch.Size([2, 8])" in done.stdout
    assert not (tmp_path / "mark").exists()
    env["PYTHONBREAKPOINT"] = "0"
    done = subprocess.run(command, input="", capture_output=True, text=True, cwd=tmp_path, env=env)
    assert (done.stdout, done.returncode) == ("", 0)


def test_the_debugger_of_the_host_is_the_one_that_stops(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped: list[str] = []
    monkeypatch.setattr(sys, "breakpointhook", lambda: stopped.append(sys._getframe(1).f_code.co_name))
    with_lines(folder, "breakpoint()").bind(policy=fx2py.Policy())(X)
    assert stopped == ["execution_fn"]
    assert builtins.breakpoint is not None
