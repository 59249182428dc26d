"""Every README: its links lead somewhere, its examples run, and what they show is what comes out."""

from __future__ import annotations

import ast
import dataclasses
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import fx, nn

import fx2py as library
from examples.compile_ahead import sample_input, transformer
from fx2py.artifact.manifest import Manifest
from fx2py.cli.app import app
from tests.conftest import Result
from tests.distributed.ranks import call_ranks, torchrun
from tests.examples.test_examples import run_example

ROOT = Path(__file__).parents[1]
READMES = [
    ROOT / "README.md",
    *sorted(path for room in ("fx2py", "tests", "examples") for path in (ROOT / room).rglob("README.md")),
]
MAIN, CLI, ARTIFACT, COMPILE, DISTRIBUTED, READ, INTEGRATIONS = (
    ROOT / "README.md",
    *(
        ROOT / "fx2py" / room / "README.md"
        for room in ("cli", "artifact", "compile", "distributed", "read", "integrations")
    ),
)
Command = Callable[..., Result]
COMMANDS = [each.callback.__name__ for each in app.registered_commands if each.callback is not None]


def blocks(readme: Path, language: str) -> list[str]:
    """The fenced blocks of a README in one language."""
    return [text for kind, text in _fenced(readme) if kind == language]


def _fenced(readme: Path) -> list[tuple[str, str]]:
    return re.findall(r"^```(\w*)\n(.*?)^```$", readme.read_text("utf-8"), re.M | re.S)


