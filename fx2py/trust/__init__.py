"""What a name from a file may become: default-deny tables for functions, operators, methods and classes."""

from fx2py.trust.policy import Policy, Use

__all__ = ["Policy", "Use"]
