"""Logs of torch: every graph in them is found, named, and read or refused by the number of its line."""

import json
import time

import pytest
import torch
from torch import nn

import fx2py
from fx2py.errors import Fx2pyError, UnknownFormatError
from fx2py.read import open_every_graph, open_graph
from tests.read.logs import MODELS, captured, kind_of, same_graph

FORWARD = """TRACED GRAPH
 ===== Forward graph 0 =====
 /opt/torch/fx/_lazy_graph_module.py class GraphModule(torch.nn.Module):
    def forward(self, primals_1: "f32[2][1]cpu", primals_2: "f32[2][1]cpu"):
        # File: /model.py:6 in f, code: return x * y
        mul: "f32[2][1]cpu" = torch.ops.aten.mul.Tensor(primals_1, primals_2)
        return (mul, primals_1, primals_2)

"""
BACKWARD = """TRACED GRAPH
 ===== Backward graph 0 =====
 <eval_with_key>.2 from /my model.py:6 in f class GraphModule(torch.nn.Module):
    def forward(self, primals_1: "f32[2][1]cpu", tangents_1: "f32[2][1]cpu"):
        mul_1: "f32[2][1]cpu" = torch.ops.aten.mul.Tensor(tangents_1, primals_1);  tangents_1 = primals_1 = None
        return (None, mul_1)

"""


def logged(text, *, line=7, compile_id="0/0", rank="", artifact=" [__aot_graphs]"):
    """A record as TorchLogsFormatter writes it."""
    prefix = f"{rank}I1128 05:37:52.320000 9375 torch/_functorch/graph.py:{line}] [{compile_id}]{artifact}"
    return [f"{prefix} {each}" for each in text.split("\n")]


def traced(kind, payload, **fields):
    """A record as a structured trace holds it."""
    import hashlib

    record = {kind: {}, "frame_id": 0, "frame_compile_id": 0, "attempt": 0, **fields}
    record["has_payload"] = hashlib.md5(payload.encode()).hexdigest()
    head = f"V1128 05:37:52.320000 9375 torch/_dynamo/utils.py:2350] {json.dumps(record)}"
    return [head, *[f"\t{line}" for line in payload.split("\n")]]


def payload_of(record):
    """A graph as a structured trace holds it: without title and place."""
    lines = record.split("\n")
    return "\n".join([lines[2][lines[2].index("class ") :], *lines[3:]])


def file_of(lines, path):
    path.write_text("\n".join(lines) + "\n")
    return path


def found(path):
    """The graphs of a file: the number of nodes of each, or what is wrong with it."""
    return {
        name: str(data) if isinstance(data, Fx2pyError) else len(data.graph.nodes)
        for name, data in open_every_graph(path)
    }


def test_forward_and_backward_graph_are_both_found(tmp_path):
    path = file_of([*logged(FORWARD), *logged(BACKWARD, line=9)], tmp_path / "run.log")
    assert found(path) == {"0/0 Forward graph 0": 4, "0/0 Backward graph 0": 4}
    assert open_graph(path, model="0/0 Backward graph 0").provenance.model == "0/0 Backward graph 0"
    assert open_graph(path, model="Backward graph 0").graph.nodes[1].target == "tangents_1"
    assert fx2py.diff(path, model="Backward graph 0").equal
    with pytest.raises(
        UnknownFormatError, match=r"several graphs:\n  0/0 Forward graph 0   aot_graphs, 4 nodes\n"
    ):
        open_graph(path)


def test_each_graph_is_generated_one_after_the_other(tmp_path):
    path = file_of([*logged(FORWARD), *logged(BACKWARD, line=9)], tmp_path / "run.log")
    made = dict(fx2py.generate_each(path))
    assert [artifact.manifest.graph.model for artifact in made.values()] == list(made)
    x, y = torch.ones(2), torch.full((2,), 3.0)
    assert torch.equal(made["0/0 Backward graph 0"].bind()(x, y)[1], 3 * x)


def test_lines_of_several_ranks_may_stand_mixed(tmp_path):
    ranks = [logged(FORWARD, rank=f"[rank{rank}]:") for rank in range(2)]
    mixed = [line for pair in zip(*ranks, strict=True) for line in (*pair, "a warning", "    of the program")]
    assert found(file_of(mixed, tmp_path / "run.log")) == {
        "rank0 0/0 Forward graph 0": 4,
        "rank1 0/0 Forward graph 0": 4,
    }


