"""Readable dumps: the text that print_readable, graph logs and minifier scripts hold of a graph."""

import ast
import io
import os
import subprocess
import sys

import pytest
import torch
from torch import nn
from torch._dynamo.repro.after_aot import save_graph_repro
from torch.fx.experimental.proxy_tensor import make_fx

import fx2py
from fx2py.errors import UnknownFormatError
from fx2py.graph.data import SourceLine, SymMeta, TensorMeta
from fx2py.read import open_graph
from fx2py.read.dumps.meta import value_meta


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.full((4,), 2.0))

    def forward(self, x):
        return torch.relu(x) * self.scale - self.scale


class Branching(nn.Module):
    def forward(self, flag, x):
        return torch.cond(flag, lambda x: x.sin() + 1, lambda x: x.cos(), (x,))


def compute(x, y, n=3):
    rows = x[1:] @ y
    return {
        "rows": rows.reshape(-1, n),
        "negative": -(2**x),
        "device": torch.zeros_like(x, device=torch.device("cpu")),
    }


def exported():
    batch = {0: torch.export.Dim("batch")}
    return torch.export.export(Block(), (torch.ones(3, 4),), dynamic_shapes=(batch,))


def saved(text, path):
    path.write_text(text)
    return path


def readable(gm, path, **options):
    return saved(gm.print_readable(print_output=False, **options), path)


def code_of(source):
    return ast.unparse(ast.parse(fx2py.generate(source).source))


@pytest.mark.parametrize(
    "options",
    [{}, {"include_stride": True, "include_device": True}, {"expanded_def": True}, {"colored": True}],
    ids=["plain", "layout", "expanded", "colored"],
)
def test_printed_graphs_give_the_code_of_the_live_ones(options, tmp_path):
    traced = torch.fx.symbolic_trace(compute)
    proxied = make_fx(lambda x, y: x.sin() @ y, tracing_mode="symbolic")(torch.ones(3, 4), torch.ones(4, 2))
    branching = torch.export.export(Branching(), (torch.tensor(True), torch.ones(3))).graph_module
    for gm in (traced, proxied, branching):
        assert code_of(readable(gm, tmp_path / "graph", **options)) == code_of(gm)


def test_an_exported_program_is_read_from_what_it_prints(tmp_path):
    program = exported()
    code = fx2py.generate(saved(str(program), tmp_path / "program.txt")).bind()
    x = torch.randn(5, 4)
    (result,) = code(torch.full((4,), 3.0), x)
    assert torch.equal(result, torch.relu(x) * 3.0 - 3.0)


def test_state_that_the_text_lacks_becomes_inputs(tmp_path):
    path = readable(torch.fx.symbolic_trace(Block()), tmp_path / "graph.txt")
    data = open_graph(path)
    assert [node.target for node in data.graph.placeholders] == ["scale", "x"]
    assert "scale" in data.notes[0]
    x, scale = torch.randn(3, 4), torch.full((4,), 3.0)
    assert torch.equal(fx2py.generate(data).bind()(scale, x), torch.relu(x) * 3.0 - 3.0)


def test_state_of_inner_graphs_is_passed_to_them(tmp_path):
    inner, outer = torch.fx.symbolic_trace(Block()), nn.Module()
    outer.first, outer.second = inner, torch.fx.symbolic_trace(Block())
    outer.scale = nn.Parameter(torch.ones(4))
    graph = torch.fx.Graph()
    x = graph.placeholder("x")
    scaled = graph.call_function(torch.mul, (graph.call_module("first", (x,)), graph.get_attr("scale")))
    graph.output(graph.call_module("second", (scaled,)))
    path = readable(torch.fx.GraphModule(outer, graph), tmp_path / "graph.txt")
    data = open_graph(path)
    assert len(data.graph.placeholders) == 4
    one = torch.ones(4)
    result = fx2py.generate(data).bind()(2 * one, 3 * one, 4 * one, one)
    assert torch.equal(result, (1 * 2 - 2) * 3 * 4 * one - 4 * one)


def test_modules_that_the_text_lacks_are_named(tmp_path):
    path = readable(
        torch.fx.symbolic_trace(nn.Sequential(nn.Linear(2, 2), nn.ReLU())), tmp_path / "graph.txt"
    )
    artifact = fx2py.generate(path)
    assert [entry.name for entry in artifact.manifest.submodules] == ["0", "1"]
    with pytest.raises(fx2py.Fx2pyError, match="'0' is not in the file"):
        artifact.bind()
    x = torch.randn(2)
    assert torch.equal(artifact.bind(submods={"0": torch.neg, "1": torch.abs})(x), x.abs())


