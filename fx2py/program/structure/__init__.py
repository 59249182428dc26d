"""The structured form of a Program: functions for modules, loops over layers, weights by name (see README.md)."""
