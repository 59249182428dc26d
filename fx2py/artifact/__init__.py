"""The generated folder: manifest, weights, atomic write, verified open, binding; and graphs written as graph files."""

from fx2py.artifact.artifact import Artifact, generate, is_edited, open_artifact, submodule_table
from fx2py.artifact.graph_file import save_graph
from fx2py.artifact.manifest import Manifest

__all__ = [
    "Artifact",
    "Manifest",
    "generate",
    "is_edited",
    "open_artifact",
    "save_graph",
    "submodule_table",
]
