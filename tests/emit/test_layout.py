"""Generated files are what black would have written."""

from __future__ import annotations

import black
import pytest

import fx2py
from tests.corpus.selection import parameters, representative

pytestmark = pytest.mark.filterwarnings("ignore")


def black_writes(source: str) -> str:
    return black.format_str(source, mode=black.Mode())


@pytest.mark.parametrize("case", parameters(representative()))
def test_generated_files_are_written_as_black_writes_them(case) -> None:
    for text in fx2py.generate(case.build()).texts:
        assert black_writes(text) == text
