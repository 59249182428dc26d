"""Generated files are what black would have written."""

from __future__ import annotations

import black
import pytest

import fx2py
from fx2py.emit.carried import carried_checks, carried_runtime
from tests.corpus.selection import parameters, representative

pytestmark = pytest.mark.filterwarnings("ignore")


def black_writes(source: str) -> str:
    return black.format_str(source, mode=black.Mode())


@pytest.mark.parametrize("carried", [carried_runtime, carried_checks])
def test_carried_functions_are_written_as_black_writes_them(carried) -> None:
    """black must be asked for its own line length in these files: ``black --config /dev/null -t py310``."""
    assert black_writes(carried()) == carried()


@pytest.mark.parametrize("case", parameters(representative()))
def test_generated_file_is_written_as_black_writes_it(case) -> None:
    source = fx2py.generate(case.build()).source
    assert black_writes(source) == source
