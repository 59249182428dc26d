"""Program: the intermediate representation between a graph and its text, straight-line functions over bound tables.

Values are those of ``fx2py.graph.values``, where a ``Ref`` names a local variable, plus ``Slot``, ``Local`` and ``Take``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from types import EllipsisType
from typing import Literal, NamedTuple, TypeAlias, TypeVar

import torch

from fx2py.graph.data import ModuleRecord, Node, Provenance, ValueMeta
from fx2py.graph.values import (
    List,
    Live,
    Name,
    OpName,
    ProgramLeaf,
    Range,
    Ref,
    Set,
    Slice,
    TensorValue,
    Value,
    map_leaves,
    walk,
)

_S = TypeVar("_S", bound="_Statement")
TableName: TypeAlias = Literal["weights", "submods", "consts", "compute_once"]
ENTRY = "execution_fn"
WEIGHTS: TableName = "weights"
"""What a function that stands for a module, and structured code as a whole, takes its weights as: records by name."""
COMPUTE_ONCE: TableName = "compute_once"
"""The function of what depends on no input. The entry takes it as it takes a table, wrapped so that it keeps its results."""
TABLE_NAMES: tuple[TableName, ...] = ("submods", "weights", "consts", COMPUTE_ONCE)
"""The tables in the order in which a function takes them."""


@dataclass(frozen=True, slots=True)
class Slot(ProgramLeaf):
    """Entry ``index`` of one of the tables that are bound to the code: ``weights[3]``."""

    table: TableName
    index: int

    def __str__(self) -> str:
        return f"{self.table}[{self.index}]"


@dataclass(frozen=True, slots=True)
class Local(ProgramLeaf):
    """Another function of the same Program; with ``as_graph`` it is passed as a GraphModule that calls the function."""

    name: str
    as_graph: bool = False

    def __str__(self) -> str:
        return f"graph {self.name}" if self.as_graph else f"function {self.name}"


@dataclass(frozen=True, slots=True)
class Take(ProgramLeaf):
    """Removes the first item of the list in a variable and passes it on (a last-use move); only an argument of a call."""

    name: str

    def __str__(self) -> str:
        return f"take {self.name}"


@dataclass(frozen=True, slots=True)
class Field(ProgramLeaf):
    """A tensor, or a record of tensors, below the record in a variable: ``weights.h[0].attn.bias``.

    The records are those of ``fx2py.runtime.weight_tree``; an integer in ``path`` is a place in a list of them.
    """

    base: str
    path: tuple[str | int, ...] = ()

    def __str__(self) -> str:
        return self.base + "".join([f"[{p}]" if type(p) is int else f".{p}" for p in self.path])


@dataclass(frozen=True, slots=True)
class Method(ProgramLeaf):
    """A method looked up on the call's first argument."""

    name: str

    def __str__(self) -> str:
        return f"method {self.name}"


Lines: TypeAlias = tuple[int, int]
"""The first and the last line of what was read from a text."""
Callee: TypeAlias = "Name | OpName | Live | Method | Slot | Local | Ref"
Operand: TypeAlias = "Value | Slot | Local | Take | Field"
"""What a statement reads. A Take is always an argument itself, not inside a container; only a Load reads a Slot."""
Arguments: TypeAlias = tuple[Operand, ...]
Keywords: TypeAlias = tuple[tuple[str, Operand], ...]


class Parts(NamedTuple):
    """What a statement reads: variables, each once and in evaluation order; and what its text names beside them.

    ``named`` leaves out what is written without a name: Python's own literals and containers.
    """

    variables: tuple[str, ...] = ()
    named: tuple[Operand, ...] = ()

    @classmethod
    def of(cls, *values: Operand) -> Parts:
        variables: dict[str, None] = {}
        named: list[Operand] = []
        for value in values:
            if type(value) is Ref:
                variables[value.name] = None
            elif type(value) not in _LITERALS:
                for part in walk(value):
                    if type(part) is Ref or type(part) is Take:
                        variables[part.name] = None
                    elif type(part) not in _WITHOUT_NAME:
                        named.append(part)
        return cls(tuple(variables), tuple(named))


_LITERALS = frozenset[type]({type(None), bool, int, float, complex, str, bytes, EllipsisType})
_WITHOUT_NAME = _LITERALS | {tuple, List, Set, Slice, Range}


