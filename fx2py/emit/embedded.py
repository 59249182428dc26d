"""The embedded runtime: the files that are the same in every folder of a release, and how earlier ones are recognised.

``released.txt`` has a line for each such text of an earlier release that a folder may still hold: what it is, the release,
its number of characters and its sha256. To revoke a release whose text turns out to be unsafe, delete its line.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import pathlib
from collections.abc import Mapping

from fx2py import runtime

RELEASED = pathlib.Path(__file__).with_name("released.txt")
PACKAGE, RUNTIME, MAIN = "__init__.py", "_runtime.py", "__main__.py"
_PACKAGE_TEXT = '''"""A graph that fx2py turned into Python: execution_fn.py is its code, and `load` gives it as a callable."""

from . import _runtime, _tables, execution_fn


def load(device="cpu", submods=None, weights=None):
    """The graph as a callable on `device`.

    `submods` replaces submodules by name, each with any callable. `weights`, a state dict by name, has the weights where the
    folder leaves them to the caller.
    """
    tensors = _runtime.read_weights(__file__, device, weights)
    return _tables.bind(_runtime, execution_fn, tensors, device, submods)
'''
_MAIN_TEXT = '''"""The graph on the sample inputs that were saved with it: `python -m` with the name of this folder, or `python` with its path."""

import argparse
import importlib.util
import pathlib
import sys

folder = pathlib.Path(__file__).resolve().parent
if __package__:
    package = sys.modules[__package__]
else:  # run by its path, a folder is no package yet
    spec = importlib.util.spec_from_file_location("graph_of_this_folder", folder / "__init__.py")
    package = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(package)

parser = argparse.ArgumentParser(prog=f"python -m {folder.name}", description=__doc__)
parser.add_argument("--device", default="cpu", help="where to run it; default: cpu")
try:
    print(package._runtime.run_samples(__file__, package.load, parser.parse_args().device))
except package._runtime.CannotRun as error:
    sys.exit(str(error))
'''
_RUNTIME_DOC = '''"""Loading, binding and checking: the same in every folder of a release of fx2py, and all that its code needs but torch."""

from __future__ import annotations
'''


@functools.cache
def fixed_files() -> Mapping[str, str]:
    """The files that are the same in every folder, by name."""
    return {PACKAGE: _PACKAGE_TEXT, MAIN: _MAIN_TEXT, RUNTIME: _runtime_text()}


def is_fx2pys(name: str, text: str) -> bool:
    """Whether a fixed file is one that fx2py writes, or wrote in an earlier release."""
    return fingerprint(text) in (fingerprint(fixed_files()[name]), *released(name))


def fingerprint(text: str) -> tuple[int, str]:
    """The number of characters and the sha256 of a text; a lone surrogate, which is not UTF-8, must not raise here."""
    return len(text), hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@functools.cache
def released(kind: str) -> tuple[tuple[int, str], ...]:
    """The fingerprints of earlier releases: of a fixed file, or of the runtime that files of schemas 1 and 2 hold."""
    rows = (line.split() for line in RELEASED.read_text(encoding="utf-8").splitlines())
    return tuple((int(length), digest) for name, _, length, digest in rows if name == kind)


def _runtime_text() -> str:
    """The files of ``fx2py.runtime`` as one: each import once, then what they define, file by file in the order of names."""
    imports: list[ast.stmt] = []
    parts: list[str] = []
    for path in sorted(pathlib.Path(str(runtime.__file__)).parent.glob("[a-z]*.py")):
        text = path.read_text(encoding="utf-8")
        own = [node for node in ast.parse(text).body if isinstance(node, ast.Import | ast.ImportFrom)]
        imports += own
        parts.append("\n".join(text.splitlines()[own[-1].end_lineno :]).strip("\n"))
    return "\n\n\n".join([f"{_RUNTIME_DOC}\n{_imports(imports)}", *parts]) + "\n"


def _imports(nodes: list[ast.stmt]) -> str:
    """The imports of several files as those of one outside fx2py: the standard library's first, none of fx2py."""
    modules = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names: dict[str, set[str]] = {}
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and str(node.module).partition(".")[0] not in (
            "__future__",
            "fx2py",
        ):
            names.setdefault(str(node.module), set()).update(map(ast.unparse, node.names))
    lines = [
        *(f"import {module}" for module in sorted(modules)),
        *(f"from {module} import {', '.join(sorted(names[module]))}" for module in sorted(names)),
    ]
    ours, torchs = ([line for line in lines if (" torch" in line) is is_torch] for is_torch in (False, True))
    return "\n".join([*ours, "", *torchs])
