"""``_tables.py``: the function ``bind``, which builds everything that the code is bound to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import torch

from fx2py.emit import text
from fx2py.emit.expressions import TextScope, value_text
from fx2py.emit.layout import Line, lay_out
from fx2py.errors import InternalError, with_article
from fx2py.graph import values as language
from fx2py.graph.data import ModuleRecord
from fx2py.program.exact_text import bits_of, fault_of, needs_slot
from fx2py.program.identifiers import RESERVED, FreshNames
from fx2py.program.input_table import parts_of_fields
from fx2py.program.ir import (
    CHECK_INPUTS,
    FIELDS,
    WEIGHTS,
    InputTable,
    Program,
    bound_tensors,
    modules_to_rebuild,
)
from fx2py.program.module_use import GRAPH_AS_MODULE
from fx2py.runtime.checks import Integer, Shape

RUNTIME = "runtime"
"""The parameter of ``bind`` that the runtime's module is passed for."""
BIND_DOC = "The graph as a callable over these tensors; every table of the code is filled here."
NOT_IN_FILE = "is not in the file"
CODE = "code"
"""The parameter that the module of the functions is passed for."""
BIND_PARAMETERS = f"{RUNTIME}, {CODE}, tensors, device=None, submods=None"
ASSEMBLED = "modules, weights, consts, names, submods, renamed"
BELOW_AUTOGRAD = f"{RUNTIME}.below_autograd({{}}, weights)"
BIND_VARIABLES = frozenset(
    {RUNTIME, CODE, "tensors", "device", "submods", "modules", "consts", "names", "renamed", "weights"}
)
"""The parameters and variables of ``bind``, which no variable of a module and no import may hide."""


class _BoundText:
    """Writes bound values: unlike values in code, they may hold devices, numbers given by their bits, and tensors."""

    def __init__(self, program: Program, scope: TextScope) -> None:
        self.scope = replace(scope, special=self._special)
        self.live = {
            constant.value: constant.name
            for constant in program.consts
            if type(constant.value) is language.Live
        }
        self.tensors = {id(tensor): name for name, tensor in bound_tensors(program).items()}

    def tensor(self, tensor: torch.Tensor | None) -> str:
        return "None" if tensor is None else f"tensors[{text.quoted(self.tensors[id(tensor)])}]"

    def value(self, value: language.Value) -> str:
        """The expression that builds ``value``; of a Live value, what looks it up by the name of its constant."""
        return value_text(value, self.scope)

    def _special(self, value: language.Value) -> str:
        if isinstance(value, (*language.TORCH_NAMED, language.Size)):
            self.scope.modules.add("torch")
        if type(value) is language.TensorValue:
            return self.tensor(value.tensor)
        if not needs_slot(value):
            return ""
        if type(value) is torch.device:
            return f"{RUNTIME}.retarget(device, {text.quoted(str(value))})"
        if type(value) is language.DefaultDevice:
            return f"{RUNTIME}.retarget(device, None)"
        if type(value) is language.DeviceType:
            return f"{RUNTIME}.retarget(device, {text.quoted(value.type)}).type"
        if type(value) is language.Live:
            described = text.quoted(text.comment(value.description))
            return f"{RUNTIME}.live({text.quoted(self.live[value])}, {described})"
        if isinstance(value, float | complex):
            layout, digits = bits_of(value)
            return f'{RUNTIME}.from_bits("{layout}", "{digits}")'
        raise InternalError(f"{with_article(type(value).__name__)} reached the tables as a constant")

    def mapping(self, items: Iterator[tuple[str, str]]) -> str:
        return f"{{{', '.join([f'{text.quoted(name)}: {written}' for name, written in items])}}}"


def why_unwritable(record: ModuleRecord) -> str:
    """Why a module cannot be written as data, or ''."""
    if record.lost:
        return record.lost
    if record.graph is not None:
        return GRAPH_AS_MODULE
    if record.original is not None and record.hooks:
        return f"has {', '.join(record.hooks)}, which no file can hold"
    for name, value in record.attributes.items():
        if fault_of(value):
            return f"has an attribute {name!r} that has no text: {fault_of(value)}"
        for part in language.walk(value):
            if isinstance(part, language.Live | language.Opaque | language.OpName):
                return f"is {with_article(record.cls.path)} whose attribute {name!r} is no data"
            if root_of(part) in BIND_VARIABLES:
                return f"has an attribute {name!r} of the package {root_of(part)!r}, whose name has another meaning"
    return ""


def root_of(value: language.Value) -> str:
    """The package that a value names, or ''."""
    home = value.cls if isinstance(value, language.EnumMember) else value
    return home.module.partition(".")[0] if isinstance(home, language.Name) else ""