@pytest.mark.parametrize(
    "before", ["[default0]:", "[default0]:[rank0]:", "2026-11-28T05:37:52.3200Z ", "node-3 | ", "0: "]
)
def test_what_a_launcher_writes_before_each_line_is_left_out(before, tmp_path):
    lines = [f"{before}{line}" for line in [*logged(FORWARD), *logged(BACKWARD, line=9)]]
    place = "rank0 0/0" if "rank0" in before else "0/0"
    assert found(file_of(lines, tmp_path / "run.log")) == {
        f"{place} Forward graph 0": 4,
        f"{place} Backward graph 0": 4,
    }


def test_graphs_outside_the_records_of_a_log_are_found_too(tmp_path):
    printed = payload_of(BACKWARD).split("\n")
    lines = [*logged(FORWARD)[:5], *printed, *logged(FORWARD)[5:], *logged(BACKWARD, artifact="")]
    assert found(file_of(lines, tmp_path / "run.log")) == {
        "0/0 Forward graph 0": 4,
        "GraphModule": 4,
        "0/0 Backward graph 0": 4,
    }


def test_names_are_unique_and_say_where_a_graph_comes_from(tmp_path):
    post = FORWARD.replace("Forward graph 0", "AFTER POST GRAD")
    lines = [
        *logged(post),
        *logged(post, line=8),
        *logged(post, compile_id="1/0_1"),
        *logged(post, compile_id="!0/2/0"),
    ]
    path = file_of(lines, tmp_path / "run.log")
    assert list(found(path)) == [
        *(
            "0/0 AFTER POST GRAD",
            "0/0 AFTER POST GRAD (2)",
            "1/0_1 AFTER POST GRAD",
            "!0/2/0 AFTER POST GRAD",
        ),
    ]
    with pytest.raises(UnknownFormatError, match="holds 4 graphs 'AFTER POST GRAD'"):
        open_graph(path, model="AFTER POST GRAD")


def test_a_structured_trace_is_read_by_its_records(tmp_path):
    lines = [
        *traced("chromium_event", "{\n}"),
        *traced("aot_forward_graph", payload_of(FORWARD)),
        *traced("aot_backward_graph", payload_of(BACKWARD), attempt=1, rank=3),
        *traced("artifact", payload_of(BACKWARD), artifact={"name": "before_pre_grad_graph"}),
        *traced(
            "optimize_ddp_split_child", payload_of(BACKWARD), optimize_ddp_split_child={"name": "submod_0"}
        ),
    ]
    assert found(file_of(lines, tmp_path / "trace.log")) == {
        "0/0 aot_forward_graph": 4,
        "rank3 0/0_1 aot_backward_graph": 4,
        "0/0 before_pre_grad_graph": 4,
        "0/0 optimize_ddp_split_child submod_0": 4,
    }


def test_a_payload_that_is_not_the_one_of_its_digest_is_refused(tmp_path):
    whole = traced("aot_forward_graph", payload_of(FORWARD))
    edited = [line.replace("mul.Tensor", "add.Tensor") for line in whole]
    path = file_of([*edited, *whole], tmp_path / "trace.log")
    first, second = found(path).values()
    assert "the text below line 1 is not the one that was written there" in first
    assert second == 4
    assert "line 1" in found(file_of(whole[:-3], path))["0/0 aot_forward_graph"]


@pytest.mark.parametrize("kept", range(1, 8))
def test_a_graph_that_is_cut_is_refused(kept, tmp_path):
    lines = [*logged(BACKWARD), *logged(FORWARD)[:kept]]
    results = found(file_of(lines, tmp_path / "run.log"))
    assert results.pop("0/0 Backward graph 0") == 4
    if kept < 3:
        begin = f": line {len(lines) - kept + 1} announces a graph that does not follow"
        assert [begin in each for each in results.values()] == [True]
    elif kept < 7:
        last = len(lines) - (kept == 5)  # a comment is no line of code
        assert f"line {last} " in results["0/0 Forward graph 0"]
    else:
        assert results == {"0/0 Forward graph 0": 4}


def test_a_graph_whose_nested_graphs_are_cut_off_is_refused(tmp_path):
    class Branching(nn.Module):
        def forward(self, flag, x):
            return torch.cond(flag, lambda x: x.sin(), lambda x: x.cos(), (x,))

    gm = torch.export.export(Branching(), (torch.tensor(True), torch.ones(3))).graph_module
    text = gm.print_readable(print_output=False)
    path = tmp_path / "graph.txt"
    path.write_text(text[: text.index("class false_graph_0")])
    with pytest.raises(
        UnknownFormatError, match="cond takes the graph false_graph_0, which the text does not hold"
    ):
        open_graph(path)


