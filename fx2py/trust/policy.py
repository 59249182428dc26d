"""Policy: the one gate between a name in a file and a Python object."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal, TypeAlias

import torch

from fx2py.arguments import FLAG, NAMES, require
from fx2py.errors import AbsentOperatorError, Admit, Hint, ReplayError, UntrustedTargetError
from fx2py.graph.values import EnumMember, Name, OpName
from fx2py.trust import classes, functions, operators

Use: TypeAlias = Literal["call", "value", "module"]
"""What a name is used as: the function of a call, an argument, or the class of a module."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What names from a file may become: torch's harmless public names, and what the user admits beyond them.

    ``functions`` and ``classes`` hold dotted paths; ``ops`` operator namespaces, each alone or as ``namespace=module``
    with the module that registers them; ``trust_all`` turns the gate off.
    """

    functions: frozenset[str] = frozenset()
    ops: frozenset[str] = frozenset()
    classes: frozenset[str] = frozenset()
    trust_all: bool = False

    def __post_init__(self) -> None:
        """Raise OptionError for a value of another kind: a text would admit every part of itself."""
        require("trust_all", self.trust_all, FLAG)
        for name in ("functions", "ops", "classes"):
            require(name, getattr(self, name), NAMES)
            object.__setattr__(self, name, frozenset(getattr(self, name)))

    def check(self, target: Name | OpName | EnumMember, use: Use = "call") -> None:
        """Raise UntrustedTargetError unless the name is admitted for this use; imports nothing outside torch."""
        if self.trust_all:
            return
        if isinstance(target, OpName):
            self._check_op(target)
        elif isinstance(target, EnumMember):
            if target.cls.path not in self.classes and target.member not in classes.enums().get(
                target.cls.path, ()
            ):
                raise UntrustedTargetError(f"{target.cls}.{target.member}", "classes", str(target.cls))
        else:
            self._check_name(target, use)

    def check_method(self, name: str) -> None:
        """Raise UntrustedTargetError unless ``call_method`` may name this method."""
        path = f"torch.Tensor.{name}"
        if not self.trust_all and name not in functions.methods() and path not in self.functions:
            raise UntrustedTargetError(f"the method {name!r}", "functions", path)

    def check_attribute(self, name: object) -> None:
        """Raise UntrustedTargetError unless ``getattr`` may read this attribute; a computed name is never admitted."""
        if self.trust_all or "builtins.getattr" in self.functions:
            return
        if type(name) is not str or name not in functions.attributes():
            raise UntrustedTargetError(f"getattr(..., {name!r})", "functions", "builtins.getattr")

    def check_read(self, name: str) -> None:
        """Raise UntrustedTargetError unless any attribute of a module may be read."""
        if not self.trust_all and "builtins.getattr" not in self.functions:
            raise UntrustedTargetError(f"getattr(..., {name!r})", "functions", "builtins.getattr")

    def check_backend(self, name: object) -> None:
        """Raise UntrustedTargetError unless ``name`` is literally a member of ``SDPBackend``."""
        if not self.trust_all:
            functions.read_backend(name)

    def admits_namespace(self, namespace: str) -> bool:
        """Whether the user admitted all operators of a library."""
        return any(entry.partition("=")[0] == namespace for entry in self.ops)

    def check_keywords(self, kwargs: Iterable[tuple[str, object]]) -> None:
        """Raise UntrustedTargetError for a keyword argument of any call that switches off checks of the others."""
        for name, value in kwargs:
            if not self.trust_all and functions.leaves_unchecked(name, value):
                raise UntrustedTargetError(
                    f"{name}={value!r}", "trust_all", reason="lets indices go unchecked"
                )

    def resolve(self, target: Name | OpName | EnumMember, use: Use = "call") -> Any:
        """The object that an admitted name stands for; a module outside torch is imported only here.

        Raises UntrustedTargetError as ``check`` does, and ReplayError when the name leads to nothing.
        """
        self.check(target, use)
        if isinstance(target, OpName):
            return self._operator(target)
        if isinstance(target, EnumMember):
            known = classes.enums().get(target.cls.path)
            return (
                known[target.member] if known is not None else getattr(_imported(target.cls), target.member)
            )
        table = _table(use)
        by_user = self.trust_all or target.path in self.functions | self.classes
        return table[target.path] if target.path in table and not by_user else _imported(target)

    def load_libraries(self) -> None:
        """Import the modules that register the admitted operators: the one named, else the package named alike.

        Raises ReplayError when a module that was named cannot be imported.
        """
        for entry in sorted(self.ops):
            namespace, _, module = entry.partition("=")
            try:
                import_module(module or namespace)
            except ImportError as error:
                if module:
                    raise ReplayError(
                        f"{module} cannot be imported: {error}.", "Install its package first."
                    ) from error

    def _operator(self, op: OpName) -> object:
        """An admitted operator; its library is loaded when it is not there yet."""
        if not operators.is_registered(op) and not op.is_higher_order:
            self.load_libraries()
        if not operators.is_registered(op):
            raise ReplayError(
                f"no loaded library registers {op.path}.",
                Hint("Name the module that does: ", Admit("ops", f"{op.namespace}=MODULE"), "."),
            )
        return operators.find(op)

    def _check_op(self, op: OpName) -> None:
        if operators.admits(op) or self.admits_namespace(op.namespace):
            return
        own = op.namespace in operators.NAMESPACES or op.is_higher_order
        if op.namespace == "aten" and not operators.is_registered(op):
            raise AbsentOperatorError(op.path, op.namespace, torch.__version__)
        reason = (
            "is not among the operators that fx2py admits"
            if own or operators.is_registered(op)
            else f"belongs to the operator library {op.namespace!r}, which is not part of torch"
        )
        if own or operators.is_registered(op):
            raise UntrustedTargetError(op.path, "ops", op.namespace, reason)
        home = operators.HOMES.get(op.namespace, "MODULE")
        more = (
            " MODULE is the one that registers the operators when it is imported." if home == "MODULE" else ""
        )
        raise UntrustedTargetError(op.path, "ops", f"{op.namespace}={home}", reason, more)

    def _check_name(self, name: Name, use: Use) -> None:
        admitted = name.path in _table(use) or name.path in self.classes
        if not admitted and not (use != "module" and name.path in self.functions):
            raise UntrustedTargetError(name.path, "classes" if use == "module" else "functions", name.path)


def _table(use: Use) -> Mapping[str, object]:
    tables: Mapping[Use, Callable[[], Mapping[str, object]]] = {
        "call": functions.functions,
        "value": classes.arguments,
        "module": classes.module_classes,
    }
    return tables[use]()


def _imported(name: Name) -> object:
    """The object at an admitted dotted path; ReplayError when it cannot be imported."""
    try:
        found: object = import_module(name.module)
        for part in name.qualname.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise ReplayError(
            f"{name.path} cannot be imported: {error}.",
            f"Install or import the package of {name.module} first.",
        ) from error
    return found
