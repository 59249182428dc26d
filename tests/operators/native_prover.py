"""Proves that a native Python call reaches one operator overload with the arguments that the overload would get.

A mode on the PreDispatch key sees the first overload that a call reaches, before autograd, autocast, decompositions
and kernels; it answers with made-up results, so that nothing is computed. A native call is proven for a form
(how many arguments stand positionally, which keywords are given) when, for every sample of argument values that the
overload itself accepts, both calls reach that overload alone, with equal arguments, and hand out equal results.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch._dispatch.python import enable_python_dispatcher
from torch._subclasses.schema_check_mode import SchemaCheckMode
from torch.fx.experimental.symbolic_shapes import ShapeEnv
from torch.utils._python_dispatch import TorchDispatchMode


class Recorder(SchemaCheckMode):
    """Records each overload reached with its arguments and answers for it.

    It is a SchemaCheckMode by type only: torch admits no other kind of mode for observers on the PreDispatch key.
    """

    def __init__(self) -> None:
        TorchDispatchMode.__init__(self, _dispatch_key=torch._C.DispatchKey.PreDispatch)
        self.reached: list[tuple[Any, dict[str, Any]]] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        self.reached.append((func, filled(func._schema, args, kwargs or {})))
        return answer(func, args)


def filled(schema: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """The arguments by name, the schema's defaults filled in."""
    given = dict(zip((argument.name for argument in schema.arguments), args, strict=False)) | kwargs
    return {argument.name: given.get(argument.name, argument.default_value) for argument in schema.arguments}


def answer(func: Any, args: tuple[Any, ...]) -> Any:
    """A result of the types that the schema promises; in-place overloads return their own argument."""
    returns = func._schema.returns
    if func._schema.name.endswith("_"):
        return args[0]
    results = tuple(RESULTS[str(item.type)] for item in returns)
    return results[0] if len(returns) == 1 else (results or None)


