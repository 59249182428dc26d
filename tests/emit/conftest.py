"""Options of the tests of emitted text."""

from __future__ import annotations

import pytest
from hypothesis import settings

settings.register_profile("emit", deadline=None, max_examples=100, print_blob=False)
settings.load_profile("emit")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write the golden files anew")