def test_checks_and_structure_of_an_exported_module_are_missed_aloud(tmp_path):
    data = open_graph(readable(exported().module(), tmp_path / "graph.txt"))
    assert [node.target for node in data.graph.placeholders] == ["scale", "x"]
    assert sum("leaves" in note or "_guards_fn" in note for note in data.notes) == 2


def test_comments_and_annotations_are_recorded(tmp_path):
    text = (
        "class Net(torch.nn.Module):\n"
        '    def forward(self, s0: "Sym(s0)", x: "f32[s0, 4][4, 1]cpu"):\n'
        "        # File: /model.py:12 in forward, code: return x.relu()\n"
        '        relu: "f32[s0, 4]" = torch.relu(x)\n'
        "        # No stacktrace found for following nodes\n"
        "        sin = torch.sin(relu)\n"
        "        return sin\n"
    )
    nodes = open_graph(saved(text, tmp_path / "graph.txt")).graph.nodes
    assert nodes[0].meta.value == SymMeta("int", "s0")
    assert nodes[1].meta.value == TensorMeta(torch.float32, ("s0", 4), torch.device("cpu"), (4, 1))
    assert nodes[2].meta.source == SourceLine("/model.py", 12, "return x.relu()")
    assert nodes[3].meta.source is None


@pytest.mark.parametrize(
    ("text", "shape"),
    [("f32[]", ()), ("b8[2]", (2,)), ("i64[Mod(s0, 2), (s1 + 1)]", ("Mod(s0, 2)", "(s1 + 1)"))],
)
def test_sizes_stand_between_outer_commas(text, shape):
    assert value_meta(text).shape == shape


@pytest.mark.parametrize(
    "text", ["", "DTensor(f32[2], S(0))", "f99[2]", "f32[2]nowhere", "Tensor", "f32[[2]]"]
)
def test_other_annotations_record_nothing(text):
    assert value_meta(text) is None


PREFIX = "V1122 17:42:44.033000 27145 torch/_dynamo/output_graph.py:2835] [0/0] [__graph_code] "
GRAPH = """TRACED GRAPH
 ===== {title} =====
 /opt/my python/torch/fx/_lazy_graph_module.py class GraphModule(torch.nn.Module):
    def forward(self, L_x_: "f32[2][1]cpu"):
        l_x_ = L_x_

        # File: /model.py:6 in f, code: return x.{method}()
        {method}: "f32[2][1]cpu" = l_x_.{method}();  l_x_ = None
        return ({method},)
"""


def test_a_log_names_its_graphs(tmp_path):
    graphs = "".join(
        GRAPH.format(title=f"__compiled_fn_{method}", method=method) for method in ("sin", "cos")
    )
    lines = [f"{PREFIX}{line}" for line in graphs.split("\n")]
    path = saved("\n".join(["a warning", *lines, "    another one"]), tmp_path / "run.log")
    listing = r"several graphs:\n  0/0 __compiled_fn_sin  graph_code, 3 nodes\n  0/0 __compiled_fn_cos  graph_code, 3 nodes\n"
    with pytest.raises(UnknownFormatError, match=listing):
        open_graph(path)
    with pytest.raises(UnknownFormatError, match="no graph 'tan'"):
        open_graph(path, model="tan")
    nodes = open_graph(path, model="__compiled_fn_cos").graph.nodes
    assert [(node.name, node.target) for node in nodes[:2]] == [("l_x_", "L_x_"), ("cos", "cos")]
    assert fx2py.diff(path, model="__compiled_fn_sin").equal


REPRO = """
import torch
from torch import tensor, device
from torch.nn import *
class Repro(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.0 = Linear(in_features=4, out_features=4, bias=True)
        self.register_buffer('offset', torch.randn([3, 4], dtype=torch.float64).cuda())
        self.register_buffer('scale', torch.randn([4], dtype=torch.float64))

    def forward(self, x_1, s0):
        scale = self.scale
        mul = torch.ops.aten.mul.Tensor(x_1, scale);  x_1 = scale = None
        return (mul, s0)

def load_args(reader):
    buf0 = reader.storage(None, 96, device=device(type='cpu'), dtype_hint=torch.float64)
    reader.tensor(buf0, (3, 4), dtype=torch.float64, is_leaf=True)  # x_1
    reader.symint(7)  # s0
load_args._version = 0
mod = Repro()
if __name__ == '__main__':
    run_repro(mod, load_args)
"""


