"""Graph files: what was saved comes back as it was; anything else in such a file ends in one sentence."""

import contextlib
import copy
import json
import math
import random
import zipfile
from pathlib import Path

import pytest
import torch
from torch import fx, nn

import fx2py
from fx2py.errors import ArtifactError, Fx2pyError, UnknownFormatError, UnsupportedGraphError
from fx2py.graph.data import Graph, GraphData, ModuleRecord, Node, Provenance
from fx2py.graph.values import (
    Attribute,
    Dict,
    EnumMember,
    List,
    Name,
    Opaque,
    OpName,
    Range,
    Record,
    Ref,
    Set,
    Size,
    Slice,
    SymExpr,
    TensorValue,
)
from fx2py.graph_file.schema import decode_graph, encode_graph
from fx2py.graph_file.writing import GRAPH_MEMBER
from fx2py.read import open_graph
from fx2py.typed_json import Damaged
from tests.checking import assert_same_behaviour
from tests.read.exported_equality import assert_same_program
from tests.read.graphs import traced_block

pytestmark = pytest.mark.filterwarnings("ignore")
CLS = Name("package.module", "Class.Inner")
VALUES = [
    *(None, True, 0, -1, 2**63, -(2**63), 2**5000, 1.0, 1e-320, -0.0, math.inf, -math.inf, math.nan),
    *(complex(-0.0, math.nan), "", "text", "\ud800", "\x00'\"\\", b"\x00\xff", ...),
    *(torch.float8_e5m2, torch.device("cuda:1"), torch.sparse_csr, torch.channels_last),
    *(torch.per_channel_affine, Ref("x"), CLS, OpName("aten", "add"), OpName("a", "b", "c")),
    *(Attribute("a.b"), EnumMember(CLS, "ONE"), Opaque(CLS, "what it was"), SymExpr("s0 + 1")),
    *((), (1, (2.0,)), List((1, List())), Dict(((1, 2), ("a", None)), CLS, CLS), Dict()),
    *(Set((1, "a"), True), Set(()), Slice(1, None, Ref("x")), Range(0, 10, 2), Size((1, SymExpr("s0")))),
    Record(CLS, (("first", 1), ("from", List((Ref("x"),))))),
]


def graph_of(*args):
    nodes = (Node("x", "placeholder", "x"), Node("f", "call_function", Name("m", "f"), args))
    record = ModuleRecord(CLS, Graph((*nodes, Node("output", "output", "output", (Ref("f"),)))))
    return GraphData(record, Provenance("live"))


def saved(data, folder) -> Path:
    fx2py.save_graph(data, folder / "graph.fx2py")
    return folder / "graph.fx2py"


@pytest.mark.parametrize(
    "value", VALUES, ids=lambda value: repr(value)[:30].encode("ascii", "replace").decode()
)
def test_every_value_comes_back_as_it_was(value, tmp_path):
    found = open_graph(saved(graph_of(value), tmp_path)).graph.nodes[1].args[0]
    assert (type(found), repr(found)) == (type(value), repr(value))


def test_an_exported_program_comes_back_whole(tmp_path):
    model = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    inputs = (torch.randn(2, 5, 8),)
    live = open_graph(
        torch.export.export(model, inputs, dynamic_shapes=({0: torch.export.Dim("batch", max=9)},))
    )
    found = open_graph(saved(live, tmp_path))
    assert_same_program(found, live)
    assert [node.meta for node in found.graph.nodes] == [node.meta for node in live.graph.nodes]
    assert torch.equal(found.sample_inputs.args[0], inputs[0])
    assert found.provenance.origin == live.provenance
    assert found.provenance.torch_version == torch.__version__


def test_what_is_shared_stays_shared(tmp_path):
    weight, layer = nn.Parameter(torch.randn(4, 4), requires_grad=False), nn.Linear(4, 4)
    graph = fx.Graph()
    x = graph.placeholder("x")
    for name in ("first", "second"):
        x = graph.call_module(name, (x,))
    graph.output((x, *(graph.get_attr(name) for name in ("weight", "tied", "row"))))
    state = {"weight": weight, "tied": weight, "row": weight.detach()[1]}
    root = open_graph(saved(fx.GraphModule({"first": layer, "second": layer, **state}, graph), tmp_path)).root
    assert root.find("first") is root.find("second")
    assert root.find("weight") is root.find("tied")
    assert root.find("row").untyped_storage().data_ptr() == root.find("weight").untyped_storage().data_ptr()
    assert type(root.find("weight")) is nn.Parameter
    assert not root.find("weight").requires_grad


def test_buffers_keep_what_is_recorded_of_them(tmp_path):
    record = ModuleRecord(
        CLS, graph_of().graph, buffers={"none": None, "one": torch.ones(1)}, non_persistent=frozenset({"one"})
    )
    root = open_graph(saved(GraphData(record, Provenance("live")), tmp_path)).root
    assert root.buffers["none"] is None
    assert root.non_persistent == {"one"}


