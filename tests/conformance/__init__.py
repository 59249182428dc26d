"""Conformance: graphs of every kind that torch's own test data can make, each replayed bit for bit or refused.

``python -m tests.conformance [row ...] [--limit N]``; each row is a file of this package.
"""
