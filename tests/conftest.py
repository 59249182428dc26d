"""Fixtures that every room's tests may use."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from torch import fx
from torch.export import ExportedProgram

from fx2py.api import generate
from fx2py.cli.app import main
from fx2py.trust import Policy
from tests.checking import assert_same_behaviour, outcome, reference
from tests.corpus.formats import FORMATS


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write the golden files anew")


@pytest.fixture
def assert_exact(tmp_path: Path) -> Callable[..., Any]:
    """A check that the code generated for a graph behaves as the graph does, live and through saved files.

    ``through`` names the formats of the files (``.pt`` or ``.pt2`` unless told); ``policy`` admits what a file may
    use beyond torch; ``raises`` is the type of the exception that the graph itself raises, if any. Returns the artifact
    of the live object.
    """

    def check(
        source: fx.GraphModule | ExportedProgram,
        *args: Any,
        through: Iterable[str] | None = None,
        policy: Policy | None = None,
        raises: type[BaseException] | None = None,
        **kwargs: Any,
    ) -> Any:
        pristine = copy.deepcopy(source)
        assert outcome(reference(copy.deepcopy(pristine)), args, kwargs, seed=0).error is raises
        if through is None:
            through = ["pt2"] if isinstance(source, ExportedProgram) else ["pt"]
        paths = [FORMATS[format_](source, tmp_path) for format_ in through]
        artifact = generate(source)
        assert_same_behaviour(artifact.bind(), reference(copy.deepcopy(pristine)), args, kwargs)
        for path in paths:
            replayed = generate(path).bind(policy=policy or Policy())
            assert_same_behaviour(replayed, reference(copy.deepcopy(pristine)), args, kwargs)
        return artifact

    return check


@dataclass(frozen=True)
class Result:
    """What a command printed and how it ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current directory."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def fx2py(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """Runs the command line in this process."""
    monkeypatch.delenv("FORCE_COLOR", raising=False)

    def call(*arguments: object) -> Result:
        monkeypatch.setattr(sys, "argv", ["fx2py", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as exit_:
            main()
        captured = capsys.readouterr()
        return Result(int(exit_.value.code or 0), captured.out, captured.err)

    return call
