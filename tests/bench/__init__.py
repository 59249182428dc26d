"""Benchmarks: what fx2py is measured against."""