def test_a_line_that_is_missing_is_noticed_by_what_it_would_have_dropped(tmp_path):
    text = (
        "class Net(torch.nn.Module):\n"
        "    def forward(self, x, unused):\n"
        "        y = torch.relu(x);  x = None\n"
        "        z = torch.sin(y)\n"
        "        return z\n"
    )
    path = tmp_path / "graph.txt"
    path.write_text(text)
    with pytest.raises(UnknownFormatError, match="line 5 returns while y still holds a value"):
        open_graph(path)


def test_errors_name_the_line_of_the_file(tmp_path):
    wrong = BACKWARD.replace("torch.ops.aten.mul.Tensor(tangents_1, primals_1)", "my_function(primals_1)")
    lines = [*logged(FORWARD), "noise", *logged(wrong, line=9)]
    path = file_of(lines, tmp_path / "run.log")
    with pytest.raises(UnknownFormatError, match=r"run.log: line 15 uses the name my_function"):
        open_graph(path, model="Backward graph 0")
    with pytest.raises(UnknownFormatError, match=r"Backward graph 0  aot_graphs, cannot be read: .* line 15"):
        open_graph(path)


NESTED = """TRACED GRAPH
 ===== Forward graph 1 =====
 <eval_with_key>.3 class GraphModule(torch.nn.Module):
    def forward(self, primals_1: "b8[][]cpu", primals_2: "f32[2][1]cpu"):
        true_graph_0 = self.true_graph_0
        false_graph_0 = self.false_graph_0
        cond = torch.ops.higher_order.cond(primals_1, true_graph_0, false_graph_0, (primals_2,));  true_graph_0 = false_graph_0 = None
        getitem: "f32[2][1]cpu" = cond[0];  cond = None
        return (getitem, primals_1, primals_2)

    class true_graph_0(torch.nn.Module):
        def forward(self, arg0_1: "f32[2][1]cpu"):
            sin: "f32[2][1]cpu" = torch.ops.aten.sin.default(arg0_1);  arg0_1 = None
            return (sin,)

    class false_graph_0(torch.nn.Module):
        def forward(self, arg0_1: "f32[2][1]cpu"):
            cos: "f32[2][1]cpu" = torch.ops.aten.cos.default(arg0_1);  arg0_1 = None
            return (cos,)

"""


def said(data):
    """All that a graph and those below it say, or None where it is refused."""
    if isinstance(data, Fx2pyError):
        return None
    graphs = [(path, record.graph) for path, record in data.root.walk("") if record.graph is not None]
    return [(path, [(node.name, node.target, node.args) for node in graph.nodes]) for path, graph in graphs]


@pytest.mark.parametrize("text", [FORWARD, BACKWARD, NESTED], ids=["forward", "backward", "nested"])
def test_no_line_can_be_missing(text, tmp_path):
    """Each graph is read as it was or refused: none is another one, and none is gone."""
    lines = [*logged(text), *logged(BACKWARD, line=9)]
    expected = [said(data) for _, data in open_every_graph(file_of(lines, tmp_path / "run.log"))]
    for index in range(len(lines)):
        path = file_of(lines[:index] + lines[index + 1 :], tmp_path / "run.log")
        read = [said(data) for _, data in open_every_graph(path)]
        assert len(read) == 2
        assert all(one in (None, other) for one, other in zip(read, expected, strict=True))


def test_no_end_can_be_missing(tmp_path):
    text = "\n".join(logged(NESTED))
    whole = [said(data) for _, data in open_every_graph(file_of([text], tmp_path / "run.log"))]
    for end in range(text.index("TRACED GRAPH") + len("TRACED GRAPH"), len(text)):
        path = tmp_path / "run.log"
        path.write_text(text[:end])
        read = [said(data) for _, data in open_every_graph(path)]
        assert read in ([None], whole), text[end - 40 : end]


TABLE = """TRACED GRAPH
 ===== {title} =====
opcode       name    target                   args        kwargs
-----------  ------  -----------------------  ----------  --------
placeholder  x       x                        ()          {{}}
"""
LISTING = """
---orig graph---
graph():
    %x : [num_users=1] = placeholder[target=x]
    return x
"""


def test_graphs_in_other_forms_are_refused_and_not_forgotten(tmp_path):
    lines = [*logged(TABLE.format(title="fn_1")), *logged(FORWARD), *logged(LISTING, line=8)]
    results = found(file_of(lines, tmp_path / "run.log"))
    assert "line 3 prints a graph as a table" in results["0/0 fn_1"]
    assert "TORCH_LOGS=graph_code" in results["0/0 fn_1"]
    assert "prints a graph as a list of nodes" in results["0/0 orig graph"]
    assert len(results) == 3


