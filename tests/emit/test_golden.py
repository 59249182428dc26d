"""The generated code of small graphs, kept as plain files so that every change of output is seen.

``make golden`` writes the files anew.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.emit.golden_cases import CASES

FOLDER = Path(__file__).parents[1] / "golden"


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(("part", "suffix"), [("source", ""), ("tables", "_tables")])
def test_the_generated_code_is_the_golden_one(
    part: str, suffix: str, name: str, request: pytest.FixtureRequest
) -> None:
    written = getattr(CASES[name](), part)
    path = FOLDER / f"{name}{suffix}.py"
    if request.config.getoption("--update-golden", default=False):
        path.write_text(written, encoding="utf-8")
    assert written == path.read_text(encoding="utf-8"), "run `make golden` and review the difference"


def test_every_golden_file_belongs_to_a_case() -> None:
    assert {path.stem for path in FOLDER.glob("*.py")} == {
        f"{name}{suffix}" for name in CASES for suffix in ("", "_tables")
    }
