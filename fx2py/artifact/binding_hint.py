"""The next step when the submodules of generated code do not fit."""

from __future__ import annotations

from collections.abc import Iterable

from fx2py.artifact.manifest import Manifest
from fx2py.errors import Admit, Argument, Hint, UntrustedTargetError
from fx2py.graph.names import dotted_name
from fx2py.graph.values import Name
from fx2py.trust import Policy

_MAIN = "__main__."
NOT_BUILT = "is a {}, which is not installed or not admitted"
"""What ``build`` of the runtime says of a module whose class it does not get."""


def unadmitted_classes(manifest: Manifest, policy: Policy) -> tuple[str, ...]:
    """The classes of called modules that a policy does not admit, in the order of the table."""
    called = dict.fromkeys(entry.cls for entry in manifest.submodules if entry.mode == "called")
    return tuple([cls for cls in called if not _admits(policy, cls)])


def binding_hint(manifest: Manifest, names: Iterable[str], policy: Policy, fault: str) -> Hint:
    """What to do about surplus ``names`` that are a part of the code, about modules that no class can build, and about
    classes that are not admitted, where ``fault`` names them.
    """
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
