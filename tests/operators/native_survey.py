"""Measures how each overload may be called from Python: tries every spelling and keeps what is proven."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch._dispatch.python import enable_python_dispatcher

from fx2py.errors import UntrustedTargetError
from fx2py.graph.values import Name, OpName
from fx2py.trust import Policy
from tests.operators.native_prover import (
    RESULTS,
    SAMPLES,
    Claim,
    Form,
    Recorder,
    forms,
    is_optional,
    kind,
    outcome,
    samples,
)

FUNCTIONS: tuple[tuple[str, Any, str], ...] = (
    ("torch", torch, ""),
    ("torch.nn.functional", torch.nn.functional, ""),
    ("torch.special", torch.special, "special_"),
    ("torch.linalg", torch.linalg, "linalg_"),
    ("torch.fft", torch.fft, "fft_"),
    ("torch._C._nn", torch._C._nn, ""),
    ("torch._VF", torch._VF, ""),
)
"""Where functions live: module path, module, and the prefix that operators of that module carry."""

OPERATORS: dict[str, str] = {
    "add": "add",
    "sub": "sub",
    "mul": "mul",
    "div": "truediv",
    "remainder": "mod",
    "matmul": "matmul",
    "neg": "neg",
    "bitwise_not": "invert",
    "bitwise_and": "and_",
    "bitwise_or": "or_",
    "bitwise_xor": "xor",
    "__and__": "and_",
    "__or__": "or_",
    "__xor__": "xor",
    "__lshift__": "lshift",
    "__rshift__": "rshift",
    **{name: name for name in ("eq", "ne", "lt", "le", "gt", "ge")},
}
READS_AS_METHOD = frozenset(
    {"transpose", "unsqueeze", "squeeze", "flatten", "chunk", "unbind", "masked_fill"}
    | {"pow", "mean", "sum", "cumsum", "any", "all", "argmax", "argmin", "amax", "amin", "log_softmax"}
)
"""Operators that people write behind a tensor, so that several of them read from left to right; a method costs no more."""
READS_IN_PYTHON: dict[str, tuple[str, Callable[..., Any]]] = {
    "split": ("torch.split", torch.split),
    "silu": ("torch.nn.functional.silu", torch.nn.functional.silu),
    "mish": ("torch.nn.functional.mish", torch.nn.functional.mish),
}
"""Functions in Python of operators whose functions in C are torch's own; they cost some tenths of a microsecond more."""
METADATA: dict[str, str] = {
    "sym_size": "size",
    "sym_stride": "stride",
    "sym_numel": "numel",
    "sym_storage_offset": "storage_offset",
}
FACTORY_KEYWORDS = frozenset({"device", "pin_memory"})
PYTHON_TYPES = (bool, int, float, complex, str, bytes, range, tuple, list, dict, set, frozenset)
PYTHON_METHODS = frozenset().union(*(dir(kind) for kind in PYTHON_TYPES))
"""What other values than tensors answer to: a graph that passes them to an operator must fail, not run their method."""


@dataclass(frozen=True)
class Spelling:
    """One way to write a call: the callee as the table writes it, and the callable itself.

    ``spread`` writes the items of the second argument in place of it: ``x.view(2, 3)`` for ``x.view([2, 3])``.
    """

    callee: str
    native: Callable[..., Any]
    spread: bool = False

    @property
    def is_operator(self) -> bool:
        return self.callee.startswith("operator.")

    def admits(self, values: list[Any]) -> bool:
        """Whether the table lets the values be written so: a tensor before the dot, at least one item to spread."""
        if self.spread and not (isinstance(values[1], (list, tuple)) and values[1]):
            return False
        left = self.is_operator or self.callee.startswith("Tensor.")
        return not left or isinstance(values[0], torch.Tensor)

    def call(self, *args: Any, **kwargs: Any) -> Any:
        if self.spread:
            return self.native(args[0], *args[1], **kwargs)
        return self.native(*args, **kwargs)


