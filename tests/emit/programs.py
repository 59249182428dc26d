"""Random Programs of the kind that lowering makes: each variable bound once before its use, nothing else assumed."""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import strategies as st

from fx2py.graph.values import (
    Dict,
    List,
    Name,
    OpName,
    Record,
    Ref,
    Value,
    walk,
)
from fx2py.program.ir import (
    REQUIRED,
    Assign,
    Bind,
    Call,
    Constant,
    ContainerClass,
    Delete,
    Function,
    Load,
    Local,
    Method,
    Parameter,
    Program,
    Slot,
    Weight,
)
from tests.emit.values import NAMES, bits_to_float, values

OPS = {
    "aten_add_Tensor": OpName("aten", "add", "Tensor"),
    "aten_random_from": OpName("aten", "random", "from"),
    "cond": OpName("higher_order", "cond"),
}
CALLEES = (
    *(
        Name("operator", name)
        for name in ("add", "sub", "pow", "matmul", "neg", "invert", "lt", "eq", "not_", "iadd")
    ),
    *(
        Name("operator", "getitem"),
        Name("operator", "setitem"),
        Name("builtins", "getattr"),
        Name("builtins", "len"),
    ),
    *(
        Name("torch", "add"),
        Name("torch.nn.functional", "relu"),
        Name("math", "floor"),
        Name("torch.Tensor", "add"),
    ),
    *(
        Name("some.package", "function"),
        *OPS.values(),
        Method("view"),
        Method("from"),
        Method("a b"),
        Slot("submods", 0),
    ),
    *(Slot("submods", 1), Local("inner")),
)
POINT = Name("a.b", "Outer.Point")
CONSTANTS: tuple[Value, ...] = (
    torch.device("cuda:1"),
    bits_to_float(0x7FF8000000000001),
    complex(bits_to_float(-1 % 2**64), -0.0),
)


@st.composite
def bodies(
    draw: st.DrawFn, parameters: tuple[str, ...], callees: tuple[Any, ...]
) -> tuple[tuple[Any, ...], Any]:
    """Statements over the living variables, and a result."""
    living = list(parameters)
    statements: list[Any] = []

    def value() -> Any:
        references = st.sampled_from(living).map(Ref) if living else None
        return draw(values(references))

    for number in range(draw(st.integers(0, 5))):
        kind = draw(st.sampled_from(["assign", "assign", "assign", "drop", "load", "bind", "delete"]))
        target = draw(
            st.sampled_from([f"v{number}", f"größe_{number}", f"a_rather_long_name_of_a_variable_{number}"])
        )
        if kind == "delete":
            names = draw(st.lists(st.sampled_from(living), unique=True, max_size=3)) if living else []
            if names and not isinstance(statements[-1] if statements else None, Delete):
                statements.append(Delete(tuple(names)))
                living = [name for name in living if name not in names]
            continue
        if kind == "load":
            statements.append(
                Load(
                    target, draw(st.sampled_from([Slot("weights", 0), Slot("weights", 1), Slot("consts", 1)]))
                )
            )
        elif kind == "bind":
            items = tuple(value() for _ in range(draw(st.integers(1, 3))))
            pairs = tuple((f"key {index}", item) for index, item in enumerate(items))
            containers: list[Value] = [items, List(items), Dict(pairs), Record(POINT, pairs)]
            statements.append(Bind(target, draw(st.sampled_from(containers))))
        else:
            statements.append(Assign(None if kind == "drop" else target, draw(calls(callees, value))))
        if kind != "drop":
            living.append(target)
    return tuple(statements), value()


@st.composite
def calls(draw: st.DrawFn, callees: tuple[Any, ...], value: Any) -> Call:
    callee = draw(st.sampled_from(callees))
    args = tuple(value() for _ in range(draw(st.integers(1, 3))))
    names = draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=2))
    return Call(callee, args, tuple((name, value()) for name in names))


@st.composite
def programs(draw: st.DrawFn) -> Program:
    """A Program of two functions whose tables and module-level names are those that its values need."""
    inner_body, inner_result = draw(bodies(("x",), CALLEES[:-1]))
    inner = Function(
        "inner", (Parameter("x", "x"),), ("submods", "weights", "consts"), inner_body, inner_result
    )
    parameters = (
        Parameter("x", draw(st.sampled_from(NAMES))),
        Parameter("y", "y", default=draw(values().filter(_is_default))),
        Parameter("rest", "rest", "var_positional"),
        Parameter("option", "option", "keyword_only", draw(st.one_of(st.just(REQUIRED), st.integers()))),
        Parameter("more", "more", "var_keyword"),
    )
    body, result = draw(bodies(tuple(p.name for p in parameters), CALLEES))
    entry = Function("execution_fn", parameters, ("submods", "weights", "consts"), body, result)
    functions = (inner, entry)
    return Program(
        functions,
        op_aliases=tuple(OPS.items()),
        containers=tuple(_containers(functions)),
        weights=(Weight("a.weight", torch.ones(2)), Weight("b", torch.zeros(1))),
        consts=tuple(Constant(f"constant_{index}", value) for index, value in enumerate(CONSTANTS)),
    )


def _is_default(value: Any) -> bool:
    from fx2py.program.exact_text import needs_slot

    return not any(needs_slot(part) or isinstance(part, Record) for part in walk(value))


def _containers(functions: tuple[Function, ...]) -> list[tuple[str, ContainerClass]]:
    found: dict[ContainerClass, str] = {}
    for function in functions:
        for part in _all_values(function):
            if isinstance(part, Record):
                made = ContainerClass(part.cls, tuple(name for name, _ in part.fields))
                found.setdefault(made, f"Point_{len(found)}")
    return [(alias, made) for made, alias in found.items()]


def _all_values(function: Function) -> Any:
    roots: list[Any] = [function.result, *(p.default for p in function.parameters)]
    for statement in function.body:
        if isinstance(statement, Assign):
            roots += [*statement.call.args, *(value for _, value in statement.call.kwargs)]
        elif isinstance(statement, Bind):
            roots.append(statement.value)
    for root in roots:
        yield from walk(root)
