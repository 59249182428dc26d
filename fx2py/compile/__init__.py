"""Compiling ahead: the pieces of generated code, traced and compiled, as files that another process loads."""
