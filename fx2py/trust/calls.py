"""What a call may take and what it gives, decided before anything runs: one place for interpreter, binding and audit.

What always holds of a graph that passes:

- no operand is code: a callable, a module, a class or a frame; but the operands that a higher-order operator calls are
  graphs of the file or admitted operators, and types stand where ``isinstance`` or a dtype is asked for;
- a module is called, or an item of it is taken that is data; it is never a value;
- an attribute is read only where every value that may stand there has data under that name;
- the receiver of a method is data;
- what is admitted (``admitted.txt``, each line with its reasons in tests/trust/survey.py) gives data for data.

Each value has a kind, which follows from what made it. Nothing is left to be looked at while the code runs.
"""

from __future__ import annotations

import string
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch

from fx2py.errors import UntrustedTargetError
from fx2py.graph.values import (
    CONTAINERS,
    GETATTR,
    Dict,
    EnumMember,
    Name,
    OpName,
    Record,
    Ref,
    children,
    walk,
)
from fx2py.trust import classes, functions, operators
from fx2py.trust.admitted import ATTRIBUTES, METHODS, Kind, Rule
from fx2py.trust.data import MAKES_DATA, is_called, is_plain
from fx2py.trust.policy import Policy


@dataclass(frozen=True, slots=True)
class Module:
    """A module of the file: the path of its class, and what its parameters, buffers and submodules are, by name."""

    cls: str
    part: Callable[[str], What | None]


What: TypeAlias = "Kind | Module"
"""What a value is: its kind, or the module."""

Keywords: TypeAlias = Sequence[tuple[str, Any]]

_IN_WORDS = {
    Kind.CONTEXT: "is a context, which can only be left",
    Kind.GRAPH: "is a graph, which only a higher-order operator may take, where it calls it",
    Kind.TYPE: "is a class, which stands only where isinstance or a dtype is asked for",
    Kind.CODE: "is a function or operator, which is no data",
}
_CONTAINER_CLASSES = frozenset({"ModuleDict", "ModuleList", "ParameterDict", "ParameterList", "Sequential"})
_NUMBERS = frozenset({"builtins.bool", "builtins.complex", "builtins.float", "builtins.int"})
_TAKES_A_DTYPE = frozenset({"torch.finfo", "torch.iinfo", "torch.Tensor.to"})
_PRINT = OpName("higher_order", "print")


