"""Running the text of a generated file: what all files carry is compiled once, and lines are kept while code needs them."""

from __future__ import annotations

import functools
import hashlib
import itertools
import linecache
import sys
import types
import weakref
from collections import Counter
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

from fx2py.emit.carried import carried_checks, carried_runtime
from fx2py.errors import ReplayError, admitting

_numbers = itertools.count()
"""Each namespace has a name of its own: two of one text are bound to other live objects."""
_shown: Counter[str] = Counter()
"""How many namespaces run the text that is registered under a file name."""


def execute(source: str, file: Path | None, place: str) -> dict[str, Any]:
    """The namespace of a generated file; a text without a file is registered, so that tracebacks show its lines.

    Raises ReplayError when the text needs something that is not installed here.
    """
    digest = _digest(source)
    filename = str(file) if file else f"<fx2py execution_fn {digest}>"
    module = _importable(f"fx2py_generated_{digest}_{next(_numbers)}")
    module.__file__ = filename
    own, carried = (source, []) if file else _apart(source)
    try:
        for part in carried:
            exec(_compiled(part), module.__dict__)
        exec(compile(own, filename, "exec"), module.__dict__)
    except (ImportError, AttributeError, NameError) as error:
        admitted = admitting("ops", "NAMESPACE=MODULE")
        hint = f"Import the library that provides it first; for operators, {admitted} does."
        raise ReplayError(f"{place} needs something that is not here: {error}.", hint) from None
    if file is None:
        _show(filename, source, module.__dict__["bind"])
    return module.__dict__


class _Namespaces(Loader, MetaPathFinder):
    """Finds the namespaces of generated code by name: torch.compile imports the home of every function that it inlines.

    One that was imported lives on in ``sys.modules``, as torch.compile's own code for it does.
    """

    def __init__(self) -> None:
        self.living: weakref.WeakValueDictionary[str, types.ModuleType] = weakref.WeakValueDictionary()

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> ModuleSpec | None:
        return ModuleSpec(fullname, self) if fullname in self.living else None

    def create_module(self, spec: ModuleSpec) -> types.ModuleType | None:
        return self.living.get(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        """The code has run already."""


_namespaces = _Namespaces()


def _importable(name: str) -> types.ModuleType:
    """A new module that is found under its name as long as a function of it lives."""
    if _namespaces not in sys.meta_path:
        sys.meta_path.append(_namespaces)
    module = types.ModuleType(name)
    module.__dict__["__module_itself__"] = module
    _namespaces.living[name] = module
    return module


def _apart(source: str) -> tuple[str, list[str]]:
    """A generated text without the parts that all carry, every other line in its place; and these parts.

    These parts may run first: no name of a generated text is one of theirs.
    """
    found: list[str] = []
    for part in (carried_runtime(), carried_checks()):
        head, middle, tail = source.rpartition(part)
        if middle:
            found.append(part)
            source = head + "\n" * part.count("\n") + tail
    return source, found


@functools.cache
def _compiled(part: str) -> types.CodeType:
    filename = f"<fx2py runtime {_digest(part)}>"
    _register(filename, part)
    return compile(part, filename, "exec")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _register(filename: str, text: str) -> None:
    linecache.cache[filename] = (len(text), None, text.splitlines(True), filename)


def _show(filename: str, source: str, owner: Any) -> None:
    """Register the lines of a text for as long as ``owner`` lives, a function of its namespace."""
    _register(filename, source)
    _shown[filename] += 1
    weakref.finalize(owner, _forget, filename)


def _forget(filename: str) -> None:
    _shown[filename] -= 1
    if not _shown[filename]:
        del _shown[filename]
        linecache.cache.pop(filename, None)
