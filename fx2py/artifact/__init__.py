"""The generated folder: manifest, weights, atomic write, verified open, binding."""

from fx2py.artifact.artifact import Artifact, generate, is_edited, open_artifact, submodule_table
from fx2py.artifact.manifest import Manifest

__all__ = ["Artifact", "Manifest", "generate", "is_edited", "open_artifact", "submodule_table"]