class Calls:
    """The values of one function of straight-line code and the calls that make them; ``kinds`` has each by its name.

    ``leaf`` says what a value is that is not in the language of values (a slot, an attribute by its path), ``member``
    whether a name is that of an enum's member. A policy that trusts everything must not be asked.

    Every method raises UntrustedTargetError that names ``where``, the reason, and what admits it.
    """

    def __init__(
        self,
        policy: Policy,
        leaf: Callable[[Any], What],
        member: Callable[[Name], Name | EnumMember] = lambda name: name,
    ) -> None:
        self._policy = policy
        self._leaf_of = leaf
        self._member = member
        self.kinds: dict[str, What] = {}

    def what(self, value: Any, where: str) -> What:
        """What a value is; a container is data, and so must be all that it holds."""
        if type(value) in CONTAINERS:
            self._check_class(value, where)
            self.data(children(value), where)
            return Kind.DATA
        return self._leaf(value)

    def data(self, values: Sequence[Any], where: str) -> None:
        """Refuse values that are no data, or hold what is none."""
        for value in values:
            kind = self.what(value, where)
            if isinstance(kind, Module) or not kind.is_data:
                raise _refused(kind, where)

    def result(self, value: Any, where: str) -> None:
        """Refuse a result that is no data; what no call takes any more may be a record of a class with code of its own."""
        for part in walk(value):
            if type(part) is Record:
                self.record(part.cls, where, is_last=True)
            elif type(part) not in CONTAINERS or type(part) is Dict:
                self.data((Dict((), part.cls, part.factory) if type(part) is Dict else part,), where)

    def record(self, cls: Name, where: str, is_last: bool = False) -> None:
        """Refuse the class of a record whose methods or properties are more than those of a container."""
        found = getattr(sys.modules.get(cls.module), cls.qualname, None)
        allowed = not isinstance(found, type) or is_plain(found) or cls.path in self._policy.classes
        if not allowed and not (is_last and isinstance(found, type) and not is_called(found)):
            raise UntrustedTargetError(f"{where}: a {cls.path}", "classes", cls.path, "has code of its own")

    def code(self, args: Sequence[Any], kwargs: Keywords, where: str) -> Kind:
        """The call of a module, or of a function of the file."""
        self._policy.check_keywords(kwargs)
        self.data((*args, *(value for _, value in kwargs)), where)
        return Kind.DATA

    def method(self, name: str, args: Sequence[Any], kwargs: Keywords, where: str) -> Kind:
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

    def function(self, target: Name | OpName, args: Sequence[Any], kwargs: Keywords, where: str) -> What:
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

    def _leaf(self, value: Any) -> What:
        kind = type(value)
        if kind is Ref:
            return self.kinds.get(value.name, Kind.DATA)  # one that nothing gave fails when it is read
        if kind is torch.device:
            return Kind.DEVICE
        if kind is Name:
            return self._named(self._member(value))
        if kind is OpName:
            self._policy.check(value, "value")
            return Kind.CODE
        if kind is EnumMember:
            self._policy.check(value, "value")
            return Kind.DATA
        return self._leaf_of(value)

    def _named(self, name: Name | EnumMember) -> Kind:
        """What stands for a name among arguments; what the user admits is the user's."""
        self._policy.check(name, "value")
        if isinstance(name, EnumMember) or name.path in self._policy.functions | self._policy.classes:
            return Kind.DATA
        return Kind.TYPE if isinstance(classes.arguments()[name.path], type) else Kind.DATA

    def _check_class(self, value: Any, where: str) -> None:
        """A container's own class, and the factory of a defaultdict, must make data."""
        if type(value) is Dict and value.factory is not None:
            if classes.arguments().get(value.factory.path, 0) not in MAKES_DATA:
                raise UntrustedTargetError(
                    f"{where}: {value.factory.path} as the factory of a dict", "trust_all"
                )
        elif type(value) is Record:
            self.record(value.cls, where)
            for name, part in value.fields:
                # ``x.device.index`` is read of what may be any record.
                if name == "device" and part is not None and self.what(part, where) is not Kind.DEVICE:
                    raise UntrustedTargetError(
                        f"{where}: a {value.cls.path}",
                        "trust_all",
                        reason="holds another value as its device",
                    )

    def _free(self, args: Sequence[Any], kwargs: Keywords) -> Kind:
        """What the user admits may take modules and graphs of the file; names in it are admitted one by one."""
        for value in walk(*args, *(value for _, value in kwargs)):
            if type(value) not in CONTAINERS:
                self._leaf(value)
        return Kind.DATA

    # -- calls -----------------------------------------------------------------------------------------------

    def _call(
        self, rule: Rule, args: Sequence[Any], kwargs: Keywords, where: str, takes_dtype: bool, is_torch: bool
    ) -> Kind:
        """A call by its rule; ``takes_dtype``: as an argument, too, ``is_torch``: as a keyword of that name."""
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
        return Kind.DATA if is_plain else rule.result

    def _attribute(self, args: Sequence[Any], kwargs: Keywords, where: str) -> Kind:
        if kwargs or not 2 <= len(args) <= 3:
            raise UntrustedTargetError(f"{where}: getattr", "functions", GETATTR.path, "is called otherwise")
        self._policy.check_attribute(args[1])
        owner = self.what(args[0], where)
        self.data(args[2:], where)
        of, result = ATTRIBUTES[args[1]]
        if isinstance(owner, Module) or not owner.is_data or (of and owner not in of):
            raise UntrustedTargetError(
                f"{where}: getattr(..., {args[1]!r})",
                "functions",
                GETATTR.path,
                "is not known to be data of what it is read from",
            )
        return Kind.DATA if args[2:] else result

    def _item(self, args: Sequence[Any], kwargs: Keywords, where: str) -> What | None:
        """An item of a module that holds others: a parameter, or the module that is called next."""
        owner = self.what(args[0], where) if len(args) == 2 and type(args[1]) in (int, str) else None
        if not isinstance(owner, Module) or kwargs:
            return None
        package, _, name = owner.cls.rpartition(".")
        is_container = package in ("torch.nn", "torch.nn.modules.container") and name in _CONTAINER_CLASSES
        found = owner.part(str(args[1])) if is_container else None
        if found is None:
            raise _refused(owner, where)
        return found

    def _length(self, args: Sequence[Any], kwargs: Keywords, where: str) -> What | None:
        is_module = len(args) == 1 and not kwargs and isinstance(self.what(args[0], where), Module)
        return Kind.DATA if is_module else None

    def _isinstance(self, args: Sequence[Any], kwargs: Keywords, where: str) -> What | None:
        if len(args) != 2 or kwargs:
            return None
        self.data(args[:1], where)
        for part in args[1] if type(args[1]) is tuple else (args[1],):
            if self.what(part, where) is not Kind.TYPE:
                self.data((part,), where)
        return Kind.DATA

    def _backend(self, args: Sequence[Any], kwargs: Keywords, where: str) -> What | None:
        self._policy.check_backend(args[0] if len(args) == 1 and not kwargs else None)
        return Kind.DATA

    def _operator(self, op: OpName, args: Sequence[Any], kwargs: Keywords, where: str) -> Kind:
        if self._policy.admits_namespace(op.namespace):
            return self._free(args, kwargs)
        if op == _PRINT:
            _check_format(args[0] if args else None, where)
        rest: list[Any] = [value for name, value in kwargs if not (name == "dtype" and _is_number(value))]
        places = operators.called_places(op)
        for place, value in enumerate(args):
            if place not in places:
                rest.append(value)
                continue
            called = value[-1] if type(value) is tuple and value else value
            rest += value[:-1] if type(value) is tuple else ()
            if self._is_operator(called) and called.is_higher_order:
                self.data(rest, where)
                return self._operator(called, args[place + 1 :], kwargs, where)
            if not self._is_operator(called) and self.what(called, where) is not Kind.GRAPH:
                raise _uncalled(op)
        if places and len(args) <= max(places):
            raise _uncalled(op)
        self.data(rest, where)
        return Kind.DATA

    def _is_operator(self, value: Any) -> bool:
        if type(value) is OpName:
            self._policy.check(value, "value")
        return type(value) is OpName