def test_a_graph_that_is_printed_as_a_table_too_is_one_graph(tmp_path):
    lines = [*logged(TABLE.format(title="Forward graph 0")), *logged(FORWARD, line=8)]
    assert found(file_of(lines, tmp_path / "run.log")) == {"0/0 Forward graph 0": 4}


def test_a_log_without_a_graph_says_so(tmp_path):
    path = file_of(logged("nothing of the kind"), tmp_path / "run.log")
    with pytest.raises(UnknownFormatError, match="prints no graph"):
        open_graph(path)


@pytest.mark.parametrize("model", MODELS)
def test_a_dump_gives_the_graphs_of_the_compiler(model, tmp_path):
    """Node by node, and number by number, as far as the text says."""
    graphs, log, trace = captured(MODELS[model], tmp_path)
    for path in (log, trace):
        named = {kind_of(name): data for name, data in open_every_graph(path)}
        assert graphs.keys() <= named.keys()
        for kind, live in graphs.items():
            same_graph(named[kind], live)


HOSTILE = {
    "control characters": lambda: FORWARD.replace("mul:", "mul\x00:"),
    "another encoding": lambda: FORWARD.replace("primals_1, primals_2)", "primals_1, '\udcff')"),
    "a carriage return": lambda: FORWARD.replace("primals_2)\n", "primals_2)\r        evil = 1\n"),
    "deep": lambda: FORWARD.replace("(primals_1, primals_2)\n", "(" * 100_000 + "\n"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_text_is_refused(kind, tmp_path):
    path = tmp_path / "run.log"
    path.write_bytes(HOSTILE[kind]().encode("utf-8", "surrogateescape"))
    with pytest.raises(UnknownFormatError, match=r"cannot|holds|no Python"):
        open_graph(path)


def test_comments_may_hold_any_bytes(tmp_path):
    path = tmp_path / "run.log"
    path.write_bytes(FORWARD.encode().replace(b"return x * y", b"x \xff \x00 \r        evil = 1"))
    data = open_graph(path)
    assert len(data.graph.nodes) == 4
    assert data.graph.nodes[2].meta.source.code.startswith("x \N{REPLACEMENT CHARACTER}")
    assert fx2py.generate(data).source.isascii() or "\r" not in fx2py.generate(data).source


BIG = 200_000
MANY = {
    "lines of a program": lambda: ["noise"] * BIG,
    "records": lambda: [f"V1128 05:37:52.320000 {each} a.py:1] [0/0] [__guards] x" for each in range(BIG)],
    "titles": lambda: [f" ===== {each} =====" for each in range(BIG)],
    "rules": lambda: ["=" * 10_000_000],
    "classes in one line": lambda: ["class " * 2_000_000 + "(torch.nn.Module):"],
    "spaces": lambda: [" " * 10_000_000 + "class A(torch.nn.Module):"],
    "braces of a record": lambda: [
        'V1128 05:37:52.320000 1 a.py:1] {"a":' + "[" * 1_000_000 + "}",
        "\tclass A(torch.nn.Module):",
    ],
    "one long payload": lambda: traced("artifact", "x" * 20_000_000),
}


@pytest.mark.parametrize("kind", MANY)
def test_a_long_log_takes_little_time(kind, tmp_path):
    path = file_of([*logged(BACKWARD), *MANY[kind](), *logged(FORWARD, line=8)], tmp_path / "run.log")
    began = time.process_time()
    results = found(path)
    assert time.process_time() - began < 20
    assert (results["0/0 Backward graph 0"], results["0/0 Forward graph 0"]) == (4, 4) or kind == "titles"


def test_every_graph_of_a_long_log_takes_linear_time(tmp_path):
    def seconds(count):
        lines = [line for each in range(count) for line in logged(FORWARD, line=each)]
        path = file_of(lines, tmp_path / "run.log")
        began = time.process_time()
        assert len(found(path)) == count
        return time.process_time() - began

    def best(count):  # one sample has the collections and the neighbours of its moment in it
        return min(seconds(count) for _ in range(3))

    seconds(50)
    assert best(1600) < 12 * best(400)


def test_names_from_a_log_stay_text(tmp_path):
    title = "../../\x1b[31m'evil\x07"
    path = file_of(logged(FORWARD.replace("Forward graph 0", title)), tmp_path / "run.log")
    (name,) = found(path)
    assert name.isprintable()
