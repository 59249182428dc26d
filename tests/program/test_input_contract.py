"""Generated code of an exported program accepts and refuses the inputs that ``ep.module()`` does, and says why."""

from __future__ import annotations

import ast
import collections
import copy
import dataclasses
import math
import timeit
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import black
import pytest
import torch
from torch import nn
from torch.export import Dim, ExportedProgram, export
from torch.utils import _pytree as pytree

import fx2py
from fx2py.errors import ArtifactError, ReplayError
from fx2py.read import open_graph
from fx2py.replay.interpreter import Reference
from fx2py.runtime.checks import Fields, InputError, Shape, input_checks
from fx2py.runtime.sizes import SizeExpression
from fx2py.trust import Policy

pytestmark = pytest.mark.filterwarnings("ignore")


class Point(NamedTuple):
    x: torch.Tensor
    y: torch.Tensor


class Other(NamedTuple):
    x: torch.Tensor
    y: torch.Tensor


@dataclasses.dataclass
class Pair:
    first: torch.Tensor
    second: torch.Tensor | None = None


pytree._register_namedtuple(Point, serialized_type_name=f"{__name__}.Point")
torch.export.register_dataclass(Pair, serialized_type_name=f"{__name__}.Pair")


def total(*values: Any) -> torch.Tensor:
    """A result that every shape of every input allows, so that only a check can refuse."""
    return sum(
        (leaf.sum() for leaf in pytree.tree_leaves(values) if isinstance(leaf, torch.Tensor)), torch.zeros(())
    )


class One(nn.Module):
    def forward(self, x):
        return total(x)


class Two(nn.Module):
    def forward(self, x, y):
        return total(x, y)


class Three(nn.Module):
    def forward(self, x, y, z):
        return total(x, y, z)


class Keyword(nn.Module):
    def forward(self, x, *, scale):
        return total(x, scale)


class Optional(nn.Module):
    def forward(self, x, mask=None):
        return total(x) if mask is None else total(x, mask)


class Variadic(nn.Module):
    def forward(self, *items):
        return total(items) if items[0].shape[0] % 2 == 0 else items[0]


class Named(nn.Module):
    def forward(self, x, **named):
        return total(x, named)


class Even(nn.Module):
    def forward(self, x, y):
        return total(x) * 2 if x.shape[0] % 2 == 0 and y.shape[0] > x.shape[0] else total(y)


class Nested(nn.Module):
    def forward(self, batch, n):
        rows = batch["ids"][0]
        return total(batch) + (1 if rows.shape[0] % 3 == 0 else 0) + n


def t(*shape: int) -> torch.Tensor:
    return torch.ones(shape)


ROWS = Dim("rows", min=3, max=64)
Call = tuple[Any, ...]


