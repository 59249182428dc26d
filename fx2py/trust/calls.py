"""What a call may take and what it returns, decided before anything runs: one place for interpreter, binding and audit.

Invariants of a graph that is admitted:

- no operand is code: a callable, a module, a class or a frame. Exceptions are the operands that a higher-order operator
  calls, which are graphs of the file or admitted operators, and classes as arguments of ``isinstance`` or as a dtype;
- a module is called, or an item of it is read that is data; it is never a value;
- an attribute is read only where every value that may stand there has data under that name;
- the receiver of a method is data;
- what is admitted (``admitted.txt``, each line with its reasons in tests/trust/survey.py) returns data for data.

The kind of a value follows from the call that made it. Nothing is left to be checked while the code runs.
"""

from __future__ import annotations

import string
import sys
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import torch

from fx2py.errors import UntrustedTargetError, with_article
from fx2py.graph.values import (
    CONTAINERS,
    GETATTR,
    Dict,
    EnumMember,
    Name,
    OpName,
    Record,
    Ref,
    Value,
    children,
    walk,
)
from fx2py.trust import classes, functions, operators
from fx2py.trust.admitted import ATTRIBUTES, METHODS, Rule, ValueKind
from fx2py.trust.data import MAKES_DATA, is_called, is_plain
from fx2py.trust.policy import Policy


@dataclass(frozen=True, slots=True)
class FileModule:
    """A module of the file: the path of its class, and ``part``, the kind of a parameter, buffer or submodule by name."""

    cls: str
    part: Callable[[str], KindOrModule | None]


KindOrModule: TypeAlias = "ValueKind | FileModule"
"""The kind of a value; for a module of the file, the module."""

Keywords: TypeAlias = Sequence[tuple[str, Value]]
T = TypeVar("T")


def file_module(
    cls: str,
    tables: Iterable[Iterable[tuple[str, T]]],
    attributes: Container[str],
    kind: Callable[[T], KindOrModule | None],
) -> FileModule:
    """A module of class ``cls`` whose items are those of its ``tables``: parameters, buffers and submodules.

    A name that two tables have, or that one of the module's own ``attributes`` hides, is no item.
    """

    def part(name: str) -> KindOrModule | None:
        found = [value for table in tables for own, value in table if own == name]
        return None if len(found) != 1 or name in attributes else kind(found[0])

    return FileModule(cls, part)


_IN_WORDS = {
    ValueKind.CONTEXT: "is a context, which can only be left",
    ValueKind.GRAPH: "is a graph, which only a higher-order operator may take, where it calls it",
    ValueKind.TYPE: "is a class, which stands only where isinstance or a dtype is asked for",
    ValueKind.CODE: "is a function or operator, which is no data",
}
_CONTAINER_CLASSES = frozenset({"ModuleDict", "ModuleList", "ParameterDict", "ParameterList", "Sequential"})
_NUMBERS = frozenset({"builtins.bool", "builtins.complex", "builtins.float", "builtins.int"})
_TAKES_A_DTYPE = frozenset({"torch.finfo", "torch.iinfo", "torch.Tensor.to"})
_PRINT = OpName("higher_order", "print")