_Special: TypeAlias = "Callable[[Calls, Sequence[Any], Keywords, str], What | None]"
_SPECIAL: Mapping[str, _Special] = {
    "operator.getitem": Calls._item,
    "builtins.len": Calls._length,
    "builtins.isinstance": Calls._isinstance,
    functions.BACKEND.path: Calls._backend,
}
"""The functions that take more than data, or of which a literal is demanded."""


def _is_number(value: Any) -> bool:
    return type(value) is Name and value.path in _NUMBERS


def _has_dim(args: Sequence[Any], kwargs: Keywords) -> bool:
    return (len(args) > 1 and type(args[1]) is int) or any(name == "dim" for name, _ in kwargs)


def _check_format(text: Any, where: str) -> None:
    """A format of ``print`` may name its arguments, not their attributes, for ``str.format`` reads any."""
    try:
        fields = [] if type(text) is not str else [part[1:3] for part in string.Formatter().parse(text)]
    except ValueError:
        fields = [("{", "")]
    if type(text) is not str or any(set("{}.[") & set(f"{name or ''}{spec or ''}") for name, spec in fields):
        raise UntrustedTargetError(
            f"{where}: a format", "ops", "higher_order", "that is computed or reads attributes is refused"
        )


def _refused(kind: What, where: str) -> UntrustedTargetError:
    reason = (
        "is a module, which can be called but is no data" if isinstance(kind, Module) else _IN_WORDS[kind]
    )
    return UntrustedTargetError(f"{where}: a value", "trust_all", reason=reason)


def _uncalled(op: OpName) -> UntrustedTargetError:
    return UntrustedTargetError(
        f"what {op.path} calls",
        "ops",
        op.namespace,
        "is no graph of the file, or is decided only when the code runs",
    )
