"""The check that a device asked for is there."""

from __future__ import annotations


def check_device(name: str | None) -> None:
    """Raise ReplayError unless a tensor can be made on the device; None (as recorded) is not checked."""
    if name is None:
        return
    from fx2py.operators.devices import present_device

    present_device(name)