TENSORS = {
    "view": torch.arange(12.0).reshape(3, 4).t()[1:, ::2],
    "expanded": torch.ones(2, 1).expand(2, 5),
    "empty": torch.empty(0, 3),
    "conjugated": torch.tensor([1 + 2j, 3 - 4j]).conj(),
    "meta": torch.ones(2, device="meta"),
    "coo": torch.eye(3).to_sparse(),
    "csr": torch.eye(3).to_sparse_csr(),
    "quantized": torch.quantize_per_tensor(torch.tensor([0.5, -1.6]), 0.1, 2, torch.qint8),
    "bfloat16": torch.tensor([1.0, math.nan, -0.0], dtype=torch.bfloat16),
}


@pytest.mark.parametrize("kind", TENSORS)
def test_tensors_of_every_kind_keep_bits_and_layout(kind, tmp_path):
    tensor = TENSORS[kind]
    found = open_graph(saved(graph_of(TensorValue(tensor)), tmp_path)).graph.nodes[1].args[0].tensor
    assert (found.dtype, found.layout, found.shape) == (tensor.dtype, tensor.layout, tensor.shape)
    assert found.is_conj() == tensor.is_conj()
    if tensor.layout == torch.strided:
        assert found.stride() == tensor.stride()
    if tensor.device.type != "meta" and not tensor.is_quantized:
        assert torch.equal(found.to_dense().nan_to_num(7.0), tensor.to_dense().nan_to_num(7.0))
    if tensor.is_quantized:
        assert torch.equal(found.int_repr(), tensor.int_repr())


def test_what_no_file_can_hold_is_refused_with_every_node(tmp_path):
    graph = fx.Graph()
    x = graph.placeholder("x")
    first = graph.call_function(lambda x: x, (x,))
    second = graph.call_function(torch.add, (first, object()))
    graph.output(second)
    module = fx.GraphModule({}, fx.Graph())
    module._graph = graph
    with pytest.raises(UnsupportedGraphError) as refused:
        saved(module, tmp_path)
    assert [finding.node for finding in refused.value.findings] == [first.name, second.name]
    assert list(tmp_path.iterdir()) == []


def test_hooks_and_subclasses_of_tensors_are_refused_by_their_place(tmp_path):
    class Mine(torch.Tensor):
        pass

    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    model[1].register_forward_hook(lambda module, args, result: result + 1)
    model[0].register_buffer("extra", torch.ones(2).as_subclass(Mine))
    with pytest.raises(UnsupportedGraphError) as refused:
        saved(fx.symbolic_trace(model), tmp_path)
    assert {finding.node for finding in refused.value.findings} == {"0.extra", "1"}


def test_example_inputs_that_are_no_plain_data_are_left_out_with_a_note(tmp_path):
    from dataclasses import dataclass, replace

    from fx2py.graph.data import SampleInputs

    @dataclass
    class Pair:
        first: int

    data = replace(open_graph(traced_block()), sample_inputs=SampleInputs((Pair(1),)))
    found = open_graph(saved(data, tmp_path))
    assert found.sample_inputs is None
    assert "example inputs" in found.notes[-1]