def _build(path: str, record: ModuleRecord, variables: Mapping[int, str], bound: _BoundText) -> str:
    reason = why_unwritable(record)
    if reason:
        return f"{RUNTIME}.Missing({text.quoted(path)}, {text.quoted(text.comment(reason))})"
    attributes = bound.mapping((name, bound.value(value)) for name, value in record.attributes.items())
    parameters = bound.mapping((name, bound.tensor(tensor)) for name, tensor in record.parameters.items())
    buffers = bound.mapping((name, bound.tensor(tensor)) for name, tensor in record.buffers.items())
    parts = [
        text.quoted(path),
        text.quoted(record.cls.path),
        str(record.training),
        attributes,
        parameters,
        buffers,
    ]
    if record.non_persistent or record.children:
        parts.append(value_text(language.Set(tuple(record.non_persistent)), bound.scope))
    if record.children:
        below = ((name, variables[id(child)] if child else "None") for name, child in record.children.items())
        parts.append(bound.mapping(below))
    return f"{RUNTIME}.build({', '.join(parts)})"


def _visible_names(program: Program) -> Iterator[str]:
    """The names that the text of ``bind`` uses, which no variable of a module may hide."""
    yield from RESERVED
    yield from BIND_VARIABLES
    for _, record in modules_to_rebuild(program):
        for value in record.attributes.values():
            yield from filter(None, map(root_of, language.walk(value)))


def _names(program: Program, bound: _BoundText) -> Iterator[tuple[str, str]]:
    """The container classes and the check of the inputs, by the names of the parameters that the code takes them by."""
    if program.is_structured:
        paths = ", ".join([text.quoted(weight.path) for weight in program.weights])
        yield WEIGHTS, f"{RUNTIME}.weight_records([{paths}], weights)"
    for alias, made in program.containers:
        yield alias, f"{RUNTIME}.container({text.quoted(made.cls.path)}, {bound.value(made.fields)})"
    if program.input_table is not None:
        yield CHECK_INPUTS, checks_text(program.input_table, bound.scope)


def bind_source(program: Program, scope: TextScope) -> str:
    """The source of ``bind``; ``scope`` collects the modules that it names."""
    bound = _BoundText(program, scope)
    names = FreshNames([*RESERVED, *_visible_names(program)])
    variables: dict[int, str] = {}
    lines: list[str] = []
    for path, record in modules_to_rebuild(program):
        variables[id(record)] = names.fresh(path.replace(".", "_"))
        lines.append(f"{variables[id(record)]} = {_build(path, record, variables, bound)}")
    modules: list[tuple[str, str]] = []
    for entry in program.submods:
        missing = f"{RUNTIME}.Missing({text.quoted(entry.path)}, {text.quoted(NOT_IN_FILE)})"
        function = entry.function and f"{CODE}.{text.identifier(entry.function)}"
        modules.append((entry.path, function or variables.get(id(entry.record), missing)))
    consts = ", ".join([bound.value(constant.value) for constant in program.consts])
    whole = [text.quoted(entry.path) for entry in program.submods if entry.whole]
    listed = f", [{', '.join(whole)}]" if whole else ""
    assembled = f"{RUNTIME}.assemble({CODE}, {ASSEMBLED}{listed})"
    renamed = (
        (p.public_name, text.quoted(p.name)) for p in program.entry.parameters if p.public_name != p.name
    )
    lines += [
        f"modules = {bound.mapping(iter(modules))}",
        f"weights = list(tensors.values())[:{len(program.weights)}]",
        f"consts = [{consts}]",
        f"names = {bound.mapping(_names(program, bound))}",
        f"renamed = {bound.mapping(renamed)}",
        f"return {BELOW_AUTOGRAD.format(assembled) if program.below_autograd else assembled}",
    ]
    body = "\n".join(lay_out([Line(line) for line in lines]))
    return f'def bind({BIND_PARAMETERS}):\n    """{BIND_DOC}"""\n{body}\n'


# -- the demands on the inputs ------------------------------------------------------------------------------------


def checks_text(table: InputTable, scope: TextScope) -> str:
    """The expression that makes ``check_inputs``, on one line."""
    demands = replace(scope, special=lambda value: _demand_text(value, demands))
    parts = [value_text(language.Dict(table.demands), demands)]
    if table.ranges:
        ranges = language.Dict(tuple((name, (low, high)) for name, low, high in table.ranges))
        parts.append(f"ranges={value_text(ranges, scope)}")
    if table.guards:
        parts.append(f"guards={value_text(language.List(table.guards), scope)}")
    if not table.autocast:
        parts.append("autocast=False")
    return f"{RUNTIME}.input_checks({', '.join(parts)})"


def _demand_text(value: language.Value, scope: TextScope) -> str:
    if type(value) is Shape:
        return f"{RUNTIME}.Shape({', '.join([text.primitive(size) for size in value])})"
    if type(value) is Integer:
        return f"{RUNTIME}.Integer({text.quoted(str(value))})"
    if type(value) is not language.Record or value.cls != FIELDS:
        return ""
    path, fields, detail = parts_of_fields(value)
    rest = "" if detail is None else f", {value_text(detail, scope)}"
    return f"{RUNTIME}.Fields({text.quoted(path)}, {value_text(fields, scope)}{rest})"
