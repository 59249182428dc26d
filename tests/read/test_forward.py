"""The text of a graph as nodes: what FX prints comes back, anything else is refused with its line."""

import enum
import operator

import pytest
import torch
from torch import fx
from torch.fx.graph_module import _format_import_block
from torch.package import sys_importer

from fx2py.graph.values import Dict, EnumMember, List, Name, Opaque, OpName, Ref, Set, Slice
from fx2py.read.forward.statements import ForwardFault, read_forward
from fx2py.read.live.modules import graph_of
from tests.read.graphs import Pair, calling, nodes_of, traced_block


class Color(enum.Enum):
    RED = 1


def from_text(gm: fx.GraphModule):
    code = gm.graph.python_code("self")
    return read_forward(_format_import_block(code.globals, sys_importer) + "\n" + code.src)


def body(*lines: str) -> str:
    return "def forward(self, x):\n    " + "\n    ".join(lines)


@pytest.mark.parametrize(
    "gm",
    [
        traced_block(),
        calling(operator.pow, -2, "x"),
        calling(operator.pow, float("-inf"), "x"),
        calling(operator.pow, -1j, "x"),
        calling(operator.neg, 2),
        calling(operator.neg, 1 + 2j),
        calling(operator.add, -1, "x"),
        calling(operator.getitem, "x", (..., slice(1, None, 2), None)),
        calling(operator.iadd, "x", 3),
        calling(operator.setitem, "x", 0, 1.5),
        calling(operator.invert, "x"),
        calling(getattr, "x", "shape"),
        calling(getattr, "x", "no identifier"),
        calling(getattr, "x", "shape", None),
        calling(torch.mul, "x", complex(float("inf"), float("nan"))),
        calling(torch.mul, "x", complex(-0.0, -1.0)),
        calling(torch.mul, "x", float("nan")),
        calling(torch.mul, "x", -0.0),
        calling(torch.ops.aten.to.dtype, "x", torch.float64),
        calling(torch.zeros, (2, 3), device=torch.device("cuda", 1), layout=torch.strided),
        calling(torch.clone, "x", memory_format=torch.channels_last),
        calling(print, [1, (2,), {"a": {3}}], {1: "x"}, b"\xff", "it's # a \\ line\n"),
        calling(print, range(3), frozenset([1])),
        calling(torch.ops.higher_order.cond, True, torch.ops.aten.sin.default, ["x"]),
        calling(torch.Tensor.add, "x", "x"),
    ],
    ids=lambda gm: gm.code.strip().splitlines()[1].strip()[:50],
)
def test_text_gives_the_nodes_that_were_printed(gm):
    assert nodes_of(from_text(gm).graph) == nodes_of(graph_of(gm.graph))


def test_namedtuples_and_enums_keep_their_classes():
    gm = calling(print, Color.RED, Pair(1, 2))
    color, pair = from_text(gm).graph.nodes[1].args
    assert color == EnumMember(Name(__name__, "Color"), "RED")
    assert pair.cls == Name("tests.read.graphs", "Pair")
    assert [value for _, value in pair.fields] == [1, 2]


def test_a_tensor_printed_as_an_argument_is_kept_as_opaque():
    (argument,) = from_text(calling(torch.relu, torch.ones(2))).graph.nodes[1].args
    assert isinstance(argument, Opaque)
    assert argument.cls == Name("torch", "Tensor")


def test_placeholders_keep_stars_and_defaults():
    graph = read_forward("def forward(self, x, k = -inf, *args, o = (1, [2]), **kw):\n    return x").graph
    assert [(node.target, node.args) for node in graph.placeholders] == [
        *(("x", ()), ("k", (float("-inf"),)), ("*args", ()), ("o", ((1, List((2,))),)), ("**kw", ())),
    ]


def test_a_placeholder_takes_the_name_of_its_alias():
    text = "def forward(self, nan):\n    nan_1 = nan\n    mul = nan_1 * nan\n    return mul"
    placeholder, mul, _ = read_forward(text).graph.nodes
    assert (placeholder.name, placeholder.target) == ("nan_1", "nan")
    assert mul.args[0] == Ref("nan_1")
    assert mul.args[1] != mul.args[1]


