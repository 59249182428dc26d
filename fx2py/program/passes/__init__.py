"""Passes over a Program: one file each, with the proof that what it removes or moves changes nothing."""
