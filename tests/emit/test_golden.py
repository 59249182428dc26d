"""The generated code of small graphs, kept as plain files so that every change of output is seen.

``make golden`` writes the files anew.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from fx2py.emit.carried import LOADING
from tests.emit.golden_cases import CASES

FOLDER = Path(__file__).parents[1] / "golden"


@pytest.mark.parametrize("name", CASES)
def test_the_generated_code_is_the_golden_one(name: str, request: pytest.FixtureRequest) -> None:
    """The carried runtime is left out: it is the same in every file."""
    written = CASES[name]().source.partition(LOADING)[0].rstrip() + "\n"
    path = FOLDER / f"{name}.py"
    if request.config.getoption("--update-golden", default=False):
        path.write_text(written, encoding="utf-8")
    assert written == path.read_text(encoding="utf-8"), "run `make golden` and review the difference"


def test_every_golden_file_belongs_to_a_case() -> None:
    assert {path.stem for path in FOLDER.glob("*.py")} == set(CASES)
