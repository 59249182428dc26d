"""A generated folder as a package, from its path alone, and where fx2py is not installed."""

from __future__ import annotations

import importlib.util
import itertools
import sys
from pathlib import Path
from typing import Any

NO_FX2PY = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "fx2py":
            raise ImportError("fx2py is not installed here")
sys.meta_path.insert(0, Blocked())
"""
"""The first lines of a program that runs as where fx2py is not installed."""
_numbers = itertools.count()


def imported(folder: Path) -> Any:
    """The package that a folder is, under a name of its own, whatever the folder is called."""
    name = f"folder_{next(_numbers)}"
    spec = importlib.util.spec_from_file_location(name, folder / "__init__.py")
    assert spec is not None
    assert spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules[name] = package
    spec.loader.exec_module(package)
    return package
