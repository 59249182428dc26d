"""Python's limit of nested calls, which modules nested a thousand deep exceed although the stack has room for them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

DEEPEST = 1_000
"""How deep modules and graphs may be nested."""
_CALLS = 12 * DEEPEST
"""A graph inside a graph takes five calls, and a call less than a kilobyte of the C stack, if any, of at least 8 MiB."""


@contextmanager
def deep_calls() -> Iterator[None]:
    """Meanwhile calls may nest as deep as graphs of DEEPEST levels need; also a decorator.

    Not for text or bytes of a file, since the recursion of Python's own parsers is bounded by the same limit.
    """
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, _CALLS))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)
