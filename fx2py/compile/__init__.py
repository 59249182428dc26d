"""Compiling ahead: the pieces of generated code, traced and compiled, as files that another process loads."""

from fx2py.compile.pieces import compile_pieces

__all__ = ["compile_pieces"]
