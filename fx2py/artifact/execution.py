"""The texts of a generated folder executed as modules, whose lines tracebacks and debuggers find."""

from __future__ import annotations

import ast
import functools
import hashlib
import itertools
import linecache
import os
import pdb
import sys
import types
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any, TypeAlias

import torch

from fx2py import runtime
from fx2py.artifact.manifest import Manifest
from fx2py.artifact.observed import OBSERVER, CodeObserver, Place, observed
from fx2py.emit.audit import MEND_OR_ANEW
from fx2py.emit.embedded import RUNTIME, fixed_files
from fx2py.emit.module import SOURCE, TABLES, Texts
from fx2py.errors import Admit, Argument, ArtifactError, Hint, ReplayError, UntrustedTargetError
from fx2py.graph.names import dotted_name
from fx2py.graph.values import Name
from fx2py.program.ir import TABLE_NAMES
from fx2py.runtime.binding import signature_of_inputs
from fx2py.trust import Policy

Bound: TypeAlias = Callable[..., Any]
"""Bound code, or a submodule that it calls: takes and returns whatever the graph does."""
BindTo = Callable[[Mapping[str, torch.Tensor], "torch.device | None", Mapping[str, Bound]], Bound]
"""Binds code to tensors, on a device, with submodules of the caller's own by name."""
Observing: TypeAlias = Callable[[tuple[Place, ...]], CodeObserver]
"""Gives the observer of code with these places."""
_numbers = itertools.count()
"""One for the name of each namespace: two of the same text may be bound to different live objects."""
_shown: Counter[str] = Counter()
"""How many namespaces run the text that ``linecache`` has under a file name."""


def execute(
    texts: Texts,
    fixed: Mapping[str, str],
    folder: Path | None,
    place: str,
    instead: Mapping[str, object],
    builtins: Mapping[str, object],
    observing: Observing | None = None,
) -> BindTo:
    """The function ``bind`` of generated files, over the runtime in ``fixed`` or else fx2py's own.

    ``instead`` has, by name, functions that replace those of the runtime, and dicts of keyword arguments that are added
    to calls of others; ``builtins`` replace Python's in the code. ``observing`` is told of each statement that runs. Raises ReplayError when the text needs something
    that is not installed here.
    """
    code = _executed(texts.source, folder and folder / SOURCE, SOURCE, place, builtins, observing)
    if texts.tables is None:
        return _bind_of_older(code, instead)
    tables = _executed(texts.tables, folder and folder / TABLES, TABLES, place, {})
    names = vars(_runtime(fixed.get(RUNTIME)))
    changed = {
        name: functools.partial(names[name], **value) if type(value) is dict else value
        for name, value in instead.items()
    }
    return functools.partial(tables.bind, types.SimpleNamespace(**{**names, **changed}), code)


def _bind_of_older(code: types.ModuleType, instead: Mapping[str, object]) -> BindTo:
    """The ``bind`` of a file of schema 1 or 2, which holds its runtime."""
    names = vars(code)
    for name, value in instead.items():
        names.update(value if type(value) is dict else {name: value})

    def bind(*arguments: object) -> Bound:
        bound = code.bind(*arguments)
        bound.__signature__ = signature_of_inputs(code.execution_fn, TABLE_NAMES, {})
        typed: Bound = bound
        return typed

    return bind


@functools.lru_cache(maxsize=8)
def _runtime(text: str | None) -> types.ModuleType:
    """The module of a runtime's text; fx2py's own where it is the same."""
    if text is None or text == fixed_files()[RUNTIME]:
        return runtime
    filename = register_lines("runtime", text)
    module = types.ModuleType(f"fx2py_runtime_{_digest(text)}")
    sys.modules[module.__name__] = module  # as for _Namespaces; there are as few of these as releases
    exec(compile(text, filename, "exec"), module.__dict__)
    return module


def _executed(
    source: str,
    file: Path | None,
    name: str,
    place: str,
    names: Mapping[str, object],
    observing: Observing | None = None,
) -> types.ModuleType:
    """A generated text as a module that has ``names``; without a file its lines are registered as long as it lives."""
    stem = name.removesuffix(".py")
    filename = str(file) if file else register_lines(stem, source)
    module = _importable(f"fx2py_generated_{stem}_{_digest(source)}_{next(_numbers)}")
    if file is None:
        _forget_with(module, filename)
    module.__file__ = filename
    module.__dict__.update(names)
    try:
        text: str | ast.Module = source
        if observing is not None:
            text = ast.parse(source)
            module.__dict__[OBSERVER] = observing(observed(text))
            ast.fix_missing_locations(text)
        compiled = compile(text, filename, "exec")
    except (SyntaxError, ValueError) as error:  # code that is trusted is read here for the first time
        line = f", line {error.lineno}," if isinstance(error, SyntaxError) and error.lineno else ""
        where = f"{place.removesuffix(SOURCE)}{name}{line}"
        raise ArtifactError(f"{where} is no Python: {getattr(error, 'msg', error)}.", MEND_OR_ANEW) from None
    try:
        exec(compiled, module.__dict__)
    except (ImportError, AttributeError, NameError) as error:
        admitted = Admit("ops", "NAMESPACE=MODULE")
        hint = Hint("Import the library that provides it first; for operators, ", admitted, " does.")
        raise ReplayError(f"{place} needs something that is not here: {error}.", hint) from None
    return module