def meta(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.empty(shape, dtype=dtype, device="meta")


ANSWER = meta(2)
RESULTS: dict[str, Any] = {
    "Tensor": ANSWER,
    "List[Tensor]": [ANSWER, ANSWER],
    "bool": True,
    "int": 7,
    "float": 7.5,
    "number": 7.5,
    "Device": torch.device("meta"),
    "ScalarType": torch.float64,
    "List[int]": [7, 8],
}

TENSOR = meta(4)
SYMBOL = ShapeEnv().create_unbacked_symint()
NUMBERS: list[Any] = [1.5, 2, True, 1 + 2j, -0.0, -(2**40)]
TENSORS: list[Any] = [
    *(meta(2, 3), meta(dtype=torch.int64), meta(3, 2).t(), meta(0), meta(2, dtype=torch.bool)),
    torch.nn.Parameter(meta(2, 3)),
    meta(1, 2, 3, 4, dtype=torch.complex64),
]
INTS: list[Any] = [1, 0, -2, 2**40, SYMBOL]
SAMPLES: dict[str, list[Any]] = {
    "Tensor": [*TENSORS, *NUMBERS],
    "number": [*NUMBERS, SYMBOL],
    "int": [1, 0, -2, 2**40],
    "SymInt": INTS,
    "float": [0.5, -0.0, 2, float("inf")],
    "bool": [True, False],
    "str": ["sum", "none"],
    "ScalarType": [torch.float64, torch.int32],
    "Layout": [torch.strided],
    "Device": [torch.device("meta"), torch.device("cpu"), "cpu"],
    "MemoryFormat": [torch.contiguous_format, torch.channels_last, torch.preserve_format],
    "Generator": [torch.Generator()],
    "List[Tensor]": [[TENSOR, TENSOR], [TENSOR], [], (TENSOR, TENSOR)],
    "List[Optional[Tensor]]": [[TENSOR, TENSOR], [None, TENSOR], [TENSOR], (None, TENSOR), []],
    "List[int]": [[1, 2], [0], [], (1, 2), [-1], torch.Size([1, 2])],
    "List[SymInt]": [[1, 2], [0], [], (1, 2), [-1], torch.Size([1, 2]), [SYMBOL, 2], [2, SYMBOL]],
    "List[float]": [[0.5, 2.0], [0.5], [], (0.5, 2.0), [1, 2], [0.5, 1]],
    "List[bool]": [[True, False], [True], [], (True, False)],
    "List[number]": [[0.5, 2], [1], [], (0.5, 2)],
}
"""Values that an argument of each schema type may have; the first one is the one that stays when others vary."""

ODD: dict[str, list[Any]] = {
    "number": [meta(dtype=torch.int64), meta()],
    "int": [True, torch.tensor(3), 2.0],
    "SymInt": [True, torch.tensor(3), 2.0],
    "float": [True, torch.tensor(0.5)],
    "bool": [1, torch.tensor(True)],
    "List[int]": [[True, False], [torch.tensor(2)], [1.0]],
    "List[SymInt]": [[True, False], [torch.tensor(2)], [2, torch.tensor(2)], [1.0]],
    "List[Tensor]": [[TENSOR, 1], (1, 2)],
    "Tensor": [None],
}
"""Values beside the schema that an overload may still accept: a native call may refuse them, never read them otherwise."""


@dataclass(frozen=True)
class Form:
    """How the arguments stand: the first ``count`` positionally, those of ``keywords`` by name."""

    count: int
    keywords: tuple[str, ...] = ()


def kind(argument: Any) -> str:
    """The argument's schema type without Optional."""
    text = type_text(argument.real_type)
    return text[len("Optional[") : -1] if is_optional(argument) else text


def is_optional(argument: Any) -> bool:
    return bool(argument.real_type.kind() == "OptionalType")


def type_text(schema_type: Any) -> str:
    """The type as torch prints it, SymInt told from int."""
    if schema_type.kind() in ("ListType", "OptionalType"):
        container = schema_type.kind().removesuffix("Type")
        return f"{container}[{type_text(schema_type.getElementType())}]"
    return "SymInt" if schema_type.kind() == "SymIntType" else str(schema_type)


def samples(argument: Any, given: frozenset[str]) -> list[Any]:
    """Every value to try at an argument, None too if it is optional and not among those that must be given."""
    values = list(SAMPLES[kind(argument)])
    if is_optional(argument) and argument.name not in given:
        values.append(None)
    if argument.N is not None:
        values.append(values[0][0])
    return values


def forms(schema: Any) -> list[Form]:
    """Every form of a valid call that has its first argument in place; of many keywords none, one, two or all."""
    names = [argument.name for argument in schema.arguments]
    positional = sum(not argument.kwarg_only for argument in schema.arguments)
    needed = {argument.name for argument in schema.arguments if not argument.has_default_value()}
    found = []
    for count in range(min(positional, 1), positional + 1):
        if count and "self" in names[count:]:
            continue
        free = [name for name in names[count:] if name not in needed]
        sizes = range(len(free) + 1) if len(free) <= 4 else (0, 1, 2, len(free))
        for chosen in itertools.chain.from_iterable(itertools.combinations(free, size) for size in sizes):
            keywords = tuple(name for name in names[count:] if name in needed or name in chosen)
            found.append(Form(count, keywords))
    return found


def cases(schema: Any, form: Form, given: frozenset[str]) -> Iterator[tuple[list[Any], bool]]:
    """Values for the arguments of a form: each varied alone, the first three also in pairs; True marks odd values."""
    arguments = [
        argument
        for index, argument in enumerate(schema.arguments)
        if index < form.count or argument.name in form.keywords
    ]
    choices = [samples(argument, given) for argument in arguments]
    first = [choice[0] for choice in choices]
    yield first, False
    for index, argument in enumerate(arguments):
        for value in choices[index][1:]:
            yield [*first[:index], value, *first[index + 1 :]], False
        for value in ODD.get(kind(argument), ()):
            yield [*first[:index], value, *first[index + 1 :]], True
    for left, right in itertools.combinations(range(min(3, len(choices))), 2):
        for one, other in itertools.product(choices[left][1:], choices[right][1:]):
            values = list(first)
            values[left], values[right] = one, other
            yield values, False


def equal(left: Any, right: Any) -> bool:
    """Same type and content, so that 1, 1.0 and True and the two zeros all differ; tensors by identity.

    A made-up result may come back in a new shell: factory functions detach what they return.
    """
    if type(left) is not type(right):
        return False
    if isinstance(left, (list, tuple)):
        return len(left) == len(right) and all(map(equal, left, right))
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(equal(value, right[key]) for key, value in left.items())
    if isinstance(left, torch.Tensor):
        made_up = left.untyped_storage()._cdata == ANSWER.untyped_storage()._cdata
        return left is right or (made_up and left.untyped_storage()._cdata == right.untyped_storage()._cdata)
    if isinstance(left, torch.Generator):
        return left is right
    if isinstance(left, torch.SymInt):
        return bool(left.node.expr == right.node.expr)
    return repr(left) == repr(right)


@dataclass(frozen=True)
class Outcome:
    """The overloads that a call reached, with their arguments, and what it returned."""

    reached: list[Any]
    result: Any

    def same(self, other: Outcome, unpacked: bool) -> bool:
        """Whether both did the same; ``unpacked`` takes list, tuple and named tuple of results for the same."""
        left, right = self.result, other.result
        if unpacked and isinstance(left, (list, tuple)) and isinstance(right, (list, tuple)):
            left, right = tuple(left), tuple(right)
        return equal(self.reached, other.reached) and equal(left, right)


REFUSALS = (TypeError, RuntimeError, ValueError, IndexError, AttributeError)


def outcome(recorder: Recorder, function: Callable[..., Any], args: Any, kwargs: Any) -> Outcome | None:
    """What the call did under the recorder; None where it raised."""
    recorder.reached = []
    with recorder:
        try:
            result = function(*args, **kwargs)
        except REFUSALS:
            return None
    return Outcome(recorder.reached, result)


@dataclass(frozen=True)
class Claim:
    """That ``native`` may stand for ``op`` in the given form.

    ``given`` names optional arguments that are never None; ``unpacked`` says that only the items of the result
    matter; ``admits`` leaves out values for which nothing is claimed.
    """

    op: Any
    native: Callable[..., Any]
    form: Form
    given: frozenset[str] = frozenset()
    unpacked: bool = False
    admits: Callable[[list[Any]], bool] = lambda values: True

    def counterexample(self) -> Any:
        """The first values for which the two calls differ, None if proven, the form if no values were comparable."""
        compared = False
        with ExitStack() as stack:
            stack.enter_context(enable_python_dispatcher())
            if not any("Tensor" in kind(argument) for argument in self.op._schema.arguments):
                stack.enter_context(torch.device("meta"))
            for values, odd in cases(self.op._schema, self.form, self.given):
                if not self.admits(values):
                    continue
                verdict = self.holds(values, odd)
                if verdict is False:
                    return values
                compared = compared or verdict is True
        return None if compared else self.form

    def holds(self, values: list[Any], odd: bool) -> bool | None:
        """Whether both calls do the same; None where the overload itself does not take the values."""
        args = values[: self.form.count]
        kwargs = dict(zip(self.form.keywords, values[self.form.count :], strict=True))
        recorder = Recorder()
        meant = outcome(recorder, self.op, args, kwargs)
        if meant is None or not meant.reached or meant.reached[-1][0] is not self.op:
            return None
        done = outcome(recorder, self.native, args, kwargs)
        if done is not None and done.reached:
            return meant.same(done, self.unpacked)
        if done is None and (odd or not self.is_metadata):
            return odd
        return self.answers_itself(args, kwargs)

    @property
    def is_metadata(self) -> bool:
        """Whether the overload asks a tensor for its sizes, which Python answers without the dispatcher."""
        return self.op._schema.name.startswith("aten::sym_")

    def answers_itself(self, args: list[Any], kwargs: dict[str, Any]) -> bool | None:
        """Whether a native call that reaches no overload gives what the overload really gives on empty tensors."""
        meant, done = (self.really(call, args, kwargs) for call in (self.op, self.native))
        if meant is None and done is None:
            return None
        return (
            meant is not None and done is not None and not self.op._schema.is_mutable and equal(*meant, *done)
        )

    @staticmethod
    def really(function: Callable[..., Any], args: list[Any], kwargs: dict[str, Any]) -> tuple[Any] | None:
        try:
            return (function(*args, **kwargs),)
        except REFUSALS:
            return None