class Calls:
    """Checks the calls of one straight-line function in order; ``kinds`` has the kind of each value by its name.

    ``leaf`` gives the kind of a value that is not of the value language (a slot) or whose module only the caller has (an
    attribute); ``member`` gives an ``EnumMember`` for a name that is one. Not for a policy that trusts everything.

    Every method raises UntrustedTargetError that names ``where``, the reason, and what admits it.
    """

    def __init__(
        self,
        policy: Policy,
        leaf: Callable[[Value], KindOrModule],
        member: Callable[[Name], Name | EnumMember] = lambda name: name,
    ) -> None:
        self._policy = policy
        self._leaf_of = leaf
        self._member = member
        self.kinds: dict[str, KindOrModule] = {}

    def what(self, value: Value, where: str) -> KindOrModule:
        """The kind of a value; a container is data, and so must be all that it holds."""
        if type(value) in CONTAINERS:
            self._check_class(value, where)
            self.data(children(value), where)
            return ValueKind.DATA
        return self._leaf(value)

    def data(self, values: Sequence[Value], where: str) -> None:
        """Refuse values that are not data, or hold something that is not."""
        for value in values:
            kind = self.what(value, where)
            if isinstance(kind, FileModule) or not kind.is_data:
                raise _refused(kind, where)

    def result(self, value: Value, where: str) -> None:
        """Refuse a result that is not data. It may be a record of a class with code of its own, which no call takes."""
        for part in walk(value):
            if type(part) is Record:
                self.record(part.cls, where, is_last=True)
            elif type(part) not in CONTAINERS or type(part) is Dict:
                self.data((Dict((), part.cls, part.factory) if type(part) is Dict else part,), where)

    def record(self, cls: Name, where: str, is_last: bool = False) -> None:
        """Refuse the class of a record that has methods or properties beside those of a container."""
        found = getattr(sys.modules.get(cls.module), cls.qualname, None)
        allowed = not isinstance(found, type) or is_plain(found) or cls.path in self._policy.classes
        if not allowed and not (is_last and isinstance(found, type) and not is_called(found)):
            raise UntrustedTargetError(
                f"{where}: {with_article(cls.path)}", "classes", cls.path, "has code of its own"
            )

    def code(self, args: Sequence[Value], kwargs: Keywords, where: str) -> ValueKind:
        """The call of a module, or of a function of the file."""
        self._policy.check_keywords(kwargs)
        self.data((*args, *(value for _, value in kwargs)), where)
        return ValueKind.DATA

    def method(self, name: str, args: Sequence[Value], kwargs: Keywords, where: str) -> ValueKind:
        """The call of a method on the first argument."""
        self._policy.check_method(name)
        self._policy.check_keywords(kwargs)
        if not args:
            raise UntrustedTargetError(f"{where}: a method of nothing", "trust_all", reason="is no call")
        if f"torch.Tensor.{name}" in self._policy.functions:
            return self._free(args, kwargs)
        return self._call(
            METHODS[name], args, kwargs, where, takes_dtype=name in ("to", "type"), is_torch=name != "update"
        )

    def function(
        self, target: Name | OpName, args: Sequence[Value], kwargs: Keywords, where: str
    ) -> KindOrModule:
        """The call of a function or an operator by its name."""
        self._policy.check(target)
        self._policy.check_keywords(kwargs)
        if isinstance(target, OpName):
            return self._operator(target, args, kwargs, where)
        if target.path in self._policy.functions or target.path in self._policy.classes:
            return self._free(args, kwargs)
        if target == GETATTR or target.path == GETATTR.path:
            return self._attribute(args, kwargs, where)
        canonical, rule = functions.rules()[target.path]
        special = _SPECIAL.get(canonical)
        found = special(self, args, kwargs, where) if special is not None else None
        if found is not None:
            return found
        is_torch = canonical.startswith("torch.")
        return self._call(rule, args, kwargs, where, canonical in _TAKES_A_DTYPE, is_torch)

    # -- values ----------------------------------------------------------------------------------------------

    def _leaf(self, value: Value) -> KindOrModule:
        if type(value) is Ref:
            return self.kinds.get(
                value.name, ValueKind.DATA
            )  # an undefined name raises NameError when it is read
        if type(value) is torch.device:
            return ValueKind.DEVICE
        if type(value) is Name:
            return self._named(self._member(value))
        if type(value) is OpName:
            self._policy.check(value, "value")
            return ValueKind.CODE
        if type(value) is EnumMember:
            self._policy.check(value, "value")
            return ValueKind.DATA
        return self._leaf_of(value)

    def _named(self, name: Name | EnumMember) -> ValueKind:
        """The kind of a name among arguments; what the user admits counts as data."""
        self._policy.check(name, "value")
        if isinstance(name, EnumMember) or name.path in self._policy.functions | self._policy.classes:
            return ValueKind.DATA
        return ValueKind.TYPE if isinstance(classes.arguments()[name.path], type) else ValueKind.DATA

    def _check_class(self, value: Value, where: str) -> None:
        """Refuse a container whose class, or whose default factory, may make something else than data."""
        if type(value) is Dict and value.factory is not None:
            if classes.arguments().get(value.factory.path, 0) not in MAKES_DATA:
                raise UntrustedTargetError(
                    f"{where}: {value.factory.path} as the factory of a dict", "trust_all"
                )
        elif type(value) is Record:
            self.record(value.cls, where)
            for name, part in value.fields:
                # ``x.device.index`` is admitted, and ``x`` may be any record.
                if name == "device" and part is not None and self.what(part, where) is not ValueKind.DEVICE:
                    raise UntrustedTargetError(
                        f"{where}: {with_article(value.cls.path)}",
                        "trust_all",
                        reason="holds another value as its device",
                    )

    def _free(self, args: Sequence[Value], kwargs: Keywords) -> ValueKind:
        """The call of what the user admitted, which may take modules and graphs of the file; names must be admitted."""
        for value in walk(*args, *(value for _, value in kwargs)):
            if type(value) not in CONTAINERS:
                self._leaf(value)
        return ValueKind.DATA

    # -- calls -----------------------------------------------------------------------------------------------

    def _call(
        self,
        rule: Rule,
        args: Sequence[Value],
        kwargs: Keywords,
        where: str,
        takes_dtype: bool,
        is_torch: bool,
    ) -> ValueKind:
        """A call by its rule. ``int`` and the like may stand for a dtype: by position where the function ``takes_dtype``,
        as the keyword ``dtype`` where it ``is_torch``."""
        surplus = [name for name, value in kwargs if name in rule.without and value is not None]
        if surplus or (rule.most is not None and any(value is not None for value in args[rule.most :])):
            raise UntrustedTargetError(
                f"{where}: {surplus[0] if surplus else 'a later argument'}",
                "trust_all",
                reason="is called by the function that takes it, and a graph has nothing to be called",
            )
        given = (*args, *(value for _, value in kwargs))
        if rule.takes is not None:
            if [self.what(value, where) for value in given] != [rule.takes]:
                raise UntrustedTargetError(
                    f"{where}: the argument", "trust_all", reason=f"is no {rule.takes.value} that was entered"
                )
            return rule.result
        self.data(
            [
                *(value for value in args if not (takes_dtype and _is_number(value))),
                *(
                    value
                    for name, value in kwargs
                    if not (is_torch and name == "dtype" and _is_number(value))
                ),
            ],
            where,
        )
        is_plain = rule.needs_dim and not _has_dim(args, kwargs)
        return ValueKind.DATA if is_plain else rule.result

    def _attribute(self, args: Sequence[Value], kwargs: Keywords, where: str) -> ValueKind:
        if kwargs or not 2 <= len(args) <= 3:
            raise UntrustedTargetError(f"{where}: getattr", "functions", GETATTR.path, "is called otherwise")
        self._policy.check_attribute(args[1])
        owner = self.what(args[0], where)
        self.data(args[2:], where)
        of, result = ATTRIBUTES[str(args[1])]
        if isinstance(owner, FileModule) or not owner.is_data or (of and owner not in of):
            raise UntrustedTargetError(
                f"{where}: getattr(..., {args[1]!r})",
                "functions",
                GETATTR.path,
                "is not known to be data of what it is read from",
            )
        return ValueKind.DATA if args[2:] else result

    def _item(self, args: Sequence[Value], kwargs: Keywords, where: str) -> KindOrModule | None:
        """An item of a container of modules or parameters: a parameter, or the module that is called next."""
        owner = self.what(args[0], where) if len(args) == 2 and type(args[1]) in (int, str) else None
        if not isinstance(owner, FileModule) or kwargs:
            return None
        package, _, name = owner.cls.rpartition(".")
        is_container = package in ("torch.nn", "torch.nn.modules.container") and name in _CONTAINER_CLASSES
        found = owner.part(str(args[1])) if is_container else None
        if found is None:
            raise _refused(owner, where)
        return found

    def _length(self, args: Sequence[Value], kwargs: Keywords, where: str) -> KindOrModule | None:
        is_module = len(args) == 1 and not kwargs and isinstance(self.what(args[0], where), FileModule)
        return ValueKind.DATA if is_module else None

    def _isinstance(self, args: Sequence[Value], kwargs: Keywords, where: str) -> KindOrModule | None:
        if len(args) != 2 or kwargs:
            return None
        self.data(args[:1], where)
        for part in args[1] if type(args[1]) is tuple else (args[1],):
            if self.what(part, where) is not ValueKind.TYPE:
                self.data((part,), where)
        return ValueKind.DATA

    def _backend(self, args: Sequence[Value], kwargs: Keywords, where: str) -> KindOrModule | None:
        self._policy.check_backend(args[0] if len(args) == 1 and not kwargs else None)
        return ValueKind.DATA

    def _operator(self, op: OpName, args: Sequence[Value], kwargs: Keywords, where: str) -> ValueKind:
        if self._policy.admits_namespace(op.namespace):
            return self._free(args, kwargs)
        if op == _PRINT:
            _check_format(args[0] if args else None, where)
        rest: list[Value] = [value for name, value in kwargs if not (name == "dtype" and _is_number(value))]
        places = operators.called_places(op)
        for place, value in enumerate(args):
            if place not in places:
                rest.append(value)
                continue
            called = value[-1] if type(value) is tuple and value else value
            rest += value[:-1] if type(value) is tuple else ()
            if type(called) is OpName:
                self._policy.check(called, "value")
                if called.is_higher_order:
                    self.data(rest, where)
                    return self._operator(called, args[place + 1 :], kwargs, where)
            elif self.what(called, where) is not ValueKind.GRAPH:
                raise _uncalled(op)
        if places and len(args) <= max(places):
            raise _uncalled(op)
        self.data(rest, where)
        return ValueKind.DATA