def overloads() -> Iterator[tuple[str, Any]]:
    """The overloads of aten that trust admits and that write into no ``out`` argument, by ``name.overload``."""
    known = [name for name in torch._C._dispatch_get_all_op_names() if name.startswith("aten::")]
    parts = [name.removeprefix("aten::").partition(".") for name in known]
    for name, overload in sorted((name, overload or "default") for name, _, overload in parts):
        op = getattr(getattr(torch.ops.aten, name, None), overload, None)
        if op is None or not admitted(OpName("aten", name, overload)):
            continue
        if not any(argument.is_out for argument in op._schema.arguments):
            yield f"{name}.{overload}", op


def admitted(target: OpName | Name) -> bool:
    try:
        if isinstance(target, Name) and target.module == "Tensor":
            Policy().check_method(target.qualname)
        else:
            Policy().check(target)
    except UntrustedTargetError:
        return False
    return True


def spellings(name: str, op: Any) -> Iterator[Spelling]:
    """Functions and methods of the operator's name in the order of preference: the fastest first, but for what reads better."""
    if name in OPERATORS:
        symbol = OPERATORS[name]
        yield Spelling(f"operator.{symbol}", getattr(operator, symbol))
    method = METADATA.get(name, name)
    descriptor: Any = getattr(torch.Tensor, method, None)
    is_method = type(descriptor).__name__ == "method_descriptor" and method not in PYTHON_METHODS
    if is_method and takes_only_sizes(op):
        yield Spelling(f"Tensor.{method}", descriptor, spread=True)
    if is_method and name in READS_AS_METHOD:
        yield Spelling(f"Tensor.{method}", descriptor)
    if name in READS_IN_PYTHON:
        yield Spelling(*READS_IN_PYTHON[name])
    for module, place, prefix in FUNCTIONS:
        function: Any = getattr(place, name.removeprefix(prefix), None) if name.startswith(prefix) else None
        if type(function).__name__ == "builtin_function_or_method":
            yield Spelling(f"{module}.{name.removeprefix(prefix)}", function)
    if is_method and name not in READS_AS_METHOD:
        yield Spelling(f"Tensor.{method}", descriptor)


def takes_only_sizes(op: Any) -> bool:
    """Whether a tensor and one list of ints are all that stands positionally."""
    positional = [kind(argument) for argument in op._schema.arguments if not argument.kwarg_only]
    return positional in (["Tensor", "List[int]"], ["Tensor", "List[SymInt]"])


def typed(op: Any, index: int) -> str:
    """Parameter ``index`` as the table writes its type; ``Tensor|Scalar`` where the overload takes numbers."""
    argument = op._schema.arguments[index]
    text = kind(argument).replace("number", "Scalar").replace("List[Optional[Tensor]]", "List[Tensor?]")
    if text.startswith("List["):
        text = f"{text[5:-1]}[{argument.N or ''}]"
    if text == "Tensor" and takes_number(op, index):
        text = "Tensor|Scalar"
    return f"{text}?" if is_optional(argument) else text


def takes_number(op: Any, index: int) -> bool:
    """Whether the overload takes a Python number for the tensor at ``index``."""
    values = [samples(argument, frozenset())[0] for argument in op._schema.arguments]
    values[index] = 1.5
    args = [
        value for value, argument in zip(values, op._schema.arguments, strict=True) if not argument.kwarg_only
    ]
    with enable_python_dispatcher():
        recorder = Recorder()
        kwargs = {a.name: v for v, a in zip(values, op._schema.arguments, strict=True) if a.kwarg_only}
        return outcome(recorder, op, args, kwargs) is not None


def signature(op: Any, spelling: Spelling, unpacked: bool) -> str | None:
    """The parameters for which every call is proven, None if there are none.

    Restrictions are tried where not all forms hold: optional arguments that must be given (``name!``), and arguments
    that may not stand by keyword (before ``/``) or not at all.
    """
    arguments = op._schema.arguments
    every = forms(op._schema)
    if spelling.is_operator:
        every = [Form(sum(not argument.has_default_value() for argument in arguments))]
    if spelling.spread:
        every = [form for form in every if form.count == 2]
    for given in (frozenset[str](), FACTORY_KEYWORDS & {argument.name for argument in arguments}):
        proven = {form: proves(op, spelling, form, given, unpacked) for form in every}
        if any(proven.values()):
            return restricted(op, proven, given)
    return None