def test_a_minifier_script_records_its_inputs(tmp_path):
    path = saved(REPRO, tmp_path / "repro.py")
    metas = {node.target: node.meta.value for node in open_graph(path).graph.placeholders}
    assert metas["scale"] == TensorMeta(torch.float64, (4,))
    assert metas["x_1"] == TensorMeta(torch.float64, (3, 4), torch.device("cpu"))
    assert metas["s0"] == SymMeta("int", "7")
    assert fx2py.diff(path).equal


def gathered(x):
    rows = torch.tensor([2, 0])
    kept = torch.tensor([True, False])
    return x[rows][kept] * torch.tensor(0.123456789)


def test_what_torchs_minifier_writes_is_read_with_its_whole_numbers(tmp_path):
    x = torch.randn(3, 4)
    gm = make_fx(gathered)(x)
    script = io.StringIO()
    save_graph_repro(script, gm, [x], "inductor")
    path = saved(script.getvalue(), tmp_path / "repro.py")
    data = open_graph(path)
    assert [node.target for node in data.graph.placeholders] == ["_tensor_constant2", "x_1"]
    assert data.graph.placeholders[1].meta.value == TensorMeta(torch.float32, (3, 4), None, None)
    result = fx2py.generate(data).bind()(torch.tensor(0.123456789), x)
    assert torch.equal(result, gathered(x))


@pytest.mark.parametrize(
    "text",
    [
        "tensor([0.5])",
        "tensor([0, 1], device='cuda:0')",
        "tensor([[1], [2, 3]])",
        "tensor([])",
        "tensor(f())",
    ],
)
def test_a_buffer_whose_values_the_text_does_not_hold_is_an_input(text, tmp_path):
    path = saved(REPRO.replace("torch.randn([4], dtype=torch.float64)", text), tmp_path / "repro.py")
    assert "scale" in [node.target for node in open_graph(path).graph.placeholders]


LOGGED = """
import torch

def compute(x, y):
    rows = torch.relu(x) @ y
    return rows.sum(), rows * 2

torch.compile(compute, backend="eager")(torch.ones(2, 3), torch.ones(3, 2))
"""


def test_a_log_of_torch_itself_is_read(tmp_path):
    environment = {**os.environ, "TORCH_LOGS": "graph_code"}
    ran = subprocess.run(
        [sys.executable, "-c", LOGGED],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    path = saved(ran.stderr, tmp_path / "run.log")
    code = fx2py.generate(path).bind()
    x, y = torch.randn(2, 3), torch.randn(3, 2)
    total, doubled = code(x, y)
    assert torch.equal(total, (torch.relu(x) @ y).sum())
    assert torch.equal(doubled, (torch.relu(x) @ y) * 2)


HOSTILE = {
    "statement": "        __import__('os').system('x')\n        return x\n",
    "argument": "        y = torch.relu(open('x'))\n        return y\n",
    "unknown_name": "        y = my_function(x)\n        return y\n",
    "second_method": "        return x\n    def other(self):\n        return 1\n",
    "same_graph_twice": "        return x\n"
    + "    class a(torch.nn.Module):\n        def forward(self):\n            return 1\n" * 2,
    "no_end": "        y = torch.relu(x\n",
    "operand_with_state": "        a = self.a\n        return a\n    class a(torch.nn.Module):\n"
    "        def forward(self):\n            w = self.w\n            return w\n",
    "parentheses": "        return " + "(" * 100_000 + "\n",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_text_that_fx_does_not_print_is_refused(name, tmp_path):
    head = "class Net(torch.nn.Module):\n    def forward(self, x):\n"
    path = saved(head + HOSTILE[name], tmp_path / "graph.txt")
    with pytest.raises(UnknownFormatError) as caught:
        open_graph(path)
    assert str(path) in caught.value.message
    assert "\n" not in caught.value.message


def test_classes_nested_without_end_are_refused(tmp_path):
    text = "".join(" " * depth + "class a(torch.nn.Module):\n" for depth in range(2000))
    deep = " " * 2000
    path = saved(f"{text}{deep}def forward(self):\n{deep} return 1\n", tmp_path / "graph.txt")
    with pytest.raises(UnknownFormatError):
        open_graph(path)


def test_a_class_without_forward_is_a_graph_that_cannot_be_read(tmp_path):
    path = saved("\nclass Net(torch.nn.Module):\n    pass\n", tmp_path / "graph.txt")
    with pytest.raises(UnknownFormatError, match="line 2 begins the class Net, which has no forward"):
        open_graph(path)
