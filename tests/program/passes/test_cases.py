"""What each pass changes in small programs, kept as plain files; ``make golden`` writes what is expected anew."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from fx2py.program.listing import changes
from fx2py.program.options import GenerateOptions
from fx2py.program.translate import stages
from fx2py.read import open_graph

CASES = sorted(Path(__file__).with_name("cases").glob("*.txt"))
RULE = "----\n"


def exported(source: str) -> torch.export.ExportedProgram:
    """The program of a case, whose ``forward`` is exported for its ``inputs``."""
    names: dict[str, Any] = {"torch": torch, "F": torch.nn.functional}
    exec(source, names)

    class Case(torch.nn.Module):
        def forward(self, *args: Any) -> Any:
            return names["forward"](*args)

    return torch.export.export(Case(), names["inputs"])


def shown(source: str) -> Iterator[str]:
    wanted = source.splitlines()[0].removeprefix("# passes: ").split()
    steps = stages(open_graph(exported(source)), GenerateOptions(optimize=True))
    for before, after in pairwise(steps):
        if after.name in wanted:
            lines = list(changes(before.program, after.program))
            yield f"# {after.name}{'' if lines else ': changed nothing'}"
            yield from lines


@pytest.mark.parametrize("path", CASES, ids=[path.stem for path in CASES])
def test_a_pass_changes_what_its_case_shows(path: Path, request: pytest.FixtureRequest) -> None:
    source, rule, expected = path.read_text("utf-8").partition(RULE)
    assert rule, f"{path.name} has no line {RULE!r}"
    written = "".join(f"{line}\n" for line in shown(source))
    if request.config.getoption("--update-golden", default=False):
        path.write_text(f"{source}{rule}{written}", "utf-8")
        return
    assert written == expected, "run `make golden` and review the difference"