_Special: TypeAlias = "Callable[[Calls, Sequence[Value], Keywords, str], KindOrModule | None]"
_SPECIAL: Mapping[str, _Special] = {
    "operator.getitem": Calls._item,
    "builtins.len": Calls._length,
    "builtins.isinstance": Calls._isinstance,
    functions.BACKEND.path: Calls._backend,
}
"""The functions that take more than data, or that demand a literal."""


def _is_number(value: Value) -> bool:
    return type(value) is Name and value.path in _NUMBERS


def _has_dim(args: Sequence[Value], kwargs: Keywords) -> bool:
    return (len(args) > 1 and type(args[1]) is int) or any(name == "dim" for name, _ in kwargs)


def _check_format(text: Value, where: str) -> None:
    """Refuse a format of ``print`` that names attributes or items of its arguments: ``str.format`` reads any of them."""
    try:
        fields = [] if type(text) is not str else [part[1:3] for part in string.Formatter().parse(text)]
    except ValueError:
        fields = [("{", "")]
    if type(text) is not str or any(set("{}.[") & set(f"{name or ''}{spec or ''}") for name, spec in fields):
        raise UntrustedTargetError(
            f"{where}: a format", "ops", "higher_order", "that is computed or reads attributes is refused"
        )


def _refused(kind: KindOrModule, where: str) -> UntrustedTargetError:
    reason = (
        "is a module, which can be called but is no data" if isinstance(kind, FileModule) else _IN_WORDS[kind]
    )
    return UntrustedTargetError(f"{where}: a value", "trust_all", reason=reason)


def _uncalled(op: OpName) -> UntrustedTargetError:
    return UntrustedTargetError(
        f"what {op.path} calls",
        "ops",
        op.namespace,
        "is no graph of the file, or is decided only when the code runs",
    )
