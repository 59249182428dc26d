"""Graphs as inert data: the value language and GraphData, shared by every room."""
