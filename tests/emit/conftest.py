"""Options of the tests of emitted text."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("emit", deadline=None, max_examples=100, print_blob=False)
settings.load_profile("emit")