def test_operations_are_told_apart():
    text = body(
        "a = self.weight",
        'b = getattr(self.seq, "0").bias',
        'c = getattr(self.seq, "0")(x)',
        "d = x.view(-1, 2)",
        "e = torch.ops.aten.add.Tensor(c, d, alpha = 2);  c = d = None",
        "f = x.shape",
        'g = getattr(x, "0")(1)',
        "return {'a': [a, (b,)], 'e': e, 'f': x[1:2], 'g': {1, 2}}".replace("x[1:2]", "slice(1, 2, None)"),
    )
    nodes = read_forward(text).graph.nodes
    assert [(node.op, node.target) for node in nodes[1:]] == [
        ("get_attr", "weight"),
        ("get_attr", "seq.0.bias"),
        ("call_module", "seq.0"),
        ("call_method", "view"),
        ("call_function", OpName("aten", "add", "Tensor")),
        ("call_function", Name("builtins", "getattr")),
        ("call_method", "0"),
        ("output", "output"),
    ]
    assert nodes[5].kwargs == (("alpha", 2),)
    assert nodes[-1].args[0] == Dict(
        (
            ("a", List((Ref("a"), (Ref("b"),)))),
            ("e", Ref("e")),
            ("f", Slice(1, 2, None)),
            ("g", Set((1, 2))),
        )
    )


def test_annotations_of_results_are_kept():
    graph = read_forward(body("y : torch.Tensor = torch.relu(x);  x = None", "return y")).graph
    assert graph.nodes[1].meta.annotation == "torch.Tensor"


def test_wrapped_functions_and_profiler_marks_are_no_nodes():
    text = (
        'from m import leaf as m_leaf\n\nwrap("leaf")\n\ndef forward(self, x):\n'
        "    _rf = torch._C._profiler._RecordFunctionFast('## f ##'); _rf.__enter__()\n"
        "    leaf = m_leaf(x);  x = None\n"
        "    _rf.__exit__(None, None, None)\n"
        "    return leaf"
    )
    assert [node.target for node in read_forward(text).graph.nodes] == ["x", Name("m", "leaf"), "output"]


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (["import os", "return x"], "no statement"),
        (["y = __import__('os').system('x')", "return y"], "inside an argument"),
        (["y = (lambda: 1)()", "return y"], "no name"),
        (["y = [a for a in x]", "return y"], "no operation"),
        (["y = torch.relu((z := x))", "return y"], "no argument"),
        (["y = torch.relu(f'{x}')", "return y"], "no argument"),
        (["y = torch.relu(*x)", "return y"], "no argument"),
        (["y = torch.relu(**x)", "return y"], "unpacks"),
        (["y = torch.relu(x, a=1, a=2)", "return y"], "twice"),
        (["y = torch.relu(torch.sin(x.foo()))", "return y"], "inside an argument|no argument"),
        (["y = x if x else x", "return y"], "no operation"),
        (["y = 1 < x < 2", "return y"], "no operation"),
        (["y = torch.relu(x);  x = None", "z = torch.relu(x)", "return z"], "dropped"),
        (["y = torch.relu(x)", "y = torch.relu(x)", "return y"], "twice"),
        (["y = unknown(x)", "return y"], "nothing defines"),
        (["y = torch.relu(unknown)", "return y"], "nothing defines"),
        (["y = x", "z = x", "return y"], "no parameter"),
        (["x += 1", "return x"], "in-place"),
        (["return x", "y = torch.relu(x)"], "behind the return"),
        (["for i in x: pass", "return x"], "no statement"),
        (["def g(): pass", "return x"], "no statement"),
        (["print(x)", "return x"], "no statement"),
        (["del x", "return 1"], "no statement"),
        (["y = self(x)", "return y"], "nothing defines"),
        ([f"y = torch.mul(x, ({'9' * 400}+1j))", "return y"], "no argument"),
        (["y = torch.mul(x, -(1+2j))", "return y"], "no argument"),
        (["y = torch.relu(set(items=[x]))", "return y"], "no value"),
        (["y = torch.relu(slice())", "return y"], "no value"),
    ],
)
def test_what_fx_does_not_print_is_refused_with_its_line(lines, reason):
    with pytest.raises(ForwardFault, match=reason) as caught:
        read_forward(body(*lines))
    assert "line" in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x = 1",
        "import os; os.system('x')\ndef forward(self): return 1",
        "@print\ndef forward(self): return 1",
        "def forward(self, x, y=print('hello')): return x",
        "def forward(self, x, x_1=[y for y in ()]): return x",
        "def forward(self):\n    return '\0'",
        "def forward(self):\n    return " + "(" * 5000 + ")" * 5000,
        "def forward(self):\n    return " + "-" * 100_000 + "1",
        "def forward(self, x):\n    y = x" + ".a" * 100_000 + "\n    return y",
        "def forward(self, x):\n    y = x" + " + x" * 100_000 + "\n    return y",
        "class forward:\n    pass",
    ],
    ids=range(12),
)
def test_other_text_is_refused(text):
    with pytest.raises((ForwardFault, RecursionError)):
        read_forward(text)