def proves(op: Any, spelling: Spelling, form: Form, given: frozenset[str], unpacked: bool) -> bool:
    claim = Claim(op, spelling.call, form, given, unpacked, spelling.admits)
    return claim.counterexample() is None


def restricted(op: Any, proven: dict[Form, bool], given: frozenset[str]) -> str | None:
    """The signature that admits only proven forms; None if the known restrictions do not lead to one."""
    arguments = op._schema.arguments
    names = [argument.name for argument in arguments]
    passed = {form: {*names[: form.count], *form.keywords} for form in proven}
    held = [form for form, holds in proven.items() if holds]
    optional = {argument.name for argument in arguments if argument.has_default_value()}
    needed = given | {name for name in optional if all(name in passed[form] for form in held)}
    named = {name for form in held for name in form.keywords}
    most = max(form.count for form in held)
    admitted = [
        form
        for form in proven
        if form.count <= most and needed <= passed[form] and named.issuperset(form.keywords)
    ]
    if not all(proven[form] for form in admitted):
        return None
    shown = {name: f"{typed(op, index)} {name}{'!' * (name in needed)}" for index, name in enumerate(names)}
    unnamed = max((index + 1 for index in range(most) if names[index] not in named), default=0)
    if any(name in named for name in names[:unnamed]):
        return None
    parts = [shown[name] for name in names[:most]]
    if unnamed:
        parts.insert(unnamed, "/")
    only = [shown[name] for name in names[most:] if name in named]
    return ", ".join([*parts, *(["*", *only] if only else [])])


def survey() -> Iterator[tuple[str, tuple[str, ...]]]:
    """The facts of each overload that samples call: its spellings, fastest first, and what it returns."""
    for name, op in overloads():
        if is_sampled(op):
            found = facts(name, op)
            if found:
                yield name, found


def is_sampled(op: Any) -> bool:
    """Whether there are samples for all arguments and made-up results for what the overload returns."""
    types = {kind(argument) for argument in op._schema.arguments}
    results = {str(item.type) for item in op._schema.returns}
    return types <= SAMPLES.keys() and results <= RESULTS.keys()


def returned(op: Any) -> str:
    types = [str(item.type) for item in op._schema.returns]
    return "Tensor" if types == ["Tensor"] else "other"


def facts(name: str, op: Any) -> tuple[str, ...]:
    """The lines of one overload; it returns a named tuple where only the items of the results agree."""
    found = list(spelled(name, op))
    results = {result for _, result in found} or {returned(op)}
    assert len(results) == 1, f"the spellings of {name} return different things"
    line = RETURNS[results.pop()]
    return (*(f"native {call}" for call, _ in found), *([] if line is None else [f"returns {line}"]))


RETURNS = {"Tensor": "Tensor", "items": "named tuple", "other": None}


def spelled(name: str, op: Any) -> Iterator[tuple[str, str]]:
    """An overload's operator, method with spread sizes, and general call, each with what of the results agrees."""
    several = len(op._schema.returns) > 1 or [str(item.type) for item in op._schema.returns] == [
        "List[Tensor]"
    ]
    for spelling in spellings(name.split(".")[0], op):
        if not admitted(Name(*spelling.callee.rsplit(".", 1))):
            continue
        for result in (returned(op), "items") if several else (returned(op),):
            parameters = signature(op, spelling, unpacked=result == "items")
            if parameters is not None:
                if spelling.spread:
                    parameters = parameters.replace("Tensor self, ", "Tensor self, *")
                yield f"{spelling.callee}({parameters})", result
                break
        else:
            continue
        if not (spelling.is_operator or spelling.callee.startswith("Tensor.")):
            return
