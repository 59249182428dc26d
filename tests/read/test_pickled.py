"""Saved GraphModules in every layout of torch.save and pickle, alone or beside example inputs."""

import pickle
from collections import OrderedDict, defaultdict, deque
from pathlib import Path

import pytest
import torch
from torch import fx, nn
from torch.fx._graph_pickler import GraphPickler, Options, _GraphPickleData
from torch.fx.experimental.proxy_tensor import make_fx

import fx2py
from fx2py.errors import ReplayError, UnknownFormatError
from fx2py.graph.data import SymMeta, TensorMeta
from fx2py.graph.values import Name, Opaque
from fx2py.read import open_every_graph, open_graph
from fx2py.trust import Policy
from tests.corpus import CASES
from tests.corpus.formats import FORMATS, pickler_options
from tests.read.graphs import added, assert_same_modules, nested, traced_block


def saved(obj, path: Path, **options) -> Path:
    torch.save(obj, path, **options)
    return path


LAYOUTS = {
    "zip": lambda obj, path: torch.save(obj, path),
    "zip_protocol_4": lambda obj, path: torch.save(obj, path, pickle_protocol=4),
    "stream": lambda obj, path: torch.save(obj, path, _use_new_zipfile_serialization=False),
    **{f"pickle_{n}": lambda obj, path, n=n: path.write_bytes(pickle.dumps(obj, n)) for n in (2, 3, 4, 5)},
    "graph_pickler": lambda obj, path: path.write_bytes(GraphPickler.dumps(obj)),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("make", [traced_block, nested], ids=["block", "nested"])
def test_every_layout_gives_the_graph_that_was_saved(layout, make, tmp_path):
    gm = make()
    LAYOUTS[layout](gm, tmp_path / "any.name")
    data = open_graph(tmp_path / "any.name")
    assert_same_modules(open_graph(gm).root, data.root)
    assert data.provenance.path == str(tmp_path / "any.name")
    assert len(data.provenance.sha256) == 64


def test_modules_and_tensors_that_were_shared_are_shared(tmp_path):
    root = open_graph(saved(traced_block(), tmp_path / "g.pt")).root
    assert root.children["again"] is root.children["layers"].children["0"]
    gm = added()
    gm.left = torch.nn.Parameter(torch.ones(2))
    gm.right = gm.left
    gm.register_buffer("view", gm.left.detach()[1:])
    root = open_graph(saved(gm, tmp_path / "h.pt")).root
    assert root.parameters["left"] is root.parameters["right"]
    shared = root.parameters["left"].untyped_storage().data_ptr()
    assert root.buffers["view"].untyped_storage().data_ptr() == shared
    assert root.non_persistent == frozenset()


TENSORS = [
    torch.arange(12.0).view(3, 4).t(),
    torch.ones(1).expand(5),
    torch.ones(3, 2)[:0],
    torch.tensor(2.5, dtype=torch.bfloat16),
    torch.ones(2).to(torch.float8_e4m3fn),
    torch.tensor([1 + 2j]).conj(),
    torch.zeros(2, dtype=torch.bool),
    torch.ones(2, device="meta"),
    torch.eye(3).to_sparse(),
    torch.eye(3).to_sparse_csr(),
    torch.nn.Parameter(torch.ones(2), requires_grad=False),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("tensor", TENSORS, ids=lambda tensor: f"{tensor.dtype}-{tensor.layout}")
@pytest.mark.parametrize("layout", ["zip", "stream", "pickle_5"])
def test_tensors_of_every_kind_come_back(tensor, layout, tmp_path):
    gm = added()
    gm.register_buffer("kept", None)
    gm._buffers["kept"] = tensor
    LAYOUTS[layout](gm, tmp_path / "g")
    found = open_graph(tmp_path / "g").root.buffers["kept"]
    assert (found.dtype, found.layout, found.shape, type(found)) == (
        *(tensor.dtype, tensor.layout, tensor.shape, type(tensor)),
    )
    if tensor.device.type != "meta":
        assert torch.equal(found.to_dense().to(torch.complex64), tensor.to_dense().to(torch.complex64))
    if tensor.layout is torch.strided:
        assert (found.stride(), found.is_conj()) == (tensor.stride(), tensor.is_conj())


def test_attributes_are_values_and_unknown_objects_keep_their_class(tmp_path):
    gm = added()
    gm.sizes = {"a": (1, [2.5, None]), "b": torch.float16, "c": torch.device("cpu"), "d": OrderedDict(k=1)}
    gm.function = torch.nn.functional.gelu
    gm.path = Path("x")
    found = open_graph(saved(gm, tmp_path / "g.pt")).root.attributes
    live = open_graph(gm).root.attributes
    assert found["sizes"] == live["sizes"]
    assert found["function"] == Name("torch.nn.functional", "gelu")
    assert isinstance(found["path"], Opaque)
    assert found["path"].cls.qualname == "PosixPath"


X, Y = torch.ones(2), torch.zeros(3)


@pytest.mark.parametrize(
    ("make", "args", "kwargs"),
    [
        (lambda gm: (gm, (X, 3)), (X, 3), {}),
        (lambda gm: [gm, X, Y], (X, Y), {}),
        (lambda gm: (gm, (X,), {"y": Y}), (X,), {"y": Y}),
        (lambda gm: (gm, {"y": Y}), (), {"y": Y}),
        (lambda gm: {"model": gm, "inputs": [X, {"k": (Y, None)}]}, (X, {"k": (Y, None)}), {}),
        (lambda gm: {"args": (X,), "gm": gm, "kwargs": {"y": Y}}, (X,), {"y": Y}),
        (lambda gm: {"gm": gm, "kwargs": {"y": Y}}, (), {"y": Y}),
    ],
    ids=range(7),
)
def test_example_inputs_beside_the_graph_become_sample_inputs(make, args, kwargs, tmp_path):
    data = open_graph(saved(make(added()), tmp_path / "g.pt"))
    torch.testing.assert_close(data.sample_inputs.args, args)
    torch.testing.assert_close(dict(data.sample_inputs.kwargs), kwargs)


def test_inputs_that_are_no_data_are_left_out_and_named(tmp_path):
    data = open_graph(saved((added(), (Path("x"),)), tmp_path / "g.pt"))
    assert data.sample_inputs is None
    assert "no plain data" in data.notes[0]


def test_one_of_several_graphs_is_chosen_by_name(tmp_path):
    path = saved({"a": added(), "b": {"c": traced_block()}}, tmp_path / "g.pt")
    with pytest.raises(
        UnknownFormatError, match=r"several graphs:\n  a    Graph.* 3 nodes\n  b.c  .*\n.*model='a'"
    ):
        open_graph(path)
    with pytest.raises(UnknownFormatError, match="holds no graph 'z'"):
        open_graph(path, model="z")
    data = open_graph(path, model="b.c")
    assert data.provenance.model == "b.c"
    assert data.root.children


class Box:
    """An object of a class that no reader knows."""


def boxed(gm):
    box = Box()
    box.graph = gm
    return box


def module_around(gm):
    module = nn.Module()
    module.inner = gm
    return module


def deep(gm):
    for _ in range(50):
        gm = [gm]
    return gm


@pytest.mark.parametrize(
    ("second", "name"),
    [
        (lambda gm: gm, "b"),
        (lambda gm: {gm}, "b.0.0"),
        (lambda gm: {(1, 2): gm}, "b.[0]"),
        (lambda gm: defaultdict(list, c=[gm]), "b.c.0"),
        (lambda gm: deque([gm]), "b.0"),
        (lambda gm: module_around(gm), "b.inner"),
        (boxed, "b.graph"),
        (deep, ".".join(["0"] * 16)),
    ],
    ids=["dict", "set", "tuple key", "defaultdict", "deque", "module", "object", "deep"],
)
def test_no_graph_of_a_pickle_is_lost_beside_another(second, name, tmp_path):
    path = saved({"a": added(), "b": second(traced_block())}, tmp_path / "g.pt")
    assert [found for found, _ in open_every_graph(path)] == ["a", name]
    assert open_graph(path, model=name).root.children
    with pytest.raises(UnknownFormatError, match="several graphs"):
        open_graph(path)


def test_keys_that_read_alike_name_two_graphs(tmp_path):
    path = saved({1: added(), "1": added(), "x": {"y": added()}, "x.y": added()}, tmp_path / "g.pt")
    assert [name for name, _ in open_every_graph(path)] == ["1", "1 (2)", "x.y", "x.y (2)"]


def test_a_graph_inside_another_object_is_read_only_by_its_name(tmp_path):
    path = saved(module_around(traced_block()), tmp_path / "g.pt")
    with pytest.raises(UnknownFormatError, match=r"a graph inside another object only:\n  inner"):
        open_graph(path)
    assert open_graph(path, model="inner").root.children


@pytest.mark.parametrize("layout", ["stream", "pickle_2", "pickle_5"])
def test_pickles_one_behind_the_other_are_all_read(layout, tmp_path):
    for number, gm in enumerate((added(), traced_block())):
        LAYOUTS[layout](gm, tmp_path / f"{number}")
    path = tmp_path / "both"
    path.write_bytes((tmp_path / "0").read_bytes() + (tmp_path / "1").read_bytes())
    one, other = open_every_graph(path)
    assert (one[0], other[0]) == ("0", "1")
    assert_same_modules(one[1].root, open_graph(tmp_path / "0").root)
    assert_same_modules(other[1].root, open_graph(tmp_path / "1").root)


def test_archives_one_behind_the_other_are_refused(tmp_path):
    for number in range(2):
        saved(added(), tmp_path / f"{number}")
    path = tmp_path / "both"
    path.write_bytes((tmp_path / "0").read_bytes() + (tmp_path / "1").read_bytes())
    with pytest.raises(UnknownFormatError, match="one is behind the other"):
        open_graph(path)


def test_structured_inputs_and_outputs_are_kept(tmp_path):
    def swap(pair):
        return {"sum": pair["a"] + pair["b"][0]}

    gm = fx.symbolic_trace(swap, concrete_args={"pair": {"a": fx.PH, "b": (fx.PH,)}})
    live = open_graph(gm)
    pickles_signatures = hasattr(_GraphPickleData(gm.graph, Options()), "_codegen")  # from torch 2.11 on
    for layout in ("zip", "pickle_5", *(["graph_pickler"] if pickles_signatures else [])):
        LAYOUTS[layout](gm, tmp_path / layout)
        assert open_graph(tmp_path / layout).convention == live.convention
    (name, tree), *_ = live.convention.args
    assert (name, tree.kind, tree.keys) == ("pair", "dict", ("a", "b"))


def test_graph_pickler_keeps_shapes_and_lines(tmp_path):
    def grow(x):
        return torch.cat([x, x]).sum() + x.shape[0] // 2

    gm = make_fx(grow, tracing_mode="symbolic")(torch.ones(4, 3))
    for node in gm.graph.nodes:
        node.meta["stack_trace"] = f'File "model.py", line 7, in forward\n    {node.name}'
    path = tmp_path / "g.bin"
    path.write_bytes(GraphPickler.dumps(gm, Options(ops_filter=None)))
    data, live = open_graph(path), open_graph(gm)
    metas = [node.meta.value for node in data.graph.nodes]
    assert metas == [node.meta.value for node in live.graph.nodes]
    assert any(isinstance(meta, SymMeta) for meta in metas)
    assert isinstance(metas[0], TensorMeta)
    assert [node.meta.source for node in data.graph.nodes] == [node.meta.source for node in live.graph.nodes]


@pytest.mark.parametrize(
    ("obj", "message"),
    [
        (torch.nn.Linear(1, 1), "holds a module of class torch.nn.modules.linear.Linear, but no graph"),
        ({"weight": torch.ones(2)}, "holds only weights"),
        (torch.nn.Linear(1, 1).state_dict(), "holds only weights"),
        ({"epoch": 3}, "holds a dict, but no graph"),
        (torch.fx.symbolic_trace(torch.nn.ReLU()).graph, "holds a bare fx.Graph without its modules"),
        ([1, 2], "holds a list, but no graph"),
        (3, "holds a value, but no graph"),
    ],
    ids=["module", "dict", "state_dict", "other dict", "bare graph", "list", "number"],
)
@pytest.mark.parametrize("layout", ["zip", "stream", "pickle_4"])
def test_files_without_a_graph_say_what_they_hold_and_the_next_step(obj, message, layout, tmp_path):
    LAYOUTS[layout](obj, tmp_path / "model.pt")
    with pytest.raises(UnknownFormatError) as caught:
        open_graph(tmp_path / "model.pt")
    assert f"model.pt {message}" in caught.value.message
    assert "torch.save(torch.fx." in caught.value.hint


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["built-statically_quantized", "built-dynamically_quantized"])
@pytest.mark.parametrize("format_", ["pt", "pickle", "graph_pickler", "package"])
def test_a_module_with_packed_weights_is_refused_in_one_sentence(name, format_, tmp_path):
    if format_ not in CASES[name].savable_as:
        pytest.skip("this release of torch cannot write the module so")
    path = FORMATS[format_](CASES[name].build(), tmp_path)
    artifact = fx2py.generate(path)
    for policy in (None, Policy(trust_all=True)):
        with pytest.raises(ReplayError) as caught:
            artifact.bind(policy=policy)
        assert "'0' keeps its weights packed in a torch.ScriptObject, which is no plain data" in str(
            caught.value
        )
    assert any("(submods)" in note for note in artifact.manifest.notes)


def symbolic(x):
    rows = x.shape[0] * 2
    return (
        x.reshape(-1)[:rows] + rows,
        torch.zeros(rows // 3),
        torch.full((2,), 1.5 * x.shape[1]),
        x.shape[1] / 3,
    )


def test_symbolic_numbers_and_shapes_come_through_graph_pickler(tmp_path):
    live = make_fx(symbolic, tracing_mode="symbolic")(torch.ones(6, 4))
    kept = frozenset({"val", "stack_trace"})
    path = tmp_path / "graph.graphpickle"
    path.write_bytes(GraphPickler.dumps(live, pickler_options(kept)))
    recorded, expected = (
        {node.name: node.meta.value for node in open_graph(source).graph.nodes} for source in (path, live)
    )
    assert recorded == expected
    kinds = {meta.kind for meta in recorded.values() if isinstance(meta, SymMeta)}
    assert kinds == {"int", "float"}


def test_a_torchscript_file_is_named_as_what_it_is(tmp_path):
    torch.jit.script(torch.nn.Linear(1, 1)).save(tmp_path / "script.pt")
    with pytest.raises(UnknownFormatError, match="a TorchScript model"):
        open_graph(tmp_path / "script.pt")