def test_equal_graphs_are_equal_bytes_and_torch_opens_the_tensors(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir(), other.mkdir()
    data = open_graph(traced_block())
    assert saved(data, one).read_bytes() == saved(data, other).read_bytes()
    tensors = torch.load(one / "graph.fx2py", weights_only=True, mmap=True)
    assert all(type(tensor) is torch.Tensor for tensor in tensors)


def test_a_file_saved_again_keeps_where_the_graph_came_from(tmp_path):
    torch.save(traced_block(), tmp_path / "block.pt")
    fx2py.save_graph(tmp_path / "block.pt", tmp_path / "one.fx2py")
    fx2py.save_graph(tmp_path / "one.fx2py", tmp_path / "two.fx2py")
    found = open_graph(tmp_path / "two.fx2py").provenance
    assert found.path == str(tmp_path / "two.fx2py")
    assert found.origin == open_graph(tmp_path / "block.pt").provenance


def test_a_split_graph_runs_from_its_file(tmp_path):
    source = traced_block()
    split = fx2py.split(source, ["torch.nn.Linear"])
    assert len(list(split.children())) > 1
    args = (torch.randn(2, 8),)
    assert_same_behaviour(fx2py.generate(saved(split, tmp_path)).bind(), source, args)


def test_other_files_are_not_replaced(tmp_path):
    place = tmp_path / "graph.fx2py"
    torch.save(torch.ones(1), place)
    with pytest.raises(ArtifactError, match="is no graph file"):
        saved(graph_of(), tmp_path)
    assert torch.load(place, weights_only=True).item() == 1


# -- hostile files -----------------------------------------------------------------------------------------------


def rewritten(path: Path, change) -> Path:
    """The file with its document as ``change`` leaves it (or gives it, as text)."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = f"archive/{GRAPH_MEMBER}"
    document = json.loads(members[name])
    text = change(document)
    members[name] = text.encode() if isinstance(text, str) else json.dumps(document).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for member, data in members.items():
            archive.writestr(member, data)
    return path


def put(*keys_and_value):
    *keys, last, value = keys_and_value

    def change(document):
        for key in keys:
            document = document[key]
        document[last] = value

    return change


_ROOT_NODES = ("modules", 0, 1, 0)
HOSTILE = {
    "newer": put("fx2py_graph", 3),
    "older than the first": put("fx2py_graph", 0),
    "no version": put("fx2py_graph", True),
    "no document": lambda document: "[]",
    "nested deeply": lambda document: "[" * 200_000,
    "deep value": put(*_ROOT_NODES, 1, 3, json.loads('["list", [[' * 150 + "1" + "]]]" * 150)),
    "huge integer": lambda document: json.dumps(document).replace(
        '"tensors": []', '"tensors": ' + "9" * 9999
    ),
    "not a number": lambda document: json.dumps(document).replace('"tensors": []', '"tensors": NaN'),
    "no modules": put("modules", []),
    "module of itself": put("modules", 0, 6, [["child", 0]]),
    "module twice": put("modules", 0, 6, [["child", None], ["child", None]]),
    "module of nowhere": put("graph", 0, 7),
    "module by truth": put("graph", 0, True),
    "no graph": put("modules", 0, 1, None),
    "tensor of nowhere": put("modules", 0, 3, [["weight", 5]]),
    "negative tensor": put("modules", 0, 3, [["weight", -1]]),
    "tensors missing": put("tensors", [[True, False]]),
    "unknown opcode": put(*_ROOT_NODES, 1, 1, "exec"),
    "target of another kind": put(*_ROOT_NODES, 1, 2, "os.system"),
    "argument of no kind": put(*_ROOT_NODES, 1, 3, [["live", ["os", "system"]]]),
    "number as a name": put(*_ROOT_NODES, 1, 0, 5),
    "name of three parts": put(*_ROOT_NODES, 1, 2, ["name", ["a", "b", "c"]]),
    "unknown dtype": put(*_ROOT_NODES, 1, 3, [["dtype", "torch.os"]]),
    "unknown device": put(*_ROOT_NODES, 1, 3, [["device", "nowhere:-3"]]),
    "bits of half a float": put(*_ROOT_NODES, 1, 3, [["float", "00"]]),
    "samples of no call": put("graph", 4, ["list", []]),
    "samples with a reference": put(
        "graph", 4, ["tuple", [["tuple", [["node", ["x"]]]], ["dict", [[], None, None]]]]
    ),
    "samples with bad keys": put(
        "graph", 4, ["tuple", [["tuple", []], ["dict", [[[["list", [[]]], 1]], None, None]]]]
    ),
}


@pytest.mark.parametrize("change", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_file_ends_in_one_sentence(change, tmp_path):
    path = rewritten(saved(graph_of(), tmp_path), change)
    with pytest.raises(UnknownFormatError) as refused:
        open_graph(path)
    assert str(path) in refused.value.message
    assert "\n" not in refused.value.message


def test_a_tensor_that_cannot_require_grad_is_refused(tmp_path):
    path = saved(graph_of(TensorValue(torch.ones(2, dtype=torch.int64))), tmp_path)
    with pytest.raises(UnknownFormatError, match="torch refuses"):
        open_graph(rewritten(path, put("tensors", [[True, True]])))


def test_another_model_than_the_only_one_is_refused(tmp_path):
    with pytest.raises(Fx2pyError, match="holds no graph 'other'"):
        open_graph(saved(graph_of(), tmp_path), model="other")


def test_names_in_a_file_stay_names_when_code_is_generated(tmp_path):
    path = rewritten(saved(graph_of(), tmp_path), put(*_ROOT_NODES, 1, 2, ["name", ["os", "system"]]))
    artifact = fx2py.generate(path)
    with pytest.raises(Fx2pyError, match=r"os\.system"):
        artifact.bind()


def test_documents_of_what_was_read_are_those_of_what_was_saved(tmp_path):
    data = open_graph(traced_block())
    assert encode_graph(open_graph(saved(data, tmp_path)))[0]["modules"] == encode_graph(data)[0]["modules"]


def damaged(document, choice):
    """The document with one part of it in the place of another."""
    parts = []

    def collect(node):
        for key in range(len(node)) if type(node) is list else sorted(node):
            parts.append((node, key))
            if type(node[key]) in (list, dict):
                collect(node[key])

    collect(document)
    (node, key), (other, source) = choice.choice(parts), choice.choice(parts)
    node[key] = copy.deepcopy(choice.choice([other[source], None, -1, "", [], {}, 1.5, True]))
    return document


@pytest.mark.parametrize("seed", range(4))
def test_a_document_with_parts_exchanged_is_read_or_refused(seed):
    """Any error but the two that refuse a document fails, and so does a reader that refuses every change or none."""
    choice = random.Random(seed)
    document, tensors = encode_graph(open_graph(traced_block()))
    text = json.dumps(document)
    refused = 0
    for _ in range(100):
        try:
            data = decode_graph(damaged(json.loads(text), choice), tensors)
        except Damaged:
            refused += 1
            continue
        with contextlib.suppress(Fx2pyError):
            fx2py.generate(data)
    assert 0 < refused < 100