class _Namespaces(Loader, MetaPathFinder):
    """Finds the namespaces of generated code by name, for torch.compile: it imports the module of each function that it
    inlines, by ``__name__`` of its globals (``import_source`` in torch/_dynamo/symbolic_convert.py).

    A namespace that was imported stays in ``sys.modules``, as long as the code that torch.compile made for it.
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
    """A new module that can be imported by its name as long as one of its functions lives: their globals refer to it."""
    if _namespaces not in sys.meta_path:
        sys.meta_path.append(_namespaces)
    module = types.ModuleType(name)
    module.__dict__["__module_itself__"] = module
    _namespaces.living[name] = module
    return module


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def register_lines(title: str, text: str) -> str:
    """The file name of a text that has no file, under which tracebacks and debuggers find its lines in ``linecache``."""
    filename = f"<fx2py {title} {_digest(text)}>"
    linecache.cache[filename] = (len(text), None, text.splitlines(True), filename)
    return filename


def _forget_with(module: types.ModuleType, filename: str) -> None:
    """Drop the lines of a text when the last module that runs it is gone."""
    _shown[filename] += 1
    weakref.finalize(module, _forget, filename)


def _forget(filename: str) -> None:
    _shown[filename] -= 1
    if not _shown[filename]:
        del _shown[filename]
        linecache.cache.pop(filename, None)


# -- the next step when the submodules do not fit

_MAIN = "__main__."
NOT_BUILT = "is a {}, which is not installed or not admitted"
"""What ``build`` of the runtime says of a module whose class it does not get."""


def unadmitted_classes(manifest: Manifest, policy: Policy) -> tuple[str, ...]:
    """The classes of called modules that a policy does not admit, in the order of the table."""
    called = dict.fromkeys(entry.cls for entry in manifest.submodules if entry.mode == "called")
    return tuple([cls for cls in called if not _admits(policy, cls)])


def binding_hint(manifest: Manifest, names: Iterable[str], policy: Policy, fault: str) -> Hint:
    """What to do about a ``fault`` of binding: ``names`` of submodules that are inlined in the code, modules that cannot
    be built, classes that are not admitted."""
    inlined = {entry.name for entry in manifest.submodules if entry.mode == "inlined"}
    steps = [
        Hint(f"{name} is a part of the code: generate with ", Argument.KEEP_SUBMODULES, " to bind it.")
        for name in names
        if name in inlined
    ]
    classes = [cls for cls in unadmitted_classes(manifest, policy) if NOT_BUILT.format(cls) in fault]
    if not classes and not steps:
        return Hint("Pass a callable for each (submods), or save the graph without them.")
    importable = [cls for cls in classes if not cls.startswith(_MAIN)]
    if importable:
        admitted = Hint.joined(", ", [Admit("classes", cls) for cls in importable])
        steps.append(
            Hint("To build modules from their own classes, read the code first and pass ", admitted, ".")
        )
    if len(importable) < len(classes):
        steps.append(
            Hint(
                "A class of a script (__main__) is not found again: save the graph with the class in a module."
            )
        )
    return Hint.joined(" ", steps)


def _admits(policy: Policy, cls: str) -> bool:
    name = dotted_name(cls)
    try:
        policy.check(name if isinstance(name, Name) else Name(*cls.rsplit(".", 1)), "module")
    except UntrustedTargetError:
        return False
    return True


# -- breakpoints ----------------------------------------------------------------------------------------------------


def audited_breakpoint() -> Callable[..., object]:
    """The function to put in the place of Python's ``breakpoint``, which imports whatever ``PYTHONBREAKPOINT`` names.

    It is the hook that the host has set, such as an IDE, a notebook or the command line, else one that stops in pdb.
    """
    return _stop if sys.breakpointhook is sys.__breakpointhook__ else sys.breakpointhook


def _stop() -> None:
    """Stop the caller in pdb; no file of commands is run, since ``.pdbrc`` may be one of the folder's.

    ``PYTHONBREAKPOINT=0`` turns it off, as it does Python's own.
    """
    if os.environ.get("PYTHONBREAKPOINT") != "0":
        pdb.Pdb(readrc=False).set_trace(sys._getframe(1))
