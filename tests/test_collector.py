"""Reading and generating leave Python's cycle collector as they found it."""

from __future__ import annotations

import gc

import pytest

from fx2py.collector import collector_paused


@collector_paused()
def fails() -> None:
    assert not gc.isenabled()
    raise ValueError


def test_collector_runs_again_afterwards_even_after_an_error() -> None:
    with pytest.raises(ValueError, match=r"^$"):
        fails()
    assert gc.isenabled()


def test_collector_that_was_off_stays_off() -> None:
    gc.disable()
    try:
        with collector_paused():
            assert not gc.isenabled()
        assert not gc.isenabled()
    finally:
        gc.enable()
