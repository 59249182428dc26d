"""Fixtures that every room's tests may use."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from torch import fx
from torch.export import ExportedProgram

import fx2py
from fx2py.trust import Policy
from tests.checking import assert_same_behaviour, outcome, reference
from tests.corpus.doors import DOORS


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write the golden files anew")


@pytest.fixture
def assert_exact(tmp_path) -> Callable[..., Any]:
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
        paths = [DOORS[door](source, tmp_path) for door in through]
        artifact = fx2py.generate(source)
        assert_same_behaviour(artifact.bind(), reference(copy.deepcopy(pristine)), args, kwargs)
        for path in paths:
            replayed = fx2py.generate(path).bind(policy=policy or Policy())
            assert_same_behaviour(replayed, reference(copy.deepcopy(pristine)), args, kwargs)
        return artifact

    return check