@dataclass(frozen=True)
class Case:
    """An exported module, and per wrong call what its message must name; ``ep.module()`` decides what is wrong."""

    module: Callable[[], nn.Module]
    args: Call
    good: tuple[Call, ...] = ()
    bad: tuple[tuple[Call, str], ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    dynamic: Any = None
    strict: bool = False

    def export(self) -> ExportedProgram:
        return export(self.module(), self.args, self.kwargs, dynamic_shapes=self.dynamic, strict=self.strict)

    def split(self, call: Call) -> tuple[Call, dict[str, Any]]:
        """The last arguments of a call are its keyword arguments."""
        keywords = len(self.kwargs)
        head, tail = (call[:-keywords], call[-keywords:]) if keywords else (call, ())
        return head, dict(zip(self.kwargs, tail, strict=True))


CASES = {
    "static": Case(
        One,
        (t(2, 3),),
        good=((t(2, 3),), (nn.Parameter(t(2, 3)),), (t(2, 3).double(),)),
        bad=(
            ((t(3, 3),), "x.shape[0] must be 2, not 3"),
            ((t(2, 4),), "x.shape[1] must be 3, not 4"),
            ((t(2),), "x must have the shape (2, 3), not (2,)"),
            ((t(2, 3, 1),), "x must have the shape (2, 3), not (2, 3, 1)"),
            ((2.0,), "x must be a tensor of shape (2, 3), not a float"),
            ((None,), "x must be a tensor"),
            ((t(2, 3).numpy(),), "x must be a tensor of shape (2, 3), not a ndarray"),
            (([t(2, 3)],), "x must be a tensor of shape (2, 3), not a list of 1"),
        ),
    ),
    "scalar": Case(One, (t(),), good=((t(),),), bad=(((t(1),), "x must have the shape (), not (1,)"),)),
    "dynamic": Case(
        One,
        (t(4, 3),),
        dynamic=({0: ROWS},),
        good=((t(3, 3),), (t(64, 3),)),
        bad=(
            ((t(2, 3),), "x.shape[0] must be at least 3, not 2"),
            ((t(65, 3),), "x.shape[0] must be at most 64, not 65"),
            ((t(4, 4),), "x.shape[1] must be 3, not 4"),
            ((t(4),), "x must have the shape"),
        ),
    ),
    "sizes 0 and 1": Case(
        One,
        (t(4, 3),),
        dynamic=({0: Dim("n", min=2, max=9)},),
        good=((t(0, 3),), (t(1, 3),), (t(9, 3),)),
        bad=(((t(10, 3),), "x.shape[0] must be at most 9, not 10"),),
    ),
    "any size": Case(One, (t(4),), dynamic=({0: Dim.AUTO},), good=((t(0),), (t(999),))),
    "equal sizes": Case(
        Two,
        (t(4, 2), t(4)),
        dynamic=({0: ROWS}, {0: ROWS}),
        good=((t(7, 2), t(7)),),
        bad=(
            ((t(7, 2), t(8)), "y.shape[0] must be"),
            ((t(7, 2), t(1)), "y.shape[0] must be"),
        ),
    ),
    "a size twice in one tensor": Case(
        One,
        (t(4, 4),),
        dynamic=({0: ROWS, 1: ROWS},),
        good=((t(5, 5),),),
        bad=(((t(5, 6),), "x.shape[1] must be"),),
    ),
    "a size derived from one before": Case(
        Two,
        (t(4), t(9)),
        dynamic=({0: ROWS}, {0: 2 * ROWS + 1}),
        good=((t(3), t(7)), (t(64), t(129))),
        bad=(
            ((t(4), t(8)), "y.shape[0] must be 2*"),
            ((t(4), t(4)), "y.shape[0] must be 2*"),
            ((t(2), t(5)), "x.shape[0] must be at least 3"),
            ((t(65), t(131)), "x.shape[0] must be at most 64"),
        ),
    ),
    "a size derived from one after": Case(
        Two,
        (t(8), t(4)),
        dynamic=({0: 2 * ROWS}, {0: ROWS}),
        good=((t(6), t(3)), (t(128), t(64))),
        bad=(
            ((t(7), t(3)), "x.shape[0] must be 2*"),
            ((t(8), t(5)), "y.shape[0] must be"),
            ((t(4), t(2)), "x.shape[0] must be at least 6"),
        ),
    ),
    "a size of no input": Case(
        Two,
        (t(8), t(10)),
        dynamic=({0: 2 * ROWS}, {0: 2 * ROWS + 2}),
        good=((t(6), t(8)),),
        bad=(((t(6), t(9)), "y.shape[0] must be 2*"), ((t(6), t(6)), "y.shape[0] must be 2*")),
    ),
    "two sizes": Case(
        Three,
        (t(4, 5), t(5), t(4)),
        dynamic=({0: ROWS, 1: Dim("cols")}, {0: Dim("cols")}, {0: ROWS}),
        good=((t(6, 9), t(9), t(6)),),
        bad=(((t(6, 9), t(9), t(9)), "z.shape[0] must be"), ((t(6, 9), t(6), t(6)), "y.shape[0] must be")),
    ),
    "guards": Case(
        Even,
        (t(4), t(6)),
        dynamic=({0: Dim.AUTO}, {0: Dim.AUTO}),
        good=((t(2), t(3)), (t(8), t(9))),
        bad=(
            ((t(3), t(6)), "the inputs must satisfy x.shape[0] % 2 == 0"),
            ((t(6), t(6)), "the inputs must satisfy"),
            ((t(6), t(2)), "y.shape[0] must be at least 3"),
        ),
    ),
    "float": Case(
        Two,
        (t(2), 2.0),
        good=((t(2), 2.0),),
        bad=(
            ((t(2), 2.5), "y must be 2.0, not 2.5"),
            ((t(2), 2), "y must be 2.0, not 2"),
            ((t(2), "2.0"), "y must be 2.0, not '2.0'"),
            ((t(2), t()), "y must be 2.0, not a Tensor"),
        ),
    ),
    "nan": Case(
        Two,
        (t(2), math.nan),
        good=((t(2), math.nan), (t(2), -math.nan)),
        bad=(((t(2), 0.0), "y must be nan, not 0.0"),),
    ),
    "infinity": Case(
        Two, (t(2), math.inf), good=((t(2), math.inf),), bad=(((t(2), -math.inf), "y must be inf"),)
    ),
    "int": Case(
        Two,
        (t(2), 3),
        good=((t(2), 3),),
        bad=(((t(2), 4), "y must be 3, not 4"), ((t(2), 3.0), "y must be 3, not 3.0")),
    ),
    "bool": Case(
        Two,
        (t(2), True),
        good=((t(2), True),),
        bad=(((t(2), False), "y must be True, not False"), ((t(2), 1), "y must be True, not 1")),
    ),
    "text": Case(
        Two,
        (t(2), "relu"),
        good=((t(2), "relu"),),
        bad=(((t(2), "gelu"), "y must be 'relu', not 'gelu'"), ((t(2), None), "y must be 'relu', not None")),
    ),
    "symbolic int": Case(
        Two,
        (t(4), 5),
        dynamic=({0: ROWS}, Dim.DYNAMIC(min=4, max=10)),
        good=((t(4), 4), (t(4), 10)),
        bad=(
            ((t(4), 11), "y must be at most 10, not 11"),
            ((t(4), 3), "y must be at least 4, not 3"),
            ((t(4), "5"), "y must be an int, not a str"),
        ),
    ),
    "keywords": Case(
        Keyword,
        (t(2),),
        kwargs={"scale": t(3)},
        good=((t(2), t(3)),),
        bad=(((t(2), t(4)), "scale.shape[0] must be 3, not 4"),),
    ),
    "variadic": Case(
        Variadic,
        (t(4), t(6)),
        dynamic=(({0: Dim.AUTO}, {0: Dim.AUTO}),),
        good=((t(6), t(6)),),
        bad=(((t(5), t(6)), "items_0.shape[0] % 2 == 0"),),
    ),
    "variadic keywords": Case(
        Named,
        (t(2),),
        kwargs={"more": t(3)},
        good=((t(2), t(3)),),
        bad=(((t(2), t(4)), "more.shape[0] must be 3"),),
    ),
    "containers": Case(
        Nested,
        ({"ids": [t(6), (t(2), 2.0)], "mask": t(6)}, 3),
        dynamic=({"ids": [{0: Dim.AUTO}, (None, None)], "mask": {0: Dim.AUTO}}, None),
        good=(({"ids": [t(9), (t(2), 2.0)], "mask": t(9)}, 3),),
        bad=(
            (({"ids": [t(6), (t(3), 2.0)], "mask": t(6)}, 3), "batch['ids'][1][0].shape[0] must be 2, not 3"),
            (({"ids": [t(6), (t(2), 1.0)], "mask": t(6)}, 3), "batch['ids'][1][1] must be 2.0, not 1.0"),
            (({"ids": [t(5), (t(2), 2.0)], "mask": t(5)}, 3), "batch['ids'][0].shape[0] % 3 == 0"),
            (({"ids": [t(6), [t(2), 2.0]], "mask": t(6)}, 3), "batch['ids'][1] must be a tuple of 2"),
            (({"ids": (t(6), (t(2), 2.0)), "mask": t(6)}, 3), "batch['ids'] must be a list of 2"),
            (({"ids": [t(6)], "mask": t(6)}, 3), "batch['ids'] must be a list of 2, not a list of 1"),
            (({"ids": [t(6), (t(2), 2.0)]}, 3), "batch must be a dict of 'ids', 'mask', not a dict of 'ids'"),
            (({"ids": [t(6), (t(2), 2.0)], "mask": t(6), "x": 1}, 3), "batch must be a dict"),
            (([t(6)], 3), "batch must be a dict of 'ids', 'mask', not a list of 1"),
            ((t(6), 3), "batch must be a dict of 'ids', 'mask', not a Tensor"),
        ),
    ),
    "a dict in any order": Case(
        One,
        ({"a": t(2), "b": t(3)},),
        good=(({"b": t(3), "a": t(2)},),),
        bad=((({"b": t(2), "a": t(3)},), "x['a'].shape[0] must be 2, not 3"),),
    ),
    "an empty container": Case(
        Two, (t(2), []), good=((t(2), []),), bad=(((t(2), [t(1)]), "y must be a list of 0, not a list of 1"),)
    ),
    "ordered dict": Case(
        One,
        (collections.OrderedDict(a=t(2), b=t(3)),),
        good=((collections.OrderedDict(a=t(2), b=t(3)),),),
        bad=(
            (({"a": t(2), "b": t(3)},), "x must be an OrderedDict of 'a', 'b', not a dict of 'a', 'b'"),
            ((collections.OrderedDict(a=t(2)),), "x must be an OrderedDict"),
        ),
    ),
    "default dict": Case(
        One,
        (collections.defaultdict(list, a=t(2)),),
        good=((collections.defaultdict(list, a=t(2)),),),
        bad=(
            ((collections.defaultdict(dict, a=t(2)),), "x must be a collections.defaultdict of a"),
            (({"a": t(2)},), "x must be a collections.defaultdict of a, not a dict of 'a'"),
        ),
    ),
    "deque": Case(
        One,
        (collections.deque([t(2), t(3)], 4),),
        good=((collections.deque([t(2), t(3)], 4),),),
        bad=(
            ((collections.deque([t(2), t(3)]),), "x must be a collections.deque"),
            (([t(2), t(3)],), "x must be a collections.deque"),
            ((collections.deque([t(2), t(4)], 4),), "x[1].shape[0] must be 3, not 4"),
        ),
    ),
    "named tuple": Case(
        One,
        (Point(t(2), t(3)),),
        good=((Point(t(2), t(3)),),),
        bad=(
            ((Point(t(2), t(4)),), "x.y.shape[0] must be 3, not 4"),
            (((t(2), t(3)),), f"x must be a {__name__}.Point of x, y, not a tuple of 2"),
            ((Other(t(2), t(3)),), "not an Other"),
        ),
    ),
    "dataclass": Case(
        One,
        (Pair(t(2)),),
        good=((Pair(t(2)),),),
        bad=(
            ((Pair(t(3)),), "x.first.shape[0] must be 2, not 3"),
            ((Pair(t(2), t(2)),), f"x must be a {__name__}.Pair of first"),
            ((t(2),), f"x must be a {__name__}.Pair of first, not a Tensor"),
        ),
    ),
    "strict": Case(
        Even,
        (t(4), t(6)),
        dynamic=({0: Dim.AUTO}, {0: Dim.AUTO}),
        strict=True,
        good=((t(2), t(3)),),
        bad=(((t(3), t(6)), "x.shape[0] % 2 == 0"), ((t(6), t(6)), "the inputs must satisfy")),
    ),
}
GOOD = [
    (name, call)
    for name, case in CASES.items()
    for call in (case.args + tuple(case.kwargs.values()), *case.good)
]
BAD = [(name, call, message) for name, case in CASES.items() for call, message in case.bad]
_EXPORTED: dict[str, tuple[ExportedProgram, Callable[..., Any]]] = {}


def exported(name: str) -> tuple[ExportedProgram, Callable[..., Any]]:
    """A case's program and its generated code, made once."""
    if name == "nan" and torch.__version__ < "2.11":
        pytest.skip("the guards that torch 2.10 writes do not know the name nan")
    if name not in _EXPORTED:
        program = CASES[name].export()
        _EXPORTED[name] = program, fx2py.generate(program).bind()
    return _EXPORTED[name]


def refuses(function: Callable[..., Any], args: Call, kwargs: dict[str, Any]) -> bool:
    try:
        function(*copy.deepcopy(args), **copy.deepcopy(kwargs))
    except (AssertionError, RuntimeError, ValueError, TypeError, AttributeError, IndexError):
        return True
    return False


def torch_refuses(program: ExportedProgram, args: Call, kwargs: dict[str, Any]) -> bool:
    """Whether ``ep.module()`` refuses a call, with the guards that it runs or with the checks that it makes instead."""
    return any(refuses(program.module(check_guards=guards), args, kwargs) for guards in (True, False))


@pytest.mark.parametrize(("name", "call"), GOOD)
def test_inputs_that_torch_accepts_are_accepted(name: str, call: Call) -> None:
    program, run = exported(name)
    args, kwargs = CASES[name].split(call)
    assert torch.equal(run(*args, **kwargs), program.module()(*args, **kwargs))
    Reference(open_graph(program))(*args, **kwargs)


@pytest.mark.parametrize(("name", "call", "message"), BAD)
def test_inputs_that_torch_refuses_are_refused_by_name(name: str, call: Call, message: str) -> None:
    program, run = exported(name)
    args, kwargs = CASES[name].split(call)
    assert torch_refuses(program, args, kwargs)
    with pytest.raises(ValueError) as refused:  # noqa: PT011
        run(*args, **kwargs)
    assert type(refused.value).__name__ == "InputError"
    assert message in str(refused.value)
    with pytest.raises(ReplayError):  # in words of its own, since it reads the contract by itself
        Reference(open_graph(program))(*args, **kwargs)


def test_a_value_for_an_input_that_was_none_is_not_looked_at_as_torch_does_not() -> None:
    program = export(Optional(), (t(2),), {"mask": None})
    run = fx2py.generate(program).bind()
    for mask in (None, t(2), 3, "text"):
        assert torch.equal(run(t(2), mask=mask), program.module()(t(2), mask=mask))
    with pytest.raises(ValueError, match="mask must be no container, not a tuple of 1"):
        run(t(2), mask=(t(2),))


@pytest.mark.parametrize("name", CASES)
def test_the_table_is_black_clean_and_the_same_from_the_archive(name: str, tmp_path: Any) -> None:
    program, _ = exported(name)
    table = table_of(fx2py.generate(program))
    torch.export.save(program, tmp_path / "model.pt2")
    assert table_of(fx2py.generate(tmp_path / "model.pt2")) == table


def test_the_files_are_black_clean() -> None:
    for text in fx2py.generate(exported("containers")[0]).texts:
        assert black.format_str(text, mode=black.Mode()) == text


def table_of(artifact: fx2py.Artifact) -> str:
    """What ``_tables.py`` demands of the inputs, on one line."""
    (bind,) = ast.parse(str(artifact.tables)).body[-1:]
    calls = [part for part in ast.walk(bind) if isinstance(part, ast.Call)]
    (made,) = [ast.unparse(call) for call in calls if ast.unparse(call.func) == "runtime.input_checks"]
    return made.replace("runtime.", "").replace("'", '"')


def test_the_table_says_what_is_demanded_and_no_more() -> None:
    table = table_of(fx2py.generate(exported("a size derived from one before")[0]))
    symbol = table[table.index('Shape("') + len('Shape("') :].partition('"')[0]
    assert table == (
        f'input_checks({{"x": Shape("{symbol}"), "y": Shape("2*{symbol} + 1")}}, '
        f'ranges={{"{symbol}": (3, 64), "2*{symbol} + 1": (7, 129)}})'
    )


def test_the_check_comes_first_and_makes_the_inputs_tensors() -> None:
    source = fx2py.generate(export(Twice(), (t(2), t(2)))).source
    body = source[source.index("def execution_fn") :].splitlines()
    assert body[1:4] == ["    # x: f32[2]", "    # y: f32[2]", "    check_inputs(x, y)"]
    assert "x + y" in source


def test_the_manifest_says_what_was_recorded_of_each_input_that_is_one_value() -> None:
    class Nested(nn.Module):
        def forward(self, x, pair, *, scale=None):
            return x + pair["a"] + pair["b"] + scale

    program = export(Nested(), (t(2), {"a": t(2), "b": t(2)}), {"scale": torch.ones(1, dtype=torch.float64)})
    entries = {entry.name: entry.value for entry in fx2py.generate(program).manifest.inputs}
    assert entries == {"x": "f32[2]", "pair": None, "scale": "f64[1]"}


class Twice(nn.Module):
    def forward(self, x, y):
        return x + y


def test_code_without_a_contract_carries_no_checks() -> None:
    source, tables = fx2py.generate(torch.fx.symbolic_trace(Twice())).texts
    assert "check_inputs" not in source
    assert "input_checks" not in str(tables)


def test_a_parameter_named_as_the_check_does_not_hide_it() -> None:
    class Model(nn.Module):
        def forward(self, check_inputs, Shape):
            return check_inputs + Shape

    run = fx2py.generate(export(Model(), (t(2), t(2)))).bind()
    assert torch.equal(run(check_inputs=t(2), Shape=t(2)), t(2) * 2)
    with pytest.raises(ValueError, match=r"check_inputs\.shape\[0\] must be 2"):
        run(t(3), t(2))


def test_fake_tensors_with_symbolic_sizes_are_not_checked() -> None:
    _, run = exported("dynamic")
    mode = torch._subclasses.FakeTensorMode(shape_env=torch.fx.experimental.symbolic_shapes.ShapeEnv())
    fake = mode.from_tensor(
        t(9, 3),
        symbolic_context=torch.fx.experimental.symbolic_shapes.StatelessSymbolicContext(
            dynamic_sizes=[torch.fx.experimental.symbolic_shapes.DimDynamic.DYNAMIC] * 2
        ),
    )
    with mode:
        run(fake)
    assert not mode.shape_env.guards


def test_a_guard_outside_the_grammar_is_a_note_not_a_check() -> None:
    data = open_graph(CASES["static"].export())
    guards = ("L['x'].stride()[0] == 3", "__import__('os').system('true')", "L['x'].size()[0] ==")
    contract = dataclasses.replace(data.contract, guards=guards)
    artifact = fx2py.generate(dataclasses.replace(data, contract=contract))
    assert [note for note in artifact.manifest.notes if "guard" in note] == [
        f"the guard {guard} is not checked" for guard in guards
    ]
    assert "guards=" not in table_of(artifact)


def test_a_size_outside_the_grammar_is_any_size_and_a_note() -> None:
    data = open_graph(CASES["static"].export())
    assert data.contract is not None
    for size in ("mystery(s0)", "f" + ".f" * 5000 + "(s0)"):
        check = dataclasses.replace(data.contract.checks[0], shape=(size, 3))
        contract = dataclasses.replace(data.contract, checks=(check,))
        artifact = fx2py.generate(dataclasses.replace(data, contract=contract))
        assert any(note.startswith("the size ") for note in artifact.manifest.notes)
        assert '"x": Shape(..., 3)' in table_of(artifact)


def test_an_edited_table_leaves_the_grammar() -> None:
    artifact = fx2py.generate(CASES["static"].export())
    shapes = ('runtime.Shape("2", f(3))', "runtime.Shape([2])", "Shape(2, 3)", "tensors.Shape(2, 3)")
    for wrong in (*shapes, "open", "runtime", 'runtime.Integer("a", "b")'):
        tables = str(artifact.tables).replace('"x": runtime.Shape(2, 3)', f'"x": {wrong}')
        assert tables != artifact.tables
        with pytest.raises((ArtifactError, fx2py.errors.UntrustedTargetError)):
            dataclasses.replace(artifact, tables=tables, program=None).bind(policy=Policy())


def test_a_record_whose_class_is_not_loaded_may_be_anything_with_its_fields() -> None:
    check = input_checks({"x": Fields("not_here.Point", {"a": Shape(2), "b": 1})})
    check(collections.namedtuple("Point", "b a")(a=t(2), b=1))
    check({"b": 1, "a": t(2)})
    with pytest.raises(InputError, match=r"x\.b must be 1, not 2"):
        check({"a": t(2), "b": 2})
    with pytest.raises(InputError, match=r"x must be a not_here\.Point of a, b, not a dict of 'a'"):
        check({"a": t(2)})


@pytest.mark.parametrize("text", ["f(s0)", "s0.real", "[s0]", "s0 if s0 else 1", "lambda: 0", "(" * 500, ""])
def test_a_size_expression_is_arithmetic_and_nothing_else(text: str) -> None:
    with pytest.raises(ValueError, match=r"no (expression|arithmetic)"):
        SizeExpression(text)


def test_a_huge_power_is_refused_at_once() -> None:
    assert not SizeExpression("s0**9999999").fits(3, {"s0": 3})


def test_a_check_costs_less_than_a_microsecond_an_input() -> None:
    x = t(1, 16)
    check = input_checks({f"x{index}": Shape(1, 16) for index in range(20)})
    arguments = [x] * 20
    seconds = min(timeit.repeat(lambda: check(*arguments), number=200, repeat=20)) / 200
    assert seconds / len(arguments) < 1e-6
