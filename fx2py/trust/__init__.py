"""What a name from a file may become: default-deny tables for functions, operators, methods and classes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fx2py.trust.policy import Policy

__all__ = ["Policy"]


def __getattr__(name: str) -> object:
    """Import ``Policy`` on first use: whoever starts a sandbox, which is in this room too, needs no torch."""
    if name != "Policy":
        raise AttributeError(f"module 'fx2py.trust' has no attribute {name!r}")
    from fx2py.trust.policy import Policy

    return Policy