@dataclass(frozen=True, slots=True)
class Call:
    callee: Callee
    args: Arguments = ()
    kwargs: Keywords = ()
    _parts: Parts | None = field(default=None, init=False, compare=False, repr=False)

    @property
    def operands(self) -> tuple[Operand, ...]:
        """The values that the call reads, callee first, in evaluation order."""
        return (self.callee, *self.args, *[value for _, value in self.kwargs])

    @property
    def parts(self) -> Parts:
        """What stands in the operands; every stage asks, so it is looked for once."""
        found = self._parts
        if found is None:
            found = Parts.of(*self.operands)
            object.__setattr__(self, "_parts", found)
        return found

    def with_leaves(self, change: Callable[[Operand], Operand]) -> Call:
        args = tuple([map_leaves(value, change) for value in self.args])
        return Call(
            self.callee, args, tuple([(name, map_leaves(value, change)) for name, value in self.kwargs])
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Statement:
    """What a statement comes from: a node of the graph, or lines of a text."""

    origin: Node | None = field(default=None, compare=False, repr=False)
    lines: Lines | None = field(default=None, compare=False, repr=False)

    @property
    def operands(self) -> tuple[Operand, ...]:
        """The values that the statement reads, in evaluation order."""
        return ()

    @property
    def parts(self) -> Parts:
        return Parts.of(*self.operands)

    def with_leaves(self: _S, change: Callable[[Operand], Operand]) -> _S:
        """The statement with ``change`` applied to each leaf of its arguments; what is called is no argument."""
        return self


@dataclass(frozen=True, slots=True)
class Assign(_Statement):
    """``target = call``; with ``target`` None the result is dropped at once."""

    target: str | None
    call: Call

    @property
    def operands(self) -> tuple[Operand, ...]:
        return self.call.operands

    @property
    def parts(self) -> Parts:
        return self.call.parts

    def with_leaves(self, change: Callable[[Operand], Operand]) -> Assign:
        return replace(self, call=self.call.with_leaves(change))


@dataclass(frozen=True, slots=True)
class Load(_Statement):
    """``target = weights[3]``: a variable for a slot; the table keeps owning the value."""

    target: str
    slot: Slot

    @property
    def operands(self) -> tuple[Operand, ...]:
        return (self.slot,)


@dataclass(frozen=True, slots=True)
class Bind(_Statement):
    """``target = value``: a container that several later statements use, so that all of them see one object."""

    target: str
    value: Operand

    @property
    def operands(self) -> tuple[Operand, ...]:
        return (self.value,)

    def with_leaves(self, change: Callable[[Operand], Operand]) -> Bind:
        return replace(self, value=map_leaves(self.value, change))


def is_other_name(statement: Statement) -> bool:
    """Whether a statement only gives a variable another name, which calls nothing."""
    return isinstance(statement, Bind) and isinstance(statement.value, Ref)


@dataclass(frozen=True, slots=True)
class Unpack(_Statement):
    """``first, second = call``: the items of a tuple, each under a name."""

    targets: tuple[str, ...]
    call: Call

    @property
    def operands(self) -> tuple[Operand, ...]:
        return self.call.operands

    @property
    def parts(self) -> Parts:
        return self.call.parts

    def with_leaves(self, change: Callable[[Operand], Operand]) -> Unpack:
        return replace(self, call=self.call.with_leaves(change))


@dataclass(frozen=True, slots=True)
class Delete(_Statement):
    """``del names``: variables whose last use has passed."""

    names: tuple[str, ...]


WHOLE = -1
"""The end of a loop over a whole list, of which a text does not say how long it is."""


@dataclass(frozen=True, slots=True)
class Loop(_Statement):
    """``for item in over: body``; ``over`` is a list of ``length`` records, taken from ``start`` to ``stop``, or a number of rounds.

    A text does not say how long a list is: its ``length`` is WHOLE there.
    """

    item: str
    over: Field | int
    start: int
    stop: int
    length: int
    body: tuple[Statement, ...]

    @property
    def operands(self) -> tuple[Operand, ...]:
        """What the loop runs over, and what its body reads, variables of its own included."""
        over = (self.over,) if isinstance(self.over, Field) else ()
        return (*over, *[value for statement in self.body for value in statement.operands])

    def with_leaves(self, change: Callable[[Operand], Operand]) -> Loop:
        return replace(self, body=tuple([statement.with_leaves(change) for statement in self.body]))


Statement: TypeAlias = "Assign | Load | Bind | Delete | Unpack | Loop"
"""A flat Program has no ``Unpack`` and no ``Loop``."""


def straight(body: Iterable[Statement]) -> Iterator[Assign | Load | Bind | Delete | Unpack]:
    """The statements of a body, those inside loops once."""
    for statement in body:
        if isinstance(statement, Loop):
            yield from straight(statement.body)
        else:
            yield statement


def expression(number: int) -> str:
    """The variable of a result that has no name in the text, since it is written inside the statement that takes it.

    The expressions of a function are numbered in the order in which Python evaluates them; each ends in a ``Delete``
    behind the statement that takes it.
    """
    return f".{number}"


def is_expression(variable: str) -> bool:
    return variable.startswith(".")


class _Required(ProgramLeaf):
    """The default of a parameter that has none."""

    def __repr__(self) -> str:
        return "REQUIRED"


REQUIRED = _Required()


def names_in(*values: Operand) -> list[str]:
    """The variables that values read, each once, in evaluation order."""
    return list(Parts.of(*values).variables)


ParameterKind: TypeAlias = Literal["positional", "var_positional", "keyword_only", "var_keyword"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter: its variable, the name by which callers pass it, its kind in a Python signature, its default."""

    name: str
    public_name: str
    kind: ParameterKind = "positional"
    default: Value = REQUIRED
    origin: Node | None = field(default=None, compare=False, repr=False)


class CalledModule(NamedTuple):
    """The path of a module's class, and how many calls of such modules one function serves.

    ``depth`` counts the modules around them, and ``differs`` says in what the function differs from another of the class.
    """

    cls: str
    calls: int
    depth: int = 0
    differs: str = ""


@dataclass(frozen=True, slots=True)
class Function:
    """One generated function; ``tables`` are its keyword-only parameters, in the order of TABLE_NAMES.

    ``module`` says what it stands for where it serves the calls of modules that compute the same. ``lines`` and
    ``result_lines`` are those of its parameters and its return, where it was read from a text.
    """

    name: str
    parameters: tuple[Parameter, ...]
    tables: tuple[TableName, ...]
    body: tuple[Statement, ...]
    result: Operand
    path: str = field(default="", compare=False)
    module: CalledModule | None = field(default=None, compare=False)
    lines: Lines | None = field(default=None, compare=False)
    result_lines: Lines | None = field(default=None, compare=False)

    @property
    def is_module(self) -> bool:
        return self.module is not None

    @property
    def operands(self) -> Iterator[Operand]:
        """Every value that a statement reads, then the result."""
        for statement in self.body:
            yield from statement.operands
        yield self.result

    @property
    def named(self) -> Iterator[Operand]:
        """What stands in the body and in the result but for variables, literals and Python's own containers."""
        for statement in self.body:
            yield from statement.parts.named
        yield from Parts.of(self.result).named


@dataclass(frozen=True, slots=True)
class ContainerClass:
    """A class whose instances the code builds: ``Point(x=a, y=b)``."""

    cls: Name
    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Weight:
    """One entry of the weights table: the first dotted path that leads to the tensor, and the tensor."""

    path: str
    tensor: torch.Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Submodule:
    """One entry of the submodule table.

    ``record`` is None if the path leads to nothing that can be rebuilt. ``function`` names the generated function in
    the slot, for a GraphModule that was kept as a function. ``inputs`` and ``output`` are what the graph recorded for
    the first call. ``whole``: the code reads attributes of the module or passes it as an argument, so the slot must hold
    the module itself and not only something callable.
    """

    path: str
    record: ModuleRecord | None
    calls: int = 0
    function: str | None = None
    inputs: tuple[ValueMeta, ...] = ()
    output: ValueMeta = None
    whole: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Constant:
    """One entry of the constants table: a readable name, and a device or a value that no text gives back exactly."""

    name: str
    value: Value


@dataclass(frozen=True, slots=True)
class ModuleEntry:
    """A module that ran, with the modules that ran inside it in the order of their first calls.

    ``path`` and ``cls`` are dotted, '' where nothing is recorded; ``calls`` counts those of the module, ``operators`` what
    is called inside them, in the modules inside it too; ``parameters`` counts the numbers in the parameters at
    and below ``path``, a tied one at the first of its paths alone. ``function`` names the function that stands for it, ''
    where its statements stand in the function of the module around it. ``inputs`` and ``outputs`` are what the first
    call took of other modules and gave to them, in the order of the function's parameters and results.
    """

    path: str
    cls: str
    calls: int
    parameters: int
    function: str
    operators: int = 0
    inputs: tuple[ValueMeta, ...] = ()
    outputs: tuple[ValueMeta, ...] = ()
    children: tuple[ModuleEntry, ...] = ()

    def walk(self) -> Iterator[ModuleEntry]:
        """This entry and all below it, outer ones first."""
        yield self
        for child in self.children:
            yield from child.walk()


FIELDS = Name("fx2py.runtime.checks", "Fields")
CHECK_INPUTS = "check_inputs"
FIELDS_OF = "fields_of"
"""Functions of the runtime, which the code calls as Locals."""


@dataclass(frozen=True, slots=True)
class InputTable:
    """What ``check_inputs`` demands of the caller: one demand for each parameter, by the name that callers use.

    A demand for a container is a container of demands (a Record of ``FIELDS`` for a class other than Python's own); for
    a leaf it is a Shape, an Integer, a constant, or ``...`` for anything (see ``fx2py.runtime.checks``). ``guards`` are
    conditions over the inputs. ``autocast``: whether the code may run under autocast.
    """

    demands: tuple[tuple[str, Value], ...]
    ranges: tuple[tuple[str, int | None, int | None], ...] = ()
    guards: tuple[str, ...] = ()
    autocast: bool = True


@dataclass(frozen=True, slots=True)
class Applied:
    """One simplification: the pass, the node that it removed or moved, and why that changes nothing."""

    pass_name: str
    node: str
    reason: str


LIVE = Provenance("live")


@dataclass(frozen=True, slots=True, eq=False)
class Report:
    """What the manifest says about a translation beside its code.

    ``inlined``: the modules whose graphs were inlined into their callers, by path. ``notes``: what the code does not do
    or check. ``optimizations``: what the passes removed or moved.
    """

    provenance: Provenance = LIVE
    inlined: tuple[tuple[str, ModuleRecord], ...] = ()
    notes: tuple[str, ...] = ()
    optimizations: tuple[Applied, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """A whole translation: functions (callees before callers, the entry last) and what is bound to them.

    ``op_aliases`` and ``containers`` are the module-level names of operators and container classes. ``below_autograd``:
    calls that record no gradients may skip the dispatch keys Autograd and ADInplaceOrView. ``is_structured``: the weights
    are records, and functions stand for modules. ``module_names`` has every name of the module level, packages included.
    ``modules`` is the tree of the modules that ran, where the functions stand for modules.
    """

    functions: tuple[Function, ...]
    op_aliases: tuple[tuple[str, OpName], ...] = ()
    containers: tuple[tuple[str, ContainerClass], ...] = ()
    weights: tuple[Weight, ...] = ()
    submods: tuple[Submodule, ...] = ()
    consts: tuple[Constant, ...] = ()
    input_table: InputTable | None = None
    below_autograd: bool = False
    is_structured: bool = False
    module_names: frozenset[str] = frozenset()
    modules: ModuleEntry | None = None
    report: Report = Report()

    @property
    def entry(self) -> Function:
        return self.functions[-1]


def with_applied(program: Program, applied: Iterable[Applied]) -> Program:
    """The Program whose report names these simplifications too."""
    report = replace(program.report, optimizations=(*program.report.optimizations, *applied))
    return replace(program, report=report)


def modules_to_rebuild(program: Program) -> list[tuple[str, ModuleRecord]]:
    """Every module below a called submodule, each once, children before parents."""
    ordered: dict[int, tuple[str, ModuleRecord]] = {}
    for entry in program.submods:
        if entry.record is not None and entry.function is None:
            for path, record in reversed(tuple(entry.record.walk(entry.path))):
                ordered.setdefault(id(record), (path, record))
    return list(ordered.values())


def module_tensors(path: str, record: ModuleRecord) -> Iterator[tuple[str, torch.Tensor]]:
    """The tensors that a module at ``path`` holds itself, by name, those among its attributes too."""
    for table in (record.parameters, record.buffers):
        for name, tensor in table.items():
            if tensor is not None:
                yield f"{path}.{name}" if path else name, tensor
    for name, value in record.attributes.items():
        for part in walk(value):
            if isinstance(part, TensorValue):
                yield f"{path}.{name}", part.tensor


def bound_tensors(program: Program) -> dict[str, torch.Tensor]:
    """Every tensor by name, each once: the weights table first, in its order, then what only modules hold."""
    found: dict[str, torch.Tensor] = {}
    seen: set[int] = set()
    own = ((weight.path, weight.tensor) for weight in program.weights)
    held = (item for path, record in modules_to_rebuild(program) for item in module_tensors(path, record))
    for source in (own, held):
        for name, tensor in source:
            if id(tensor) not in seen:
                seen.add(id(tensor))
                found[_unused(name, found)] = tensor
    return found


def _unused(name: str, taken: dict[str, torch.Tensor]) -> str:
    number = 1
    unused = name
    while unused in taken:
        unused = f"{name}#{number}"
        number += 1
    return unused