def anchors(readme: Path) -> set[str]:
    """The anchors that GitHub gives the headings of a README."""
    headings = re.findall(r"^#+ (.*)$", readme.read_text("utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def prompts(block: str) -> Iterator[tuple[list[str], str]]:
    """Each command of a console block, as words, and what it shows."""
    for part in re.split(r"^\$ ", block, flags=re.M)[1:]:
        command, _, shown = part.partition("\n")
        yield shlex.split(command.partition("  #")[0]), shown


def assert_shows(printed: str, shown: str) -> None:
    """What was printed is what is shown, up to numbers, the widths of columns, and what ``...`` stands for."""
    pattern = ".*".join(re.escape(normal(part)) for part in re.split(r"^\.\.\.$", shown, flags=re.M))
    assert re.fullmatch(pattern, normal(printed), re.S), printed


def normal(text: str) -> str:
    text = re.sub(r"-?[\d,.]*\d(e-?\d+)?", "#", re.sub("─+", "─", text))
    return " ".join(re.sub(r"# (us|ms|s)\b", "# s", text).split())


@pytest.fixture
def bert(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current directory with the tiny_bert.pt2 of the READMEs, as wide a terminal as they show, a path to import from."""
    run_example("export_model.py", here)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.syspath_prepend(here)
    return here


@pytest.mark.parametrize("readme", READMES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(readme: Path) -> None:
    prose = re.sub(r"^```.*?^```$", "", readme.read_text("utf-8"), flags=re.M | re.S)
    for link in re.findall(r"\]\(([^)]+)\)", prose):
        path, _, anchor = link.partition("#")
        target = (readme.parent / path).resolve() if path else readme
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("readme", READMES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_that_are_named_are_there(readme: Path) -> None:
    """As a path from the root or from the README, or as the name of a file anywhere; NAME stands for a new one."""
    written = {"execution_fn.py", "_tables.py", "_runtime.py", "repro.py"}  # by ``gen`` and by torch
    named = set(re.findall(r"`([\w./-]+(?:\.py|\.txt|\.md|/))`", readme.read_text("utf-8")))
    there = [path for room in ("fx2py", "tests", "examples") for path in (ROOT / room).rglob("*")]
    files = {f"{path.name}/" if path.is_dir() else path.name for path in there}
    for name in {each for each in named if Path(each).name not in written}:
        places = [base / name for base in (readme.parent, ROOT, ROOT / "fx2py")]
        assert "NAME" in name or name in files or any(place.exists() for place in places), name


@pytest.mark.parametrize("readme", READMES, ids=lambda path: str(path.relative_to(ROOT)))
def test_python_in_it_is_python(readme: Path) -> None:
    for block in blocks(readme, "python"):
        assert ast.parse(f"if True:\n{block}" if block.startswith(" ") else block).body


def test_the_map_has_a_row_for_every_room() -> None:
    rows = re.findall(r"^\| `(\w+)/` \|", MAIN.read_text("utf-8"), re.M)
    rooms = [path.parent.name for path in (ROOT / "fx2py").glob("*/__init__.py")]
    assert sorted(rows) == sorted(rooms)


def test_every_command_has_a_row_and_a_section() -> None:
    assert set(re.findall(r"^## (\w+)$", CLI.read_text("utf-8"), re.M)) == set(COMMANDS)
    assert set(re.findall(r"^\| `fx2py (\w+)", MAIN.read_text("utf-8"), re.M)) == set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_that_is_named_is_there(command: str, fx2py: Command) -> None:
    (section,) = re.findall(rf"^## {command}\n(.*?)(?=^## |\Z)", CLI.read_text("utf-8"), re.M | re.S)
    offered = set(re.findall(r"(?<![\w-])--?[\w-]+", fx2py(command, "--help").out)) - {"-m"}
    assert set(re.findall(r"`(--?[\w-]+)", section)) <= offered
    if command in ("gen", "run"):
        assert offered - set(re.findall(r"--?[\w-]+", section)) <= {
            "-h",
            "--help",
            "--json",
            "--optimize",
            "--output",
            "-o",
        }


def test_every_key_of_the_manifest_is_described() -> None:
    described = re.findall(
        r"^\| (`\w+`(?:, `\w+`)*) \|", ARTIFACT.read_text("utf-8").split("## The manifest")[1], re.M
    )
    keys = {key.strip("` ") for row in described for key in row.split(",")}
    assert keys == {field.name for field in dataclasses.fields(Manifest)}


@pytest.mark.parametrize("readme", READMES, ids=lambda path: str(path.relative_to(ROOT)))
def test_targets_of_make_are_there(readme: Path) -> None:
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"), re.M)
    assert set(re.findall(r"`make ([a-z-]+)|^ +make ([a-z-]+)", readme.read_text("utf-8"), re.M)) <= {
        pair for target in targets for pair in ((target, ""), ("", target))
    }


def test_the_front_page_is_short() -> None:
    assert len(MAIN.read_text("utf-8").splitlines()) <= 220


def test_before_and_after_are_the_same_operators(bert: Path) -> None:
    (before,) = blocks(MAIN, "")
    after = blocks(MAIN, "python")[0]
    printed = printed_by_torch()
    assert all(line in printed for line in before.splitlines())
    assert after in library.generate("tiny_bert.pt2").source


def printed_by_torch() -> list[str]:
    """The graph of tiny_bert.pt2 as torch prints it, which must load the model's own package for that."""
    from examples.export_model import tiny_bert

    tokens = {
        "input_ids": torch.zeros(1, 16, dtype=torch.int64),
        "attention_mask": torch.ones(1, 16, dtype=torch.int64),
    }
    with torch.no_grad():
        program = torch.export.export(tiny_bert(), (), tokens)
    return [line.strip() for line in str(program.graph).splitlines()]


def test_the_tour(bert: Path) -> None:
    """In processes of its own: in this one the model's package is there, and registers what it returns."""
    gen, run, diff = (command for block in blocks(MAIN, "console") for command in prompts(block))
    for (words, shown), code in ((gen, 0), (run, 0), (diff, 1)):
        if words is diff[0]:
            source = bert / "tiny_bert_fx2py" / "execution_fn.py"
            source.write_text(source.read_text("utf-8").replace("torch.tanh", "torch.sigmoid"), "utf-8")
        command = [sys.executable, "-m", *words]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == code, done.stderr
        assert_shows(done.stdout, shown)


def test_the_python_of_the_front_page(bert: Path, capsys: pytest.CaptureFixture[str]) -> None:
    exec(blocks(MAIN, "python")[1], {})
    assert capsys.readouterr().out == "True\n"


def test_the_folder_from_python(bert: Path) -> None:
    loaded, bound = blocks(ARTIFACT, "python")
    names: dict[str, object] = {}
    exec(bound, names)
    assert names["report"].equal  # type: ignore[attr-defined]
    tokens = {"input_ids": torch.ones(1, 16, dtype=torch.int64)}
    tokens["attention_mask"] = torch.ones(1, 16, dtype=torch.int64)
    exec(loaded, tokens)
    weights = torch.load(bert / "tiny_bert_fx2py" / "weights.pt", weights_only=True, mmap=True)
    assert len(weights) == 41


def test_splitting(bert: Path, fx2py: Command) -> None:
    (commands,), (python,) = blocks(CLI, "console"), blocks(CLI, "python")
    for (_, *arguments), _ in prompts(commands):
        assert fx2py(*arguments).code == 0
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    torch.export.save(torch.export.export(model, (torch.ones(1, 4),)), "model.pt2")
    attention = fx.symbolic_trace(transformer(1))
    exec(python, {"fx2py": library, "graph_module": attention, "my_kernel": torch.relu})
    assert library.generate("pieces.fx2py").manifest.submodules


def test_every_graph_of_a_log(here: Path) -> None:
    traced = fx.symbolic_trace(nn.ReLU())
    (here / "run.log").write_text(traced.print_readable(print_output=False), "utf-8")
    names: dict[str, object] = {"fx2py": library}
    exec(blocks(READ, "python")[0], names)
    assert len(names["artifacts"]) == 1  # type: ignore[arg-type]


@pytest.mark.slow
def test_compiling_ahead(here: Path, fx2py: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(here / "state"))
    x = sample_input()
    torch.export.save(torch.export.export(transformer(1), (x,)), "model.pt2")
    for (_, *arguments), _ in prompts(blocks(COMPILE, "console")[0]):
        assert fx2py(*arguments).code == 0
    exec(blocks(COMPILE, "python")[0], {"fx2py": library, "torch": torch, "x": x})


def test_every_rank(here: Path) -> None:
    run_example("tensor_parallel.py", here)
    ((command, shown),) = prompts(blocks(DISTRIBUTED, "console")[0])
    done = torchrun(int(command[2]), *command[5:], folder=here)
    assert done.returncode == 0, done.stderr
    assert_shows(done.stdout, shown)
    results = call_ranks(2, from_python, folder=here)
    assert [result.code for result in results] == [0, 0], results


def from_python() -> None:
    """What the README of distributed runs shows, on one rank."""
    (x,) = torch.load("x.pt")
    names: dict[str, object] = {"torch": torch, "fx2py": library, "x": x}
    exec(blocks(DISTRIBUTED, "python")[0], names)
    torch.testing.assert_close(names["result"], torch.load("expected.pt"))
    torch.distributed.destroy_process_group()


def test_engines() -> None:
    backend, stitching, _ = blocks(INTEGRATIONS, "python")
    model = transformer(1)
    exec(backend, {"torch": torch, "model": model})
    names: dict[str, object] = {"gm": fx.symbolic_trace(model)}
    exec(stitching, names)
    assert len(names["pieces"]) == 3  # type: ignore[arg-type]
